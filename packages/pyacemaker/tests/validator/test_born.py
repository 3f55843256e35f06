"""Born criteria: published tensors are stable, broken ones are refused by name."""

import numpy as np
import pytest

from pyacemaker.validator.born import (
    INDEPENDENT,
    born_criteria,
    laue_class,
    lowest_eigenvalue,
    softest_strain,
)


def tensor(**constants: float) -> np.ndarray:
    C = np.zeros((6, 6))
    for key, value in constants.items():
        i, j = int(key[1]) - 1, int(key[2]) - 1
        C[i, j] = C[j, i] = value
    return C


def shaped(laue: str, c: dict[str, float]) -> np.ndarray:
    """Fill the dependent components of a tensor in the standard frame."""
    C = tensor(**c)

    def put(i: int, j: int, value: float) -> None:
        C[i - 1, j - 1] = C[j - 1, i - 1] = value

    if laue == "cubic":
        for i, j, key in ((2, 2, "C11"), (3, 3, "C11"), (1, 3, "C12"), (2, 3, "C12")):
            put(i, j, c[key])
        put(5, 5, c["C44"])
        put(6, 6, c["C44"])
    elif laue not in ("orthorhombic", "monoclinic", "triclinic"):
        put(2, 2, c["C11"])
        put(2, 3, c["C13"])
        put(5, 5, c["C44"])
        if laue in ("hexagonal", "rhombohedral I", "rhombohedral II"):
            put(6, 6, (c["C11"] - c["C12"]) / 2)
        if "C16" in c:
            put(2, 6, -c["C16"])
        if "C14" in c:
            put(2, 4, -c["C14"])
            put(5, 6, c["C14"])
        if "C15" in c:
            put(2, 5, -c["C15"])
            put(4, 6, -c["C15"])
    return C


# Measured constants in GPa: Cu, Mg, TiO2 (rutile), CaWO4, alpha-quartz, dolomite, forsterite,
# diopside (Levien et al. 1979), albite (Brown et al. 2006).
PUBLISHED = {
    "cubic": {"C11": 168.4, "C12": 121.4, "C44": 75.4},
    "hexagonal": {"C11": 59.5, "C12": 26.1, "C13": 21.8, "C33": 61.6, "C44": 16.4},
    "tetragonal I": {
        "C11": 271.0,
        "C12": 178.0,
        "C13": 149.6,
        "C33": 484.0,
        "C44": 124.4,
        "C66": 194.8,
    },
    "tetragonal II": {
        "C11": 145.9,
        "C12": 62.6,
        "C13": 39.2,
        "C16": -19.2,
        "C33": 127.4,
        "C44": 33.5,
        "C66": 38.7,
    },
    "rhombohedral I": {
        "C11": 86.8,
        "C12": 7.0,
        "C13": 19.1,
        "C14": -18.0,
        "C33": 105.8,
        "C44": 58.2,
    },
    "rhombohedral II": {
        "C11": 205.0,
        "C12": 71.0,
        "C13": 57.4,
        "C14": -19.5,
        "C15": 13.7,
        "C33": 113.0,
        "C44": 39.8,
    },
    "orthorhombic": {
        "C11": 328.0,
        "C22": 200.0,
        "C33": 235.0,
        "C44": 67.0,
        "C55": 81.0,
        "C66": 81.0,
        "C12": 69.0,
        "C13": 69.0,
        "C23": 73.0,
    },
    "monoclinic": {
        "C11": 223.0,
        "C22": 171.0,
        "C33": 235.0,
        "C44": 74.0,
        "C55": 67.0,
        "C66": 66.0,
        "C12": 77.0,
        "C13": 81.0,
        "C23": 57.0,
        "C15": 17.0,
        "C25": 7.0,
        "C35": 43.0,
        "C46": 7.3,
    },
    "triclinic": {
        "C11": 69.9,
        "C22": 183.5,
        "C33": 179.5,
        "C44": 24.9,
        "C55": 26.8,
        "C66": 33.5,
        "C12": 34.0,
        "C13": 30.8,
        "C14": 5.1,
        "C15": -2.4,
        "C16": -0.9,
        "C23": 5.5,
        "C24": -3.9,
        "C25": -7.7,
        "C26": -5.8,
        "C34": -8.7,
        "C35": 7.1,
        "C36": -9.8,
        "C45": -2.4,
        "C46": -7.2,
        "C56": 0.5,
    },
}

BROKEN = [
    ("cubic", {"C12": 180.0}, "C11 - C12 > 0"),
    ("cubic", {"C12": -100.0}, "C11 + 2 C12 > 0"),
    ("cubic", {"C44": -1.0}, "C44 > 0"),
    ("hexagonal", {"C13": 60.0}, "C33 (C11 + C12) - 2 C13^2 > 0"),
    ("hexagonal", {"C12": 60.0}, "C11 - |C12| > 0"),
    ("tetragonal I", {"C66": -3.0}, "C66 > 0"),
    ("tetragonal I", {"C13": 340.0}, "C33 (C11 + C12) - 2 C13^2 > 0"),
    ("tetragonal II", {"C16": 45.0}, "C66 (C11 - C12) - 2 C16^2 > 0"),
    ("rhombohedral I", {"C14": 50.0}, "C44 (C11 - C12) - 2 C14^2 > 0"),
    ("rhombohedral II", {"C15": 50.0}, "C44 (C11 - C12) - 2 C14^2 - 2 C15^2 > 0"),
    ("orthorhombic", {"C12": 300.0}, "C11 C22 - C12^2 > 0"),
    ("orthorhombic", {"C23": -250.0}, "det of C11 ... C33 > 0"),
    ("orthorhombic", {"C55": -1.0}, "C55 > 0"),
    ("monoclinic", {"C46": 80.0}, "C44 C66 - C46^2 > 0"),
    ("monoclinic", {"C35": 140.0}, "det of the block 1, 2, 3, 5 > 0"),
    ("triclinic", {"C56": 40.0}, "leading minor of order 6 > 0"),
]


@pytest.mark.parametrize("laue", PUBLISHED)
def test_published_tensors_are_stable(laue):
    assert set(PUBLISHED[laue]) == set(INDEPENDENT[laue])
    C = shaped(laue, PUBLISHED[laue])
    assert all(item.holds for item in born_criteria(C, laue))
    assert lowest_eigenvalue(C) > 0


@pytest.mark.parametrize(("laue", "change", "name"), BROKEN)
def test_a_broken_tensor_names_its_criterion(laue, change, name):
    C = shaped(laue, PUBLISHED[laue] | change)
    assert name in [item.name for item in born_criteria(C, laue) if not item.holds]
    assert lowest_eigenvalue(C) < 0


@pytest.mark.parametrize("laue", PUBLISHED)
def test_criteria_are_necessary_and_sufficient(laue):
    """On random tensors of each form they agree with the eigenvalues, both ways."""
    rng = np.random.default_rng(3)
    seen = {True: 0, False: 0}
    for _ in range(400):
        spread = rng.uniform(0.1, 1.5)
        constants = {
            key: value * (1 + spread * rng.normal()) for key, value in PUBLISHED[laue].items()
        }
        C = shaped(laue, constants)
        stable = lowest_eigenvalue(C) > 0
        assert all(item.holds for item in born_criteria(C, laue)) == stable
        seen[bool(stable)] += 1
    assert min(seen.values()) > 20


def test_softest_strain_of_a_shear_instability():
    C = shaped("cubic", {"C11": 168.4, "C12": 121.4, "C44": 75.4})
    C[4, 4] = -10.0
    strain = softest_strain(C)
    assert np.allclose(np.abs(strain), [[0, 0, 0.5**0.5], [0, 0, 0], [0.5**0.5, 0, 0]], atol=1e-9)


def test_kelvin_eigenvalue_of_pure_shear_is_twice_c44():
    C = shaped("cubic", {"C11": 500.0, "C12": 0.0, "C44": 3.0})
    assert lowest_eigenvalue(C) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("group", "laue"),
    [
        (1, "triclinic"), (2, "triclinic"), (3, "monoclinic"), (14, "monoclinic"),
        (16, "orthorhombic"), (62, "orthorhombic"), (75, "tetragonal II"), (88, "tetragonal II"),
        (89, "tetragonal I"), (136, "tetragonal I"), (141, "tetragonal I"),
        (143, "rhombohedral II"), (148, "rhombohedral II"), (152, "rhombohedral I"),
        (167, "rhombohedral I"), (168, "hexagonal"), (194, "hexagonal"), (195, "cubic"),
        (227, "cubic"),
    ],
)  # fmt: skip
def test_laue_class_of_a_space_group(group, laue):
    assert laue_class(group) == laue


def test_no_such_space_group():
    with pytest.raises(ValueError, match="231"):
        laue_class(231)
