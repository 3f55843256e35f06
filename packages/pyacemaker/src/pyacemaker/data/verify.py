"""A whole store verified: checksums, keys, physics."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pyacemaker.data.checks import Finding, check_labels
from pyacemaker.label_files import label_key
from pyacemaker.labels import CorruptLabelError, LabelStore
from pyacemaker.oracle.base import Label


@dataclass(frozen=True)
class StoreReport:
    """What was looked at and what is wrong."""

    directory: Path
    labels: int
    failures: int
    computed_twice: int
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "store": str(self.directory),
            "labels": self.labels,
            "failures": self.failures,
            "computed_twice": self.computed_twice,
            "problems": [asdict(finding) for finding in self.findings],
        }


def verify_store(store: LabelStore) -> StoreReport:
    """Read every file of `store`, verify checksum and key, and check the physics."""
    findings = [Finding(error.path.stem, "corrupt", str(error)) for error in store.corrupt()]
    labels: dict[str, Label] = {}
    keys = store.keys()
    for key in keys:
        try:
            label = store.get(key)
        except CorruptLabelError:
            continue  # told above
        if label is None:
            continue
        named = label_key(label.atoms, label.settings)
        if named != key:
            findings.append(
                Finding(key, "wrong key", f"structure and settings are those of {named}")
            )
        labels[key] = label
    findings += check_labels(labels)
    again = sum(1 for line in store.computed() if line.status == "again")
    failures = len(list((store.directory / "failed").glob("*.json")))
    return StoreReport(store.directory, len(keys), failures, again, tuple(findings))
