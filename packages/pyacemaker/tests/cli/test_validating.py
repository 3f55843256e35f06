"""`pyacemaker validate` on calculators by name, and what it refuses."""

from __future__ import annotations

import json

import pytest
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

from pyacemaker.cli.app import app

EMT = "ase.calculators.emt.EMT"
QUICK = "consistency,short_range,eos,vacancy"


def run(*arguments):
    return CliRunner().invoke(app, ["validate", *map(str, arguments)])


def test_a_good_potential_is_a_go(tmp_path):
    write(tmp_path / "cu.cif", bulk("Cu", a=3.6, cubic=True))
    output = tmp_path / "verdict.json"
    found = run(
        EMT, "--structure", tmp_path / "cu.cif", "--gates", QUICK, "--output", output, "--json"
    )
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert told["passed"]
    assert [gate["name"] for gate in told["gates"]] == QUICK.split(",")
    assert told["gates"][3]["numbers"]["vacancy_formation_energy_eV"] == pytest.approx(1.2, abs=0.1)
    assert json.loads(output.read_text()) == told


def test_a_bad_one_is_a_no_go_with_its_reason():
    """An abrupt cutoff: Lennard-Jones, not shifted, is not in ASE; a Morse without repulsion is."""
    soft = json.dumps({"epsilon": 1.0, "r0": 2.5, "rho0": 0.5, "rcut1": 4.0, "rcut2": 5.0})
    found = run(
        "ase.calculators.morse.MorsePotential",
        "--element",
        "Cu",
        "--kwargs",
        soft,
        "--gates",
        "short_range",
    )
    assert found.exit_code == 1, found.output
    assert "short_range: NO-GO, the energy of Cu-Cu" in found.stdout
    assert found.stdout.splitlines()[-1] == "NO-GO: short_range"


def test_thresholds_and_references_from_the_command_line():
    found = run(
        EMT, "-e", "Cu", "--gates", "eos", "--reference", "B0_GPa=90", "--set", "eos_points=9"
    )
    assert found.exit_code == 1
    assert "off the reference 90" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no/such/folder", "-e", "Cu"], "no such folder"),
        (["ase.calculators.emt.EMTT", "-e", "Cu"], "has no 'EMTT'"),
        (["ase.calculators.nothing.X", "-e", "Cu"], "no module"),
        ([EMT], "--structure FILE"),
        ([EMT, "-e", "Xx"], "--element Xx"),
        ([EMT, "-e", "Cu", "--gates", "eoss"], "gates"),
        ([EMT, "-e", "Cu", "--set", "eos_points"], "KEY=VALUE"),
        ([EMT, "-e", "Cu", "--set", "eos_pointz=3"], "eos_pointz"),
        ([EMT, "-e", "Cu", "--reference", "B0_GPa=x"], "--reference"),
        ([EMT, "-e", "Cu", "--kwargs", "{"], "no JSON"),
        ([EMT, "-s", "missing.cif"], "cannot be read"),
        ([EMT, "-e", "Cu", "--test", "missing.extxyz"], "cannot be read"),
    ],
)
def test_bad_usage_is_told_in_one_line(arguments, words):
    found = run(*arguments)
    assert found.exit_code == 2, found.output
    assert words in " ".join(found.output.split())
