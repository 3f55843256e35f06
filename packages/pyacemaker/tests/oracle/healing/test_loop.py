"""The loop of attempts: it ends, it records, and it never lets other physics through."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyacemaker.oracle.espresso.attempt import without_parallel_options
from pyacemaker.oracle.espresso.healing.classes import CLASSES
from pyacemaker.oracle.espresso.healing.diagnosis import Diagnosis
from pyacemaker.oracle.espresso.healing.handlers import HANDLERS, Handler, Job
from pyacemaker.oracle.espresso.healing.history import SCF, Setting, why_not_converged
from pyacemaker.oracle.espresso.healing.loop import RESTORED, Ran, heal
from pyacemaker.oracle.espresso.healing.pw_input_text import PwInput, differences

STANDARD = PwInput(
    {
        "CONTROL": {"calculation": "scf"},
        "SYSTEM": {
            "ecutwfc": 30.0, "ecutrho": 120.0, "nbnd": 8, "nr1": 10, "nspin": 2,
            "occupations": "smearing", "smearing": "mv", "degauss": 0.01,
            "starting_magnetization(1)": 0.3,
        },
        "ELECTRONS": {
            "conv_thr": 1e-8, "mixing_beta": 0.7, "mixing_ndim": 8, "electron_maxstep": 80,
            "diagonalization": "david",
        },
    },
    "K_POINTS gamma\n",
)  # fmt: skip
# What decides the numbers of a label: no run whose result counts may differ in one of these.
# (nbnd, the FFT grid and nosym do not: they change what is stored, and how the mesh is reduced.)
PHYSICS = {
    "SYSTEM.ecutwfc", "SYSTEM.ecutrho", "SYSTEM.nspin", "SYSTEM.occupations", "SYSTEM.smearing",
    "SYSTEM.degauss", "SYSTEM.starting_magnetization(1)", "ELECTRONS.conv_thr",
}  # fmt: skip
GOOD = Diagnosis("ok", "converged")


def failing(*names: str, then: float | None = 1.0) -> Callable[[int, Job], Ran[float]]:
    """Return a run that fails with each class in turn, and then gives a result."""

    def run(number: int, job: Job) -> Ran[float]:
        del job
        if number <= len(names):
            return Ran(Diagnosis(names[number - 1], "told so"), has_density=True)
        return Ran(GOOD, then, has_density=True)

    return run


def always(name: str) -> Callable[[int, Job], Ran[float]]:
    return lambda number, job: Ran(Diagnosis(name, "again"), has_density=number % 2 == 0)


def test_a_good_run_needs_nothing() -> None:
    done = heal(STANDARD, failing(), max_attempts=5)
    assert done.result == 1.0
    assert done.remedies == []
    assert done.attempts[0].job.input == STANDARD


def test_each_attempt_is_recorded_with_its_reason() -> None:
    done = heal(
        STANDARD, failing("scf_not_converged_oscillating", "cholesky_failed"), max_attempts=5
    )
    first, second, third = (attempt.as_dict() for attempt in done.attempts)
    assert first["remedy"] is None
    assert second["reason"] == "scf_not_converged_oscillating: told so"
    assert second["changes"]["ELECTRONS.mixing_beta"] == [0.7, pytest.approx(0.28)]
    assert third["reason"] == "cholesky_failed: told so"
    assert third["changes"]["ELECTRONS.diagonalization"] == ["david", "cg"]
    assert third["class"] == "converged"


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_failure_that_repeats_itself_is_ended(name: str) -> None:
    done = heal(STANDARD, always(name), max_attempts=100)
    assert done.result is None
    assert done.gave_up == "no remedy is left"
    assert len(done.attempts) <= 12
    assert len(heal(STANDARD, always(name), max_attempts=2).attempts) <= 2


@pytest.mark.parametrize(
    "name",
    ["atoms_overlap", "bad_cell", "input_error", "species_mismatch", "not_implemented",
     "program_missing", "illegal_instruction", "negative_density"],
)  # fmt: skip
def test_nothing_is_tried_where_nothing_helps(name: str) -> None:
    assert len(heal(STANDARD, always(name), max_attempts=9).attempts) == 1


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.name)
def test_only_handlers_that_say_so_change_the_physics(handler: Handler) -> None:
    name = sorted(handler.recognises)[0]
    changed: list[Job] = []

    def run(number: int, job: Job) -> Ran[float]:
        changed.append(job)
        return Ran(Diagnosis(name, ""), has_density=True) if number == 1 else Ran(GOOD, 1.0, True)

    done = heal(STANDARD, run, max_attempts=3, handlers=[handler])
    for attempt in done.attempts:
        touched = differences(STANDARD, attempt.job.input).keys() & PHYSICS
        assert touched <= set(attempt.physics), handler.name
    if done.result is not None:
        assert not differences(STANDARD, done.attempts[-1].job.input).keys() & PHYSICS


def test_other_physics_is_put_back_from_the_density_it_found() -> None:
    wider = [handler for handler in HANDLERS if handler.restores == ("SYSTEM.degauss",)]
    assert wider
    seen: list[tuple[object, object, int | None]] = []

    def run(number: int, job: Job) -> Ran[float]:
        made = job.input
        seen.append(
            (made.get("SYSTEM", "degauss"), made.get("ELECTRONS", "startingpot"), job.density_from)
        )
        if number == 1:
            return Ran(Diagnosis("scf_not_converged_magnetic", ""), has_density=True)
        return Ran(GOOD, float(number), has_density=True)

    done = heal(STANDARD, run, max_attempts=2, handlers=wider)
    assert seen == [(0.01, None, None), (0.03, None, None), (0.01, "file", 2)]
    assert done.result == 3.0  # that of the standard settings, not of the wider smearing
    assert done.attempts[1].physics == ("SYSTEM.degauss",)
    assert done.attempts[2].physics == ()
    assert done.attempts[2].remedy == RESTORED
    without = heal(
        STANDARD,
        lambda n, job: (
            Ran(Diagnosis("scf_not_converged_magnetic", "")) if n == 1 else Ran(GOOD, 2.0)
        ),
        max_attempts=3,
        handlers=wider,
    )
    assert without.result is None  # no density to go back from: no label


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(sorted(CLASSES)), max_size=9), st.integers(1, 9))
def test_whatever_fails_it_ends_and_the_result_is_of_the_standard(
    names: list[str], most: int
) -> None:
    done = heal(STANDARD, failing(*names), max_attempts=most)
    assert len(done.attempts) <= most + 2
    if done.result is not None:
        last = done.attempts[-1]
        assert last.physics == ()
        assert not differences(STANDARD, last.job.input).keys() & PHYSICS


def test_options_for_pools_are_left_out() -> None:
    command = ("mpirun", "-np", "4", "pw.x", "-nk", "4", "-ndiag", "1", "-i")
    assert without_parallel_options(command) == ("mpirun", "-np", "4", "pw.x", "-i")


def history(accuracy: list[float], moments: list[float] | None = None) -> SCF:
    return SCF(accuracy=accuracy, total_moment=moments or [])


@pytest.mark.parametrize(
    ("scf", "setting", "name"),
    [
        (history([]), Setting(), "scf_not_converged"),
        (history([0.1]), Setting(), "scf_not_converged"),
        (history([10 ** (-0.1 * i) for i in range(40)]), Setting(), "scf_not_converged_slow"),
        (history([10 ** (-0.01 * i) for i in range(80)]), Setting(), "scf_not_converged_slow"),
        (history([0.1, 0.5] * 20), Setting(), "scf_not_converged_oscillating"),
        (history([10 ** (0.1 * i) for i in range(30)]), Setting(),
         "scf_not_converged_oscillating"),
        (history([0.1, 0.5] * 20), Setting(25.0, True), "scf_not_converged_sloshing"),
        (history([0.1, 0.5] * 20), Setting(5.0, True), "scf_not_converged_oscillating"),
        (history([0.1, 0.3] * 20, [1.0, -1.0] * 20), Setting(), "scf_not_converged_magnetic"),
        (history([10 ** (-0.1 * i) for i in range(40)], [2.0] * 40), Setting(),
         "scf_not_converged_slow"),
        (history([1e-9, 1.05e-9] * 30), Setting(), "scf_not_converged_stagnant"),
    ],
)  # fmt: skip
def test_histories(scf: SCF, setting: Setting, name: str) -> None:
    assert why_not_converged(scf, setting)[0] == name


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=30),
    st.lists(st.floats(-1e6, 1e6), max_size=30),
)
def test_any_history(accuracy: list[float], moments: list[float]) -> None:
    assert why_not_converged(history(accuracy, moments), Setting(30.0, True))[0] in CLASSES
