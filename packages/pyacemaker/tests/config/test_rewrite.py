"""Values written into a configuration: nothing else of it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyacemaker.config.load import ConfigError, load_config
from pyacemaker.config.rewrite import rewrite_file, rewritten

TEXT = """\
# my silicon
elements: [Si]   # a semiconductor
oracle:
  # by hand
  kspacing_per_A: 0.8   # from a paper
budget: {labels: 50}
"""


def test_comments_order_and_style_stay(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(TEXT)
    backup = rewrite_file(path, "oracle", {"kspacing_per_A": 0.3, "ecutwfc_Ry": 40.0}, "measured")
    assert backup.read_text() == TEXT
    after = path.read_text()
    for line in ("# my silicon", "elements: [Si]   # a semiconductor", "  # by hand"):
        assert line in after
    assert "budget: {labels: 50}" in after
    assert "ecutwfc_Ry: 40.0" in after
    assert "kspacing_per_A: 0.3   # measured (was 0.8: from a paper)" in after
    assert load_config(path).oracle.kspacing_per_A == 0.3  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["elements: [Si]\n", "elements: [Si]\noracle:\n"])
def test_a_section_that_is_not_there_is_made(text: str) -> None:
    assert "oracle:\n  ecutwfc_Ry: 40" in rewritten(text, "oracle", {"ecutwfc_Ry": 40}, "x")


def test_a_section_on_one_line_stays_on_it() -> None:
    text = "elements: [Si]\noracle: {code: espresso}\n"
    assert "oracle: {code: espresso, ecutwfc_Ry: 40}" in rewritten(
        text, "oracle", {"ecutwfc_Ry": 40}, "x"
    )


def test_what_would_be_refused_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(TEXT)
    with pytest.raises(ConfigError):
        rewrite_file(path, "oracle", {"ecutwfc_Ry": -1}, "x")
    assert path.read_text() == TEXT


def test_lines_behind_a_value_stay_and_an_earlier_result_is_replaced() -> None:
    text = (
        "elements: [Al]\noracle:\n  ecutwfc_Ry: 16 # a guess\n  # four times that\n"
        "  ecutrho_Ry: 64\n\n# below\ntemperatures_K: [300]\n"
    )
    values = {"ecutwfc_Ry": 24.0, "kspacing_per_A": 0.3}
    once = rewritten(text, "oracle", values, "converged: loosely")
    assert once == (
        "elements: [Al]\noracle:\n  ecutwfc_Ry: 24.0 # converged: loosely (was 16: a guess)\n"
        "  # four times that\n  ecutrho_Ry: 64\n  kspacing_per_A: 0.3 # converged: loosely\n"
        "\n# below\ntemperatures_K: [300]\n"
    )
    twice = rewritten(once, "oracle", values, "converged: well")
    assert twice == once.replace("loosely", "well")


def test_what_follows_a_section_that_ends_in_a_block_stays_behind_it() -> None:
    text = "elements: [Fe]\noracle:\n  hubbard_U_eV:\n    Fe-3d: 4.0 # from a paper\n\n# below\n"
    after = rewritten(text + "seed: 1\n", "oracle", {"ecutwfc_Ry": 40}, "measured")
    assert after.endswith("  ecutwfc_Ry: 40  # measured\n\n# below\nseed: 1\n")
    assert "Fe-3d: 4.0 # from a paper\n" in after
