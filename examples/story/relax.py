"""Relax a crystal with a published potential, and write it for LAMMPS.

python relax.py ace-si Si        # the root is the variable ROOTSTOCK_ROOT
"""

import sys

from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.io import write
from ase.optimize import BFGS

from rootstock import RootstockCalculator

model, element = sys.argv[1:3]
atoms = bulk(element, cubic=True)
with RootstockCalculator(model) as calculator:
    atoms.calc = calculator
    with BFGS(FrechetCellFilter(atoms), logfile=None) as relaxation:
        relaxation.run(fmax=0.001, steps=200)
    print(f"a0 {atoms.cell.lengths()[0]:.4f} angstrom")
    print(f"energy {atoms.get_potential_energy() / len(atoms):.6f} eV/atom")
    write("start.data", atoms * (2, 2, 2), format="lammps-data", masses=True)
