# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["python-ace==0.4.0rc1", "numpy==2.4.6", "ase==3.29.0"]
#
# [tool.rootstock]
# summary = "ACE potentials: what pyacemaker makes, or any .yaml and .yace of pacemaker"
# licence = "python-ace: academic, non-commercial; potentials are yours"
# models = []
# weights = "file"
# ///
"""Atomic cluster expansion by python-ace.

Y. Lysogorskiy et al., npj Comput. Mater. 7, 97 (2021). A potential directory of pyacemaker is
an ACE residual over a ZBL baseline (J. F. Ziegler, J. P. Biersack, U. Littmark, 1985; switched
off as in https://docs.lammps.org/pair_zbl.html) and the isolated atoms' energies; all three are
evaluated here as pyacemaker does, to the last digits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers, chemical_symbols
from ase.geometry import minkowski_reduce
from ase.neighborlist import primitive_neighbor_list
from ase.stress import full_3x3_to_voigt_6_stress

_MANIFEST, _BASIS, _ACTIVE_SET = "potential.json", "potential.yaml", "potential.asi"
_VOIGT_OF_PYACE = [0, 1, 2, 5, 4, 3]  # xx yy zz xy xz yz -> xx yy zz yz xz xy
_TOO_CLOSE_A = 1e-3
_PHI_WEIGHTS = np.array([0.02817, 0.28022, 0.50986, 0.18175])
_PHI_DECAYS = np.array([0.20162, 0.40290, 0.94229, 3.19980])
_SCREENING_LENGTH_A = 0.46850
_EXPONENT = 0.23
_E2_EV_A = 14.399645  # e^2 / (4 pi eps0) in LAMMPS's metal units


def setup(model: str, device: str, **kwargs: Any) -> Any:
    """Return an ASE calculator for a potential on disk.

    Parameters
    ----------
    model
        A potential directory of pyacemaker (or its ``potential.yaml`` or ``.yace``), a
        ``.yaml`` (with the ``.asi`` beside it, if there is one, for the extrapolation grade
        gamma) or a ``.yace`` of pacemaker.
    device
        Only ``cpu``.
    kwargs
        None.
    """
    if device != "cpu":
        raise ValueError(f"ACE runs on the CPU only, not on {device!r}: use device='cpu'")
    if kwargs:
        raise ValueError(f"the ace environment takes no options: {', '.join(kwargs)}")
    path = Path(model)
    if not model or not path.exists():
        raise ValueError(f"ace needs a potential, not {model!r}: ace-/path/to/potential")
    folder = path if path.is_dir() else path.parent
    if (folder / _MANIFEST).is_file():
        return _from_directory(folder)
    if path.is_dir():
        raise ValueError(f"{path} has no {_MANIFEST}: name the .yaml or .yace in it")
    active_set = path.with_suffix(".asi")
    return AceCalculator(path, active_set if active_set.is_file() else None, {}, ())


class AceError(RuntimeError):
    """A potential that is broken, or atoms that it cannot take."""


class ZblPair(NamedTuple):
    """Two elements in alphabetical order, and where their ZBL is switched off (angstrom)."""

    elements: tuple[str, str]
    inner_A: float
    outer_A: float


class AceCalculator(Calculator):  # type: ignore[misc]  # ASE is untyped
    """ACE, plus a ZBL baseline and isolated atoms' energies where the potential has them.

    Results: `energy` and `free_energy` (eV, equal), `energies` (N), `forces` (N x 3,
    eV/angstrom), `stress` (6, eV/angstrom^3; only where the cell has three vectors) and, with
    an active set, `gamma` (N), the extrapolation grade.
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy", "free_energy", "energies", "forces", "stress", "gamma",
    ]  # fmt: skip
    default_parameters: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        basis: Path,
        active_set: Path | None,
        reference_energies: Mapping[str, float],
        pairs: Sequence[ZblPair],
    ) -> None:
        super().__init__()
        from pyace.basis import ACEBBasisSet, ACECTildeBasisSet
        from pyace.calculator import ACECalculator
        from pyace.evaluator import ACEBEvaluator, ACECTildeEvaluator

        if basis.suffix == ".yaml":
            self._basis = ACEBBasisSet(str(basis))
            self._evaluator = ACEBEvaluator(self._basis)
        elif basis.suffix in (".yace", ".ace"):
            self._basis = ACECTildeBasisSet(str(basis))
            self._evaluator = ACECTildeEvaluator(self._basis)
            active_set = None  # gamma needs the B-basis
        else:
            raise AceError(f"{basis} is neither a .yaml nor a .yace")
        if active_set is not None:
            self._evaluator.load_active_set(str(active_set))
        self._has_active_set = active_set is not None
        self._ace = ACECalculator()
        self._ace.set_evaluator(self._evaluator)
        self.elements = list(self._basis.elements_name)
        self._reference = dict.fromkeys(self.elements, 0.0) | dict(reference_energies)
        self._pairs = tuple(pairs)
        self.cutoff_A = float(self._basis.cutoffmax)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute everything at once. Raises AceError for what pyace cannot take."""
        super().calculate(atoms, list(properties), list(system_changes))
        assert self.atoms is not None  # noqa: S101 - set by the call above
        atoms = self.atoms
        environment = self._environment(atoms)
        if len(atoms) > 0 and environment.get_minimal_nn_distance() < _TOO_CLOSE_A:
            raise AceError(f"{atoms.get_chemical_formula()}: two atoms lie on each other")
        self._ace.compute(environment, compute_projections=self._has_active_set)
        zbl_energies, zbl_forces, zbl_virial = zbl(atoms, self._pairs)
        reference = np.array([self._reference[s] for s in atoms.get_chemical_symbols()])
        energies = np.array(self._ace.energies, dtype=float) + zbl_energies + reference
        energy = float(energies.sum())
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": energies,
            "forces": np.array(self._ace.forces, dtype=float) + zbl_forces,
        }
        if self._has_active_set:
            self.results["gamma"] = np.array(self._ace.gamma_grade, dtype=float)
        if atoms.cell.rank == 3:
            virial = np.array(self._ace.virial, dtype=float)[_VOIGT_OF_PYACE]
            virial += full_3x3_to_voigt_6_stress(zbl_virial)
            self.results["stress"] = virial / atoms.get_volume()

    def _environment(self, atoms: Atoms) -> Any:
        """Return pyace's neighbour list, for a cell periodic along any of its vectors."""
        from pyace.catomicenvironment import build_atomic_env

        unknown = sorted(set(atoms.get_chemical_symbols()) - set(self.elements))
        if unknown:
            raise AceError(
                f"the potential does not know {', '.join(unknown)}: it is for "
                f"{', '.join(sorted(self.elements))}"
            )
        positions = np.ascontiguousarray(atoms.positions, dtype=float)
        if not np.isfinite(positions).all() or not np.isfinite(np.asarray(atoms.cell)).all():
            raise AceError(f"{atoms.get_chemical_formula()}: a position or the cell is not finite")
        periodic = bool(atoms.pbc.any())
        cell = self._closed_cell(atoms) if periodic else np.eye(3)
        try:
            found = build_atomic_env(positions, cell, atoms.numbers, periodic, self.cutoff_A)
        except RuntimeError:  # very oblique cells are refused: the same lattice, reduced
            cell = _right_handed(minkowski_reduce(cell)[0])
            found = build_atomic_env(positions, cell, atoms.numbers, periodic, self.cutoff_A)
        found.species_type = [
            self.elements.index(chemical_symbols[number]) for number in found.species_type
        ]
        return found

    def _closed_cell(self, atoms: Atoms) -> np.ndarray:
        """Return a cell periodic along all vectors in which atoms see no image they should not.

        pyace knows only fully periodic and isolated; along a vector that is not periodic the
        cell is made longer than the atoms' extent and the cutoff together.
        """
        cell = np.array(atoms.cell.complete(), dtype=float)
        if abs(np.linalg.det(cell)) < 1e-6:
            raise AceError(f"{atoms.get_chemical_formula()}: a periodic cell without volume")
        normals = np.linalg.inv(cell).T
        for axis in np.flatnonzero(~atoms.pbc):
            height = 1.0 / np.linalg.norm(normals[axis])
            along = atoms.positions @ normals[axis] * height
            cell[axis] *= max(1.0, (np.ptp(along) + self.cutoff_A + 1.0) / height)
        return _right_handed(cell)


def zbl(atoms: Atoms, pairs: Sequence[ZblPair]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return energies by atom (N, eV), forces (N x 3, eV/angstrom) and dE/dstrain (3 x 3, eV)."""
    energies, forces, virial = np.zeros(len(atoms)), np.zeros((len(atoms), 3)), np.zeros((3, 3))
    if not pairs or len(atoms) == 0:
        return energies, forces, virial
    i, j, distance, vector = primitive_neighbor_list(
        "ijdD", atoms.pbc, np.asarray(atoms.cell), atoms.positions, max(p.outer_A for p in pairs)
    )
    symbols = np.array(atoms.get_chemical_symbols())
    for pair in pairs:
        a, b = pair.elements
        mine = ((symbols[i] == a) & (symbols[j] == b)) | ((symbols[i] == b) & (symbols[j] == a))
        mine &= distance < pair.outer_A
        if not mine.any():
            continue
        r = distance[mine]
        energy, slope = zbl_pair(r, pair)
        # Every pair is met twice, as i-j and as j-i, hence the halves.
        np.add.at(energies, i[mine], 0.5 * energy)
        pull = (slope / r)[:, None] * vector[mine]  # the vector points from i to j
        np.add.at(forces, i[mine], pull)
        virial += 0.5 * np.einsum("pa,pb->ab", pull, vector[mine])
    return energies, forces, virial


def zbl_pair(r: np.ndarray, pair: ZblPair) -> tuple[np.ndarray, np.ndarray]:
    """Return the switched ZBL energy (eV) at distances below the outer radius, and dE/dr."""
    energy, slope, _ = _screened(r, pair)
    f, f1, f2 = (float(v[0]) for v in _screened(np.array([pair.outer_A]), pair))
    span = pair.outer_A - pair.inner_A
    A = (-3.0 * f1 + span * f2) / span**2
    B = (2.0 * f1 - span * f2) / span**3
    C = -f + span * f1 / 2.0 - span**2 * f2 / 12.0
    t = np.maximum(r - pair.inner_A, 0.0)
    return energy + C + t**3 * (A / 3.0 + B / 4.0 * t), slope + t**2 * (A + B * t)


def _screened(r: np.ndarray, pair: ZblPair) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    Z_i, Z_j = (atomic_numbers[e] for e in pair.elements)
    decay = _PHI_DECAYS * (Z_i**_EXPONENT + Z_j**_EXPONENT) / _SCREENING_LENGTH_A
    terms = _PHI_WEIGHTS * np.exp(-np.multiply.outer(r, decay))
    phi = terms.sum(axis=-1)
    phi1 = -(terms * decay).sum(axis=-1)
    phi2 = (terms * decay**2).sum(axis=-1)
    charge = Z_i * Z_j * _E2_EV_A
    return (
        charge * phi / r,
        charge * (phi1 - phi / r) / r,
        charge * (phi2 - 2.0 * phi1 / r + 2.0 * phi / r**2) / r,
    )


def _from_directory(folder: Path) -> AceCalculator:
    """Read and verify a potential directory of pyacemaker."""
    manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    if manifest.get("format") != "pyacemaker-potential" or manifest.get("format_version") != 1:
        raise AceError(f"{folder / _MANIFEST} is not a potential's manifest of version 1")
    for name, stated in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise AceError(f"{path} is missing: the potential is not whole")
        if hashlib.sha256(path.read_bytes()).hexdigest() != stated:
            raise AceError(f"{path} is broken: its SHA-256 is not the one {_MANIFEST} gives")
    baseline = manifest["baseline"]
    if baseline["kind"] not in ("zbl", "none"):
        raise AceError(f"{folder / _MANIFEST}: unknown baseline kind {baseline['kind']!r}")
    pairs = tuple(
        ZblPair((p["elements"][0], p["elements"][1]), float(p["inner_A"]), float(p["outer_A"]))
        for p in baseline.get("pairs", ())
    )
    return AceCalculator(
        folder / _BASIS, folder / _ACTIVE_SET, manifest["reference_energies_eV"], pairs
    )


def _right_handed(cell: np.ndarray) -> np.ndarray:
    """Return a cell of the same lattice with positive volume: pyace takes no other."""
    return np.ascontiguousarray(cell if np.linalg.det(cell) > 0.0 else -cell)
