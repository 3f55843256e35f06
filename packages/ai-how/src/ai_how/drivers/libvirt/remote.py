"""Commands in a guest, by ssh with the cluster's own keys."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from ai_how.drivers.base import DriverError
from ai_how.drivers.nspawn import keys


def ssh(folder: Path, node: str, *options: str) -> list[str]:
    """Return the command that opens a shell on a node; a command of its own may follow."""
    address = keys.address_of(folder, node)
    key = str(keys.private_key(folder))
    return ["ssh", "-i", key, *keys.ssh_options(folder), *options, f"root@{address}"]


def quoted(command: Sequence[str]) -> str:
    """Return a command as the shell on the other side takes it."""
    return shlex.join(command)


def said_in(
    folder: Path,
    node: str,
    command: Sequence[str],
    *,
    given: bytes = b"",
    limit_s: float = 60.0,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a node with `given` as its input, and return what it said.

    Raises DriverError where the node does not answer by ssh, or past `limit_s`.
    """
    try:
        done = subprocess.run(
            [*ssh(folder, node, "-o", "BatchMode=yes"), quoted(command)],
            input=given,
            capture_output=True,
            check=False,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        raise DriverError(f"{node}: {command[0]} did not end within {limit_s:.0f} s") from None
    if done.returncode == 255:  # ssh's own (ssh(1))
        said = (done.stderr.decode(errors="replace").strip().splitlines() or ["no answer"])[-1]
        raise DriverError(f"{node}: does not answer by ssh ({said}); `ai-how logs` has its console")
    return done


def answers(folder: Path, node: str, limit_s: float) -> bool:
    """Say whether a node takes a login by ssh, now or within `limit_s`: it may still boot."""
    until = time.monotonic() + limit_s
    while True:
        try:
            return said_in(folder, node, ["true"]).returncode == 0
        except DriverError:
            if time.monotonic() > until:
                return False
            time.sleep(1)
