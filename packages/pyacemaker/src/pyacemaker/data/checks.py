"""What is physically wrong with labelled data, found without computing anything again.

Every check compares labels with themselves or with each other:

- forces of a structure sum to zero, as a translation of all atoms costs no energy;
- a large force needs a close contact;
- energies of dense structures with the same settings follow their composition
  (a robust regression);
- the difference of two energies at neighbouring strains is the work of the stress,
  dE = V sigma : d(strain), which finds a wrong sign, unit or volume of the stress.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import GPa
from numpy.typing import NDArray
from scipy.linalg import logm

from pyacemaker.generator.contact import closest_contact
from pyacemaker.oracle.base import Label

Array = NDArray[np.float64]

DRIFT_EV_PER_A = 0.02
"""Largest mean force on an atom; plane-wave codes leave a few meV/angstrom."""

LARGE_FORCE_EV_PER_A = 30.0
"""A force this large has its reason in atoms closer than `CLOSE_CONTACT`."""

CLOSE_CONTACT = 0.8
_ROBUST_SIGMAS = 12.0
_LEAST_ENERGY_EV = 1.0  # per atom: liquids and surfaces lie within it
_LEAST_STRUCTURES = 8
_DENSE = 2.5  # times the median volume of an atom: beyond it there is vacuum
_NEIGHBOUR_STRAIN = 0.06
_STRESS_FLOOR_GPA = 1.0
_SAME_PLACE = 1e-4  # of scaled positions
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Finding:
    """One thing wrong with one label. `kind` is a fixed word, `message` says it with numbers."""

    key: str
    kind: str
    message: str


@dataclass(frozen=True)
class StressPair:
    """Two labels of one crystal at neighbouring strains: what the energies and stresses say.

    `from_energy_GPa` is dE / (V |d strain|), `from_stress_GPa` the same from the mean stress;
    `allowed_GPa` the difference that finite strain explains.
    """

    first: str
    second: str
    from_energy_GPa: float
    from_stress_GPa: float
    allowed_GPa: float

    @property
    def agrees(self) -> bool:
        """Whether both say the same."""
        return abs(self.from_energy_GPa - self.from_stress_GPa) <= self.allowed_GPa


def check_labels(labels: Mapping[str, Label]) -> list[Finding]:
    """Return what is wrong, by the order of the keys. `labels` are by their key."""
    findings: list[Finding] = []
    for key, label in labels.items():
        findings += check_one(key, label.atoms)
    for group in _by_settings(labels).values():
        findings += energy_outliers(group)
        findings += stress_findings(group)
    return sorted(findings, key=lambda found: (found.key, found.kind))


def check_one(key: str, atoms: Atoms) -> list[Finding]:
    """Return what one label alone shows to be wrong (not a missing stress of a cluster)."""
    results = atoms.calc.results
    found = []
    forces = np.asarray(results["forces"], dtype=float)
    drift = float(np.linalg.norm(forces.mean(axis=0)))
    if drift > DRIFT_EV_PER_A:
        found.append(
            Finding(
                key,
                "force sum",
                f"the forces sum to {drift * len(atoms):.3f} eV/A ({drift:.3f} an atom, at most "
                f"{DRIFT_EV_PER_A:g}): constrained atoms, or forces of something else",
            )
        )
    largest = float(np.linalg.norm(forces, axis=1).max())
    contact = closest_contact(atoms)
    if largest > LARGE_FORCE_EV_PER_A and contact > CLOSE_CONTACT:
        found.append(
            Finding(
                key,
                "large force",
                f"a force of {largest:.1f} eV/A, though no two atoms are closer than "
                f"{contact:.2f} of their ordinary contact",
            )
        )
    stress = results.get("stress")
    if stress is None and atoms.pbc.all():
        found.append(Finding(key, "no stress", "a periodic structure without a stress"))
    elif stress is not None and float(np.abs(stress).max()) > 1000 * GPa:
        found.append(
            Finding(
                key,
                "large stress",
                f"a stress of {float(np.abs(stress).max()) / GPa:.0f} GPa: its unit is not "
                "eV/A^3, or it is a virial",
            )
        )
    return found


def energy_outliers(labels: Mapping[str, Label]) -> list[Finding]:
    """Return labels whose energy does not follow the composition of the others.

    Only dense, periodic structures are compared: isolated atoms, dimers and surfaces lie where
    they like. The energies are fitted by one energy for each element, weights from Huber's
    function; an outlier lies 12 robust standard deviations (from the median absolute
    deviation) and 1 eV/atom from it. A structure under stress may lie higher by the work that
    relaxing it would give back, for which half of the largest stress times the volume stands
    (a spring released over its whole strain): random crystals are pressed hard, and right.
    Needs 8 structures.
    """
    dense = _dense(labels)
    if len(dense) < _LEAST_STRUCTURES:
        return []
    keys = list(dense)
    atoms = [dense[key].atoms for key in keys]
    elements = sorted({symbol for a in atoms for symbol in a.get_chemical_symbols()})
    shares = np.array(
        [[a.get_chemical_symbols().count(e) / len(a) for e in elements] for a in atoms]
    )
    energies = np.array([a.calc.results["energy"] / len(a) for a in atoms], dtype=float)
    residual = energies - shares @ robust_fit(shares, energies)
    centre = float(np.median(residual))
    sigma = _MAD_TO_SIGMA * float(np.median(np.abs(residual - centre)))
    limit = max(_LEAST_ENERGY_EV, _ROBUST_SIGMAS * sigma)
    strained = np.array([0.5 * _largest_stress(a) * a.get_volume() / len(a) for a in atoms])
    return [
        Finding(
            key,
            "energy outlier",
            f"{energy:.3f} eV/atom lies {off:+.3f} from what its composition lets expect (robust "
            f"sigma {sigma:.3f})",
        )
        for key, energy, off, work in zip(keys, energies, residual - centre, strained, strict=True)
        if off < -limit or off > max(limit, work)
    ]


def _largest_stress(atoms: Atoms) -> float:
    """Return the largest component of the labelled stress in eV/angstrom^3, 0 without one."""
    stress = atoms.calc.results.get("stress")
    return 0.0 if stress is None else float(np.abs(stress).max())


def robust_fit(matrix: Array, values: Array, rounds: int = 50) -> Array:
    """Solve `matrix` x = `values` by iteratively reweighted least squares, Huber's weights.

    The scale is the median absolute deviation (P. J. Huber, Robust Statistics, 1981, 7.8).
    It starts from the median, so that a few far points do not draw it away.
    """
    solution: Array = np.full(matrix.shape[1], float(np.median(values)))
    for _ in range(rounds):
        residual = values - matrix @ solution
        scale = max(_MAD_TO_SIGMA * float(np.median(np.abs(residual))), 1e-6)
        weights = np.sqrt(1.0 / np.maximum(1.0, np.abs(residual) / (1.345 * scale)))
        after = np.asarray(
            np.linalg.lstsq(matrix * weights[:, None], values * weights, rcond=None)[0], float
        )
        if np.allclose(after, solution, rtol=0, atol=1e-9):
            break
        solution = after
    return solution


def stress_findings(labels: Mapping[str, Label]) -> list[Finding]:
    """Return labels whose stress is not the derivative of the energy (see `stress_pairs`).

    A label is named where it disagrees with all its neighbours.
    """
    verdicts: dict[str, list[StressPair]] = defaultdict(list)
    for pair in stress_pairs(labels):
        verdicts[pair.first].append(pair)
        verdicts[pair.second].append(pair)
    found = []
    for key, pairs in verdicts.items():
        if any(pair.agrees for pair in pairs):
            continue
        worst = max(pairs, key=lambda p: abs(p.from_energy_GPa - p.from_stress_GPa))
        found.append(
            Finding(
                key,
                "stress",
                f"stress and energy disagree: between it and "
                f"{(worst.second if worst.first == key else worst.first)[:12]} the energy's "
                f"derivative is {worst.from_energy_GPa:.2f} GPa, the mean stress "
                f"{worst.from_stress_GPa:.2f} (at most {worst.allowed_GPa:.2f} apart)",
            )
        )
    return found


def stress_pairs(labels: Mapping[str, Label]) -> list[StressPair]:
    """Compare stresses with finite differences of the energy.

    Two labels are neighbours if their atoms have the same scaled positions (to 1e-4) and the
    strain from one cell to the other is at most 6 %. The trapezoidal rule gives
    E2 - E1 = 1/2 (V1 sigma1 + V2 sigma2) : strain, with the logarithmic strain; its error is
    of third order, a few B |strain|^2, which is allowed, and 1 GPa.
    """
    families: dict[str, list[str]] = defaultdict(list)
    for key, label in labels.items():
        if label.atoms.pbc.all() and label.atoms.calc.results.get("stress") is not None:
            families[_shape_of(label.atoms)].append(key)
    pairs = []
    for members in families.values():
        members.sort(key=lambda key: (labels[key].atoms.get_volume(), key))
        for first, second in pairwise(members):
            pair = _pair(first, labels[first].atoms, second, labels[second].atoms)
            if pair is not None:
                pairs.append(pair)
    return pairs


def _pair(key1: str, first: Atoms, key2: str, second: Atoms) -> StressPair | None:
    gradient = np.linalg.solve(first.cell.array, second.cell.array)
    left = np.linalg.svd(gradient)
    stretch = left[2].T @ np.diag(left[1]) @ left[2]
    rotation = np.linalg.norm(gradient - stretch)
    strain = np.real(logm(stretch))
    size = float(np.linalg.norm(strain))
    if not 1e-4 < size <= _NEIGHBOUR_STRAIN or rotation > 1e-6:
        return None
    volume = 0.5 * (first.get_volume() + second.get_volume())
    work = [
        atoms.get_volume()
        * float(
            np.sum(voigt_6_to_full_3x3_stress(np.asarray(atoms.calc.results["stress"])) * strain)
        )
        for atoms in (first, second)
    ]
    change = float(second.calc.results["energy"] - first.calc.results["energy"])
    scale = volume * size
    stiffness = abs(work[1] - work[0]) / scale / size / GPa  # a modulus, GPa
    return StressPair(
        key1,
        key2,
        from_energy_GPa=change / scale / GPa,
        from_stress_GPa=0.5 * sum(work) / scale / GPa,
        allowed_GPa=_STRESS_FLOOR_GPA + 3.0 * min(stiffness, 1000.0) * size**2,
    )


def _shape_of(atoms: Atoms) -> str:
    scaled = atoms.get_scaled_positions(wrap=False)
    offset = np.mod(scaled - scaled[0] + 0.5 * _SAME_PLACE, 1.0)
    grid = np.floor(offset / _SAME_PLACE).astype(int)
    return json.dumps([atoms.numbers.tolist(), grid.tolist()])


def _dense(labels: Mapping[str, Label]) -> dict[str, Label]:
    periodic = {k: v for k, v in labels.items() if v.atoms.pbc.all() and len(v.atoms) > 0}
    if not periodic:
        return {}
    volumes = {k: v.atoms.get_volume() / len(v.atoms) for k, v in periodic.items()}
    median = float(np.median(list(volumes.values())))
    return {k: v for k, v in periodic.items() if volumes[k] <= _DENSE * median}


def _by_settings(labels: Mapping[str, Label]) -> dict[str, dict[str, Label]]:
    """Group labels whose energies have one zero.

    The k-point mesh of a cell follows from its spacing, and does not divide a group.
    """
    groups: dict[str, dict[str, Label]] = defaultdict(dict)
    for key, label in labels.items():
        settings: dict[str, Any] = {k: v for k, v in label.settings.items() if k != "kmesh"}
        settings.pop("pseudopotentials", None)  # named for each structure's own elements
        settings.pop("starting_magnetization", None)
        groups[json.dumps(settings, sort_keys=True, default=str)][key] = label
    return groups
