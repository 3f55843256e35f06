"""The one interface of every trainer: labels in, a potential directory out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from ase import Atoms

if TYPE_CHECKING:
    from pyacemaker.trainer.growing.decision import Diagnosis


@dataclass(frozen=True)
class FitResult:
    """What a fit left behind.

    `potential` is a directory that `pyacemaker.potential.Potential.load` reads.
    `metrics` has `train` and `validation`, each with `energy_rmse` (eV/atom),
    `force_rmse` (eV/angstrom) and `stress_rmse` (GPa), and what the fit itself reports.
    """

    potential: Path
    metrics: Mapping[str, Any]
    wall_s: float


class TrainerError(RuntimeError):
    """A fit that failed; the message says why and what would help, in one line."""


class Trainer(Protocol):
    """Fits a potential to labelled structures."""

    def fit(
        self,
        train: Sequence[Atoms],
        validation: Sequence[Atoms],
        reference_energies: Mapping[str, float],
        outdir: Path,
        rng: np.random.Generator,
        parent: Path | None = None,
    ) -> FitResult:
        """Fit to `train` and write the potential into `outdir` whole.

        Every structure carries a calculator with energy, forces and stress on the
        oracle's own scale. `reference_energies` are the isolated atoms' energies (eV),
        one for each element. `parent` is the potential of the cycle before, for
        trainers that can start from it. Raises TrainerError.
        """


@runtime_checkable
class GrowingTrainer(Protocol):
    """A trainer whose potentials can grow without changing what they are."""

    def diagnose(self, metrics: Mapping[str, Any], complaints: Sequence[str]) -> Diagnosis:
        """Say what limits the potential of a fit with these metrics.

        `complaints`: what is still wrong in regions that have been sampled, one phrase each.
        """

    def grow(
        self,
        potential: Path,
        train: Sequence[Atoms],
        validation: Sequence[Atoms],
        reference_energies: Mapping[str, float],
        outdir: Path,
        rng: np.random.Generator,
    ) -> FitResult:
        """Grow `potential`, fit it and write it into `outdir`; see `Trainer.fit`.

        `metrics` has `growth`, with the `way` that was taken. Raises TrainerError.
        """
