"""Gate: every face of the crystal costs energy, and holds together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.geometry import find_mic

from pyacemaker.validator.base import CheckResult
from pyacemaker.validator.defect_cells import neighbour_distance, relax_defect, slab_of
from pyacemaker.validator.eos import space_group
from pyacemaker.validator.evaluation import PotentialError, crystal_of, evaluate
from pyacemaker.validator.labelled import compared
from pyacemaker.validator.relax import relax
from pyacemaker.validator.result import against_reference, failed, proposed, worth_labelling
from pyacemaker.validator.settings import ValidationSettings

J_PER_M2 = 16.02176634  # one eV/angstrom^2
_CUBIC = ((1, 0, 0), (1, 1, 0), (1, 1, 1))
_AXIAL = ((0, 0, 1), (1, 0, 0))  # 3-, 4- and 6-fold axes along z
_LOW = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
_LABELLED_A = 4.0  # thickness of a slab that is labelled: DFT bears no more
_LABELLED_ATOMS = 24

Miller = tuple[int, int, int]


@dataclass(frozen=True)
class Face:
    """The energy of one face in J/m^2, with its ions relaxed and before.

    `moved_A` is the longest way an atom went, `atoms` those of the slab.
    """

    miller: Miller
    energy_J_per_m2: float
    unrelaxed_J_per_m2: float
    moved_A: float
    atoms: int

    @property
    def label(self) -> str:
        """Indices without brackets, as in ``111`` or ``1-10``."""
        return "".join(map(str, self.miller))


def faces_of(crystal: Atoms, symprec: float) -> tuple[Miller, ...]:
    """Return the low-index faces that are looked at, in the conventional cell's indices."""
    group = space_group(crystal, symprec)
    if group >= 195:
        return _CUBIC
    return _AXIAL if group >= 75 else _LOW


def face_energy(
    crystal: Atoms,
    energy_eV_per_atom: float,
    miller: Miller,
    calculator: Calculator,
    settings: ValidationSettings,
) -> Face | None:
    """Cleave the relaxed `crystal`: (E(slab) - N E(crystal)) / (2 area).

    Both faces of the stoichiometric slab are counted, so that of a polar direction it is the
    mean of two. None where the thinnest slab is too large. Raises PotentialError.
    """
    effort = settings.effort
    slab = slab_of(crystal, miller, effort.slab_A, effort.slab_atoms, settings)
    if slab is None:
        return None
    area = 2 * float(np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))) / J_PER_M2
    bulk = energy_eV_per_atom * len(slab)
    before = (evaluate(slab, calculator, stress=False).energy_eV - bulk) / area
    try:
        relaxed = relax_defect(slab, calculator, settings)
    except PotentialError as error:
        raise PotentialError(
            f"the face ({' '.join(map(str, miller))}) does not relax: {error}"
        ) from error
    way = find_mic(relaxed.atoms.positions - slab.positions, slab.cell, slab.pbc)[1]
    after = (relaxed.energy_eV - bulk) / area
    return Face(miller, after, before, float(way.max()), len(slab))


@dataclass(frozen=True)
class SurfaceCheck:
    """Judges the energies of low-index faces."""

    settings: ValidationSettings = field(default_factory=ValidationSettings)

    @property
    def name(self) -> str:
        """Short name of the gate."""
        return "surface"

    def run(self, calculator: Calculator, structure: Atoms, test: Sequence[Atoms]) -> CheckResult:
        """Check the faces of `structure`, and slabs among the labelled `test`."""
        crystal = crystal_of(structure)
        settings = self.settings
        try:
            relaxed = relax(crystal, calculator, settings)
        except PotentialError as error:
            return failed(self.name, str(error))
        crystal = relaxed.atoms
        distance = neighbour_distance(crystal)
        complaints: list[str] = []
        numbers: dict[str, float] = {}
        shown, broken = [], []
        for miller in faces_of(crystal, settings.symprec_A):
            try:
                face = face_energy(
                    crystal, relaxed.energy_eV / len(crystal), miller, calculator, settings
                )
            except PotentialError as error:
                complaints.append(str(error))
                broken.append(miller)
                continue
            if face is None:
                continue
            numbers |= {
                f"surface_energy_{face.label}_J_per_m2": face.energy_J_per_m2,
                f"unrelaxed_energy_{face.label}_J_per_m2": face.unrelaxed_J_per_m2,
                f"displacement_{face.label}_A": face.moved_A,
            }
            shown.append(f"({face.label}) {face.energy_J_per_m2:.3g}")
            if wrong := self._wrong(face, distance):
                complaints.append(wrong)
                broken.append(miller)
        series: dict[str, Any] = {}
        if numbers or complaints:
            off, words = compared(
                test, "surface", calculator, settings.defect_tolerance, numbers, series
            )
        else:
            off, words = [], "no slab within the allowed number of atoms: nothing to judge"
        unlike, deviations = against_reference(numbers, settings)
        complaints += off + unlike
        reason = "; ".join(complaints) or (
            (f"faces cost {', '.join(shown)} J/m^2 and hold together" if shown else "") + words
        )
        return CheckResult(
            self.name,
            not complaints,
            reason,
            {**numbers, **deviations},
            series,
            self._wanted(crystal, broken),
        )

    def _wrong(self, face: Face, distance: float) -> str:
        """Return what is wrong with a face, or an empty string."""
        where = f"the face ({face.label})"
        lowest = min(face.energy_J_per_m2, face.unrelaxed_J_per_m2)
        if not lowest > 0:
            return f"{where} costs {lowest:.3g} J/m^2: the crystal gains energy by falling apart"
        limit = self.settings.surface_max_J_per_m2
        if face.energy_J_per_m2 > limit:
            return f"{where} costs {face.energy_J_per_m2:.3g} J/m^2 ({limit:g} allowed)"
        if face.moved_A > distance:
            return (
                f"{where} does not hold together: an atom moves by {face.moved_A:.2g} angstrom, "
                f"more than a neighbour distance ({distance:.2g})"
            )
        return ""

    def _wanted(self, crystal: Atoms, broken: Sequence[Miller]) -> tuple[Atoms, ...]:
        """Return thin slabs of the faces that failed, for labels."""
        found = []
        for miller in broken:
            most = min(_LABELLED_ATOMS, self.settings.max_atoms)
            slab = slab_of(crystal, miller, _LABELLED_A, most, self.settings)
            if slab is not None:
                found.append(proposed(slab, self.name, "".join(map(str, miller))))
        return worth_labelling(found, self.settings)
