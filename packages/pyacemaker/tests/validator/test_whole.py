"""A good potential passes as a whole; a bad one is refused for what is wrong with it."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from ase.neighborlist import neighbor_list

from pyacemaker import ValidationSettings, validate

SIGMA, EPSILON = 3.4, 0.0104
NOT_MD = ("consistency", "short_range", "eos")


class Pairs(Calculator):
    """A sum over pairs of phi(r), given as a function that returns phi and its slope."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, phi, cutoff):
        super().__init__()
        self.phi, self.cutoff = phi, cutoff

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        i, r, vectors = neighbor_list("idD", self.atoms, self.cutoff)
        energies, slopes = self.phi(r)
        pull = (slopes / r)[:, None] * vectors
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, i, pull)
        self.results = {"energy": float(energies.sum() / 2), "forces": forces}
        if self.atoms.cell.rank == 3:
            stress = np.einsum("pa,pb->ab", pull, vectors) / 2 / self.atoms.get_volume()
            self.results["stress"] = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def abrupt(r):
    x = (SIGMA / r) ** 6
    return 4 * EPSILON * (x * x - x), 4 * EPSILON * (6 * x - 12 * x * x) / r


def with_hole(r):
    """The wall with a well in it, deep enough for a barrier outside: smooth, and unsafe."""
    energy, slope = abrupt(r)
    well = -200.0 * np.exp(-(((r - 1.6) / 0.15) ** 2))
    return energy + well, slope - 2 * (r - 1.6) / 0.15**2 * well


@pytest.fixture
def crystal():
    return bulk("Ar", a=5.26)


def test_lennard_jones_of_ase_passes_every_gate(crystal):
    """ASE's default: energy shifted to zero at 3 sigma, forces not."""
    settings = ValidationSettings(md_steps=100, phonon_min_edge_A=10.0)
    verdict = validate(LennardJones(sigma=SIGMA, epsilon=EPSILON), crystal, settings=settings)
    assert verdict.passed, verdict.reasons
    assert [result.name for result in verdict.results][-4:] == [
        "vacancy",
        "surface",
        "thermal_expansion",
        "md_stability",
    ]
    # The untruncated crystal: neighbours at 1.09 sigma, B = 75 epsilon/sigma^3
    # (Ashcroft and Mermin, Solid State Physics, chapter 20).
    bulk_GPa = 75 * EPSILON / SIGMA**3 * 160.2177
    assert verdict.numbers["eos"]["B0_GPa"] == pytest.approx(bulk_GPa, rel=0.06)
    assert verdict.numbers["eos"]["a0_A"] == pytest.approx(1.09 * np.sqrt(2) * SIGMA, rel=0.005)


def test_a_truncated_cutoff_is_named(crystal):
    verdict = validate(Pairs(abrupt, 2.5 * SIGMA), crystal, settings=only(("consistency",)))
    assert "an abrupt cutoff" in verdict.reasons["consistency"]


def test_a_hole_at_short_range_is_named(crystal):
    verdict = validate(Pairs(with_hole, 2.5 * SIGMA), crystal, settings=only(("short_range",)))
    assert "hole" in verdict.reasons["short_range"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("noise", "noise"),
        ("force sign", "the sign is wrong"),
    ],
)
def test_noise_and_a_sign_are_named(crystal, altered, change, words):
    rng = np.random.default_rng(3)

    def spoil(results, atoms):
        if change == "noise":
            results["energy"] = results["energy"] + 1e-3 * len(atoms) * rng.normal()
        else:
            results["forces"] = -results["forces"]

    inner = LennardJones(sigma=SIGMA, epsilon=EPSILON)
    verdict = validate(altered(inner, spoil), crystal, settings=only(("consistency",)))
    assert words in verdict.reasons["consistency"]


def test_all_signs_turned_round(crystal, altered):
    inner = LennardJones(sigma=SIGMA, epsilon=EPSILON)
    turned = altered(inner, lambda r, a: r.update({k: -v for k, v in r.items()}))
    verdict = validate(turned, crystal, settings=only((*NOT_MD, "phonons")))
    assert {"short_range", "eos", "phonons"} == set(verdict.reasons)


def only(gates) -> ValidationSettings:
    return ValidationSettings(gates=gates)
