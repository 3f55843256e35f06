from __future__ import annotations

from pathlib import Path

import pytest

from pyacemaker.potential import Potential, PotentialError
from pyacemaker.potential.lammps import pair_commands
from pyacemaker.trainer.baseline import ZblBaseline, ZblPair


def test_commands_with_gamma(copper):
    potential = Potential.load(copper.potential)
    commands = potential.lammps_commands(["Cu"], gamma=True, plugin_paths=[Path("pace.so")])
    folder = copper.potential.resolve()
    (pair,) = potential.manifest.zbl().pairs
    assert commands == [
        "plugin load pace.so",
        f"pair_style hybrid/overlay pace/extrapolation zbl {pair.inner_A} {pair.outer_A}",
        f"pair_coeff * * pace/extrapolation {folder}/potential.yaml {folder}/potential.asi Cu",
        "pair_coeff 1 1 zbl 29 29",
    ]


def test_commands_without_gamma_take_the_yace(copper):
    commands = Potential.load(copper.potential).lammps_commands(["Cu"], gamma=False)
    assert commands[0].startswith("pair_style hybrid/overlay pace zbl")
    assert commands[1].endswith("potential.yace Cu")


def test_types_in_the_callers_order_and_subsets(alloy):
    potential = Potential.load(alloy.potential)
    commands = potential.lammps_commands(["Cu", "Au"], gamma=True)
    assert commands[1].endswith(" Cu Au")
    pairs = {tuple(c.split()[1:3]): c.split()[3:] for c in commands[2:]}
    assert pairs["1", "1"][-2:] == ["29", "29"]
    assert pairs["1", "2"][-2:] == ["29", "79"]
    # Each pair names the zbl sub-style that has its radii.
    styles = commands[0].split(" zbl ")[1:]
    for pair in potential.manifest.zbl().pairs:
        numbers = {"Cu": "1", "Au": "2"}
        key = tuple(sorted(numbers[e] for e in pair.elements))
        assert pairs[key][0] == "zbl"
        assert styles[int(pairs[key][1]) - 1].split() == [str(pair.inner_A), str(pair.outer_A)]
    alone = potential.lammps_commands(["Au"], gamma=True)
    assert len(alone) == 3 and alone[2] == "pair_coeff 1 1 zbl 79 79"


def test_two_types_of_one_element(copper):
    commands = Potential.load(copper.potential).lammps_commands(["Cu", "Cu"], gamma=True)
    assert [c.split()[1:3] for c in commands[2:]] == [["1", "1"], ["1", "2"], ["2", "2"]]


def test_refusals(copper):
    potential = Potential.load(copper.potential)
    with pytest.raises(PotentialError, match="does not know Au"):
        potential.lammps_commands(["Cu", "Au"], gamma=True)
    with pytest.raises(PotentialError, match="at least one atom type"):
        potential.lammps_commands([], gamma=True)


def test_awkward_paths_are_quoted():
    baseline = ZblBaseline((ZblPair(("Cu", "Cu"), 1.0, 2.0),))
    commands = pair_commands(["Cu"], baseline, "pace", ["a folder/p.yace"])
    assert '"a folder/p.yace"' in commands[1]
    with pytest.raises(PotentialError, match="quote"):
        pair_commands(["Cu"], baseline, "pace", ['a"b'])


def test_no_baseline_is_plain_overlay():
    commands = pair_commands(["Cu"], ZblBaseline(()), "pace", ["p.yace"])
    assert commands == ["pair_style hybrid/overlay pace", "pair_coeff * * pace p.yace Cu"]


def test_snippet_is_relocatable(copper):
    text = (copper.potential / "in.potential.lmp").read_text()
    assert "variable potential_dir index ." in text
    assert "pair_coeff * * pace ${potential_dir}/potential.yace Cu" in text
    assert str(copper.potential) not in text
