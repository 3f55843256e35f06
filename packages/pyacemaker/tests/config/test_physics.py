"""The rules about the elements, against what is known of real materials."""

from __future__ import annotations

import re

import pytest
from ase import Atoms
from ase.data import chemical_symbols
from ase.neighborlist import neighbor_list

from pyacemaker.config import defaults
from pyacemaker.config.physics import (
    estimate_melting,
    guess_magnetization,
    guess_metallic,
    neighbour_distance,
    neutral_formula,
    pair_distance,
    reference_cell,
)

METALS = "Al Cu Fe Ti Na W Sn Bi Po As Sb Hg|Ni Ti|Cu Zr|Al Si|Ti N|Ti C|Fe Si|Pd H|Mg B|W C"
INSULATORS = (
    "Si Ge C B P S Te Ar|Na Cl|Mg O|Ti O|Al O|Ga As|Si C|B N|Zn S|Cd Te|Li H|Ga N|Si O|Ca F|"
    "Sr Ti O|Li Fe P O|H O|Bi Te|In Sb|Li F"
)


@pytest.mark.parametrize(
    ("text", "metallic"), [(METALS, True), (INSULATORS, False)], ids=["metals", "insulators"]
)
def test_metal_or_insulator(text: str, metallic: bool) -> None:
    first, *others = text.split("|")
    for elements in [*([one] for one in first.split()), *(other.split() for other in others)]:
        guess = guess_metallic(elements)
        assert guess.value is metallic, (elements, guess)
        assert guess_metallic(elements[::-1]).value is metallic
        assert any(element in guess.why for element in elements)


# CRC Handbook of Chemistry and Physics: melting (or sublimation) points in K.
MELTING = {
    "Na Cl": 1074,
    "Mg O": 3098,
    "Ti O": 2116,
    "Al O": 2327,
    "Ga As": 1511,
    "Si C": 3100,
    "Li F": 1121,
    "Si O": 1986,
    "Zn O": 2247,
    "Zr O": 2983,
    "Ti C": 3340,
    "K Br": 1007,
    "Cs I": 905,
    "Ca F": 1691,
    "Ni Ti": 1583,
    "Al N": 3270,
    "Zn S": 1973,
    "Li H": 965,
}


@pytest.mark.parametrize(("elements", "measured"), MELTING.items())
def test_melting_estimate_is_good_to_a_factor_of_two(elements: str, measured: float) -> None:
    estimate = estimate_melting(elements.split())
    assert 0.5 < estimate.value / measured < 2.0, estimate


def test_melting_of_an_element_is_the_measured_one() -> None:
    assert estimate_melting(["Si"]).value == pytest.approx(1687)
    assert estimate_melting(["Cu"]).value == pytest.approx(1357.8, abs=1)
    assert estimate_melting(["H", "O"]).value == 250.0
    formula = {"Fe": 3, "C": 1}
    assert estimate_melting(["Fe", "C"], formula).value < estimate_melting(["Fe", "C"]).value


def test_temperatures_and_steps() -> None:
    assert defaults.temperatures(["Si"]).value == (510, 1010, 1520)
    assert "1687 K" in defaults.temperatures(["Si"]).why
    assert defaults.temperatures(["Ar"]).value[0] > 0
    steps = {"H O": 0.5, "Li": 1.0, "C": 1.0, "Ti O": 1.0, "Si": 2.0, "Cu": 2.0}
    for elements, step in steps.items():
        assert defaults.timestep_fs(elements.split()).value == step


def test_formulas_are_neutral() -> None:
    expected = {
        "Ti O": {"Ti": 1, "O": 2},
        "O Ti": {"O": 2, "Ti": 1},
        "Na Cl": {"Na": 1, "Cl": 1},
        "Al O": {"Al": 2, "O": 3},
        "Ga As": {"Ga": 1, "As": 1},
        "Sr Ti O": {"Sr": 1, "Ti": 1, "O": 3},
        "Ni Ti": None,
        "Ar O": None,
    }
    for elements, formula in expected.items():
        assert neutral_formula(elements.split()) == formula, elements


def test_spin_for_magnetic_elements_only() -> None:
    assert guess_magnetization(["Si", "Cu", "Al", "O", "Ti"]).value == {}
    found = guess_magnetization(["Fe", "O"])
    assert set(found.value) == {"Fe"}
    assert "3 mu_B" in found.why
    for symbol in ("Cr", "Mn", "Fe", "Co", "Ni", "Gd"):
        assert 0 < guess_magnetization([symbol]).value[symbol] <= 1
    # 16 valence electrons of iron: the start lies above the measured 2.2 mu_B
    assert 2.2 < found.value["Fe"] * 16 < 5


def _shortest(atoms: Atoms) -> float:
    return float(neighbor_list("d", atoms, 6.0).min())


def test_neighbour_distances_are_those_of_the_crystals() -> None:
    measured = {"Si": 2.352, "Cu": 2.553, "Fe": 2.482, "C": 1.545, "Al": 2.864, "Mg": 3.197}
    for symbol, distance in measured.items():
        assert neighbour_distance(symbol) == pytest.approx(distance, rel=0.01)
    for symbol in chemical_symbols[1:93]:
        if (cell := reference_cell(symbol)) is not None:
            assert neighbour_distance(symbol) == pytest.approx(_shortest(cell))
    for pair, distance in {"Na Cl": 2.82, "Mg O": 2.11, "Ga As": 2.45, "Ti O": 1.95}.items():
        first, second = pair.split()
        assert pair_distance(first, second) == pytest.approx(distance, rel=0.05)
        assert pair_distance(first, second) == pair_distance(second, first)


def test_reach_and_size_of_the_potential() -> None:
    assert defaults.cutoff(["Si"]).value == pytest.approx(2.5 * 2.35, abs=0.05)
    for symbol in chemical_symbols[1:93]:
        cutoff = defaults.cutoff([symbol]).value
        assert 4.5 <= cutoff <= 7.0
        assert cutoff > neighbour_distance(symbol)
    sizes = [defaults.functions_per_element(["Si", "O", "H", "Al"][:n]).value for n in (1, 2, 3)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_metals_are_sampled_more_densely() -> None:
    assert defaults.kspacing(True).value < defaults.kspacing(False).value
    assert defaults.degauss(True).value > defaults.degauss(False).value
    assert (defaults.smearing(True).value, defaults.smearing(False).value) == ("mv", "gauss")


def test_costly_labels_get_smaller_cells_and_smaller_budgets() -> None:
    for rule in (defaults.md_atoms, defaults.label_atoms, defaults.failure_atoms):
        assert rule("espresso").value < rule("ase").value
        assert rule("rootstock").value == rule("ase").value
    assert defaults.labels(["Si"], "espresso").value == 150
    assert defaults.labels(["Si"], "espresso").value < defaults.labels(["Si"], "ase").value
    assert defaults.initial_labels(["Si"]).value < defaults.initial_labels(["Si", "O"]).value
    assert defaults.workers().value >= 1


def test_no_rule_is_without_words() -> None:
    rules = [
        defaults.temperatures(["Ti", "O"]),
        defaults.timestep_fs(["Ti", "O"]),
        defaults.cutoff(["Ti", "O"]),
        defaults.functions_per_element(["Ti", "O"]),
        guess_magnetization(["Ti", "O"]),
        guess_metallic(["Ti", "O"]),
    ]
    for rule in rules:
        assert re.search(r"[a-z]{4}", rule.why), rule
