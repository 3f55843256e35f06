"""VASP's inputs against pymatgen's sets, its output as ASE reads it, and custodian's remedies.

VASP cannot be had here: what stands in for the program writes the files a run leaves.
"""

from __future__ import annotations

import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import GPa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar
from pymatgen.io.vasp.outputs import Vasprun
from pymatgen.io.vasp.sets import MPStaticSet

from pyacemaker.oracle.base import OracleError
from pyacemaker.oracle.dft_settings import VASPSettings
from pyacemaker.oracle.vasp.inputs import incar_of, materials_project_potcars, write_inputs
from pyacemaker.oracle.vasp.oracle import VASPOracle
from pyacemaker.oracle.vasp.outputs import NoResultError, read_vasprun

sys.path.insert(0, str(Path(__file__).parent))
from vasp_files import potcar_folder, vasprun

FORCES = np.array([[0.1, -0.2, 0.3], [-0.1, 0.2, -0.3]])
STRESS_KB = np.array([[10.0, 1.0, 2.0], [1.0, 20.0, 3.0], [2.0, 3.0, 30.0]])


@pytest.fixture
def potcars(tmp_path: Path) -> Path:
    return potcar_folder(tmp_path / "potcars", "Si", "O", "Ti_pv", "Fe_pv", "Mg_pv")


def chosen(folder: Path, **changes: object) -> VASPSettings:
    return VASPSettings.model_validate({"potcar_folder": str(folder), **changes})


def program(tmp_path: Path, body: str) -> tuple[str, ...]:
    """Return a command that does what `body` says in VASP's place."""
    script = tmp_path / "vasp_stand_in.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import numpy as np\nfrom pathlib import Path\nfrom ase.io import read\n"
        "from vasp_files import vasprun\natoms = read('POSCAR')\n"
        "counter = Path('../runs'); n = int(counter.read_text()) if counter.exists() else 0\n"
        "counter.write_text(str(n + 1))\n"
        "forces = 0.1 * np.arange(3.0 * len(atoms)).reshape(-1, 3)\n"
        "forces -= forces.mean(axis=0)\nstress = np.diag([10.0, 20.0, 30.0])\n"
        "def finish(**kw):\n"
        "    Path('vasprun.xml').write_text(vasprun(atoms, -10.5, forces, stress, **kw))\n" + body
    )
    return (sys.executable, str(script))


def test_inputs_are_those_of_the_materials_project_but_for_what_we_mean(potcars: Path) -> None:
    atoms = bulk("MgO", "rocksalt", a=4.2)
    ours = incar_of(chosen(potcars), atoms)
    theirs = MPStaticSet(AseAtomsAdaptor.get_structure(atoms)).incar
    for name in ("ENCUT", "PREC", "LASPH", "LREAL", "NSW", "LWAVE"):
        assert ours[name] == theirs[name], name
    different = {name for name in ours if name in theirs and ours[name] != theirs[name]}
    # ours: spins by element, no tetrahedra (no forces of a metal), SCF tight enough for forces
    assert different == {"ALGO", "EDIFF", "ISMEAR", "ISPIN", "LCHARG", "NELM", "SIGMA"}
    assert ours["EDIFF"] < theirs["EDIFF"] / 100
    assert materials_project_potcars()["Ti"] == "Ti_pv"


def test_written_files_are_read_back(potcars: Path, tmp_path: Path) -> None:
    atoms = bulk("MgO", "rocksalt", a=4.2)
    atoms.rattle(0.05, seed=1)
    folder = tmp_path / "run"
    folder.mkdir()
    given = chosen(potcars, functional="PBEsol", nspin=2, moments_muB={"O": 1})
    write_inputs(folder, atoms, (3, 4, 5), given)
    incar = Incar.from_file(folder / "INCAR")
    assert (incar["GGA"], incar["ISPIN"]) == ("Ps", 2)
    assert incar["MAGMOM"] == [0.0, 1.0]
    kpoints = Kpoints.from_file(folder / "KPOINTS")
    assert (kpoints.kpts[0], kpoints.style.name) == ((3, 4, 5), "Gamma")
    structure = Poscar.from_file(folder / "POSCAR", check_for_potcar=False).structure
    np.testing.assert_allclose(structure.cart_coords, atoms.positions, atol=1e-9)
    titles = [x for x in (folder / "POTCAR").read_text().splitlines() if "TITEL" in x]
    assert [title.split()[3] for title in titles] == ["Mg", "O"]


def bands(*channels: list[list[float]], fermi_eV: float) -> np.ndarray:
    """Return spins x k-points x bands x 2, filled up to the Fermi level."""
    levels = np.array(channels)
    return np.stack([levels, (levels <= fermi_eV).astype(float)], axis=-1)


@pytest.mark.parametrize(
    ("found", "gap_eV"),
    [
        (bands([[-5.0, 1.0, 3.0, 4.0], [-4.0, 0.5, 2.2, 5.0]], fermi_eV=1.5), 1.2),
        (bands([[-5.0, 1.0, 3.0], [-4.0, 2.0, 2.2]], fermi_eV=1.5), 0.0),  # a band crosses
        (  # spins: the gap is between the highest of one and the lowest of the other
            bands(
                [[-3.0, 1.0, 4.0], [-3.0, 0.8, 3.5]],
                [[-2.0, 2.0, 5.0], [-2.0, 1.8, 5.0]],
                fermi_eV=1.4,
            ),
            0.8,
        ),
        (bands([[-5.0, 1.0], [-4.0, 0.5]], fermi_eV=1.5), None),  # no empty band
        (bands([[-5.0, 1.0, 3.0]], fermi_eV=1.5), None),  # one k-point
        (None, None),
    ],
)
def test_the_gap_is_that_of_pymatgen(
    tmp_path: Path, found: np.ndarray | None, gap_eV: float | None
) -> None:
    atoms = bulk("Si", a=5.43)
    path = tmp_path / "vasprun.xml"
    path.write_text(vasprun(atoms, -10.5, FORCES, STRESS_KB, bands=found))
    read = read_vasprun(path, atoms).gap_eV
    assert read == (None if gap_eV is None else pytest.approx(gap_eV))
    if gap_eV:  # of two k-points it would call the distance of a band from itself a gap
        run = Vasprun(str(path), parse_potcar_file=False, parse_dos=False)
        assert read == pytest.approx(run.eigenvalue_band_properties[0])


def test_vasprun_is_read_as_ase_reads_it(tmp_path: Path) -> None:
    atoms = bulk("Si", a=5.43)
    path = tmp_path / "vasprun.xml"
    path.write_text(vasprun(atoms, -10.5, FORCES, STRESS_KB))
    result = read_vasprun(path, atoms)
    by_ase = ase.io.read(path)
    assert result.energy_eV == -10.5  # the free energy, not e_0
    assert result.energy_eV == by_ase.calc.results["free_energy"]
    np.testing.assert_allclose(result.forces_eV_per_A, by_ase.get_forces(), atol=1e-9)
    np.testing.assert_allclose(result.stress_eV_per_A3, by_ase.get_stress(), atol=1e-9)
    assert result.stress_eV_per_A3[0] == pytest.approx(-1.0 * GPa)  # 10 kB of compression
    assert (result.scf_steps, result.version.strip()) == (5, "6.4.2")


def test_what_is_no_result_is_none(tmp_path: Path) -> None:
    atoms = bulk("Si", a=5.43)
    path = tmp_path / "vasprun.xml"
    whole = vasprun(atoms, -10.5, FORCES, STRESS_KB)
    path.write_text(vasprun(atoms, -10.5, FORCES, STRESS_KB, steps=60))
    with pytest.raises(NoResultError, match="did not converge in 60"):
        read_vasprun(path, atoms)
    path.write_text(whole)
    with pytest.raises(NoResultError, match="another structure"):
        read_vasprun(path, bulk("Si", a=5.5))
    path.write_text(whole.replace("-10.50000000", "nan"))
    with pytest.raises(NoResultError):
        read_vasprun(path, atoms)
    with pytest.raises(NoResultError, match="no vasprun"):
        read_vasprun(tmp_path / "no" / "vasprun.xml", atoms)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.integers(0, 5000), junk=st.text(max_size=20))
def test_no_damage_makes_a_wrong_label(tmp_path: Path, cut: int, junk: str) -> None:
    atoms = bulk("Si", a=5.43)
    whole = vasprun(atoms, -10.5, FORCES, STRESS_KB)
    path = tmp_path / "vasprun.xml"
    path.write_text(whole[:cut] + junk, encoding="utf-8", errors="replace")
    try:
        result = read_vasprun(path, atoms)
    except NoResultError:
        return
    assert result.energy_eV == -10.5


def test_a_label_has_the_atoms_in_their_own_order(potcars: Path, tmp_path: Path) -> None:
    atoms = bulk("MgO", "rocksalt", a=4.2) * (2, 1, 1)  # Mg O Mg O
    oracle = VASPOracle(chosen(potcars, command=program(tmp_path, "finish()\n")))
    label = oracle.label(atoms, tmp_path / "w")
    raw = 0.1 * np.arange(12.0).reshape(4, 3)
    raw -= raw.mean(axis=0)
    np.testing.assert_allclose(label.atoms.get_forces(), raw[[0, 2, 1, 3]], atol=1e-9)
    np.testing.assert_allclose(label.atoms.get_stress()[:3] / GPa, [-1, -2, -3])
    assert label.settings["potcars"].keys() == {"Mg", "O"}
    assert not list((tmp_path / "w").rglob("POTCAR"))
    again = oracle.label(atoms, tmp_path / "w")
    assert (tmp_path / "w" / "runs").read_text() == "1"
    assert again.atoms.get_potential_energy() == label.atoms.get_potential_energy()


def test_custodian_mends_what_changes_no_physics(potcars: Path, tmp_path: Path) -> None:
    body = (
        "if n == 0:\n    print(' Error EDDDAV: Call to ZHEGV failed. Returncode = 7')\n"
        "else:\n    finish()\n"
    )
    oracle = VASPOracle(chosen(potcars, command=program(tmp_path, body)))
    label = oracle.label(bulk("Si"), tmp_path / "w")
    first, second = label.meta["attempts"]
    assert "ALGO" in first["remedy"][0]
    assert second["kind"] == "converged"
    incar = Incar.from_file(tmp_path / "w" / "attempt_2" / "INCAR")
    assert incar["ALGO"] != "Normal"


def test_a_remedy_that_changes_the_label_is_not_taken(potcars: Path, tmp_path: Path) -> None:
    body = "print('Tetrahedron method fails for NKPT<4. NKPT = 1')\n"
    body += "print('Fatal error detecting k-mesh')\n"
    oracle = VASPOracle(chosen(potcars, command=program(tmp_path, body)))
    with pytest.raises(OracleError) as caught:
        oracle.label(bulk("Si"), tmp_path / "w")
    (attempt,) = caught.value.meta["attempts"]
    assert "not taken" in attempt["reason"]


def test_a_run_without_a_known_cure_ends(potcars: Path, tmp_path: Path) -> None:
    oracle = VASPOracle(chosen(potcars, command=program(tmp_path, "print('hello')\n")))
    with pytest.raises(OracleError, match=r"VASP left no vasprun.xml"):
        oracle.label(bulk("Si"), tmp_path / "w")
    with pytest.raises(OracleError, match="cannot be started"):
        VASPOracle(chosen(potcars, command="/nowhere/vasp")).label(bulk("Si"), tmp_path / "x")


def test_potcars_are_looked_at(potcars: Path, tmp_path: Path) -> None:
    with pytest.raises(OracleError, match="no Cu_pv/POTCAR"):
        VASPOracle(chosen(potcars)).settings(bulk("Cu"))
    (potcars / "Al").mkdir()
    (potcars / "Al" / "POTCAR").write_text("  PAW Al 17Apr2000\n   TITEL  = PAW Al 17Apr2000\n")
    with pytest.raises(OracleError, match="not a PBE potential"):
        VASPOracle(chosen(potcars)).settings(bulk("Al"))
    named = VASPOracle(chosen(potcars, potcars={"Ti": "Ti_pv"}))
    assert len(named.settings(bulk("Ti"))["potcars"]["Ti"]) == 64
    atoms = Atoms("Si", cell=[8, 8, 8], pbc=False)
    assert "vacuum_A" in VASPOracle(chosen(potcars)).settings(atoms)
