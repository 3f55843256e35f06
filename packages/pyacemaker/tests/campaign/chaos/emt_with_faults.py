"""EMT that raises, answers nonsense, hangs or kills its process; each structure only once."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT

FAULTS = ("none",) * 60 + ("raise", "nan", "shape") * 2 + ("hang", "kill-campaign")


class EMTWithFaults(EMT):  # type: ignore[misc]
    """An EMT whose first answer for a structure may be a fault."""

    def __init__(self, faults: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.faults = Path(faults)

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        digest = hashlib.sha256(atoms.positions.tobytes()).hexdigest()
        struck = self.faults / digest[:16]
        fault = "none" if struck.exists() else FAULTS[int(digest[-4:], 16) % len(FAULTS)]
        struck.touch()
        if fault == "raise":
            raise RuntimeError("out of luck")
        if fault == "nan":
            self.results["forces"] = self.results["forces"] * np.nan
        elif fault == "shape":
            self.results["forces"] = self.results["forces"][:-1]
        elif fault == "hang":
            time.sleep(600)
        elif fault == "kill-campaign":
            os.kill(os.getpid(), signal.SIGKILL)
