"""VASP's files, written for tests: VASP itself is licensed and cannot be had here.

The layout of vasprun.xml is VASP 6's, as pymatgen and ASE read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

_HEAD = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator>
  <i name="program" type="string">vasp </i>
  <i name="version" type="string">6.4.2  </i>
  <i name="subversion" type="string">complex parallel</i>
  <i name="platform" type="string">LinuxGNU</i>
  <i name="date" type="string">2024 01 01</i>
  <i name="time" type="string">00:00:00</i>
 </generator>
 <incar>
  <i type="int" name="NELM">{nelm}</i>
 </incar>
 <kpoints>
  <generation param="Gamma">
   <v type="int" name="divisions">       1        1        1 </v>
   <v name="usershift">      0.0 0.0 0.0 </v>
  </generation>
  <varray name="kpointlist"><v>0.0 0.0 0.0</v><v>0.5 0.0 0.0</v></varray>
  <varray name="weights"><v>0.5</v><v>0.5</v></varray>
 </kpoints>
 <parameters>
  <separator name="electronic">
   <i type="int" name="NELM">{nelm}</i>
   <i name="EDIFF">1e-07</i>
   <i type="int" name="ISPIN">1</i>
   <i type="int" name="NSW">0</i>
   <i type="int" name="IBRION">-1</i>
  </separator>
 </parameters>
"""


def vasprun(
    atoms: Atoms,
    energy_eV: float,
    forces: np.ndarray[Any, Any],
    stress_kB: np.ndarray[Any, Any],
    steps: int = 5,
    nelm: int = 60,
    bands: np.ndarray[Any, Any] | None = None,
) -> str:
    """Return a vasprun.xml of one static run; atoms in VASP's order, compression positive.

    `bands` (spins x k-points x bands x 2): eigenvalues (eV) and occupations.
    """
    symbols = atoms.get_chemical_symbols()
    kinds = list(dict.fromkeys(symbols))
    lines = [_HEAD.format(nelm=nelm), " <atominfo>", f"  <atoms>{len(atoms)}</atoms>"]
    lines += [
        f"  <types>{len(kinds)}</types>",
        '  <array name="atoms"><dimension dim="1">ion</dimension>',
        '   <field type="string">element</field><field type="int">atomtype</field><set>',
        *(f"    <rc><c>{s:<2}</c><c>{kinds.index(s) + 1}</c></rc>" for s in symbols),
        "   </set></array>",
        '  <array name="atomtypes"><dimension dim="1">type</dimension>',
        '   <field type="int">atomspertype</field><field type="string">element</field>',
        '   <field>mass</field><field>valence</field><field type="string">pseudopotential</field>',
        "   <set>",
        *(
            f"    <rc><c>{symbols.count(k)}</c><c>{k:<2}</c><c>1.0</c><c>4.0</c>"
            f"<c>PAW_PBE {k} 05Jan2001</c></rc>"
            for k in kinds
        ),
        "   </set></array>",
        " </atominfo>",
        _structure("initialpos", atoms),
        " <calculation>",
    ]
    for step in range(steps):
        value = energy_eV + (steps - 1 - step) * 0.1
        lines += ["  <scstep>", _energies(value), "  </scstep>"]
    lines += [
        _structure("", atoms),
        _varray("forces", forces),
        _varray("stress", stress_kB),
        _energies(energy_eV),
        "" if bands is None else _eigenvalues(bands),
        " </calculation>",
        _structure("finalpos", atoms),
        "</modeling>",
    ]
    return "\n".join(lines)


def potcar(symbol: str) -> str:
    """Return the first lines of a POTCAR, with no potential in it."""
    return (
        f"  PAW_PBE {symbol} 05Jan2001\n   4.00000000000000\n parameters from PSCTR are:\n"
        f"   VRHFIN ={symbol}: s2p2\n   LEXCH  = PE\n   TITEL  = PAW_PBE {symbol} 05Jan2001\n"
        "   ENMAX  =  245.345; ENMIN  =  184.009 eV\n"
        "   POMASS =   28.085; ZVAL   =    4.000    mass and valenz\n"
        "END of PSCTR-controll parameters\n local part\n  0.1 0.2 0.3\n End of Dataset\n"
    )


def potcar_folder(folder: Path, *names: str) -> Path:
    """Write the heads of POTCARs as VASP ships them; return the folder."""
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "POTCAR").write_text(potcar(name.split("_")[0]))
    return folder


def _structure(name: str, atoms: Atoms) -> str:
    named = f' name="{name}"' if name else ""
    return "\n".join(
        [
            f" <structure{named}>",
            "  <crystal>",
            _varray("basis", atoms.cell.array),
            f'   <i name="volume">{atoms.get_volume():.8f}</i>',
            _varray("rec_basis", atoms.cell.reciprocal()),
            "  </crystal>",
            _varray("positions", atoms.get_scaled_positions(wrap=False)),
            " </structure>",
        ]
    )


def _varray(name: str, rows: np.ndarray[Any, Any]) -> str:
    inner = "\n".join("    <v>" + " ".join(f"{x:.10f}" for x in row) + "</v>" for row in rows)
    return f'   <varray name="{name}">\n{inner}\n   </varray>'


def _energies(value: float) -> str:
    return (
        f'   <energy><i name="e_fr_energy">{value:.8f}</i>'
        f'<i name="e_wo_entrp">{value + 0.02:.8f}</i><i name="e_0_energy">{value + 0.01:.8f}</i>'
        "</energy>"
    )


def _eigenvalues(bands: np.ndarray[Any, Any]) -> str:
    lines = ["  <eigenvalues><array>", '   <dimension dim="1">band</dimension>']
    lines += ['   <dimension dim="2">kpoint</dimension>', '   <dimension dim="3">spin</dimension>']
    lines += ["   <field>eigene</field><field>occ</field>", "   <set>"]
    for spin, channel in enumerate(bands):
        lines.append(f'    <set comment="spin {spin + 1}">')
        for k, states in enumerate(channel):
            rows = "".join(f"<r>{energy:10.4f} {occupied:8.4f}</r>" for energy, occupied in states)
            lines.append(f'     <set comment="kpoint {k + 1}">{rows}</set>')
        lines.append("    </set>")
    return "\n".join([*lines, "   </set>", "  </array></eigenvalues>"])
