"""Labels by a model that rootstock serves: the cheap way to a first potential.

A model takes seconds to start and milliseconds to answer, so each thread that labels keeps
its own process of it until the campaign ends.
"""

from __future__ import annotations

import atexit
import hashlib
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from pyacemaker.files import sha256_of
from pyacemaker.oracle.ase_oracle import demand_finite, finished_label, structure_only
from pyacemaker.oracle.base import Label, OracleError
from pyacemaker.oracle.settings import RootstockSettings
from pyacemaker.parts.rootstock_root import root_of
from pyacemaker.parts.sources import PartError

_serving = threading.local()
# Two processes of two threads each on two cores wait for each other more than they compute.
_THREADED = ("OMP", "OPENBLAS", "MKL")


@dataclass(frozen=True)
class RootstockOracle:
    """Labels by one model of a rootstock root. Picklable: processes start when they are used."""

    choice: RootstockSettings

    @property
    def name(self) -> str:
        """Return ``rootstock``."""
        return "rootstock"

    def settings(self, atoms: Atoms) -> dict[str, Any]:
        """Return the model's name and the checksum of what it is made of.

        Neither the root's place nor the device: the same model elsewhere gives the same label
        to well within its error. Raises OracleError where it is not there.
        """
        del atoms  # the same for every structure
        return {
            "code": "rootstock",
            "model": self.choice.model,
            "made_of": _fingerprint(self.choice.model, self.choice.root),
        }

    def prepare(self) -> None:
        """Raise OracleError, in one line with its remedy, where the model cannot be served."""
        _fingerprint(self.choice.model, self.choice.root)

    def label(self, atoms: Atoms, workdir: Path) -> Label:
        """Compute energy, forces and stress of `atoms`. Raises OracleError."""
        start = time.monotonic()
        workdir.mkdir(parents=True, exist_ok=True)
        probe = structure_only(atoms)
        probe.calc = _calculator(self.choice)
        try:
            energy = float(probe.get_potential_energy(force_consistent=True))
            forces = np.array(probe.get_forces(), dtype=float)
            periodic = atoms.cell.rank == 3 and bool(atoms.pbc.any())
            stress = np.array(probe.get_stress(), dtype=float) if periodic else np.zeros(6)
        except Exception as error:  # the model's own, or its process died
            raise OracleError(
                f"{self.choice.model} failed on {atoms.get_chemical_formula()}: {_one_line(error)}"
            ) from error
        demand_finite(atoms, energy, forces, stress)
        meta = {"wall_s": round(time.monotonic() - start, 3), "device": self.choice.device}
        return finished_label(atoms, energy, forces, stress, self.settings(atoms), meta)


def _calculator(choice: RootstockSettings) -> Any:
    """Return this thread's calculator, started at the first label."""
    from rootstock import RootstockCalculator
    from rootstock.errors import RootstockError

    known: dict[RootstockSettings, Any] = _serving.__dict__.setdefault("calculators", {})
    if choice not in known:
        try:
            made = RootstockCalculator(
                root=choice.root,
                model=choice.model,
                device=choice.device,
                variables={f"{name}_NUM_THREADS": str(choice.threads) for name in _THREADED},
            )
        except RootstockError as error:
            raise OracleError(f"oracle.model {choice.model}: {_one_line(error)}") from error
        atexit.register(made.close)
        known[choice] = made
    return known[choice]


@lru_cache
def _fingerprint(model: str, root: str | None) -> str:
    """Return a hash of the environment file, its lock and the weights of a model."""
    from rootstock.root.errors import RootError
    from rootstock.root.resolve import resolve_model
    from rootstock.root.shipped import BUILT_IN

    try:
        folder = Path() if model in BUILT_IN else root_of(root, "oracle.root")
        found = resolve_model(folder, model)
    except (RootError, PartError) as error:
        raise OracleError(f"oracle.model {model}: {error}") from error
    lock = found.source.with_suffix(".lock")
    parts = [found.environment, sha256_of(found.source)]
    parts += [sha256_of(lock)] if lock.is_file() else []
    weights = Path(found.argument)
    if weights.is_absolute():
        files = sorted(p for p in weights.rglob("*") if p.is_file()) or [weights]
        parts += [sha256_of(path) for path in files]
    else:
        parts.append(found.argument)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _one_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
