"""What the driver must know to find and remove what is outside the cluster's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ai_how.files import write_whole

_NAME = "libvirt.json"


@dataclass(frozen=True)
class Record:
    """Written before anything is made: image, bridge, the controller's name, acceleration."""

    image: str = ""
    bridge: str = ""
    controller: str = ""
    acceleration: str = ""


def was_made(folder: Path) -> bool:
    """Say whether the driver ever began to make something for the cluster in `folder`."""
    return (folder / _NAME).exists()


def read_record(folder: Path) -> Record:
    """Return the record of a cluster; an empty one where nothing was made."""
    try:
        return Record(**json.loads((folder / _NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Record()


def write_record(folder: Path, record: Record) -> None:
    """Write the record of a cluster, whole."""
    write_whole(folder / _NAME, json.dumps(asdict(record), indent=1) + "\n")
