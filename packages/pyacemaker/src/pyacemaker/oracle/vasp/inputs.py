"""The inputs of one static VASP run, in the manner of pymatgen's MPStaticSet.

MPStaticSet is what the Materials Project computes with; taken from it are PREC, LREAL,
LASPH, ALGO and the names of the potentials. Ours are what a potential needs to be
consistent: a fixed cutoff, a k-mesh by spacing (also for cells without symmetry), a smearing
whose free energy belongs to the forces, and an EDIFF that is tight enough for forces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ase import Atoms
from monty.serialization import loadfn
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.vasp import sets
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar

from pyacemaker.oracle.base import OracleError
from pyacemaker.oracle.dft_settings import VASPSettings

# What decides the numbers of a label; whatever else a remedy changes is how the SCF is found.
PHYSICAL = (
    "ENCUT",
    "PREC",
    "ISMEAR",
    "SIGMA",
    "ISPIN",
    "MAGMOM",
    "GGA",
    "LASPH",
    "LREAL",
    "EDIFF",
    "KSPACING",
    "LDAU",
    "IVDW",
    "METAGGA",
    "NGX",
    "NGY",
    "NGZ",
    "ADDGRID",
)
_ISMEAR = {"gaussian": 0, "methfessel-paxton": 1}
_GGA = {"PBE": None, "PBEsol": "PS", "LDA": None}  # LDA by its own POTCARs
_TITEL_FUNCTIONAL = {"PBE": "PAW_PBE", "PBEsol": "PAW_PBE", "LDA": "PAW "}


def sorted_like_poscar(atoms: Atoms) -> list[int]:
    """Return the order in which VASP lists the atoms: by element, elements as they appear."""
    symbols = atoms.get_chemical_symbols()
    first = {symbol: n for n, symbol in reversed(list(enumerate(symbols)))}
    return sorted(range(len(atoms)), key=lambda i: (first[symbols[i]], i))


def incar_of(settings: VASPSettings, box: Atoms) -> Incar:
    """Return the INCAR for the atoms of `box` in VASP's order."""
    given: dict[str, Any] = {
        "ALGO": "Normal",
        "EDIFF": settings.energy_eV_per_atom * len(box),
        "ENCUT": settings.ecut_eV,
        "IBRION": -1,
        "ISIF": 2,  # forces and stress
        "ISMEAR": _ISMEAR[settings.occupations],
        "ISPIN": settings.nspin,
        "LASPH": True,
        "LCHARG": False,
        "LREAL": False,
        "LWAVE": False,
        "NELM": settings.electron_maxstep,
        "NSW": 0,
        "PREC": "Accurate",
        "SIGMA": settings.smearing_eV,
    }
    if _GGA[settings.functional] is not None:
        given["GGA"] = _GGA[settings.functional]
    if settings.nspin == 2:
        given["MAGMOM"] = [settings.moments_muB.get(s, 0.0) for s in box.get_chemical_symbols()]
        if box.has("initial_magmoms") and box.arrays["initial_magmoms"].any():
            given["MAGMOM"] = box.arrays["initial_magmoms"].tolist()
    return Incar(given)


def write_inputs(
    folder: Path, box: Atoms, mesh: tuple[int, int, int], settings: VASPSettings
) -> None:
    """Write INCAR, KPOINTS, POSCAR and POTCAR for `box` (atoms in VASP's order)."""
    structure: Structure = AseAtomsAdaptor.get_structure(box)
    incar_of(settings, box).write_file(str(folder / "INCAR"))
    Kpoints.gamma_automatic(mesh).write_file(str(folder / "KPOINTS"))
    Poscar(structure, sort_structure=False).write_file(
        str(folder / "POSCAR"), significant_figures=12
    )
    species = list(dict.fromkeys(box.get_chemical_symbols()))
    with (folder / "POTCAR").open("wb") as stream:
        for path in potcar_files(species, settings).values():
            stream.write(path.read_bytes())


def potcar_files(species: list[str], settings: VASPSettings) -> dict[str, Path]:
    """Return each element's POTCAR in the user's folder. Raises OracleError.

    Files of the wrong element or functional are refused by their TITEL line.
    """
    folder = Path(settings.potcar_folder).expanduser()
    usual = materials_project_potcars()
    found = {}
    for symbol in species:
        name = settings.potcars.get(symbol, usual.get(symbol, symbol))
        path = folder / name / "POTCAR"
        if not path.is_file():
            raise OracleError(
                f"there is no {name}/POTCAR in {folder}; correct oracle.potcar_folder, or name "
                f"another potential in oracle.potcars ({symbol}: ...)"
            )
        title = _title_of(path)
        if _TITEL_FUNCTIONAL[settings.functional] not in title or name.split("_")[0] != symbol:
            raise OracleError(
                f"{path} is {title.strip()!r}, not a {settings.functional} potential of {symbol}"
            )
        found[symbol] = path
    return found


def potcar_checksums(species: list[str], settings: VASPSettings) -> dict[str, str]:
    """Return the SHA-256 of each element's POTCAR. Raises OracleError."""
    files = potcar_files(sorted(species), settings)
    return {symbol: _sha256(path) for symbol, path in files.items()}


def materials_project_potcars() -> Mapping[str, str]:
    """Return the names of the potentials in pymatgen's MPRelaxSet, which MPStaticSet takes."""
    return _usual()


@cache
def _usual() -> dict[str, str]:
    path = Path(sets.__file__).with_name("MPRelaxSet.yaml")
    return {str(symbol): str(name) for symbol, name in loadfn(path)["POTCAR"].items()}


@cache
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _title_of(path: Path) -> str:
    with path.open(errors="replace") as stream:
        for _, line in zip(range(20), stream, strict=False):
            if "TITEL" in line or line.strip().startswith("PAW"):
                return line + " "
    return ""
