"""Numbers, times and names as a reader wants them."""

from __future__ import annotations

import math

MISSING = "–"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_UNIT_SUFFIXES = (
    ("_eV_per_atom", "eV/atom"),
    ("_meV_per_atom", "meV/atom"),
    ("_eV_per_A3", "eV/Å³"),
    ("_A3_per_atom", "Å³/atom"),
    ("_eV_per_A", "eV/Å"),
    ("_GPa", "GPa"),
    ("_THz", "THz"),
    ("_meV", "meV"),
    ("_eV", "eV"),
    ("_A3", "Å³"),
    ("_A", "Å"),
    ("_K", "K"),
    ("_fs", "fs"),
    ("_ps", "ps"),
    ("_percent", "%"),
    ("_s", "s"),
)


def number(value: float | None, digits: int = 3) -> str:
    """Return `value` with `digits` significant digits, a dash where there is none.

    Whole numbers above that precision keep their digits: 98.4 at two digits is 98.
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude >= 7 or magnitude < -4:
        mantissa, exponent = f"{value:.{max(digits - 1, 0)}e}".split("e")
        power = str(int(exponent)).translate(_SUPERSCRIPTS)
        return f"{mantissa} × 10{power}".replace("-", "−")
    text = f"{value:.{max(digits - 1 - magnitude, 0)}f}"
    return text.replace("-", "−")


def fixed(value: float | None, decimals: int) -> str:
    """Return `value` with `decimals` decimals; what rounds to zero has no sign."""
    if value is None or not math.isfinite(value):
        return MISSING
    rounded = round(value, decimals)
    return f"{rounded if rounded else 0.0:.{decimals}f}".replace("-", "−")


def count(value: float | None) -> str:
    """Return a whole number with thin spaces between thousands."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{round(value):,}".replace(",", "\u2009")


def duration(seconds: float | None) -> str:
    """Return a time in the two largest units that matter: `2 h 05 min`, `3 min 12 s`, `0.42 s`."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 60:
        return f"{number(seconds, 2)} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24:02d} h"


def name_and_unit(key: str) -> tuple[str, str]:
    """Split a key that ends in its unit: ``B0_GPa`` is (``B0``, ``GPa``)."""
    for suffix, unit in _UNIT_SUFFIXES:
        if key.endswith(suffix) and len(key) > len(suffix):
            return key[: -len(suffix)].replace("_", " "), unit
    return key.replace("_", " "), ""


def prose(text: str) -> str:
    """Return a sentence written for a terminal as it is printed: angstrom^3 is Å³."""
    return text.replace("angstrom^3", "Å³").replace("angstrom", "Å")


def plural(amount: int, noun: str, nouns: str | None = None) -> str:
    """Return `1 label`, `12 labels`."""
    return f"{count(amount)} {noun if amount == 1 else nouns or noun + 's'}"
