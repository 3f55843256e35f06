"""Cheap settings for the real pw.x: coarse, but every term of the energy is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk

from pyacemaker.oracle.espresso.oracle import EspressoOracle
from pyacemaker.oracle.settings import EspressoSettings

ONCV = """<UPF version="2.0.1">
<PP_INFO>
<PP_INPUTFILE>
# atsym  z   nc   nv     iexc    psfile
Si 14.00    3    2       4      upf
#   l,   rc,      ep,       ncon, nbas, qcut
0   1.60000  -0.39736    4    9   6.00000
1   1.71000  -0.14998    4    9   6.40000
#
# LOCAL POTENTIAL
4    5   1.60000      0.00000
</PP_INPUTFILE>
</PP_INFO>
<PP_HEADER
element="Si"
pseudo_type="NC"
functional="{functional}"
z_valence="    4.00"
rho_cutoff="   1.509E+01"/>
<PP_DIJ type="real" size="4">
1.0 0.0
{coupling} 2.0
</PP_DIJ>
<PP_RHOATOM type="real">
0.0
</PP_RHOATOM>
</UPF>
"""
PSLIBRARY = """<UPF version="2.0.1">
<PP_HEADER generated="x" element="Fe" pseudo_type="PAW" functional="SLA PW PBX PBC"
 z_valence="1.600E+01" wfc_cutoff="7.1E+01" rho_cutoff="4.29E+02"/>
<PP_RHOATOM>
</PP_RHOATOM>
"""
UPF1 = """<PP_HEADER>
   0                   Version Number
  cu                   Element
   US                  Ultrasoft pseudopotential
    T                  Nonlinear Core Correction
 SLA  PW   PBX  PBC    PBE   Exchange-Correlation functional
   19.00000000000      Z valence
 -400.00000000000      Total energy
   40.0000000  200.0000000     Suggested cutoff for wfc and rho
    2                  Max angular momentum component
</PP_HEADER>
<PP_RHOATOM>
</PP_RHOATOM>
"""


@pytest.fixture
def upf_texts() -> dict[str, str]:
    """Heads of UPF files: of ONCVPSP (with two gaps), of pslibrary, and of the first version."""
    return {"oncv": ONCV, "pslibrary": PSLIBRARY, "first": UPF1}


@pytest.fixture
def coarse() -> Callable[..., EspressoOracle]:
    """An oracle at 12 Ry with a 2 x 2 x 2 mesh for two atoms of silicon."""

    def make(**changes: Any) -> EspressoOracle:
        wfc = changes.pop("ecutwfc_Ry", 12.0)
        values = {"kspacing_per_A": 1.2, "ecutwfc_Ry": wfc, "ecutrho_Ry": 4 * wfc, **changes}
        return EspressoOracle(EspressoSettings(**values))

    return make


@pytest.fixture
def silicon() -> Atoms:
    """Two atoms of silicon, off their sites."""
    atoms = bulk("Si", a=5.43)
    atoms.positions[1] += (0.12, -0.05, 0.08)
    return atoms
