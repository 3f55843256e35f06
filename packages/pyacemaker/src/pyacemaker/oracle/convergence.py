"""How fine the sampling of a DFT code has to be: one parameter after the other.

A parameter is computed at a ladder of values, the finest of which is the reference, on three
structures of the material: its reference cell, one compressed by 4 % and one with its atoms
displaced. Compared is what a potential learns: forces (of the displaced cell), stresses, and
energy differences between the structures; total energies converge far later, and need not.
The value found is the coarsest from which on, to the fine end, every value is within the
tolerances. The cutoff comes first, then the k-points at this cutoff, then the smearing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import GPa

from pyacemaker.oracle.base import Label, OracleError
from pyacemaker.oracle.cells import periodic_box
from pyacemaker.oracle.dft_settings import GPAWSettings, VASPSettings
from pyacemaker.oracle.espresso.kmesh import kmesh
from pyacemaker.oracle.settings import EspressoSettings

DFTSettings = EspressoSettings | GPAWSettings | VASPSettings
Compute = Callable[[DFTSettings, Sequence[Atoms]], Sequence[Label]]
"""Labels the structures with the settings, or raises OracleError."""

Errors = tuple[float, float, float] | tuple[None, None, None]

# Of the value in the configuration (a hint of the pseudopotentials, or a rule): coarse to fine.
_CUTOFF_STEPS = (0.6, 0.75, 0.9, 1.0, 1.2, 1.5)
_KSPACING_STEPS = (3.0, 2.4, 1.9, 1.5, 1.25, 1.0, 0.8, 0.65)
_WIDTH_STEPS = (4.0, 2.0, 1.0, 0.5)
_LEAST_MESHES, _FINER = 3, 0.8  # a large cell, whose first spacings all give one mesh
_RATTLE_A = 0.1


@dataclass(frozen=True)
class Tolerances:
    """Largest errors against the finest value: eV/angstrom (any component), GPa, meV/atom."""

    force_eV_per_A: float = 0.01
    stress_GPa: float = 0.3
    energy_meV_per_atom: float = 1.0


@dataclass(frozen=True)
class Row:
    """One value of a parameter and its errors against `against`, None where it failed.

    The finest value itself, the reference, has a row without errors.
    """

    parameter: str
    value: float
    against: float
    mesh: tuple[int, int, int]
    force_error_eV_per_A: float | None
    stress_error_GPa: float | None
    energy_error_meV_per_atom: float | None
    wall_s: float
    problem: str = ""

    @property
    def is_reference(self) -> bool:
        """Whether the others are compared with this one."""
        return self.value == self.against

    def within(self, allowed: Tolerances) -> bool:
        """Say whether all three errors are allowed."""
        errors = (
            self.force_error_eV_per_A,
            self.stress_error_GPa,
            self.energy_error_meV_per_atom,
        )
        limits = (allowed.force_eV_per_A, allowed.stress_GPa, allowed.energy_meV_per_atom)
        return all(e is not None and e <= limit for e, limit in zip(errors, limits, strict=True))

    def excess(self, allowed: Tolerances) -> list[str]:
        """Return each error that is too large, with what is allowed, in words."""
        limits = (
            ("force", self.force_error_eV_per_A, allowed.force_eV_per_A, "eV/A"),
            ("stress", self.stress_error_GPa, allowed.stress_GPa, "GPa"),
            ("energy", self.energy_error_meV_per_atom, allowed.energy_meV_per_atom, "meV/atom"),
        )
        return [
            f"{name} {error:.3g} {unit} (allowed {limit:g})"
            for name, error, limit, unit in limits
            if error is not None and error > limit
        ]


@dataclass(frozen=True)
class Study:
    """What was found: the value of each parameter (None where none is converged), the rows."""

    found: Mapping[str, float | None]
    rows: tuple[Row, ...]

    @property
    def converged(self) -> bool:
        """Whether every parameter is."""
        return all(value is not None for value in self.found.values())

    def next_values(self) -> dict[str, float]:
        """Return, for each parameter that is not converged, the value to start from next.

        It is the finest so far: the ladder round it reaches further, and its labels are there.
        """
        finest = {row.parameter: row.against for row in self.rows}
        return {name: finest[name] for name, value in self.found.items() if value is None}

    def advice(self, allowed: Tolerances) -> list[str]:
        """Say of each parameter that is not converged how far it is, and what to try next."""
        lines = []
        for name, value in self.next_values().items():
            tried = [row for row in self.rows if row.parameter == name and not row.is_reference]
            far = tried[-1].problem or ", ".join(tried[-1].excess(allowed))
            lines.append(
                f"{name} is not converged: at {tried[-1].value:g}, against {value:g}: {far}. Set "
                f"oracle.{name}: {value:g} and run again to look further (what is labelled stays "
                "so), or allow larger errors"
            )
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        rows = [{**asdict(row), "mesh": list(row.mesh)} for row in self.rows]
        return {
            "converged": self.converged,
            "found": dict(self.found),
            "try_next": self.next_values(),
            "rows": rows,
        }


def study_structures(reference: Atoms, seed: int) -> list[Atoms]:
    """Return the reference cell, a compressed and a displaced one, of the same atoms.

    A cell of one atom, on which no force can act, is doubled first.
    """
    start = reference.copy() if len(reference) > 1 else reference * (2, 1, 1)
    compressed = start.copy()
    compressed.set_cell(compressed.cell.array * 0.96, scale_atoms=True)
    displaced = start.copy()
    rng = np.random.default_rng(seed)
    displaced.positions += rng.normal(scale=_RATTLE_A / np.sqrt(3), size=(len(start), 3))
    return [start, compressed, displaced]


def parameters_of(settings: DFTSettings) -> list[str]:
    """Return what is varied, in this order."""
    if isinstance(settings, EspressoSettings):
        smeared = ["degauss_Ry"] if settings.smearing != "none" else []
        return ["ecutwfc_Ry", "kspacing_per_A", *smeared]
    return ["ecut_eV", "kspacing_per_A", "smearing_eV"]


def study(
    settings: DFTSettings,
    structures: Sequence[Atoms],
    compute: Compute,
    allowed: Tolerances,
    on_row: Callable[[Row], None] = lambda _: None,
    on_value: Callable[[str, float, int, int], None] = lambda *_: None,
) -> Study:
    """Converge every parameter of `settings` (see the module).

    `on_value(parameter, value, n, most)` is called before the n-th of at most `most` values of
    a parameter is computed, `on_row` after it; the finest comes first.

    While the cutoff is sought the k-points are those of `settings`, at most 0.35 1/angstrom
    dense, for the two errors hardly mix.

    Raises OracleError where even the finest value of a parameter fails.
    """
    found: dict[str, float | None] = {}
    rows: list[Row] = []
    current = settings
    for parameter in parameters_of(settings):
        base = current
        if parameter.startswith("ecut"):
            loose = max(current.kspacing_per_A, 0.35)
            base = current.model_copy(update={"kspacing_per_A": loose})
        values = ladder(parameter, base, structures)
        told = partial(on_value, parameter)
        new, best = _along(parameter, values, base, structures, compute, allowed, on_row, told)
        rows += new
        found[parameter] = best
        if best is not None:
            current = with_value(current, parameter, best)
    return Study(found, tuple(rows))


def ladder(parameter: str, settings: DFTSettings, structures: Sequence[Atoms]) -> list[float]:
    """Return the values to try, coarse to fine.

    Spacings of k-points that give the same meshes are tried once, as the widest of them.
    """
    start = float(getattr(settings, parameter))
    if parameter == "kspacing_per_A":
        meshes: dict[tuple[Any, ...], float] = {}
        for step in _KSPACING_STEPS:
            value = float(f"{start * step:.3g}")
            mesh = tuple(kmesh(periodic_box(atoms), value) for atoms in structures)
            meshes.setdefault(mesh, value)
        while len(meshes) < _LEAST_MESHES:
            value = float(f"{_FINER * value:.3g}")
            mesh = tuple(kmesh(periodic_box(atoms), value) for atoms in structures)
            meshes.setdefault(mesh, value)
        return list(meshes.values())
    steps = _CUTOFF_STEPS if parameter.startswith("ecut") else _WIDTH_STEPS
    return [float(f"{start * step:.3g}") for step in steps]


def with_value(settings: DFTSettings, parameter: str, value: float) -> DFTSettings:
    """Return the settings with another value; the density's cutoff keeps its ratio."""
    changed: dict[str, float] = {parameter: value}
    if isinstance(settings, EspressoSettings) and parameter == "ecutwfc_Ry":
        changed["ecutrho_Ry"] = value * settings.ecutrho_Ry / settings.ecutwfc_Ry
    return settings.model_copy(update=changed)


def _along(
    parameter: str,
    values: Sequence[float],
    settings: DFTSettings,
    structures: Sequence[Atoms],
    compute: Compute,
    allowed: Tolerances,
    on_row: Callable[[Row], None],
    on_value: Callable[[float, int, int], None],
) -> tuple[list[Row], float | None]:
    """Return the rows of one parameter, coarse to fine, and the value found."""
    reference = values[-1]

    def row_of(value: float, labels: Sequence[Label], wrong: Errors) -> Row:
        mesh = kmesh(
            periodic_box(structures[0]), with_value(settings, parameter, value).kspacing_per_A
        )
        wall_s = sum(float(label.meta.get("wall_s") or 0.0) for label in labels)
        return Row(parameter, value, reference, mesh, wrong[0], wrong[1], wrong[2], wall_s)

    on_value(reference, 1, len(values))
    finest = compute(with_value(settings, parameter, reference), structures)
    rows = [row_of(reference, finest, (None, None, None))]
    on_row(rows[0])
    best: float | None = None
    # from the fine end, until it is no longer converged
    for n, value in enumerate(reversed(values[:-1]), start=2):
        on_value(value, n, len(values))
        try:
            labels = compute(with_value(settings, parameter, value), structures)
        except OracleError as error:
            row = replace(row_of(value, [], (None, None, None)), problem=error.diagnosis)
        else:
            row = row_of(value, labels, errors(labels, finest))
        rows.insert(0, row)
        on_row(row)
        if not row.within(allowed):
            break
        best = value
    return rows, best


def errors(labels: Sequence[Label], finest: Sequence[Label]) -> tuple[float, float, float]:
    """Return the largest errors: force component, stress component (GPa), energy difference."""
    pairs = [(a.atoms, b.atoms) for a, b in zip(labels, finest, strict=True)]
    force = max(float(np.abs(a.get_forces() - b.get_forces()).max()) for a, b in pairs)
    stress = max(float(np.abs(a.get_stress() - b.get_stress()).max()) for a, b in pairs) / GPa
    shifts = [(a.get_potential_energy() - b.get_potential_energy()) / len(a) for a, b in pairs]
    return force, stress, 1000 * (max(shifts) - min(shifts))
