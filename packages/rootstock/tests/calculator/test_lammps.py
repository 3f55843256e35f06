"""MD in LAMMPS with a model in another process: the same physics as in ASE."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.lammps import Prism
from ase.io.lammpsdata import write_lammps_data
from ase.md.verlet import VelocityVerlet
from ase.units import fs

from rootstock import ModelError, RootstockCalculator, RootstockError, WorkerDiedError
from rootstock.lammps import FixModel, load_lammps
from rootstock.lammps.__main__ import split_input

pytestmark = pytest.mark.real
_EV_PER_A3_IN_BAR = 1.6021765e6  # LAMMPS' own constant


@pytest.fixture
def alloy() -> Atoms:
    """Return a rattled copper-gold crystal in a tilted cell, in LAMMPS' own frame."""
    atoms = bulk("Cu", cubic=True, a=3.75) * (2, 2, 2)
    atoms.symbols[::3] = "Au"
    atoms.set_cell(
        atoms.cell.array + np.array([[0.0, 0, 0], [0.3, 0.1, 0], [-0.2, 0.4, 0.2]]),
        scale_atoms=True,
    )
    atoms.rattle(0.05, seed=4)
    return atoms


@pytest.fixture
def lmp() -> Iterator[Any]:
    """A LAMMPS instance."""
    instance = load_lammps()
    yield instance
    instance.close()


@pytest.fixture(scope="module")
def emt() -> Iterator[RootstockCalculator]:
    """EMT in another process."""
    with RootstockCalculator("emt", timeout=60) as calculator:
        yield calculator


def load(lmp: Any, atoms: Atoms, folder: Path) -> None:
    """Give LAMMPS a structure, with velocities; type 1 is Cu, 2 is Au."""
    path = folder / "start.data"
    write_lammps_data(
        path,
        atoms,
        specorder=["Cu", "Au"],
        units="metal",
        atom_style="atomic",
        velocities=True,
        masses=True,
        prismobj=Prism(atoms.cell, atoms.pbc),
        force_skew=True,
    )
    lmp.commands_list(["units metal", "atom_style atomic", "boundary p p p", f"read_data {path}"])
    lmp.commands_list(["pair_style zero 3.0 nocoeff", "pair_coeff * *", "timestep 0.002"])


def test_one_point_equals_ase(
    lmp: Any, emt: RootstockCalculator, alloy: Atoms, tmp_path: Path
) -> None:
    load(lmp, alloy, tmp_path)
    with FixModel(lmp, emt, ["Cu", "Au"]) as fix:
        fix.command("thermo_style custom step pe pxx pyy pzz pxy pxz pyz press\nrun 0")
        alloy.calc = EMT()
        assert lmp.get_thermo("pe") == pytest.approx(alloy.get_potential_energy(), abs=1e-6)
        stress = alloy.get_stress()  # no velocities: the pressure is the virial's alone
        for name, component in zip(("xx", "yy", "zz", "yz", "xz", "xy"), stress, strict=True):
            ours = -lmp.get_thermo(f"p{name}") / _EV_PER_A3_IN_BAR
            assert ours == pytest.approx(component, abs=1e-7), name
        assert abs(stress).min() > 1e-5, "a component that is zero proves nothing"
        forces = np.array(lmp.numpy.extract_atom("f"))[: len(alloy)]
        order = np.argsort(lmp.numpy.extract_atom("id")[: len(alloy)])
        np.testing.assert_allclose(forces[order], alloy.get_forces(), atol=1e-6)


def test_nve_conserves_energy_and_follows_ase(
    lmp: Any, emt: RootstockCalculator, alloy: Atoms, tmp_path: Path
) -> None:
    rng = np.random.default_rng(8)
    alloy.set_velocities(rng.normal(0.0, 0.02, (len(alloy), 3)))
    load(lmp, alloy, tmp_path)
    # 50 steps of LAMMPS, sorting its atoms on the way, and the same steps of ASE
    with FixModel(lmp, emt, ["Cu", "Au"]) as fix:
        fix.command("fix nve all nve\natom_modify sort 5 3.0\nthermo 1")
        fix.command("run 0")
        energies = [lmp.get_thermo("etotal")]
        potential = [lmp.get_thermo("pe")]
        for _ in range(10):
            fix.command("run 5")
            energies.append(lmp.get_thermo("etotal"))
            potential.append(lmp.get_thermo("pe"))
    assert np.ptp(potential) > 0.2, "nothing moved"
    assert np.ptp(energies) < 0.01 * np.ptp(potential)
    alloy.calc = EMT()
    VelocityVerlet(alloy, timestep=2.0 * fs, logfile=None).run(50)
    order = np.argsort(lmp.numpy.extract_atom("id")[: len(alloy)])
    reached = np.array(lmp.numpy.extract_atom("x"))[: len(alloy)][order]
    apart = np.linalg.solve(alloy.cell.array.T, (reached - alloy.positions).T)
    assert abs(apart - np.round(apart)).max() < 1e-5


def test_npt_relaxes_to_the_pressure_that_is_asked_for(
    lmp: Any, emt: RootstockCalculator, tmp_path: Path
) -> None:
    atoms = bulk("Cu", cubic=True, a=3.75) * (2, 2, 2)  # 4 % too long
    rng = np.random.default_rng(2)
    atoms.set_velocities(rng.normal(0.0, 0.008, (len(atoms), 3)))
    load(lmp, atoms, tmp_path)
    pressures = []
    with FixModel(lmp, emt, ["Cu", "Au"]) as fix:
        fix.command("fix npt all npt temp 100 100 0.1 iso 20000 20000 0.2\nrun 0")
        before = lmp.get_thermo("press")
        fix.command("run 250")
        for _ in range(20):
            fix.command("run 10")
            pressures.append(lmp.get_thermo("press"))
    assert before < -50_000  # bar
    assert np.mean(pressures) == pytest.approx(20_000, abs=12_000)


def test_an_error_stops_the_run(
    lmp: Any, alloy: Atoms, tmp_path: Path, source: Callable[[str], Path]
) -> None:
    path = source(
        """
        import os
        from ase.calculators.emt import EMT

        class Failing(EMT):
            calls = 0

            def calculate(self, *args, **kwargs):
                Failing.calls += 1
                if Failing.calls == 4:
                    raise ValueError("out of its depth")
                if Failing.calls == 9:
                    os._exit(2)
                super().calculate(*args, **kwargs)

        def setup(model, device, **kwargs):
            return Failing()
        """
    )
    load(lmp, alloy, tmp_path)
    with (
        RootstockCalculator(environment=path, timeout=60) as calculator,
        FixModel(lmp, calculator, ["Cu", "Au"]) as fix,
    ):
        fix.command("fix nve all nve\nreset_timestep 0")
        with pytest.raises(ModelError, match="out of its depth"):
            fix.command("run 100")
        assert lmp.get_thermo("step") < 5
        with pytest.raises(WorkerDiedError, match="exit status 2"):
            fix.command("run 100")
        fix.command("run 2")  # a new worker


def test_a_model_without_stress(
    lmp: Any, alloy: Atoms, tmp_path: Path, source: Callable[[str], Path]
) -> None:
    path = source(
        """
        from ase.calculators.emt import EMT

        class NoStress(EMT):
            implemented_properties = ["energy", "forces"]

        def setup(model, device, **kwargs):
            return NoStress()
        """
    )
    load(lmp, alloy, tmp_path)
    with RootstockCalculator(environment=path, timeout=60) as calculator:
        with (
            FixModel(lmp, calculator, ["Cu", "Au"]) as fix,
            pytest.raises(PropertyNotImplementedError),
        ):
            fix.command("run 0")
        with FixModel(lmp, calculator, ["Cu", "Au"], virial=False) as fix:
            fix.command("run 0")
            alloy.calc = EMT()
            assert lmp.get_thermo("pe") == pytest.approx(alloy.get_potential_energy(), abs=1e-6)


def test_what_is_refused(lmp: Any, emt: RootstockCalculator, alloy: Atoms, tmp_path: Path) -> None:
    with pytest.raises(RootstockError, match="units metal"):
        FixModel(lmp, emt, ["Cu"])
    lmp.command("units metal")
    with pytest.raises(RootstockError, match="no box"):
        FixModel(lmp, emt, ["Cu"])
    load(lmp, alloy, tmp_path)
    with pytest.raises(RootstockError, match="2 atom types, 1 species"):
        FixModel(lmp, emt, ["Cu"])
    with pytest.raises(RootstockError, match="no element"):
        FixModel(lmp, emt, ["Cu", "Xy"])


def test_the_command(alloy: Atoms, tmp_path: Path) -> None:
    write_lammps_data(
        tmp_path / "start.data", alloy, specorder=["Cu", "Au"], masses=True, force_skew=True
    )
    text = """
        units metal
        read_data start.data
        pair_style zero 3.0 nocoeff
        pair_coeff * *
        fix potential all external pf/callback 1 1
        fix nve &
            all nve
        thermo_style custom step pe
        run 5
        print "the end is $(pe:%.6f)"
        """
    (tmp_path / "in.md").write_text(text)
    species = ["--species", "Cu", "Au"]
    done = subprocess.run(
        [sys.executable, "-m", "rootstock.lammps", "-in", "in.md", "--model", "emt", *species],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the end is" in (tmp_path / "log.lammps").read_text()
    with pytest.raises(RootstockError, match="no line"):
        split_input("run 5", tmp_path / "in.md")
