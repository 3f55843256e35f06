"""The processes of a cluster, found by what they are and never by a remembered number.

A number in a file may belong to somebody else after a crash or a reboot; what /proc says
cannot be out of date. A process is ours if it is a daemon of SLURM or munge that names the
cluster's folder in its arguments, or a process of a job of this cluster.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_how.drivers.base import DriverError

_DAEMONS = frozenset({"munged", "slurmctld", "slurmd"})
_PROC = Path("/proc")
# Where programs are looked for: daemons get it too, whatever the user has in PATH.
PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_START_S = 15.0
_STOP_S = 10.0


@dataclass(frozen=True)
class Daemon:
    """A running daemon. `node` is None but for slurmd."""

    pid: int
    program: str
    node: str | None


def daemons_of(folder: Path) -> list[Daemon]:
    """Return the daemons of the cluster in `folder`."""
    found = []
    for pid, words in commands():
        program = Path(words[0]).name
        if program in _DAEMONS and any(f"{folder}/" in word for word in words[1:]):
            node = words[words.index("-N") + 1] if "-N" in words[:-1] else None
            found.append(Daemon(pid, program, node))
    return found


def job_processes(folder: Path, node: str | None = None) -> set[int]:
    """Return the processes of jobs of the cluster in `folder`, their stepd among them.

    `node` limits them to one node. A stepd is known by the log file of its node, and what
    descends from it is its job's; besides, a job's processes carry the cluster's SLURM_CONF
    and a job's number in their environment, whoever is their parent by now.
    """
    conf = f"SLURM_CONF={folder}/etc/slurm.conf".encode()
    here = f"SLURMD_NODENAME={node}".encode()
    log = f"{folder}/log/slurmd-" + (f"{node}.log" if node else "")
    found = set()
    for pid, words in commands():
        if words[0].startswith("slurmstepd"):
            if _opens(pid, log):
                found.add(pid)
            continue
        with contextlib.suppress(OSError):
            parts = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
            if conf not in parts or not any(part.startswith(b"SLURM_JOB_ID=") for part in parts):
                continue
            if pid != os.getpid() and (node is None or here in parts):
                found.add(pid)
    return found | _descendants(found)


def start(command: Sequence[str], environment: dict[str, str], words: Path) -> None:
    """Start a program that makes itself a daemon; its first words go to the file `words`.

    Raises DriverError with them where it fails.
    """
    name = Path(command[0]).name
    words.parent.mkdir(parents=True, exist_ok=True)
    with words.open("wb") as stream:
        try:
            done = subprocess.run(
                list(command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                timeout=_START_S,
                check=False,
                cwd="/",
                start_new_session=True,
            )
        except FileNotFoundError:
            raise DriverError(f"{name} is not installed; `ai-how doctor` says what is") from None
        except subprocess.TimeoutExpired:
            raise DriverError(
                f"{name} did not start within {_START_S:.0f} s; see {words}"
            ) from None
    if done.returncode:
        said = words.read_text(errors="replace").strip() or f"exit status {done.returncode}"
        raise DriverError(f"{name} does not start: {said.splitlines()[-1]}")


def end(pids: Iterable[int], *, at_once: bool = False) -> None:
    """End processes and wait for them: TERM, and KILL after ten seconds (or KILL `at_once`)."""
    left = set(pids)
    for number in (signal.SIGKILL,) if at_once else (signal.SIGTERM, signal.SIGKILL):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        until = time.monotonic() + _STOP_S
        while (left := {pid for pid in left if lives(pid)}) and time.monotonic() < until:
            time.sleep(0.02)
        if not left:
            return
    raise DriverError(f"process {min(left)} cannot be ended; is it another user's?")


def end_jobs(folder: Path, node: str | None = None) -> None:
    """End the processes of jobs at once; those that they start meanwhile too."""
    until = time.monotonic() + _STOP_S
    while found := job_processes(folder, node):
        end(found, at_once=True)
        if time.monotonic() > until:
            raise DriverError(f"process {min(found)} of a job starts others faster than they end")


def _descendants(pids: set[int]) -> set[int]:
    children: dict[int, set[int]] = {}
    for pid, _ in commands():
        with contextlib.suppress(OSError):
            status = (_PROC / str(pid) / "stat").read_text()
            children.setdefault(int(status.rpartition(")")[2].split()[1]), set()).add(pid)
    found: set[int] = set()
    new = pids
    while new := {child for pid in new for child in children.get(pid, ())} - found:
        found |= new
    return found


def lives(pid: int) -> bool:
    """Say whether a process runs; one that ended and waits for its parent does not."""
    try:
        status = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


def commands() -> list[tuple[int, list[str]]]:
    """Return every process of this machine with its arguments."""
    found = []
    for path in _PROC.iterdir():
        if not path.name.isdigit():
            continue
        try:
            text = (path / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it ended meanwhile
        if words := [word for word in text.split("\0") if word]:  # a zombie has none
            found.append((int(path.name), words))
    return found


def _opens(pid: int, beginning: str) -> bool:
    """Say whether a process has a file open whose name begins so."""
    with contextlib.suppress(OSError):
        for link in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                if str(link.readlink()).startswith(beginning):
                    return True
    return False
