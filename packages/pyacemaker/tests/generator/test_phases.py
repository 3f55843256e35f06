"""Candidates for the stable phases of several elements."""

from __future__ import annotations

import pytest

from pyacemaker.generator.base import GeneratorError
from pyacemaker.generator.contact import ORDINARY_CONTACT, closest_contact
from pyacemaker.generator.phases import candidate_phases, formula_of, phase_name
from pyacemaker.provenance import provenance_of


def test_two_metals_have_their_own_crystals_and_compounds_over_the_whole_range() -> None:
    found = {c.name: c for c in candidate_phases(["Cu", "Au"], 8)}
    assert {"fcc Cu", "bcc Cu", "hcp Au", "l1_0 AuCu", "l1_2 AuCu3", "l1_2 Au3Cu"} <= set(found)
    shares = {c.atoms.get_chemical_symbols().count("Au") / len(c.atoms) for c in found.values()}
    assert {0.0, 0.25, 0.5, 0.75, 1.0} <= shares
    assert found["fcc Cu"].measured and found["l1_0 AuCu"].measured
    assert not found["bcc Cu"].measured and not found["l1_2 Au3Cu"].measured
    for candidate in found.values():
        assert len(candidate.atoms) <= 8
        assert closest_contact(candidate.atoms) > ORDINARY_CONTACT
        assert phase_name(candidate.atoms) == candidate.name
        assert provenance_of(candidate.atoms)["generator"] == "phase"


def test_an_oxide_keeps_to_the_formula_in_which_charges_balance() -> None:
    found = candidate_phases(["Ti", "O"], 8)
    assert {c.formula for c in found} == {"TiO2"}
    assert found[0].name == "rutile TiO2" and found[0].measured
    assert {"anatase TiO2", "fluorite TiO2"} <= {c.name for c in found}
    assert "Ti2O3" in {c.formula for c in candidate_phases(["Ti", "O"], 10)}


def test_compositions_given_are_the_only_compounds() -> None:
    found = candidate_phases(["Cu", "Au"], 8, ["Au2Cu6"])
    compounds = {c.formula for c in found if len(set(c.atoms.numbers)) > 1}
    assert compounds == {"AuCu3"}
    assert {"Cu", "Au"} <= {c.formula for c in found}
    assert {c.formula for c in candidate_phases(["Ti", "O"], 8, ["TiO"])} == {"TiO"}


@pytest.mark.parametrize(("formula", "why"), [("x9", "no formula"), ("AlCu", "Al, which is not")])
def test_a_wrong_composition_is_refused(formula: str, why: str) -> None:
    with pytest.raises(GeneratorError, match=why):
        candidate_phases(["Cu", "Au"], 8, [formula])


def test_a_formula_does_not_depend_on_the_order() -> None:
    assert formula_of(["O", "Ti", "O", "O", "Ti", "O"]) == formula_of(["Ti", "O", "O"]) == "TiO2"
