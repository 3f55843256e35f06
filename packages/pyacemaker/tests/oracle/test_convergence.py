"""The convergence study: on a made-up convergence whose answer is known, and on real silicon."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa

from pyacemaker.oracle.base import Label, OracleError
from pyacemaker.oracle.convergence import (
    DFTSettings,
    Tolerances,
    ladder,
    parameters_of,
    study,
    study_structures,
)
from pyacemaker.oracle.espresso.oracle import EspressoOracle
from pyacemaker.oracle.settings import EspressoSettings

SILICON = EspressoSettings(ecutwfc_Ry=20, ecutrho_Ry=80, kspacing_per_A=0.3)


def decaying(settings: DFTSettings, structures: Sequence[Atoms]) -> list[Label]:
    """Errors that halve with every 4 Ry and go with the cube of the k-spacing."""
    assert isinstance(settings, EspressoSettings)
    wrong = 2 ** (-(settings.ecutwfc_Ry - 12) / 4) + settings.kspacing_per_A**3
    labels = []
    for n, given in enumerate(structures):
        atoms = given.copy()
        forces = np.zeros((len(atoms), 3))
        if n == 2:
            forces[0], forces[1] = 0.1 * wrong, -0.1 * wrong
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=-100 + len(atoms) * 0.01 * wrong * n,
            forces=forces,
            stress=np.full(6, wrong * GPa),
        )
        labels.append(Label(atoms, {}, {"wall_s": 1.0}))
    return labels


def test_the_coarsest_value_within_the_tolerances_is_found() -> None:
    told = []
    found = study(
        SILICON,
        study_structures(bulk("Si"), 1),
        decaying,
        Tolerances(force_eV_per_A=0.02, stress_GPa=0.2, energy_meV_per_atom=4.0),
        told.append,
    )
    # 2^-1.5 - 2^-4.5 = 0.31 GPa at 18 Ry, 2^-2 - 2^-4.5 = 0.206 at 20, 0.08 at 24
    assert found.found["ecutwfc_Ry"] == 24
    kspacing = found.found["kspacing_per_A"]
    assert kspacing is not None
    assert kspacing**3 - 0.195**3 < 0.2 < (1.3 * kspacing) ** 3
    assert found.found["degauss_Ry"] == 0.04  # it makes no difference here
    assert found.converged
    assert [(row.value, row.is_reference) for row in told[:3]] == [
        (30, True),
        (24, False),
        (20, False),
    ]
    by_parameter = [row.parameter for row in found.rows]
    assert by_parameter == sorted(by_parameter, key=parameters_of(SILICON).index)


def test_a_tolerance_out_of_reach_finds_nothing() -> None:
    structures = study_structures(bulk("Si"), 1)
    allowed = Tolerances(1e-9, 1e-9, 1e-9)
    found = study(SILICON, structures, decaying, allowed)
    assert found.found["ecutwfc_Ry"] is None
    assert not found.converged
    assert found.next_values()["ecutwfc_Ry"] == 30  # the ladder round it reaches 45 Ry
    said = found.advice(allowed)[0]
    # 2^-3 - 2^-4.5 = 0.0808 GPa at 24 Ry
    for words in (
        "at 24, against 30",
        "stress 0.0808 GPa (allowed 1e-09)",
        "oracle.ecutwfc_Ry: 30",
    ):
        assert words in said


def test_a_label_that_fails_is_not_converged_but_the_finest_must_not_fail() -> None:
    structures = study_structures(bulk("Si"), 1)

    def fails(below_Ry: float) -> object:
        def compute(settings: DFTSettings, given: Sequence[Atoms]) -> list[Label]:
            assert isinstance(settings, EspressoSettings)
            if settings.ecutwfc_Ry < below_Ry:
                raise OracleError("no")
            return decaying(settings, given)

        return compute

    found = study(SILICON, structures, fails(20), Tolerances(1, 100, 1000))  # type: ignore[arg-type]
    assert found.found["ecutwfc_Ry"] == 20
    assert found.rows[0].problem == "no"
    with pytest.raises(OracleError):
        study(SILICON, structures, fails(1000), Tolerances())  # type: ignore[arg-type]


def test_no_mesh_is_computed_twice_and_one_atom_is_doubled() -> None:
    structures = study_structures(bulk("Al"), 1)
    assert [len(a) for a in structures] == [2, 2, 2]
    assert np.abs(structures[2].positions - structures[0].positions).max() > 0.01
    assert structures[1].get_volume() == pytest.approx(0.96**3 * structures[0].get_volume())
    values = ladder("kspacing_per_A", SILICON, study_structures(bulk("Si"), 1))
    assert values == sorted(values, reverse=True)
    large = study_structures(bulk("Si", cubic=True) * 4, 1)  # one mesh at every usual spacing
    coarse = SILICON.model_copy(update={"kspacing_per_A": 1.0})
    assert len(ladder("kspacing_per_A", coarse, large)) == 3
    assert ladder("ecutwfc_Ry", SILICON, structures) == [12, 15, 18, 20, 24, 30]
    plain = SILICON.model_copy(update={"smearing": "none"})
    assert "degauss_Ry" not in parameters_of(plain)


@pytest.mark.real
def test_errors_of_real_silicon_fall_with_the_cutoff(tmp_path: Path) -> None:
    settings = EspressoSettings(ecutwfc_Ry=12, ecutrho_Ry=48, kspacing_per_A=1.2, smearing="none")

    def compute(chosen: DFTSettings, structures: Sequence[Atoms]) -> list[Label]:
        assert isinstance(chosen, EspressoSettings)
        name = f"{chosen.ecutwfc_Ry}-{chosen.kspacing_per_A}"
        return [
            EspressoOracle(chosen).label(atoms, tmp_path / f"{name}-{n}")
            for n, atoms in enumerate(structures)
        ]

    structures = study_structures(bulk("Si", a=5.43), 1)
    found = study(settings, structures, compute, Tolerances(0.5, 6.0, 100.0))
    rows = [row for row in found.rows if row.parameter == "ecutwfc_Ry"]
    errors = [row.stress_error_GPa for row in rows if row.stress_error_GPa is not None]
    assert errors[-1] < errors[0]
    assert found.found["ecutwfc_Ry"] is not None
