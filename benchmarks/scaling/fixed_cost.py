"""A label of a fixed cost: EMT that takes a stated time, as a code on cores of its own would."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT


class FixedCost(EMT):
    """EMT that ends `seconds` after it began, and writes both times and its node to `log`."""

    def __init__(self, seconds: float, log: str) -> None:
        super().__init__()
        self.seconds, self.log = seconds, Path(log)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = None,
        system_changes: Any = all_changes,
    ) -> None:
        began = time.time()
        super().calculate(atoms, properties, system_changes)
        time.sleep(max(0.0, began + self.seconds - time.time()))
        node = os.environ.get("SLURMD_NODENAME", "here")
        with self.log.open("a") as stream:
            stream.write(f"{began} {time.time()} {node}\n")
