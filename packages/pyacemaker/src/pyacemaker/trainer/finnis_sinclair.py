"""The Finnis-Sinclair fit: non-linear, by the `pacemaker` command with its tensorpot backend.

The energy of an atom is F = rho_1 + sgn(rho_2) sqrt|rho_2| (smooth at zero) of two ACE
densities, and the radial functions are fitted too (Lysogorskiy et al., npj Comput. Mater. 7,
97 (2021); Bochkarev et al., Phys. Rev. Mater. 6, 013804 (2022)). The fit starts from the
parent potential where its basis is the same or a part of the wanted one, else from the linear
solution, which is the same model with rho_2 = 0: a start from zero would spend its first hundred
iterations on what one least-squares solve gives in seconds. With a ladder the linear fit's
evidence says which functions the labels are worth (`trainer.ladder`); as labels come they are
more, and pacemaker extends the parent by those, which begin at zero, so that nothing jumps.
(pacemaker's own ladder, a non-linear fit on each rung from none up, was tried: with the same
iterations its errors were many times larger.)
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from pyace.basis import ACEBBasisSet, BBasisConfiguration

from pyacemaker.parts.sources import PartError
from pyacemaker.parts.tensorpot import TENSORPOT, tensorpot
from pyacemaker.potential.directory import Potential, write_potential
from pyacemaker.potential.manifest import BASIS, PotentialError
from pyacemaker.trainer.active_set import active_sets_of_structures
from pyacemaker.trainer.base import FitResult, TrainerError
from pyacemaker.trainer.baseline import ZblBaseline
from pyacemaker.trainer.basis import basis_configuration, functions_by_element
from pyacemaker.trainer.closing import close_short_range
from pyacemaker.trainer.finish import describe_active_sets
from pyacemaker.trainer.finnis_sinclair_run import (
    RESULT,
    START,
    TARGET,
    Iteration,
    Say,
    kappa_of,
    run_pacemaker,
    write_input,
)
from pyacemaker.trainer.imported import read_potential
from pyacemaker.trainer.metrics import errors_of
from pyacemaker.trainer.pacemaker import LinearTrainer
from pyacemaker.trainer.settings import TrainerSettings
from pyacemaker.trainer.targets import Target, fit_targets


class FinnisSinclairTrainer:
    """Fits a Finnis-Sinclair ACE to the labels less the baseline.

    The loss is, with the softening weights w_s and v_i of `trainer.targets` (normalised to
    sum 1),

        (1 - kappa) sum_s w_s^2 (dE / N)^2 + kappa sum_i (w_s v_i |dF_i|)^2

    plus a very weak ridge; `fs_energy_fraction` sets kappa (see `kappa_of`). tensorpot fits no
    stresses: they follow from energies of strained cells and from forces, and their error is
    reported. pacemaker's input, log and table of iterations stay in ``<outdir>.pacemaker``
    beside the potential.

    The first fit on a machine makes an environment (see `parts.tensorpot`); `say` is told of
    that and of the iterations.
    """

    name = "finnis-sinclair"

    def __init__(self, settings: TrainerSettings | None = None, say: Say = lambda _: None) -> None:
        self.settings = settings or TrainerSettings(fit="finnis-sinclair")
        self.say = say

    def fit(
        self,
        train: Sequence[Atoms],
        validation: Sequence[Atoms],
        reference_energies: Mapping[str, float],
        outdir: Path,
        rng: np.random.Generator,
        parent: Path | None = None,
    ) -> FitResult:
        """Fit and write the potential; see `trainer.base.Trainer`."""
        started = time.monotonic()
        elements, baseline, targets = fit_targets(
            train, validation, reference_energies, self.settings
        )
        try:
            environment = tensorpot(self.say)
        except PartError as error:
            raise TrainerError(
                f"{error}; or set trainer.fit to linear, which needs no environment of its own"
            ) from error
        workdir = outdir.with_name(f"{outdir.name}.pacemaker")
        shutil.rmtree(workdir, ignore_errors=True)
        workdir.mkdir(parents=True)
        seed = int(rng.integers(2**31))
        basis = basis_configuration(elements, self.settings, "finnis-sinclair")
        linear = None
        if self.settings.ladder != "none":
            linear = self._linear(train, reference_energies, workdir, rng)
            basis = _cut(basis, linear)
        start, start_name = self._start(
            basis, linear, train, reference_energies, workdir, rng, parent
        )
        start.save(str(workdir / START))
        extends = start.total_number_of_functions < basis.total_number_of_functions
        if extends:
            basis.save(str(workdir / TARGET))
        fitted, fitted_targets = _with_neighbours(
            train, targets, float(ACEBBasisSet(basis).cutoffmax)
        )
        write_input(workdir, fitted, fitted_targets, elements, self.settings, seed, extends)
        done = run_pacemaker(workdir, environment, self.settings, self.say)
        description = {
            "kind": self.name,
            "settings": self.settings.model_dump(mode="json"),
            "seed": seed,
            "started_from": start_name,
            "iterations": done[-1].number,
            "loss": done[-1].loss,
            "kappa": kappa_of(fitted_targets, self.settings.fs_energy_fraction)[0],
            "pins": [*TENSORPOT.pins, *TENSORPOT.pins_alone],
        }
        potential, about = _written(
            outdir, workdir / RESULT, train, reference_energies, baseline, description
        )
        calculator = potential.calculator()
        train_errors, train_gamma = errors_of(calculator, train)
        validation_errors, validation_gamma = errors_of(calculator, validation)
        metrics: dict[str, Any] = {
            "train": train_errors,
            "validation": validation_errors,
            "gamma_max_train": train_gamma,
            "gamma_max_validation": validation_gamma,
            "history": _thinned(done),
            **{k: v for k, v in about.items() if k not in {"settings", "pins"}},
        }
        for made_here in workdir.glob("*.pckl.gzip"):  # large, and JSON holds the same
            made_here.unlink()
        return FitResult(potential.directory, metrics, time.monotonic() - started)

    def _start(
        self,
        basis: BBasisConfiguration,
        linear: BBasisConfiguration | None,
        train: Sequence[Atoms],
        reference_energies: Mapping[str, float],
        workdir: Path,
        rng: np.random.Generator,
        parent: Path | None,
    ) -> tuple[BBasisConfiguration, str]:
        """Return the potential to start from and what to call it."""
        if parent is not None and (found := _of_parent(basis, parent)) is not None:
            return found, "the parent potential"
        if parent is None and self.settings.potential is not None:
            path = Path(self.settings.potential)
            found = _start_for(basis, read_potential(path).basis.to_BBasisConfiguration())
            if found is None:
                raise TrainerError(
                    f"{path} is not made of functions this fit is of: give trainer.cutoff_A, "
                    "trainer.functions_per_element and trainer.max_body_order its values"
                )
            return found, path.name
        source = linear or self._linear(train, reference_energies, workdir, rng)
        found = with_coefficients_of(basis, source)
        if found is None:
            raise TrainerError("the linear and the finnis-sinclair basis differ: this is a defect")
        return found, "a linear solution"

    def _linear(
        self,
        train: Sequence[Atoms],
        reference_energies: Mapping[str, float],
        workdir: Path,
        rng: np.random.Generator,
    ) -> BBasisConfiguration:
        self.say("finnis-sinclair fit: a linear solution to start from")
        linear = LinearTrainer(self.settings).fit(
            train, [], reference_energies, workdir / "linear", rng
        )
        return BBasisConfiguration(str(linear.potential / BASIS))


def _cut(basis: BBasisConfiguration, source: BBasisConfiguration) -> BBasisConfiguration:
    """Return `basis` with those functions alone that `source` has."""
    kept = {b.block_name: {_term(f) for f in b.funcspecs} for b in source.funcspecs_blocks}
    blocks = [block.copy() for block in basis.funcspecs_blocks]
    for block in blocks:
        terms = kept.get(block.block_name, set())
        block.funcspecs = [f for f in block.funcspecs if _term(f) in terms]
    result = basis.copy()
    result.funcspecs_blocks = [block for block in blocks if block.funcspecs]
    return result


def _start_for(
    basis: BBasisConfiguration, source: BBasisConfiguration
) -> BBasisConfiguration | None:
    """Return `source` as a start for `basis`: in its form, or as it is where it is a part of it."""
    if (found := with_coefficients_of(basis, source)) is not None:
        return found
    return source if _is_part(basis, source) else None


def _is_part(basis: BBasisConfiguration, source: BBasisConfiguration) -> bool:
    """Tell whether all functions of `source` are in `basis`, with as many densities."""
    blocks = {block.block_name: block for block in basis.funcspecs_blocks}
    for given in source.funcspecs_blocks:
        block = blocks.get(given.block_name)
        if block is None or _radial(given) != _radial(block):
            return False
        densities = {_term(f): len(f.coeffs) for f in block.funcspecs}
        if any(densities.get(_term(f)) != len(f.coeffs) for f in given.funcspecs):
            return False
    return True


def with_coefficients_of(
    basis: BBasisConfiguration, source: BBasisConfiguration
) -> BBasisConfiguration | None:
    """Return `basis` with the coefficients of `source`, densities it lacks at zero.

    None where the two are not made of the same functions: other elements, radial basis,
    cutoff or terms, or more densities in `source`.
    """
    blocks = [block.copy() for block in basis.funcspecs_blocks]
    sources = source.funcspecs_blocks
    if [_shape(b) for b in blocks] != [_shape(b) for b in sources]:
        return None
    filled = []
    for block, given in zip(blocks, sources, strict=True):
        terms = {_term(f): list(f.coeffs) for f in given.funcspecs}
        functions = list(block.funcspecs)
        if terms.keys() != {_term(f) for f in functions}:
            return None
        for function in functions:
            known, wanted = terms[_term(function)], len(function.coeffs)
            if len(known) > wanted:
                return None
            function.coeffs = known + [0.0] * (wanted - len(known))
        block.funcspecs = functions
        block.radcoefficients = given.radcoefficients
        filled.append(block)
    result = basis.copy()
    result.funcspecs_blocks = filled
    return result


def _of_parent(basis: BBasisConfiguration, parent: Path) -> BBasisConfiguration | None:
    try:
        directory = Potential.load(parent).directory
    except PotentialError:
        return None  # broken or gone: a linear solution will do as well
    return _start_for(basis, BBasisConfiguration(str(directory / BASIS)))


def _shape(block: Any) -> tuple[Any, ...]:
    """Return what the radial functions of a block are made of, and how many there are."""
    return (block.block_name, *_radial(block), np.shape(block.radcoefficients))


def _radial(block: Any) -> tuple[Any, ...]:
    return (block.rcutij, block.dcutij, block.radbase, tuple(block.radparameters))


def _term(function: Any) -> tuple[Any, ...]:
    return (
        tuple(function.elements),
        tuple(function.ns),
        tuple(function.ls),
        tuple(function.LS),
    )


def _with_neighbours(
    structures: Sequence[Atoms], targets: Sequence[Target], cutoff_A: float
) -> tuple[list[Atoms], list[Target]]:
    """Leave out isolated atoms: nothing is fitted to them, and pacemaker needs a pair."""
    kept = [
        (atoms, target)
        for atoms, target in zip(structures, targets, strict=True)
        if len(neighbor_list("i", atoms, cutoff_A))
    ]
    if not kept:
        raise TrainerError(
            "nothing to fit: no atom of the training set has a neighbour within the cutoff"
        )
    return [atoms for atoms, _ in kept], [target for _, target in kept]


def _written(
    outdir: Path,
    result: Path,
    train: Sequence[Atoms],
    reference_energies: Mapping[str, float],
    baseline: ZblBaseline,
    description: Mapping[str, Any],
) -> tuple[Potential, dict[str, Any]]:
    """Write the potential directory from pacemaker's `result`."""
    try:
        config = BBasisConfiguration(str(result))
        # The fit's user name, dates and reference energies of zero do not belong in a potential.
        for name in list(config.metadata):
            del config.metadata[name]
        basis = ACEBBasisSet(config)
        sets = active_sets_of_structures(basis, train)
        basis, closed = close_short_range(basis, baseline, train)
        about = dict(description) | {
            "short_range": closed,
            "functions": functions_by_element(basis),
            "active_set": describe_active_sets(sets),
        }
        potential = write_potential(
            outdir,
            basis=basis,
            active_set_inverse={e: s.inverse for e, s in sets.items()},
            reference_energies=reference_energies,
            baseline=baseline,
            fit=about,
        )
    except (PotentialError, RuntimeError) as error:
        if isinstance(error, TrainerError):
            raise
        raise TrainerError(f"the fitted potential cannot be used: {error}") from error
    return potential, about


def _thinned(done: Sequence[Iteration], most: int = 100) -> list[dict[str, float]]:
    """Return at most about `most` iterations of the fit's history, the last one always."""
    step = max(1, len(done) // most)
    chosen = [*done[:-1:step], done[-1]]
    return [
        {
            "iteration": i.number,
            "loss": i.loss,
            "energy_rmse": i.energy_rmse,
            "force_rmse": i.force_rmse,
        }
        for i in chosen
    ]
