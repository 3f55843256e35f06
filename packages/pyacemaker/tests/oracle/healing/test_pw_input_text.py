"""Inputs of pw.x read and written again, and any text that is none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyacemaker.oracle.espresso.healing.pw_input_text import PwInput, differences

TEXT = """\
! made by hand
&control
  calculation = 'scf', prefix='it''s / here' ! a remark with = and /
  tprnfor=.TRUE.
/
&SYSTEM
  ibrav=0, nat = 2, ecutwfc = 1.2d1, starting_magnetization( 1 ) = -0.5
  occupations = "fixed" /
&ELECTRONS
/
ATOMIC_SPECIES
 Si 28.0 Si.upf
K_POINTS gamma
"""


def test_an_input_as_people_write_it() -> None:
    made = PwInput.parse(TEXT)
    assert made.head == "! made by hand\n"
    assert made.get("CONTROL", "calculation") == "scf"
    assert made.get("CONTROL", "tprnfor") is True
    assert made.number("SYSTEM", "ecutwfc", 0) == 12
    assert made.get("SYSTEM", "starting_magnetization(1)") == -0.5
    assert made.get("SYSTEM", "occupations") == "fixed"
    assert made.cards == "ATOMIC_SPECIES\n Si 28.0 Si.upf\nK_POINTS gamma\n"
    again = PwInput.parse(made.text())
    assert again == made


def test_changes_leave_the_rest_alone() -> None:
    made = PwInput.parse(TEXT)
    changed = made.changed("ELECTRONS", mixing_beta=0.3).without("SYSTEM", "nat", "absent")
    assert differences(made, changed) == {
        "SYSTEM.nat": (2, None),
        "ELECTRONS.mixing_beta": (None, 0.3),
    }
    assert made.get("SYSTEM", "nat") == 2
    assert changed.cards == made.cards
    assert made.number("SYSTEM", "occupations", 7.0) == 7.0


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,12}(\([1-9]\))?", fullmatch=True)
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(10**9), 10**9),
    st.floats(1e-8, 1e8).map(lambda x: float(f"{x:.10g}")),
    st.text(st.characters(codec="ascii", exclude_characters="'\""), max_size=20).filter(
        str.isprintable
    ),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["CONTROL", "SYSTEM", "ELECTRONS", "IONS"]),
        st.dictionaries(NAMES, VALUES, max_size=6),
        min_size=1,
    )
)
def test_what_is_written_is_read_back(groups: dict[str, dict[str, object]]) -> None:
    made = PwInput(groups, "K_POINTS gamma\n")  # type: ignore[arg-type]
    again = PwInput.parse(made.text())
    for name, values in groups.items():
        for key, value in values.items():
            if isinstance(value, float):
                assert again.number(name, key, 0.0) == pytest.approx(value, rel=1e-9)
            else:
                assert again.get(name, key) == value
    assert again.cards == made.cards


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["&SYSTEM\n", "/\n", "&end\n", "a = 1,", "b='", "'", '"', "!", "=", "&", "(1)",
             "1d99999", "ATOMIC_POSITIONS\n", "\n", "x = .true.",
             "n = 99999999999999999999999", "é", "\x00"]
        )
    ).map("".join)
)  # fmt: skip
def test_any_text_is_read(text: str) -> None:
    made = PwInput.parse(text)
    PwInput.parse(made.text())
    differences(made, PwInput.parse(""))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=500))
def test_any_text_at_all_is_read(text: str) -> None:
    PwInput.parse("&SYSTEM\n" + text).text()
    PwInput.parse(text).text()
