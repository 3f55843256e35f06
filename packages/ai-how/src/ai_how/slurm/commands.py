"""SLURM's own commands, spoken to in a cluster's environment and with a time limit."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_how.errors import AiHowError

_LIMIT_S = 10.0
_LAST = re.compile(r"(\w+)=(.*?)(?= \w+=|$)")


class SlurmError(AiHowError):
    """A command of SLURM failed; the message is what it said."""


@dataclass(frozen=True)
class NodeState:
    """What slurmctld thinks of a node: ``idle``, ``mixed``, ``down``; `reason` may be empty."""

    name: str
    state: str
    responds: bool
    reason: str


@dataclass(frozen=True)
class Job:
    """A line of the queue. `elapsed` is days-hours:minutes:seconds, as squeue prints it."""

    id: str
    name: str
    user: str
    partition: str
    state: str
    elapsed: str
    nodes: str
    where: str


def ask(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    limit_s: float = _LIMIT_S,
    cwd: Path | None = None,
) -> str:
    """Run a command of SLURM and return what it printed.

    Raises SlurmError with its last words where it fails, is missing or takes longer than
    `limit_s` seconds.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            list(command),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            cwd=cwd,
        )
    except FileNotFoundError:
        raise SlurmError(f"{name} is not installed; `apt install slurm-client`") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{name} did not answer within {limit_s:.0f} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise SlurmError(f"{name}: {said}")
    return done.stdout


def node_states(environment: Mapping[str, str]) -> dict[str, NodeState]:
    """Return what slurmctld thinks of each node. Raises SlurmError if it does not answer."""
    found = {}
    for line in ask(["sinfo", "-h", "-N", "-o", "%N|%T|%E"], environment).splitlines():
        name, state, reason = line.split("|", 2)
        flags = state.lstrip("abcdefghijklmnopqrstuvwxyz")
        found[name] = NodeState(
            name,
            state.removesuffix(flags) if flags else state,
            "*" not in flags,
            "" if reason == "none" else reason,
        )
    return found


def resume(names: Sequence[str], environment: Mapping[str, str]) -> None:
    """Let nodes take jobs again."""
    ask(["scontrol", "update", f"NodeName={','.join(names)}", "State=RESUME"], environment)


def set_down(names: Sequence[str], reason: str, environment: Mapping[str, str]) -> None:
    """Tell slurmctld that nodes are down, so that their jobs are requeued at once."""
    ask(
        ["scontrol", "update", f"NodeName={','.join(names)}", "State=DOWN", f"Reason={reason}"],
        environment,
    )


def submit(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Hand a job script to sbatch and return the job's number. `arguments` are sbatch's own."""
    said = ask(["sbatch", "--parsable", *arguments], environment, limit_s=60)
    return said.strip().partition(";")[0]


def says_where(arguments: Sequence[str]) -> bool:
    """Say whether options of sbatch, or a script among them, name the folder of the job."""

    def named(word: str) -> bool:
        return word == "--chdir" or word.startswith(("-D", "--chdir="))

    if any(map(named, arguments)):
        return True
    for path in (Path(word) for word in arguments if not word.startswith("-")):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            lines = path.read_text(encoding="utf-8").splitlines()
            if any(named(w) for line in lines if line.startswith("#SBATCH") for w in line.split()):
                return True
    return False


def queue(environment: Mapping[str, str]) -> list[Job]:
    """Return the jobs that wait or run."""
    found = []
    form = "%i|%u|%P|%T|%M|%D|%R|%j"
    for line in ask(["squeue", "-h", "-o", form], environment).splitlines():
        number, user, partition, state, elapsed, nodes, where, name = line.split("|", 7)
        found.append(Job(number, name, user, partition, state, elapsed, nodes, where))
    return found


def finished(record: Path) -> list[dict[str, str]]:
    """Return the finished jobs of a file that jobcomp/filetxt wrote, oldest first."""
    if not record.exists():
        return []
    lines = record.read_text(encoding="utf-8", errors="replace").splitlines()
    return [dict(_LAST.findall(line.strip())) for line in lines if line.startswith("JobId=")]
