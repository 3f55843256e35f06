"""Which rootstock root holds the models."""

from __future__ import annotations

import os
from pathlib import Path

from pyacemaker.parts.sources import PartError
from rootstock.root.layout import ROOT_VARIABLE


def root_of(named: str | None, key: str) -> Path:
    """Return the rootstock root that is named, or that of the environment variable.

    `key` is the configuration's key for it, for the message. Raises PartError for neither.
    """
    found = named or os.environ.get(ROOT_VARIABLE)
    if not found:
        raise PartError(
            f"{key} is not set and neither is the variable {ROOT_VARIABLE}: name the rootstock "
            "root that holds the models"
        )
    return Path(found).expanduser()
