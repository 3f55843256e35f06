"""Structures the material visits by itself, as a foundation model sees it.

A foundation model is wrong by tens of meV an atom, but it knows which way atoms move: frames
of short trajectories with it are nearer to what the potential will meet than displacements
drawn at random. Two models that disagree on the forces of a frame show where neither was
taught; such frames are the news.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.velocitydistribution import Stationary, thermalize_momenta

from pyacemaker.generator.base import GeneratorError, child
from pyacemaker.generator.contact import bare, closest_contact
from pyacemaker.generator.local import LOCAL_CONTACT
from pyacemaker.generator.supercells import supercell
from pyacemaker.provenance import KEY, tag

HOTTER = 1.5
"""The hottest trajectory, over the highest temperature asked for: what lies beyond the edge."""

SETTLING = 0.2
"""Share of a trajectory that is thrown away: the cell finds the model's own volume in it."""

LARGEST_GROWTH = 1.6
"""A cell that has grown more than this (volume over that at the start) has come apart."""


def foundation_frames(
    reference: Atoms,
    calculator: Calculator,
    temperatures_K: Sequence[float],
    max_atoms: int,
    rng: np.random.Generator,
    *,
    md_ps: float = 1.0,
    frames: int = 8,
    timestep_fs: float = 2.0,
    model: str = "",
) -> list[Atoms]:
    """Return frames of NPT trajectories at zero pressure with `calculator`, bare and tagged.

    One trajectory at each of `temperatures_K` and one at 1.5 times the highest, from the
    widest supercell of at most `max_atoms` atoms, by ASE's Langevin integrator (BAOAB). It
    ends early, and what it gave until then is kept, where atoms come closer than
    `local.LOCAL_CONTACT` or the cell comes apart. A trajectory is one split group.

    Parameters
    ----------
    reference
        The material's cell, periodic in all directions.
    calculator
        Gives energy, forces and stress; it is attached to a copy and left as it is.
    md_ps, timestep_fs
        Length (ps) and time step (fs) of each trajectory; a fifth of it is for settling.
    frames
        Frames kept of each trajectory, evenly spaced.
    model
        The model's name, for the provenance.

    Raises
    ------
    GeneratorError
        Where the model gives forces or stress that are not finite at the very start.
    """
    start = supercell(reference, max_atoms)
    hottest = HOTTER * max(temperatures_K)
    made: list[Atoms] = []
    for temperature in (*temperatures_K, hottest):
        for number, atoms in enumerate(
            _trajectory(start, calculator, temperature, child(rng), md_ps, frames, timestep_fs)
        ):
            group = f"foundation-{temperature:.0f}K"
            facts = {"model": model, "temperature_K": float(temperature), "frame": number}
            made.append(tag(atoms, "foundation", group, **facts))
    return made


def _trajectory(
    start: Atoms,
    calculator: Calculator,
    temperature_K: float,
    rng: np.random.Generator,
    md_ps: float,
    frames: int,
    timestep_fs: float,
) -> list[Atoms]:
    atoms = bare(start)
    atoms.calc = calculator
    if not (np.isfinite(atoms.get_forces()).all() and np.isfinite(atoms.get_stress()).all()):
        raise GeneratorError("the foundation model gives forces or stress that are not finite")
    thermalize_momenta(atoms, temperature_K, rng=rng)
    Stationary(atoms)
    step = timestep_fs * units.fs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ASE's heuristics of the barostat's mass are meant
        integrator = LangevinBAOAB(
            atoms,
            step,
            temperature_K=temperature_K,
            externalstress=0.0,
            T_tau=50 * step,
            P_tau=500 * step,
            rng=rng,
        )
    volume = atoms.get_volume()
    total = max(frames, round(1000 * md_ps / timestep_fs))
    wanted = set(np.linspace(SETTLING * total, total, frames).round().astype(int).tolist())
    kept: list[Atoms] = []
    for number in range(1, total + 1):
        integrator.step()
        if number not in wanted:
            continue
        if not _is_whole(atoms, volume):
            break
        frame = bare(atoms)
        frame.wrap()
        kept.append(frame)
    return kept


def _is_whole(atoms: Atoms, volume_A3: float) -> bool:
    return (
        bool(np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all())
        and atoms.get_volume() < LARGEST_GROWTH * volume_A3
        and closest_contact(atoms) >= LOCAL_CONTACT
    )


def disagreement(structures: Sequence[Atoms], first: Calculator, second: Calculator) -> list[float]:
    """Return how far two models' forces are apart: the largest of any atom (eV/angstrom).

    Forces, not energies: two models have different zeros, and an average over a cell hides
    the one atom that neither has seen. A frame one of them cannot compute scores infinity.
    """
    return [_apart(atoms, first, second) for atoms in structures]


def _apart(atoms: Atoms, first: Calculator, second: Calculator) -> float:
    forces = []
    for calculator in (first, second):
        probe = bare(atoms)
        probe.calc = calculator
        try:
            forces.append(np.asarray(probe.get_forces(), dtype=float))
        except Exception:  # whatever a model raises on what it does not know is news
            return float("inf")
    gap = float(np.linalg.norm(forces[0] - forces[1], axis=1).max())
    return gap if np.isfinite(gap) else float("inf")


def most_disputed(
    structures: Sequence[Atoms], scores_eV_per_A: Sequence[float], share: float = 0.5
) -> list[Atoms]:
    """Return the `share` of structures with the highest scores, each with its score noted."""
    order = sorted(range(len(structures)), key=lambda n: (-scores_eV_per_A[n], n))
    kept = sorted(order[: max(1, round(share * len(structures)))]) if structures else []
    for index in kept:
        score = scores_eV_per_A[index]
        noted = score if np.isfinite(score) else None
        structures[index].info[KEY]["disagreement_eV_per_A"] = noted
    return [structures[index] for index in kept]
