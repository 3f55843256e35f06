"""The input of pw.x for one SCF with forces and stress (INPUT_PW, Quantum ESPRESSO 7.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from pyacemaker.oracle.settings import EspressoSettings
from pyacemaker.oracle.upf import UPF

OUT_FOLDER = "out"
PSEUDO_FOLDER = "pseudo"
PREFIX = "pwscf"
HUBBARD_PROJECTORS = "ortho-atomic"

Value = str | int | float | bool


def electrons_of(settings: EspressoSettings, atoms: int) -> dict[str, Value]:
    """Return &ELECTRONS of a first attempt: how the SCF is found, not what it finds."""
    return {
        "conv_thr": settings.conv_thr_Ry_per_atom * atoms,
        "mixing_beta": settings.mixing_beta,
        "mixing_mode": "plain",
        "mixing_ndim": 8,
        "electron_maxstep": settings.electron_maxstep,
        "diagonalization": "david",
        "startingwfc": "atomic+random",
    }


def write_input(
    box: Atoms,
    mesh: tuple[int, int, int],
    settings: EspressoSettings,
    pseudopotentials: Mapping[str, UPF],
    electrons: Mapping[str, Value],
) -> str:
    """Return the input text for the periodic, right-handed cell `box`.

    It holds no path of this machine, so it is the same wherever it is written; the
    pseudopotentials' checksums stand in its head.
    """
    species = species_of(box)
    namelists: dict[str, dict[str, Value]] = {
        "CONTROL": {
            "calculation": "scf",
            "prefix": PREFIX,
            "outdir": f"./{OUT_FOLDER}",
            "pseudo_dir": f"./{PSEUDO_FOLDER}",
            "tprnfor": True,
            "tstress": True,
            "disk_io": "low",  # waves stay in memory until the end
        },
        "SYSTEM": {
            "ibrav": 0,
            "nat": len(box),
            "ntyp": len(species),
            "ecutwfc": settings.ecutwfc_Ry,
            "ecutrho": settings.ecutrho_Ry,
            **_occupations(settings),
            **_spins(settings, species),
            **_dispersion(settings),
        },
        "ELECTRONS": dict(electrons),
    }
    lines = [
        f"! pseudopotential {symbol} sha256 {pseudopotentials[symbol].sha256}" for symbol in species
    ]
    for name, values in namelists.items():
        lines += [f"&{name}", *(f"  {key} = {fortran(v)}" for key, v in values.items()), "/"]
    lines.append("ATOMIC_SPECIES")
    for symbol in species:
        mass = atomic_masses[atomic_numbers[symbol]]
        lines.append(f"  {symbol} {mass:.4f} {upf_name(symbol)}")
    lines.append("CELL_PARAMETERS angstrom")
    lines += ["  " + " ".join(f"{x:.12f}" for x in row) for row in box.cell.array]
    lines.append("ATOMIC_POSITIONS angstrom")
    for symbol, position in zip(box.get_chemical_symbols(), box.get_positions(), strict=True):
        lines.append(f"  {symbol} " + " ".join(f"{x:.12f}" for x in position))
    if mesh == (1, 1, 1):
        lines.append("K_POINTS gamma")  # real waves: half the work
    else:
        lines += ["K_POINTS automatic", f"  {mesh[0]} {mesh[1]} {mesh[2]} 0 0 0"]
    lines += _hubbard(settings, species)
    return "\n".join(lines) + "\n"


def species_of(atoms: Atoms) -> list[str]:
    """Return the elements in the order in which they appear."""
    return list(dict.fromkeys(atoms.get_chemical_symbols()))


def upf_name(symbol: str) -> str:
    """Return the name under which an element's pseudopotential lies beside the input."""
    return f"{symbol}.upf"


def _occupations(settings: EspressoSettings) -> dict[str, Value]:
    if settings.smearing == "none":
        return {"occupations": "fixed"}
    return {
        "occupations": "smearing",
        "smearing": settings.smearing,
        "degauss": settings.degauss_Ry,
    }


def _spins(settings: EspressoSettings, species: list[str]) -> dict[str, Value]:
    if settings.nspin == 1:
        return {}
    starts: dict[str, Any] = {
        f"starting_magnetization({i})": settings.starting_magnetization.get(symbol, 0.0)
        for i, symbol in enumerate(species, start=1)
    }
    return {"nspin": 2, **starts}


# INPUT_PW, vdw_corr and dftd3_version (3: zero damping, 4: Becke-Johnson).
_DISPERSION: Mapping[str, dict[str, Value]] = {
    "none": {},
    "d2": {"vdw_corr": "dft-d"},
    "d3": {"vdw_corr": "dft-d3", "dftd3_version": 3},
    "d3bj": {"vdw_corr": "dft-d3", "dftd3_version": 4},
    "ts": {"vdw_corr": "ts-vdw"},
    "mbd": {"vdw_corr": "mbd_vdw"},
}


def corrections_of(settings: EspressoSettings, atoms: Atoms) -> dict[str, Any]:
    """Return what dispersion and Hubbard U add to the settings of a label; nothing if unused."""
    used: dict[str, Any] = {} if settings.vdw == "none" else {"vdw": settings.vdw}
    if values := _values_of_u(settings, species_of(atoms)):
        used["hubbard_U_eV"] = values
        used["hubbard_projectors"] = HUBBARD_PROJECTORS
    return used


def _dispersion(settings: EspressoSettings) -> dict[str, Value]:
    return dict(_DISPERSION[settings.vdw])


def _hubbard(settings: EspressoSettings, species: list[str]) -> list[str]:
    """Return the HUBBARD card (since 7.1), of the elements that are there; U in eV."""
    values = _values_of_u(settings, species)
    if not values:
        return []
    return [
        f"HUBBARD {{{HUBBARD_PROJECTORS}}}",
        *(f"  U {manifold} {value:.10g}" for manifold, value in values.items()),
    ]


def _values_of_u(settings: EspressoSettings, species: list[str]) -> dict[str, float]:
    return {
        manifold: settings.hubbard_U_eV[manifold]
        for manifold in sorted(settings.hubbard_U_eV)
        if manifold.partition("-")[0] in species
    }


def fortran(value: Value) -> str:
    """Return a value as Fortran writes it in a namelist."""
    if isinstance(value, bool):
        return ".true." if value else ".false."
    if isinstance(value, str):
        return f"'{value}'"
    return f"{value:d}" if isinstance(value, int) else f"{value:.10g}"
