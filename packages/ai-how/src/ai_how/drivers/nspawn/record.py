"""What the driver must know to find and remove what is outside the cluster's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ai_how.files import write_whole


@dataclass(frozen=True)
class Record:
    """Written before anything is made: image, bridge, the controller's name, versions."""

    image: str = ""
    bridge: str = ""
    controller: str = ""
    packages: dict[str, str] = field(default_factory=dict)


def read_record(folder: Path) -> Record:
    """Return the record of a cluster; an empty one where nothing was made."""
    try:
        return Record(**json.loads((folder / "nspawn.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Record()


def write_record(folder: Path, record: Record) -> None:
    """Write the record of a cluster, whole."""
    write_whole(folder / "nspawn.json", json.dumps(asdict(record), indent=1) + "\n")
