"""What the table of handlers would do next about a run that lies on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyacemaker.oracle.espresso.healing.diagnosis import Diagnosis
from pyacemaker.oracle.espresso.healing.evidence import gather
from pyacemaker.oracle.espresso.healing.handlers import HANDLERS, Case, Job
from pyacemaker.oracle.espresso.healing.pw_input_text import PwInput, differences


@dataclass(frozen=True)
class Plan:
    """The first handler that has something to offer, and the keys of the input it changes."""

    handler: str | None
    changes: dict[str, tuple[Any, Any]]
    physics: bool = False

    @property
    def words(self) -> str:
        """Return the plan in words; empty where no handler has anything to offer."""
        if self.handler is None:
            return ""
        changed = ", ".join(
            f"{key.partition('.')[2]} {_word(old)} -> {_word(new)}"
            for key, (old, new) in self.changes.items()
        )
        return f"{self.handler} ({changed})" if changed else self.handler

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        changes = {key: list(pair) for key, pair in self.changes.items()}
        return {"handler": self.handler, "changes": changes, "changes_physics": self.physics}


def plan_for(path: Path, diagnosis: Diagnosis) -> Plan:
    """Return what would be done about the run at `path`; from its input where that is there."""
    nothing = Plan(None, {})
    if diagnosis.ok:
        return nothing
    try:
        given = PwInput.parse(gather(path).input)
    except OSError:
        given = PwInput({}, "")
    known = bool(given.namelists)
    # Whether a density was saved is seen when it is tried; a run that stopped by itself saves it.
    saves = diagnosis.family == "scf" or diagnosis.name in {"walltime", "stopped_by_user"}
    case = Case(Job(given), diagnosis, 1, has_density=saves)
    for handler in HANDLERS:
        if diagnosis.name not in handler.recognises:
            continue
        job = handler.change(case)
        if job is not None:
            return Plan(
                handler.name,
                differences(given, job.input) if known else {},
                handler.physics,
            )
    return nothing


def _word(value: Any) -> str:
    return "unset" if value is None else str(value)
