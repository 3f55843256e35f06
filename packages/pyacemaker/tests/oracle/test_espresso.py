"""The oracle with the real pw.x: coarse cutoffs and meshes, true physics."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.dft.bandgap import bandgap
from ase.io import read
from ase.units import GPa

from pyacemaker.oracle.base import OracleError
from pyacemaker.oracle.espresso.kmesh import boxed
from pyacemaker.oracle.espresso.oracle import EspressoOracle
from pyacemaker.oracle.espresso.pw_output import read_result
from pyacemaker.parts.quantum_espresso import quantum_espresso
from pyacemaker.process import run_program

Coarse = Callable[..., EspressoOracle]
pytestmark = pytest.mark.real


def moved(atoms: Atoms, index: int, axis: int, by_A: float) -> Atoms:
    copy = atoms.copy()
    copy.positions[index, axis] += by_A
    return copy


def strained(atoms: Atoms, strain: np.ndarray[Any, Any]) -> Atoms:
    copy = atoms.copy()
    copy.set_cell(copy.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return copy


def energy(oracle: EspressoOracle, atoms: Atoms, folder: Path) -> float:
    return float(oracle.label(atoms, folder).atoms.get_potential_energy())


def test_label_agrees_with_ase_reading_the_text(
    tmp_path: Path, coarse: Coarse, silicon: Atoms
) -> None:
    label = coarse().label(silicon, tmp_path)
    (text,) = tmp_path.glob("attempt_1/pw.out")
    parsed = read(text, format="espresso-out")
    assert label.atoms.get_potential_energy() == pytest.approx(
        parsed.get_potential_energy(),
        rel=2e-7,  # ASE reads it in the units of 2006
    )
    np.testing.assert_allclose(label.atoms.get_forces(), parsed.get_forces(), atol=1e-6)
    np.testing.assert_allclose(label.atoms.get_stress(), parsed.get_stress(), atol=2e-6)
    assert np.abs(label.atoms.get_stress()).max() > 0.001
    assert label.atoms.get_positions() == pytest.approx(silicon.get_positions())
    assert label.meta["attempts"][0]["class"] == "converged"
    assert label.meta["wall_s"] > 0
    assert label.meta["kpoints"] > 1
    assert label.meta["gap_eV"] == pytest.approx(bandgap(parsed.calc, output=None)[0], abs=2e-4)
    kept = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert kept == {"pw.in", "pw.out", "attempt.json", "data-file-schema.xml", "Si.upf"}


def test_finished_work_is_read_back_and_never_done_again(
    tmp_path: Path, coarse: Coarse, silicon: Atoms
) -> None:
    first = coarse().label(silicon, tmp_path)
    (tmp_path / "attempt_1" / "attempt.json").unlink()  # as if killed as pw.x had ended
    poisoned = coarse(command=("/nonexistent/pw.x",))
    again = poisoned.label(silicon, tmp_path)
    assert again.meta["attempts"][0]["recovered"]
    assert again.atoms.get_potential_energy() == first.atoms.get_potential_energy()
    np.testing.assert_array_equal(again.atoms.get_forces(), first.atoms.get_forces())

    for other, atoms in (
        (coarse(command=("/nonexistent/pw.x",), ecutwfc_Ry=13), silicon),
        (poisoned, moved(silicon, 0, 0, 1e-4)),
    ):
        with pytest.raises(OracleError, match=r"/nonexistent/pw\.x cannot be started"):
            other.label(atoms, tmp_path)


def test_half_a_result_counts_for_nothing(tmp_path: Path, coarse: Coarse, silicon: Atoms) -> None:
    oracle = coarse(ecutwfc_Ry=8)
    whole = oracle.label(silicon, tmp_path)
    folder = tmp_path / "attempt_1"
    for spoil in ("half the text", "half the XML", "no XML"):
        (xml,) = folder.rglob("*.xml")
        path = folder / "pw.out" if spoil == "half the text" else xml
        content = path.read_text()
        path.unlink()
        if spoil != "no XML":
            path.write_text(content[: len(content) // 2])
        again = oracle.label(silicon, tmp_path)
        assert not again.meta["attempts"][0]["recovered"], spoil
        assert again.atoms.get_potential_energy() == pytest.approx(
            whole.atoms.get_potential_energy(), abs=1e-6
        )


def test_forces_are_the_slope_of_the_free_energy(tmp_path: Path, coarse: Coarse) -> None:
    """A metal with hot electrons: E and E - TS differ, and only the latter fits."""
    atoms = bulk("Al", "sc", a=2.9) * (2, 1, 1)
    atoms.positions[0] += (0.25, 0.1, 0.05)
    oracle = coarse(degauss_Ry=0.1, smearing="fd", ecutwfc_Ry=14, conv_thr_Ry_per_atom=1e-11)
    label = oracle.label(atoms, tmp_path / "0")
    step, slopes, entropies = 0.01, [], []
    for axis in (0, 1):
        plus, minus = (
            oracle.label(moved(atoms, 0, axis, by), tmp_path / f"{axis}{by}")
            for by in (step, -step)
        )
        change = plus.atoms.get_potential_energy() - minus.atoms.get_potential_energy()
        slopes.append(-change / (2 * step))
        entropies.append((plus.meta["smearing_eV"] - minus.meta["smearing_eV"]) / (2 * step))
    np.testing.assert_allclose(label.atoms.get_forces()[0, :2], slopes, atol=1e-3)
    assert np.abs(entropies).max() > 0.1  # so that E itself would have been noticed


def test_stress_is_the_slope_of_energy_under_strain(
    tmp_path: Path, coarse: Coarse, silicon: Atoms
) -> None:
    """With shear and axial strain, at a cutoff where the basis hardly changes (Pulay)."""
    oracle = coarse(ecutwfc_Ry=36, kspacing_per_A=2.2, conv_thr_Ry_per_atom=1e-10)
    atoms = strained(silicon, np.diag([-0.04, 0, 0.02]))
    stress = oracle.label(atoms, tmp_path / "0").atoms.get_stress()
    for voigt, (i, j) in ((0, (0, 0)), (5, (0, 1))):
        strain = np.zeros((3, 3))
        strain[i, j] += 0.005
        strain[j, i] += 0.005
        up, down = (
            energy(oracle, strained(atoms, sign * strain), tmp_path / f"{voigt}{sign}")
            for sign in (1, -1)
        )
        slope = (up - down) / (2 * 0.01) / atoms.get_volume()
        assert stress[voigt] == pytest.approx(slope, abs=0.25 * GPa)
        assert abs(stress[voigt]) > 1.0 * GPa


def test_the_fast_blas_gives_the_numbers_of_the_wheels_own(
    tmp_path: Path, coarse: Coarse, silicon: Atoms
) -> None:
    """OpenBLAS against the netlib BLAS the wheel brings."""
    label = coarse(conv_thr_Ry_per_atom=1e-10).label(silicon, tmp_path)
    folder = tmp_path / "attempt_1"
    espresso = quantum_espresso()
    finished = run_program(
        [*espresso.pw_command(), "-i", "pw.in"],
        cwd=folder,
        stdout=tmp_path / "original.out",
        timeout_s=120,
        env=espresso.variables(blas=False),
    )
    assert finished.returncode == 0
    original = read_result(folder, tmp_path / "original.out", boxed(silicon))
    assert label.atoms.get_potential_energy() == pytest.approx(original.energy_eV, abs=1e-8)
    np.testing.assert_allclose(label.atoms.get_forces(), original.forces_eV_per_A, atol=1e-5)
    np.testing.assert_allclose(label.atoms.get_stress(), original.stress_eV_per_A3, atol=1e-7)


def test_an_isolated_atom(tmp_path: Path, coarse: Coarse) -> None:
    label = coarse(ecutwfc_Ry=8).label(Atoms("Si"), tmp_path)
    assert label.settings["kmesh"] == [1, 1, 1]
    assert not label.atoms.get_stress().any()
    np.testing.assert_allclose(label.atoms.get_forces(), 0, atol=1e-3)
    assert not label.atoms.cell.array.any()  # the structure itself is what was given


def test_aluminium_has_no_gap(tmp_path: Path, coarse: Coarse) -> None:
    oracle = coarse(degauss_Ry=0.02, smearing="mv", kspacing_per_A=0.6)
    assert oracle.label(bulk("Al", a=4.05), tmp_path).meta["gap_eV"] == 0.0


def test_two_spins_find_the_moment_of_an_atom(tmp_path: Path, coarse: Coarse) -> None:
    box = Atoms("N", cell=[6, 6, 6], pbc=True)
    oracle = coarse(ecutwfc_Ry=16, nspin=2, starting_magnetization={"N": 0.6}, kspacing_per_A=2.0)
    label = oracle.label(box, tmp_path)
    assert label.meta["magnetization_muB"] == pytest.approx(3.0, abs=0.1)  # Hund's rule
    assert label.meta["gap_eV"] is None  # of a single k-point
    assert label.settings["starting_magnetization"] == {"N": 0.6}


def test_no_convergence_is_retried_and_then_told(
    tmp_path: Path, coarse: Coarse, silicon: Atoms
) -> None:
    changes: dict[str, Any] = {"electron_maxstep": 2, "max_attempts": 2}
    impossible = coarse(conv_thr_Ry_per_atom=1e-30, **changes)
    with pytest.raises(OracleError, match=r"Si2: scf_not_converged_\w+: the SCF did not") as caught:
        impossible.label(silicon, tmp_path)
    attempts = caught.value.meta["attempts"]
    assert [a["family"] for a in attempts] == ["scf", "scf"]
    assert attempts[0]["remedy"] is None
    assert "more steps" in attempts[1]["remedy"]
    assert "did not converge in 2 steps" in attempts[1]["reason"]
    assert attempts[1]["changes"]["ELECTRONS.electron_maxstep"] == [2, 30]
    assert not any(attempt["physics"] for attempt in attempts)
    text = (tmp_path / "attempt_1" / "pw.out").read_text()
    assert "JOB DONE." in text  # which pw.x prints all the same
    assert (tmp_path / "FAILED").read_text().startswith("Si2: ")
    with pytest.raises(OracleError) as again:  # as final as a result: nothing is run again
        coarse(conv_thr_Ry_per_atom=1e-30, command=("/nonexistent",), **changes).label(
            silicon, tmp_path
        )
    assert again.value.diagnosis == caught.value.diagnosis


def test_a_remedy_gives_the_same_label(tmp_path: Path, coarse: Coarse, silicon: Atoms) -> None:
    plain = coarse().label(silicon, tmp_path / "plain")
    healed = coarse(electron_maxstep=6, mixing_beta=0.6).label(silicon, tmp_path / "healed")
    assert len(healed.meta["attempts"]) == 2
    assert healed.meta["remedies"] == [healed.meta["attempts"][1]["remedy"]]
    assert healed.settings == plain.settings
    assert healed.atoms.get_potential_energy() == pytest.approx(
        plain.atoms.get_potential_energy(), abs=1e-6
    )


def test_time_limit_kills_everything(tmp_path: Path, coarse: Coarse, silicon: Atoms) -> None:
    slow = coarse(ecutwfc_Ry=80, timeout_s=3.0, max_attempts=1)
    with pytest.raises(OracleError, match=r"time limit.*; raise oracle\.timeout_s"):
        slow.label(silicon * (2, 2, 2), tmp_path)
    assert (tmp_path / "attempt_1" / "pw.out").stat().st_size > 0  # it had started
    wrapped = coarse(timeout_s=0.5, command=("sh", "-c", "sleep 60 & sleep 60"), max_attempts=1)
    with pytest.raises(OracleError, match="time limit"):
        wrapped.label(silicon, tmp_path / "wrapped")
    time.sleep(0.2)
    assert living_in(tmp_path) == []


def living_in(folder: Path) -> list[str]:
    """Command lines of the processes whose working directory is below `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_the_message_of_a_crash_is_handed_on(tmp_path: Path, coarse: Coarse) -> None:
    atoms = bulk("Si", a=5.43)
    atoms.positions[1] = atoms.positions[0] + (1e-5, 0, 0)
    with pytest.raises(OracleError, match=r"atoms_overlap: check_atoms: .*overlap") as caught:
        coarse().label(atoms, tmp_path)
    assert [a["class"] for a in caught.value.meta["attempts"]] == ["atoms_overlap"]
    assert "\n" not in caught.value.diagnosis


@pytest.mark.parametrize(
    ("command", "name", "said"),
    [
        ("kill -SEGV $$", "segmentation_fault", "killed by SIGSEGV"),
        ("kill -KILL $$", "killed", "SIGKILL.*out of memory"),
        ("exit 3", "no_output", "exit status 3"),
        ("exit 127", "program_missing", "exit status 127.*correct oracle.command"),
        ("echo Program PWSCF v.7.2 starts; echo JOB DONE.", "xml_truncated", "no whole result"),
        ("echo hello", "not_an_output", "its last line: hello"),
    ],
)
def test_how_a_program_ended_is_told(
    tmp_path: Path, coarse: Coarse, silicon: Atoms, command: str, name: str, said: str
) -> None:
    with pytest.raises(OracleError, match=said) as caught:
        coarse(command=("sh", "-c", command)).label(silicon, tmp_path)
    attempts = caught.value.meta["attempts"]
    assert attempts[-1]["class"] == name
    assert len(attempts) <= 5  # a loop that repeats itself is ended


def test_a_program_beside_us_is_found_and_parts_are_there(
    tmp_path: Path, coarse: Coarse, silicon: Atoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "my pw.x"
    program.write_text("#!/bin/sh\necho $@\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OracleError, match=r"last line: -nk 2 -i pw\.in"):
        coarse(command="'./my pw.x' -nk 2").label(silicon, tmp_path / "w")
    said: list[str] = []
    coarse().prepare(["Si"], said.append)
    assert not [line for line in said if "fetching" in line]  # for it was used above
    with pytest.raises(OracleError, match="has no Ce"):
        coarse().prepare(["Si", "Ce"], said.append)


@pytest.mark.parametrize(
    ("atoms", "said"),
    [
        (Atoms(), "no atom"),
        (Atoms("Si", pbc=True), "its cell has no volume"),
        (Atoms("Si", [[np.nan, 0, 0]]), "not finite"),
        (Atoms("Ce"), "has no Ce; name a folder"),
    ],
)
def test_what_is_no_structure_is_refused(
    tmp_path: Path, coarse: Coarse, atoms: Atoms, said: str
) -> None:
    with pytest.raises(OracleError, match=said):
        coarse().label(atoms, tmp_path)


def test_a_metal_without_smearing_is_set_aside_and_never_labelled_with_it(
    tmp_path: Path, coarse: Coarse
) -> None:
    """A smeared run converges; but it is of other physics, and there is no way back from it."""
    oracle = coarse(smearing="none", ecutwfc_Ry=10)
    with pytest.raises(OracleError, match=r"smearing_missing: .*set oracle\.smearing") as caught:
        oracle.label(bulk("Al"), tmp_path)
    attempts = caught.value.meta["attempts"]
    assert [a["class"] for a in attempts] == ["smearing_missing", "converged", "smearing_missing"]
    assert "SYSTEM.degauss" in attempts[1]["physics"]
    assert attempts[2]["physics"] == []


def test_the_scratch_of_failures_is_bounded_and_that_of_labels_is_cleaned(
    tmp_path: Path, coarse: Coarse, silicon: Atoms
) -> None:
    impossible = coarse(electron_maxstep=1, max_attempts=1, keep_failed_GB=0.0)
    with pytest.raises(OracleError):
        impossible.label(silicon, tmp_path / "failed")
    assert not (tmp_path / "failed").exists()
    kept = coarse(electron_maxstep=1, max_attempts=1)
    with pytest.raises(OracleError):
        kept.label(silicon, tmp_path / "kept")
    assert (tmp_path / "kept" / "FAILED").is_file()
    coarse(electron_maxstep=1, max_attempts=3).label(silicon, tmp_path / "kept")  # tried again
    assert not (tmp_path / "kept" / "FAILED").exists()
    assert not list((tmp_path / "kept").rglob("charge-density*"))
