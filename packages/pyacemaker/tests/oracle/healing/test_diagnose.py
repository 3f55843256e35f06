"""A diagnosis of any text: of the right class where it is an output, and never an error."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pyacemaker.cli.app import app
from pyacemaker.oracle.espresso.healing.classes import CLASSES, OK
from pyacemaker.oracle.espresso.healing.diagnose import diagnose, diagnose_path
from pyacemaker.oracle.espresso.healing.diagnosis import Diagnosis
from pyacemaker.oracle.espresso.healing.error_blocks import error_blocks
from pyacemaker.oracle.espresso.healing.evidence import Ending, Evidence
from pyacemaker.oracle.espresso.healing.run_text import decoded, read_run

HEAD = "     Program PWSCF v.7.2 starts on  1Jan2024 at  0: 0: 0\n"
BARS = " %%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%\n"
DONE = "   JOB DONE.\n"
CONVERGED = """
     Self-consistent Calculation
     iteration #  1     ecut=    12.00 Ry     beta= 0.70
     total energy              =     -15.81 Ry
     estimated scf accuracy    <       0.05 Ry
!    total energy              =     -15.82 Ry
     estimated scf accuracy    <       4.0E-09 Ry
     convergence has been achieved in   2 iterations
     End of self-consistent calculation
"""
# Words that outputs are made of, thrown together by the fuzzers.
PIECES = (
    HEAD, BARS, DONE, CONVERGED,
    "     Error in routine cdiaghg (12):\n", "     problems computing cholesky\n",
    "     stopping ...\n", "     convergence NOT achieved after 100 iterations: stopping\n",
    "     estimated scf accuracy    <       NaN Ry\n", "!    total energy = ******** Ry\n",
    "     estimated scf accuracy    <       1.0E-999 Ry\n", "     number of atoms/cell      = 9\n",
    "     total magnetization       =     0.00 Bohr mag/cell\n",
    "     BFGS Geometry Optimization\n",
    "     lattice parameter (alat)  =      1E308  a.u.\n", "a(1) = (   1E308  1E308 0.0 )\n",
    "     Maximum CPU time exceeded\n", "forrtl: severe (174): SIGSEGV\n", "Killed\n",
    "     c_bands: 99999999999999999999 eigenvalues not converged\n", "\x00\x00\x00",
    "     negative rho (up, down):  1.0E+999  0.0\n", "     convergence has been achieved in\n",
    "     iteration # 1 ecut= 1 Ry beta= .\n", "No space left on device\n", "\ufeff", "é\n",
)  # fmt: skip


def of(text: str, **more: object) -> Diagnosis:
    return diagnose(Evidence(text, **more))  # type: ignore[arg-type]


def block(routine: str, message: str) -> str:
    return (
        f"{HEAD}{BARS}     Error in routine {routine} (1):\n     {message}\n{BARS}\n stopping ...\n"
    )


@pytest.mark.parametrize(
    ("routine", "message", "name"),
    [
        ("cdiaghg", "problems computing cholesky", "cholesky_failed"),
        ("rdiaghg", "S matrix not positive definite", "s_matrix_not_positive_definite"),
        ("c_bands", "too many bands are not converged", "too_many_bands_not_converged"),
        ("cdiaghg", "eigenvectors failed to converge", "eigenvectors_not_converged"),
        ("ppcg", "zhegvd failed", "diagonalization_failed"),
        ("electrons", "charge is wrong: smearing is needed", "smearing_missing"),
        ("electrons", "charge is wrong", "charge_is_wrong"),
        ("setup", "the system is metallic, specify occupations", "smearing_missing"),
        ("setup", "too few bands", "too_few_bands"),
        ("efermig", "internal error, cannot bracket Ef", "fermi_energy_not_found"),
        ("broyden", "factorization", "broyden_failed"),
        ("electrons", "dexx is negative! Check that exxdiv_treatment", "dexx_negative"),
        ("scale_h", "Not enough space allocated for radial FFT", "cell_factor_too_small"),
        ("good_fft_order", "fft order too large", "fft_grid"),
        ("scale_sym_ops", "incompatible FFT grid", "fft_grid"),
        ("checkallsym", "not orthogonal operation", "symmetry"),
        ("divide_class", "Wrong classes for D_4h", "symmetry"),
        ("divide_et_impera", "some nodes have no k-points", "parallel_layout"),
        ("n_plane_waves", "No plane waves found: running on too many processors?",
         "parallel_layout"),
        ("davcio", "error writing file ./out/si.wfc1", "disk_full"),
        ("davcio", 'error reading file "./out/si.wfc1"', "file_error"),
        ("check_tempdir", "temporary directory cannot be created or accessed", "file_error"),
        ("readpp", "file ./pseudo/Si.upf not found", "pseudopotential_missing"),
        ("read_upf_v2", "error reading PP_MESH", "pseudopotential_corrupt"),
        ("set_dft_from_name", "conflicting values for igcx", "pseudopotential_unfit"),
        ("check_atoms", "atoms # 1 and # 2 overlap!", "atoms_overlap"),
        ("cell_base_init", "lattice parameter not specified", "bad_cell"),
        ("latgen", "wrong celldm(2)", "bad_cell"),
        ("read_namelists", 'bad line in namelist &system: "x"', "input_error"),
        ("read_namelists", "could not find namelist &control", "input_error"),
        ("read_cards", "species Ge in ATOMIC_POSITIONS is nonexistent", "species_mismatch"),
        ("set_cutoff", "ecutwfc not set", "input_error"),
        ("setup", "Meta-GGA not implemented with USPP/PAW", "not_implemented"),
        ("read_scf", "Reading ldaU ns", "restart_files_missing"),
        ("iosys", "bands or non-scf calculation not possible: needed files are missing",
         "restart_files_missing"),
        ("regterg", "cannot allocate psi", "out_of_memory"),
        ("fft_type_set", "memory allocation failed", "out_of_memory"),
        ("mp_bcast", "error in mpi_bcast 1", "mpi_failure"),
    ],
)  # fmt: skip
def test_messages_of_the_program(routine: str, message: str, name: str) -> None:
    assert of(block(routine, message)).name == name
    assert of("", crash=block(routine, message)).name == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (HEAD + CONVERGED + DONE, OK),
        (HEAD + CONVERGED, "interrupted"),
        (HEAD + CONVERGED + DONE + "some shell chatter\nSegmentation fault\n", OK),
        (HEAD + "     Maximum CPU time exceeded\n" + DONE, "walltime"),
        (HEAD + "slurmstepd: error: *** JOB 1 CANCELLED AT T DUE TO TIME LIMIT ***", "walltime"),
        (HEAD + "slurmstepd: error: Detected 1 oom-kill event(s)", "out_of_memory"),
        (HEAD + "forrtl: severe (174): SIGSEGV, segmentation fault", "segmentation_fault"),
        (HEAD + "forrtl: No space left on device", "disk_full"),
        (HEAD + "     estimated scf accuracy    <       NaN Ry\n" + DONE, "nan"),
        (HEAD + "!    total energy              =  ************** Ry\n" + DONE, "nan"),
        ("bash: line 1: pw.x: command not found\n", "program_missing"),
        ("pw.x: error while loading shared libraries: libmkl.so: cannot open", "program_missing"),
        ("There are not enough slots available in the system", "mpi_failure"),
        ("I get\n  Error in routine cdiaghg (12):\n  problems computing cholesky\nHelp!",
         "cholesky_failed"),
        (" from setup : error #  1\n  too few bands\n stopping", "too_few_bands"),
        (HEAD + "EXIT CODE: 139", "segmentation_fault"),
        (HEAD + "=>> PBS: job killed: mem 12kb exceeded limit 10kb", "out_of_memory"),
        (HEAD + "forrtl: error (78): process killed (SIGTERM)", "terminated"),
        (HEAD + "     the Fermi energy is       NaN ev\n" + CONVERGED + DONE, "nan"),
        (HEAD + "bash: module: command not found\nSegmentation fault", "segmentation_fault"),
        ("     Program PWSCF v.4.3 starts on ...\n" + CONVERGED
         + "     davcio       :     0.00s CPU (     111 calls,   0.000 s avg)\n", OK),
        ("", "no_output"),
        ("   \n\n", "no_output"),
        ("&CONTROL\n calculation='scf'\n/\n", "not_an_output"),
        ("lorem ipsum", "not_an_output"),
        # an output with two runs in it: the second counts
        (block("c_bands", "too many bands are not converged") + HEAD + CONVERGED + DONE, OK),
        (HEAD + CONVERGED + DONE + block("setup", "too few bands"), "too_few_bands"),
        # a molecular dynamics that ran its steps is well; a relaxation is not
        (HEAD + "     Molecular Dynamics Calculation\n" + CONVERGED
         + "     The maximum number of steps has been reached.\n" + DONE, OK),
        (HEAD + CONVERGED + "     BFGS Geometry Optimization\n" + CONVERGED
         + "     The maximum number of steps has been reached.\n" + DONE, "relax_not_converged"),
        (HEAD + CONVERGED + "     BFGS Geometry Optimization\n"
         + "     bfgs converged in 3 scf cycles\n" + DONE, OK),
        (HEAD + "     Band Structure Calculation\n     End of band structure calculation\n" + DONE,
         OK),
    ],
)  # fmt: skip
def test_texts(text: str, name: str) -> None:
    assert of(text).name == name


@pytest.mark.parametrize(
    ("ending", "name"),
    [
        (Ending(-9), "killed"),
        (Ending(-15), "terminated"),
        (Ending(-11), "segmentation_fault"),
        (Ending(-64), "aborted"),
        (Ending(None, "stalled", 9.0), "stalled"),
        (Ending(-9, "timeout", 9.0), "walltime"),
        (Ending(-9, "memory"), "out_of_memory"),
        (Ending(-9, "disk"), "disk_full"),
        (Ending(7), "unknown"),
        (None, "interrupted"),
    ],
)
def test_how_the_process_ended(ending: Ending | None, name: str) -> None:
    assert of(HEAD + "     Estimated max dynamical RAM\n", ending=ending).name == name
    assert of(HEAD + CONVERGED + DONE, ending=ending).ok  # what came to its end is whole


def test_processes_that_write_into_each_others_blocks_say_it_once() -> None:
    said = "     from cdiaghg : error #  {}\n     zhegvd failed\n"
    one = f"{BARS}     task #         {{}}\n{said}{BARS}"
    text = HEAD + "".join(one.format(i, 12) for i in range(8))
    assert [b.routine for b in error_blocks(text)] == ["cdiaghg"]
    assert of(text).name == "diagonalization_failed"


def test_a_crash_file_beside_a_good_run_is_of_another_run() -> None:
    crash = f"{BARS}     Error in routine setup (1):\n     too few bands\n{BARS}"
    assert of(HEAD + CONVERGED + DONE, crash=crash).ok
    assert of(HEAD, crash=crash).name == "too_few_bands"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "été.out").write_bytes((HEAD + "é\n" + CONVERGED + DONE).encode(encoding))
    assert diagnose_path(tmp_path / "été.out")[0].ok
    assert diagnose_path(tmp_path)[0].ok


def test_the_output_is_found_among_other_files(tmp_path: Path) -> None:
    (tmp_path / "pw.in").write_text("&CONTROL\n calculation='relax'\n/\n&SYSTEM\n/\n")
    (tmp_path / "stderr.txt").write_text("forrtl: severe (174): SIGSEGV\n")
    (tmp_path / "Si.upf").write_text("<UPF>")
    (tmp_path / "notes.txt").write_text("nothing of interest")
    (tmp_path / "job.o4711").write_text(HEAD + CONVERGED)
    found, file = diagnose_path(tmp_path)
    assert file is not None
    assert file.name == "job.o4711"
    assert found.name == "segmentation_fault"
    assert found.calculation == "relax"


def test_a_folder_with_nothing_in_it(tmp_path: Path) -> None:
    found, file = diagnose_path(tmp_path)
    assert (found.name, file) == ("no_output", None)
    (tmp_path / "CRASH").write_text(block("setup", "too few bands"))
    assert diagnose_path(tmp_path)[0].name == "too_few_bands"


def test_a_huge_output_is_read_at_its_ends(tmp_path: Path) -> None:
    path = tmp_path / "huge.out"
    with path.open("w") as stream:
        stream.write(HEAD)
        stream.write("     nonsense\n" * 1_000_000)
        stream.write(CONVERGED + DONE)
    assert diagnose_path(path)[0].ok


def demand_sane(found: Diagnosis) -> None:
    assert found.ok or found.name in CLASSES
    assert "\n" not in found.evidence
    json.dumps(found.as_dict(), allow_nan=False)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join), st.sampled_from(PIECES))
def test_words_of_outputs_thrown_together(text: str, crash: str) -> None:
    found = of(text, crash=crash, errors=crash, input=text, ending=Ending(1))
    demand_sane(found)
    if found.ok:
        assert "JOB DONE." in text


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=2000), st.text(max_size=200))
def test_any_text(text: str, crash: str) -> None:
    demand_sane(of(text, crash=crash))
    demand_sane(of(HEAD + text + crash))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=4000))
def test_any_bytes(data: bytes) -> None:
    demand_sane(of(decoded(data)))
    demand_sane(of(decoded(HEAD.encode() + data)))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=600))
def test_the_command_with_any_file(data: bytes) -> None:
    runner = CliRunner()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.out"
        path.write_bytes(data)
        for arguments in ([str(path)], [folder], ["--json", str(path)]):
            told = runner.invoke(app, ["oracle", "diagnose", *arguments])
            assert told.exit_code in {0, 1}, told.exception
            assert len(told.output.splitlines()) == 1


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_good_output_with_a_piece_cut_out(data: st.DataObject) -> None:
    """Cut short anywhere, an output is never taken for a good one; nothing is raised."""
    text = HEAD + CONVERGED + DONE
    start = data.draw(st.integers(0, len(text) - 1))
    demand_sane(of(text[:start]))
    if start <= text.index("JOB DONE."):
        assert not of(text[:start]).ok
    assert read_run(text[start:]).text


def test_the_documentation_lists_every_class_with_its_remedy() -> None:
    text = (Path(__file__).parents[5] / "docs" / "healing.md").read_text()
    for found in CLASSES.values():
        assert f"| `{found.name}` | {found.meaning} | {found.remedy} |" in text
