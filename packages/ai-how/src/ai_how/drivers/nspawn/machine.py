"""Booted containers: started, found, entered and ended. What runs is read from /proc alone.

A node is its process 1: with it the kernel ends every process of the node, however it hides.
systemd-nspawn is only its keeper, and a node may outlive it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_how.drivers.base import DriverError
from ai_how.drivers.daemons import commands, end, lives
from ai_how.drivers.nspawn.cgroups import make_group

FUSE = "/dev/fuse"
# Joins the groups whose files are named before the dashes, and becomes the command behind them.
_JOIN = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit; shift; done; shift; exec "$@"'
_PROC = Path("/proc")
_HALT = signal.SIGRTMIN + 4  # to systemd(1): power off


@dataclass(frozen=True)
class Machine:
    """A node that runs: its process 1, or its systemd-nspawn, or both."""

    node: str
    keeper: int | None
    leader: int | None

    @property
    def pids(self) -> list[int]:
        """The processes whose end is the node's, process 1 first."""
        return [pid for pid in (self.leader, self.keeper) if pid is not None]


@dataclass(frozen=True)
class Boot:
    """What a node is booted with. `binds` are (on this machine, in the node, read only)."""

    node: str
    root: Path
    bridge: str
    console: Path
    binds: Sequence[tuple[str, str, bool]]
    devices: Sequence[str]


def machines_of(folder: Path) -> dict[str, Machine]:
    """Return the running nodes of the cluster in `folder`, by name."""
    beginning = f"--directory={folder}/nodes/"
    keepers: dict[str, int] = {}
    leaders: dict[str, int] = {}
    for pid, words in commands():
        if Path(words[0]).name == "systemd-nspawn":
            for word in words[1:]:
                if word.startswith(beginning):
                    keepers[word.removeprefix(beginning).partition("/")[0]] = pid
        elif (node := _led(pid, folder)) is not None:
            leaders[node] = pid
    return {
        node: Machine(node, keepers.get(node), leaders.get(node)) for node in {*keepers, *leaders}
    }


def machine_name(root: Path) -> str:
    """Return a name of 12 characters for a node, different for each node of this machine.

    The node's end of its network cable on this machine is called ``vb-`` and this name, and an
    interface's name has at most 15 characters.
    """
    node = root.parent.name
    return f"{node[:4].strip('-')}-{hashlib.sha256(str(root).encode()).hexdigest()[:7]}"


def boot(wanted: Boot) -> None:
    """Start a node; it outlives this command."""
    name = machine_name(wanted.root)
    command = [
        *["sh", "-c", _JOIN, "sh", *map(str, make_group(name)), "--"],
        *["setsid", "--fork"],
        "systemd-nspawn",
        "--quiet",
        "--boot",
        f"--directory={wanted.root}",
        f"--machine={name}",
        f"--hostname={wanted.node}",
        f"--network-bridge={wanted.bridge}",
        "--register=no",
        "--keep-unit",
        "--settings=no",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--console=read-only",
        *[f"--bind{'-ro' if ro else ''}={source}:{target}" for source, target, ro in wanted.binds],
        *[f"--bind={device}" for device in wanted.devices],
    ]
    with wanted.console.open("ab") as console:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            cwd="/",
            env=NODE_ENVIRONMENT,
            check=True,
            timeout=10,
        )


def end_machines(which: Iterable[Machine], *, at_once: bool = False, limit_s: float = 20.0) -> None:
    """End nodes: an orderly shutdown of at most `limit_s` seconds, or a power cut `at_once`."""
    left = list(which)
    if not at_once:
        for machine in left:
            with contextlib.suppress(ProcessLookupError):
                if machine.leader is not None:
                    os.kill(machine.leader, _HALT)
        until = time.monotonic() + limit_s
        while left and time.monotonic() < until:
            time.sleep(0.05)
            left = [machine for machine in left if any(map(lives, machine.pids))]
    end((pid for machine in left for pid in machine.pids), at_once=True)


def inside(machine: Machine, command: Sequence[str]) -> list[str]:
    """Return what runs a command in a node. Raises DriverError where it has no process 1 yet."""
    if machine.leader is None:
        raise DriverError(f"{machine.node} is still being started; try again")
    return ["nsenter", f"--target={machine.leader}", "--all", "--root", "--wd", "--", *command]


def said_in(
    machine: Machine,
    command: Sequence[str],
    *,
    limit_s: float = 10.0,
    given: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a node and return what it said. Raises DriverError past `limit_s`."""
    try:
        return subprocess.run(
            inside(machine, command),
            input=given or "",
            capture_output=True,
            text=True,
            check=False,
            timeout=limit_s,
            env=dict(environment or NODE_ENVIRONMENT),
        )
    except subprocess.TimeoutExpired:
        raise DriverError(
            f"{machine.node}: {command[0]} did not end within {limit_s:.0f} s"
        ) from None


NODE_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/root",
}


def _led(pid: int, folder: Path) -> str | None:
    """Return the node whose process 1 this is, if it is one of the cluster in `folder`.

    What a node's process 1 has as its root, others may have somewhere among their mounts: whoever
    makes a mount namespace of its own takes copies of this machine's.
    """
    with contextlib.suppress(OSError, StopIteration):
        with (_PROC / str(pid) / "status").open() as status:
            inner = next(line for line in status if line.startswith("NSpid:")).split()
        if inner[-1] == "1" and len(inner) > 2:
            upper = f"upperdir={folder}/nodes/"
            for line in (_PROC / str(pid) / "mountinfo").read_text().splitlines():
                if line.split(" ", 5)[4] == "/" and upper in line:
                    return line.partition(upper)[2].partition("/")[0]
    return None
