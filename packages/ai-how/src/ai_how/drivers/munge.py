"""The munged of a cluster on this machine: a key and a socket that nobody else has."""

from __future__ import annotations

import secrets
from pathlib import Path

from ai_how.drivers.base import Say
from ai_how.drivers.daemons import PROGRAM_PATH, daemons_of, end, start
from ai_how.files import write_whole
from ai_how.slurm.commands import SlurmError, ask


def munge_key(folder: Path) -> Path:
    """Return the file of the cluster's key, made if it is not there."""
    key = folder / "etc" / "keys" / "munge.key"
    if not key.exists():
        write_whole(key, secrets.token_bytes(128))
    key.chmod(0o400)
    return key


def run_munged(folder: Path, environment: dict[str, str], say: Say) -> None:
    """Start the munged of the cluster in `folder`; one that does not answer is started anew."""
    keys, run, log = (folder / part for part in ("etc/keys", "run", "log"))
    key = munge_key(folder)
    munge_socket = run / "munge.socket"
    if runs := _munged(folder):
        if munge_answers(munge_socket):
            return
        say("munged does not answer: started anew")
        end(runs)
    for stale in (munge_socket, run / "munge.socket.lock", run / "munged.pid"):
        stale.unlink(missing_ok=True)
    # It refuses a socket that not everybody can reach, but this one may well be private to
    # its user; that nobody else can replace the key, the driver has checked.
    command = [
        "munged",
        "--force",
        f"--socket={munge_socket}",
        f"--key-file={key}",
        f"--pid-file={run / 'munged.pid'}",
        f"--log-file={log / 'munged.log'}",
        f"--seed-file={keys / 'munged.seed'}",
    ]
    start(command, environment, log / "start-munged.log")
    say("munged runs")


def munge_answers(munge_socket: Path) -> bool:
    """Say whether the munged of a socket makes credentials."""
    try:
        ask(["munge", "-n", "-S", str(munge_socket)], {"PATH": PROGRAM_PATH}, limit_s=5)
    except SlurmError:
        return False
    return True


def munge_faults(folder: Path) -> list[str]:
    """Return what is wrong with the munged of the cluster in `folder`, with the remedy."""
    if not _munged(folder):
        return ["munged does not run on this machine; `ai-how up` starts it"]
    if not munge_answers(folder / "run" / "munge.socket"):
        return ["munged does not answer; `ai-how up` starts it anew"]
    return []


def end_munged(folder: Path) -> None:
    """End the munged of the cluster in `folder`, if it runs."""
    end(_munged(folder))


def _munged(folder: Path) -> list[int]:
    return [daemon.pid for daemon in daemons_of(folder) if daemon.program == "munged"]
