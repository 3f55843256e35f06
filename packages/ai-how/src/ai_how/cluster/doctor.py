"""What this machine can do, what it lacks, and what a crash left behind."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ai_how.cluster.state import StateError, folder_of, known_clusters, read_state
from ai_how.drivers.daemons import daemons_of
from ai_how.drivers.process import ProcessDriver
from ai_how.files import state_dir


@dataclass(frozen=True)
class Check:
    """One thing looked at; where it did not pass, the message has the remedy."""

    what: str
    passed: bool
    message: str


def examine() -> list[Check]:
    """Look at this machine and at the clusters of this user. Changes nothing."""
    missing = ProcessDriver(folder_of("x")).missing()
    found = [
        Check("driver process", not missing, "; ".join(missing) or "SLURM and munge are installed")
    ]
    found.append(_state())
    for name in known_clusters():
        try:
            read_state(name)
        except StateError as error:
            found.append(Check(f"cluster {name}", False, str(error)))
    found += _left_behind()
    return found


def _state() -> Check:
    root = state_dir()
    parent = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(parent, os.W_OK):
        return Check("state", False, f"{parent} cannot be written; set AI_HOW_STATE")
    return Check("state", True, f"kept in {root}")


def _left_behind() -> list[Check]:
    """Look for folders without a state: of a `destroy` that was killed."""
    root, known, found = state_dir(), known_clusters(), []
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if folder.is_dir() and folder.name not in known:
            count = len(daemons_of(folder))
            what = f"{folder} has no state, and {count} daemons; `ai-how destroy {folder.name}`"
            found.append(Check("left behind", False, what))
    return found
