"""Silicon by DFT itself, with the settings of a finished campaign, and by its potential.

Usage:  python benchmarks/silicon_reference.py WORKDIR [--output docs/data/silicon.json]

DFT's side is a handful of SCFs through the campaign's own oracle and label store (so what the
campaign has labelled is not computed again): seven volumes, two strains, a shear with relaxed
ions, one displaced atom. The potential's side is the same procedure with its calculator.
Experiment: lattice constant and elastic constants at 298 K, McSkimin and Andreatch, J. Appl.
Phys. 35, 2161 (1964); phonons: Nilsson and Nelin, Phys. Rev. B 6, 3777 (1972).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.eos import EquationOfState
from ase.optimize import BFGS
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from pyacemaker.campaign.state import CampaignState
from pyacemaker.config.settings import CampaignSettings
from pyacemaker.files import write_whole
from pyacemaker.labels import LabelStore
from pyacemaker.oracle.base import Oracle
from pyacemaker.oracle.settings import make_oracle
from pyacemaker.potential import Potential
from pyacemaker.provenance import tag

EXPERIMENT = {
    "a0_A": 5.431,
    "B0_GPa": 97.9,
    "C11_GPa": 165.8,
    "C12_GPa": 63.9,
    "C44_GPa": 79.6,
    "TA_X_THz": 4.49,
    "optical_Gamma_THz": 15.53,
}
STRAIN = 0.006
PRIMITIVE = [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]


class StoredLabels(Calculator):  # type: ignore[misc]
    """The campaign's oracle as an ASE calculator, through its label store."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(self, oracle: Oracle, store: LabelStore) -> None:
        super().__init__()
        self.oracle, self.store, self.computed, self.wall_s = oracle, store, 0, 0.0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Take the label of `atoms` from the store, or compute it."""
        super().calculate(atoms, properties, system_changes)
        plain = tag(
            Atoms(self.atoms.symbols, self.atoms.positions, cell=self.atoms.cell, pbc=True),
            "benchmark",
            "benchmark",
        )
        key = self.store.key(plain, self.oracle.settings(plain))
        label = self.store.get(key)
        if label is None:
            label = self.oracle.label(plain, self.store.workdir(key))
            self.store.put(label)
            self.computed += 1
            self.wall_s += label.meta["wall_s"]
        self.results = dict(label.atoms.calc.results)
        self.results.setdefault("free_energy", self.results["energy"])


def oracle_of(workdir: Path) -> Oracle:
    """Return the oracle of the campaign in `workdir`, at its converged cutoff."""
    state = CampaignState(workdir, read_only=True)
    settings = CampaignSettings.model_validate(state.fact("settings")).oracle
    cutoff = state.result(0, "cutoff")
    state.close()
    if cutoff is not None:
        ratio = settings.ecutrho_Ry / settings.ecutwfc_Ry
        ecut = cutoff["ecutwfc_Ry"]
        settings = settings.model_copy(update={"ecutwfc_Ry": ecut, "ecutrho_Ry": ratio * ecut})
    return make_oracle(settings)


def properties_by(calculator: Calculator) -> dict[str, float]:
    """Return lattice constant, B0, elastic constants and two phonons of diamond silicon."""
    volumes, energies = [], []
    for factor in np.linspace(0.94, 1.06, 7):
        atoms = bulk("Si", a=5.43 * factor ** (1 / 3), cubic=True)
        atoms.calc = calculator
        volumes.append(atoms.get_volume())
        energies.append(atoms.get_potential_energy())
    v0, _, b0 = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    a0 = float(v0 ** (1 / 3))
    axial = [stress_at(a0, calculator, sign * STRAIN, 0) for sign in (1, -1)]
    shear = [stress_at(a0, calculator, sign * STRAIN, 3) for sign in (1, -1)]
    slope = (axial[0] - axial[1]) / (2 * STRAIN) / units.GPa
    return {
        "a0_A": a0,
        "B0_GPa": float(b0 / units.GPa),
        "C11_GPa": float(slope[0]),
        "C12_GPa": float((slope[1] + slope[2]) / 2),
        "C44_GPa": float((shear[0] - shear[1])[3] / (2 * STRAIN) / units.GPa),
        **phonons(a0, calculator),
    }


def stress_at(a0: float, calculator: Calculator, strain: float, voigt: int) -> np.ndarray:
    """Return the stress (eV/angstrom^3, Voigt) under a strain, ions relaxed."""
    tensor = np.zeros((3, 3))
    if voigt < 3:
        tensor[voigt, voigt] = strain
    else:
        tensor[1, 2] = tensor[2, 1] = strain / 2
    atoms = bulk("Si", a=a0, cubic=True)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + tensor), scale_atoms=True)
    atoms.calc = calculator
    if voigt >= 3:
        BFGS(atoms, logfile=None).run(fmax=2e-3, steps=20)
    return np.asarray(atoms.get_stress())


def phonons(a0: float, calculator: Calculator) -> dict[str, float]:
    """Return the lowest phonon at X and the optical one at Gamma (THz), by phonopy."""
    cell = bulk("Si", a=a0, cubic=True)
    unit = PhonopyAtoms(cell.get_chemical_symbols(), cell=cell.cell.array, positions=cell.positions)
    phonon = Phonopy(unit, supercell_matrix=np.eye(3, dtype=int), primitive_matrix=PRIMITIVE)
    phonon.generate_displacements(distance=0.02)
    forces = []
    for made in phonon.supercells_with_displacements:
        atoms = Atoms(made.symbols, positions=made.positions, cell=made.cell, pbc=True)
        atoms.calc = calculator
        forces.append(atoms.get_forces())
    phonon.forces = forces
    phonon.produce_force_constants()
    phonon.run_qpoints([[0.0, 0.0, 0.0], [0.5, 0.0, 0.5]])
    gamma, edge = phonon.qpoints.frequencies
    return {"TA_X_THz": float(edge.min()), "optical_Gamma_THz": float(gamma.max())}


def main() -> None:
    """Compute both sides and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    dft = StoredLabels(oracle_of(arguments.workdir), LabelStore(arguments.workdir / "labels"))
    found = {
        "command": f"python benchmarks/silicon_reference.py {arguments.workdir}",
        "potential": properties_by(Potential.load(arguments.workdir / "potential").calculator()),
        "DFT": properties_by(dft),
        "experiment": EXPERIMENT,
        "DFT_calculations": dft.computed,
        "DFT_wall_s": round(dft.wall_s),
    }
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.output:
        write_whole(arguments.output, text + "\n")


if __name__ == "__main__":
    main()
