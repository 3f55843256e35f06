"""What is found out about a run: its class, and what that rests on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pyacemaker.oracle.espresso.healing.classes import CLASSES, OK


@dataclass(frozen=True)
class Diagnosis:
    """The class of a run and what it rests on.

    `name` is the class (`CLASSES`, or ``ok``), `evidence` the line or the words that decided,
    `remedy` what would be done, `notes` what else was seen.
    """

    name: str
    evidence: str
    program: str | None = None
    version: str | None = None
    calculation: str | None = None
    converged: bool | None = None
    scf_steps: int | None = None
    energy_Ry: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Say whether the run came to a good end."""
        return self.name == OK

    @property
    def family(self) -> str:
        """Return the family of the class."""
        return OK if self.ok else CLASSES[self.name].family

    @property
    def remedy(self) -> str:
        """Return what is done about it, in words."""
        return "nothing to do" if self.ok else CLASSES[self.name].remedy

    def as_dict(self, path: Path | None = None) -> dict[str, Any]:
        """Return plain values, for JSON."""
        told = asdict(self)
        name = told.pop("name")
        return {
            "class": name,
            "family": self.family,
            "remedy": self.remedy,
            **told,
            "notes": list(self.notes),
            "file": None if path is None else str(path),
        }
