"""The corpus of real failing runs: all recognised, and those that can be healed are healed."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ase.units import Rydberg
from typer.testing import CliRunner

from pyacemaker.cli.app import app
from pyacemaker.oracle.espresso.attempt import Limits, Runner
from pyacemaker.oracle.espresso.healing.classes import CLASSES, OK, UNKNOWN
from pyacemaker.oracle.espresso.healing.diagnose import diagnose_path
from pyacemaker.oracle.espresso.healing.diagnosis import Diagnosis
from pyacemaker.oracle.espresso.healing.evidence import Ending
from pyacemaker.oracle.espresso.healing.handlers import HANDLERS, Job
from pyacemaker.oracle.espresso.healing.loop import Healed, Ran, heal
from pyacemaker.oracle.espresso.healing.plan import plan_for
from pyacemaker.oracle.espresso.healing.pw_input_text import PwInput
from pyacemaker.oracle.espresso.pw_output import NoResultError, diagnosis_of
from pyacemaker.parts.quantum_espresso import quantum_espresso

CORPUS = Path(__file__).parents[1] / "fixtures" / "failures"
NAMES = sorted(path.parent.name for path in CORPUS.glob("*/expected.json"))
EXPECTED = {name: json.loads((CORPUS / name / "expected.json").read_text()) for name in NAMES}
HEALABLE = [name for name in NAMES if EXPECTED[name]["heals"]]
ENOUGH_MEV = 0.1


def _loaded(name: str) -> ModuleType:
    """Import a script of the corpus, which is no package."""
    spec = importlib.util.spec_from_file_location(name, CORPUS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_loaded("cases")
provoke = _loaded("provoke")


@pytest.mark.parametrize("name", NAMES)
def test_every_run_of_the_corpus_is_recognised(name: str) -> None:
    found, file = diagnose_path(CORPUS / name)
    assert found.name == EXPECTED[name]["class"]
    assert file is not None
    assert file.name == "pw.out"
    assert found.evidence


@pytest.mark.parametrize("name", [n for n in NAMES if not (CORPUS / n / "CRASH").exists()][:30])
def test_the_text_alone_never_misleads(name: str, tmp_path: Path) -> None:
    """Without what lies beside it, a failing run is never taken for a good one."""
    shutil.copyfile(CORPUS / name / "pw.out", tmp_path / "some name.log")
    found, _ = diagnose_path(tmp_path)
    wanted = EXPECTED[name]["class"]
    assert (found.name == OK) == (wanted in {OK, "xml_truncated"})


def test_the_corpus_is_large_and_wide() -> None:
    failing = [name for name in NAMES if EXPECTED[name]["class"] != OK]
    classes = {EXPECTED[name]["class"] for name in failing}
    assert len(failing) >= 30
    assert len(classes) >= 25
    assert UNKNOWN not in classes
    assert classes <= CLASSES.keys()
    assert len(HEALABLE) >= 20


def test_the_command_tells_class_and_remedy() -> None:
    runner = CliRunner()
    for name in ("scf-oscillating", "good-scf", "pseudopotential-missing"):
        expected = EXPECTED[name]["class"]
        told = runner.invoke(app, ["oracle", "diagnose", str(CORPUS / name)])
        assert told.output.startswith(f"{expected}: ")
        assert len(told.output.splitlines()) == 1
        assert told.exit_code == (0 if expected == OK else 1)
        found = json.loads(
            runner.invoke(app, ["oracle", "diagnose", "--json", str(CORPUS / name)]).output
        )
        assert found["class"] == expected
        assert Path(found["file"]).name == "pw.out"
    assert runner.invoke(app, ["oracle", "diagnose", "/no/such/path"]).exit_code == 2


def test_the_plan_names_the_keys_it_would_change() -> None:
    folder = CORPUS / "scf-oscillating"
    plan = plan_for(folder, diagnose_path(folder)[0])
    old, new = plan.changes["ELECTRONS.mixing_beta"]
    assert old == 1
    assert new < 0.5
    assert not plan.physics


@pytest.fixture(scope="module")
def healed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Healed[float], float]]:
    """Every run that can be healed, healed: what was done, and the error in meV/atom."""
    root = tmp_path_factory.mktemp("healed")
    return {name: _heal(name, root / name) for name in HEALABLE}


def _runner(case: Any, workdir: Path) -> Runner[float]:
    espresso = quantum_espresso()

    def lay(folder: Path) -> None:
        provoke.put_pseudopotentials(folder, provoke.elements_of(case))

    def read(folder: Path, output: Path, ending: Ending | None) -> float:
        diagnosis = diagnosis_of(folder, output, ending)
        if not diagnosis.ok:
            raise NoResultError(diagnosis)
        assert diagnosis.energy_Ry is not None
        return diagnosis.energy_Ry

    def program() -> tuple[tuple[str, ...], Mapping[str, str]]:
        return espresso.pw_command(), espresso.variables(1)

    return Runner(workdir, program, Limits(120.0), lay, read)


def _heal(name: str, workdir: Path) -> tuple[Healed[float], float]:
    """Heal a failing run from its input; the fault from outside hurts the first attempt only.

    That first attempt is not run again here: what it left in the corpus is read.
    """
    case = next(case for case in provoke.CASES if case.name == name)
    runner = _runner(case, workdir)
    text = provoke.input_of(case)

    def run(number: int, job: Job) -> Ran[float]:
        if number == 1:
            assert job.input == PwInput.parse(text)
            return Ran(diagnose_path(CORPUS / name)[0])
        return runner(number, job)

    done = heal(PwInput.parse(text), run, max_attempts=8)
    if done.result is None:
        return done, float("inf")
    wanted = EXPECTED[name]
    error_Ry = abs(done.result - wanted["healthy_energy_Ry"]) / wanted["atoms"]
    return done, 1000 * error_Ry * Rydberg


@pytest.mark.real
@pytest.mark.timeout(900)
def test_nine_of_ten_are_healed_to_the_energy_of_a_healthy_run(
    healed: dict[str, tuple[Healed[float], float]], capsys: pytest.CaptureFixture[str]
) -> None:
    well = [name for name, (_, error) in healed.items() if error <= ENOUGH_MEV]
    told = {name: _told(*healed[name]) for name in HEALABLE}
    with capsys.disabled():
        print(f"\n{len(well)} of {len(HEALABLE)} healed to {ENOUGH_MEV} meV/atom")
        for name, words in told.items():
            print(f"  {name:28s} {words}")
    assert len(well) >= 0.9 * len(HEALABLE), told


@pytest.mark.real
@pytest.mark.timeout(900)
def test_no_result_is_of_other_physics(
    healed: dict[str, tuple[Healed[float], float]],
) -> None:
    for name, (done, error) in healed.items():
        if done.result is not None:
            assert done.attempts[-1].physics == (), name
            assert error < 1.0, name  # meV/atom: whatever was done, it is the same label


@pytest.mark.real
def test_wider_smearing_is_only_a_step_on_the_way(tmp_path: Path) -> None:
    """With the real program: smeared three times wider, then back from that density."""
    case = next(case for case in provoke.CASES if case.name == "good-metal")
    text = provoke.input_of(case)
    runner = _runner(case, tmp_path)
    wider = [handler for handler in HANDLERS if handler.restores == ("SYSTEM.degauss",)]

    def run(number: int, job: Job) -> Ran[float]:
        if number == 1:
            return Ran(Diagnosis("scf_not_converged_oscillating", "as if"))
        return runner(number, job)

    done = heal(PwInput.parse(text), run, max_attempts=2, handlers=wider)
    energies = [attempt.result for attempt in done.attempts[1:]]
    standard = diagnose_path(CORPUS / "good-metal")[0].energy_Ry
    assert standard is not None
    assert energies[0] is not None
    assert done.result is not None
    assert 1000 * abs(energies[0] - standard) * Rydberg > 10 * ENOUGH_MEV
    assert 1000 * abs(done.result - standard) * Rydberg < ENOUGH_MEV
    steps = [diagnose_path(tmp_path / f"attempt_{n}")[0].scf_steps or 0 for n in (2, 3)]
    assert steps[1] < steps[0]  # it did start from the density


def _told(done: Healed[float], error_meV: float) -> str:
    how = ", ".join(done.remedies)
    end = done.gave_up or f"{error_meV:.4f} meV/atom"
    return f"{len(done.attempts)} attempts, {end}: {how}"


def test_every_handler_recognises_something_and_names_what_it_restores() -> None:
    for handler in HANDLERS:
        assert handler.recognises <= CLASSES.keys(), handler.name
        assert handler.physics == bool(handler.restores)
    names = [handler.name for handler in HANDLERS]
    assert len(set(names)) == len(names)
