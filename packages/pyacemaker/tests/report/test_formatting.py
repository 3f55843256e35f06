import pytest

from pyacemaker.report.formatting import count, duration, fixed, name_and_unit, number, plural


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (None, 3, "–"),
        (float("nan"), 3, "–"),
        (0.0, 3, "0"),
        (98.43, 3, "98.4"),
        (98.43, 2, "98"),
        (2016.4, 3, "2016"),
        (-0.01234, 2, "−0.012"),
        (1.5e-7, 2, "1.5 × 10⁻⁷"),
        (-2e12, 1, "−2 × 10¹²"),
    ],
)
def test_number(value: float | None, digits: int, text: str) -> None:
    assert number(value, digits) == text


def test_fixed_has_no_negative_zero() -> None:
    assert fixed(-0.0004, 2) == "0.00"
    assert fixed(-1.237, 2) == "−1.24"
    assert fixed(None, 2) == "–"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.42, "0.42 s"),
        (9.99, "10 s"),
        (59.7, "60 s"),
        (192, "3 min 12 s"),
        (7500, "2 h 05 min"),
        (200_000, "2 d 08 h"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_names_counts_and_plurals() -> None:
    assert name_and_unit("energy_rmse_eV_per_atom") == ("energy rmse", "eV/atom")
    assert name_and_unit("C11_GPa") == ("C11", "GPa")
    assert name_and_unit("B0_prime") == ("B0 prime", "")
    assert count(12345) == "12\u2009345"
    assert plural(1, "label") == "1 label"
    assert plural(2, "entry", "entries") == "2 entries"
