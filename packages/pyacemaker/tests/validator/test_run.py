"""All gates together, and what they are made with."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from pydantic import ValidationError

import pyacemaker
from pyacemaker.validator.base import CheckResult
from pyacemaker.validator.run import Verdict, make_checks, run_checks, validate
from pyacemaker.validator.settings import GATES, ValidationSettings


def test_set() -> list[Atoms]:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=2)
    atoms.calc = EMT()
    atoms.calc = SinglePointCalculator(
        atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces()
    )
    return [atoms]


test_set.__test__ = False


def test_a_good_potential_is_a_go(emt, copper, quick):
    results = run_checks(make_checks(quick), emt, copper, test_set())
    assert [r.name for r in results] == list(GATES)
    assert Verdict(tuple(results)).passed, [r.reason for r in results]
    for result in results:
        assert "\n" not in result.reason
        assert all(type(v) is float and np.isfinite(v) for v in result.numbers.values())
        assert json.loads(json.dumps(asdict(result), allow_nan=False))["passed"]


def bad_ones(altered, emt):
    rng = np.random.default_rng(1)
    return {
        "noise": altered(emt, lambda r, a: r.update(energy=r["energy"] + 0.01 * rng.normal())),
        "force sign": altered(emt, lambda r, a: r.update(forces=-r["forces"])),
        "energy sign": altered(emt, lambda r, a: r.update(energy=-r["energy"])),
        "all signs": altered(emt, lambda r, a: r.update({k: -v for k, v in r.items()})),
        "nan": altered(emt, lambda r, a: r.update(energy=np.nan)),
        "infinite forces": altered(emt, lambda r, a: r["forces"].fill(np.inf)),
        "zero": altered(emt, lambda r, a: r.update({k: 0 * v for k, v in r.items()})),
        "shape": altered(emt, lambda r, a: r.update(forces=np.zeros(3))),
    }


@pytest.mark.parametrize(
    "name",
    ["noise", "force sign", "energy sign", "all signs", "nan", "infinite forces", "zero", "shape"],
)
def test_bad_potentials_are_no_go_and_never_raise(altered, emt, copper, quick, name):
    small = quick.model_copy(update={"phonon_min_edge_A": 6.0, "relax_max_steps": 30})
    if name not in ("nan", "infinite forces", "shape"):  # those end at once, the others crawl
        slow = ("surface", "thermal_expansion", "md_stability")
        small = small.model_copy(update={"gates": tuple(g for g in GATES if g not in slow)})
    results = run_checks(make_checks(small), bad_ones(altered, emt)[name], copper, test_set())
    assert len(results) == len(small.gates)
    assert not Verdict(tuple(results)).passed
    for result in results:
        assert result.reason
        assert "\n" not in result.reason
        assert "broke down" not in result.reason or "relaxing" in result.reason
        json.dumps(asdict(result), default=lambda a: None, allow_nan=False)


def test_a_calculator_that_raises_anything(copper):
    from ase.calculators.calculator import Calculator, all_changes

    class Raises(Calculator):
        implemented_properties = ("energy", "forces", "stress")

        def calculate(self, atoms=None, properties=None, system_changes=all_changes):
            raise MemoryError("neighbour list\nfull")

    results = run_checks(make_checks(), Raises(), copper, test_set())
    assert not any(result.passed for result in results)
    assert all("MemoryError: neighbour list full" in result.reason for result in results)


def test_a_check_that_breaks_is_a_failed_result(emt, copper):
    class Broken:
        name = "broken"

        def run(self, calculator, structure, test):
            raise ZeroDivisionError("oops")

    (result,) = run_checks([Broken()], emt, copper, [])
    assert not result.passed
    assert result.reason == "the check broke down: ZeroDivisionError: oops"


def test_no_gates_is_no_verdict(emt, copper):
    with pytest.raises(ValueError, match="no gates"):
        run_checks([], emt, copper, [])
    assert not Verdict(()).passed


def test_no_crystal_is_the_users_mistake(emt):
    with pytest.raises(ValueError, match="not periodic"):
        run_checks(make_checks(), emt, Atoms("Cu"), [])


def test_one_failure_is_a_no_go():
    good, bad = CheckResult("a", True, "fine"), CheckResult("b", False, "not")
    assert Verdict((good,)).passed
    both = Verdict((good, bad))
    assert not both.passed
    assert both.reasons == {"b": "not"}
    assert both.failed == (bad,)


def test_the_public_function_takes_a_calculator_and_a_crystal(emt, copper):
    told = []
    settings = ValidationSettings(gates=("eos", "vacancy"))
    verdict = pyacemaker.validate(emt, copper, settings=settings, say=told.append)
    assert verdict.passed, verdict.reasons
    assert [result.name for result in told] == ["eos", "vacancy"]
    assert verdict.numbers["eos"]["B0_GPa"] == pytest.approx(134, abs=10)
    assert json.loads(json.dumps(verdict.as_dict()))["passed"]


def test_without_labels_the_test_error_is_left_out_unless_asked_for(emt, copper):
    asked = ValidationSettings(gates=("test_error",))
    assert not validate(emt, copper, settings=asked).passed
    names = []

    def say(result):
        names.append(result.name)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        validate(emt, copper, say=say)
    assert names == ["consistency"]
    quick = make_checks(ValidationSettings())
    assert [check.name for check in quick][-1] == "test_error"


def test_constraints_and_spins_of_the_structure_do_not_matter(emt, quick):
    from ase.constraints import FixAtoms

    atoms = bulk("Cu", a=3.65)
    atoms.set_constraint(FixAtoms([0]))
    atoms.set_initial_magnetic_moments([1.0])
    (result,) = run_checks(make_checks(ValidationSettings(gates=("eos",))), emt, atoms, [])
    assert result.passed, result.reason
    assert atoms.constraints


def test_gates_can_be_chosen():
    checks = make_checks(ValidationSettings(gates=("test_error", "eos")))
    assert [check.name for check in checks] == ["test_error", "eos"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"gates": ("eos", "eos")}, "named twice"),
        ({"gates": ()}, "at least 1"),
        ({"gates": ("phonon",)}, "phonons"),
        ({"eos_rangee": 0.1}, "eos_rangee"),
        ({"eos_range": 3.0}, "0.3"),
        ({"reference": {"B_GPa": 3.0}}, "did you mean B0_GPa"),
        ({"reference": {"B0_GPa": 0.0}}, "finite"),
        ({"gates": ("eos",), "reference": {"C11_GPa": 100.0}}, "needs the gate elastic"),
        ({"relax_fmax_eV_per_A": 0.01}, "relax_accept_fmax"),
        ({"test_force_rmse_eV_per_A": float("nan")}, "finite"),
    ],
)
def test_bad_settings_are_refused(bad, words):
    with pytest.raises(ValidationError, match=words):
        ValidationSettings(**bad)


def test_settings_are_frozen_and_survive_json():
    settings = ValidationSettings(reference={"C11_GPa": 160.0}, gates=("elastic",))
    assert ValidationSettings.model_validate_json(settings.model_dump_json()) == settings
    with pytest.raises(ValidationError):
        settings.max_atoms = 3


def test_every_field_says_what_it_is():
    for name, field in ValidationSettings.model_fields.items():
        assert field.description, name
