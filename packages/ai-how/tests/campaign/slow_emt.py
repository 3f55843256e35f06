"""EMT that waits when it is told to, and writes down where it began: importable in jobs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT


class SlowEMT(EMT):
    """EMT that adds its node to the file ``began`` and waits for as long as ``hold`` is there."""

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = None,
        system_changes: Any = all_changes,
    ) -> None:
        folder = Path(os.environ["SLOW_EMT"])
        with (folder / "began").open("a") as log:
            log.write(f"{os.environ.get('SLURMD_NODENAME', 'here')}\n")
        while (folder / "hold").exists():
            time.sleep(0.05)
        super().calculate(atoms, properties, system_changes)
