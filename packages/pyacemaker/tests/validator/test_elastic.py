"""Elastic tensors against published ones, matcalc and the energy's curvature."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT

from pyacemaker.provenance import provenance_of
from pyacemaker.validator.elastic import ElasticCheck, elastic_tensor, strained, unit_strain
from pyacemaker.validator.relax import relax
from pyacemaker.validator.settings import ValidationSettings

SETTINGS = ValidationSettings()


def run(calculator, structure, **settings):
    return ElasticCheck(ValidationSettings(**settings)).run(calculator, structure, [])


def test_silicon_of_tersoff(tersoff_silicon):
    """T2: C11, C12, C44 = 121.7, 85.8, 10.3 GPa (Balamane et al., PRB 46, 2250 (1992)).

    C44 is 92.3 GPa with the ions clamped: internal strain is nearly all of it.
    """
    result = run(tersoff_silicon, bulk("Si"))
    assert result.passed, result.reason
    assert result.numbers["C11_GPa"] == pytest.approx(121.7, abs=0.3)
    assert result.numbers["C12_GPa"] == pytest.approx(85.8, abs=0.3)
    assert result.numbers["C44_GPa"] == pytest.approx(10.3, abs=0.2)
    assert result.numbers["bulk_modulus_deviation_relative"] == pytest.approx(0, abs=0.02)
    assert result.series["crystal_system"] == "cubic"
    assert np.shape(result.series["elastic_tensor_GPa"]) == (6, 6)
    assert "Fd-3m" in result.reason


def test_the_way_the_crystal_lies_makes_no_difference(tersoff_silicon):
    turned = bulk("Si")
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    relaxed = relax(turned, tersoff_silicon)
    C = elastic_tensor(relaxed, tersoff_silicon, SETTINGS).C_GPa
    assert C[0, 0] == pytest.approx(121.7, abs=0.3)
    assert C[3, 3] == pytest.approx(10.3, abs=0.2)
    assert np.abs(C[:3, 3:]).max() < 0.05


@pytest.mark.filterwarnings("ignore:Elastic strain-stress")  # R2 of components that are zero
def test_agrees_with_matcalc_whose_unit_is_another(emt):
    from matcalc import ElasticityCalc

    relaxed = relax(bulk("Cu"), emt)
    mine = elastic_tensor(relaxed, emt, SETTINGS).C_GPa
    atoms = relaxed.atoms.copy()
    # Strains as small as ours: with its defaults (6 % shear) EMT's C44 comes out otherwise.
    found = ElasticityCalc(
        EMT(), norm_strains=(-0.004, 0.004), shear_strains=(-0.004, 0.004), relax_structure=False
    ).calc(atoms)
    theirs = np.array(found["elastic_tensor"].voigt) / units.GPa  # eV/angstrom^3 by default
    assert found["_units"]["elastic_tensor"] == "eV/A^3"
    frame = np.allclose(atoms.cell.array, bulk("Cu").cell.array * atoms.cell[0, 1] / 1.805)
    assert frame  # matcalc keeps the crystal's own frame: here the standard one
    assert np.allclose(mine, theirs, atol=1.0)


def cuau() -> Atoms:
    """L1_0 CuAu: tetragonal, every atom on an inversion centre, so that no ion moves."""
    return Atoms(
        "CuAu", scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=[2.8, 2.8, 3.7], pbc=True
    )


def test_voigt_order_and_shear_convention_by_the_energy(emt):
    """C_ii = (1/V) d2E/de_i2 with engineering shear, xx yy zz yz xz xy."""
    relaxed = relax(cuau(), emt)
    found = elastic_tensor(relaxed, emt, SETTINGS)
    assert found.frame.laue == "tetragonal I"
    h, V = 0.002, relaxed.atoms.get_volume()

    def energy(strain):
        atoms = strained(relaxed.atoms, strain)
        atoms.calc = emt
        return atoms.get_potential_energy()

    for mode in range(6):
        e = h * unit_strain(mode)
        curvature = (energy(e) - 2 * energy(0 * e) + energy(-e)) / h**2 / V / units.GPa
        assert found.C_GPa[mode, mode] == pytest.approx(curvature, rel=0.01)
    C = found.C_GPa
    assert abs(C[3, 3] - C[5, 5]) > 1  # so that a swap of yz and xy would show
    assert C[3, 3] == pytest.approx(C[4, 4])
    assert abs(C[0, 0] - C[2, 2]) > 1


def test_a_tetragonal_crystal_passes_with_its_own_criteria(emt):
    result = run(emt, cuau())
    assert result.passed, result.reason
    assert "C66 > 0, GPa" in [row["criterion"] for row in result.series["born_criteria"]]
    assert {"C13_GPa", "C33_GPa", "C66_GPa"} <= set(result.numbers)
    assert (
        result.numbers["bulk_modulus_reuss_GPa"]
        <= result.numbers["bulk_modulus_vrh_GPa"]
        <= result.numbers["bulk_modulus_voigt_GPa"]
    )


@pytest.mark.parametrize(
    ("structure", "a", "criterion"), [("sc", 3.7, "C44 > 0"), ("bcc", 4.2, "C11 - C12 > 0")]
)
def test_unstable_crystals_are_refused_by_their_criterion(argon_potential, structure, a, criterion):
    result = run(argon_potential, bulk("Ar", structure, a=a))
    assert not result.passed
    assert f"Born criterion violated: {criterion}" in result.reason
    assert "mechanically unstable (cubic)" in result.reason
    assert result.numbers["lowest_eigenvalue_GPa"] < 0
    assert [row["criterion"] for row in result.series["born_criteria"] if not row["passed"]] == [
        f"{criterion}, GPa"
    ]
    assert result.failure_structures


def test_failure_structures_lie_along_the_unstable_strain(argon_potential):
    """The crystal lowers its energy by that strain, whichever way it lies."""
    turned = bulk("Ar", "sc", a=3.7)
    turned.rotate(25, (3, -1, 2), rotate_cell=True)
    result = run(argon_potential, turned)
    relaxed = relax(turned, argon_potential)
    for atoms in result.failure_structures:
        atoms.calc = argon_potential
        assert atoms.get_potential_energy() < relaxed.energy_eV
        assert provenance_of(atoms)["generator"] == "validator.elastic"
    assert len(result.failure_structures) == 6


def test_noise_in_the_stress_is_refused(emt, copper, altered):
    def noisy(results, atoms):
        # a deterministic ripple far finer than the strains
        results["stress"] = results["stress"] + 3e-3 * np.sin(3e4 * atoms.get_volume())

    result = run(altered(emt, noisy), copper, relax_accept_fmax_eV_per_A=0.1)
    assert not result.passed
    assert "no smooth function of strain" in result.reason


def test_a_stress_that_breaks_the_crystals_symmetry(emt, copper, altered):
    def skewed(results, atoms):
        results["stress"][0] *= 1.3

    result = run(altered(emt, skewed), copper)
    assert not result.passed
    assert "off the form of Fm-3m" in result.reason


def test_bulk_modulus_must_agree_with_the_equation_of_state(emt, copper, altered):
    result = run(altered(emt, lambda r, a: r.update(stress=r["stress"] * 0.7)), copper)
    assert not result.passed
    assert "of the equation of state (10 % allowed)" in result.reason


def test_nan(emt, copper, altered):
    result = run(altered(emt, lambda r, a: r["stress"].fill(np.nan)), copper)
    assert not result.passed
    assert "stress of Cu is not finite" in result.reason


def test_no_stress_is_named(copper):
    from ase.calculators.calculator import Calculator

    class OnlyForces(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            self.results = {"energy": 0.0, "forces": np.zeros((len(self.atoms), 3))}

    result = run(OnlyForces(), copper)
    assert not result.passed
    assert "PropertyNotImplementedError" in result.reason


def test_reference(emt, copper):
    result = run(emt, copper, reference={"C11_GPa": 300.0}, reference_tolerance=0.2)
    assert not result.passed
    assert "C11_GPa = 172.6 is -42 % off the reference 300" in result.reason
