"""Which selection a campaign makes, and what it may see."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyacemaker.campaign.parts import ROWS, make_parts
from pyacemaker.config.load import load_config
from pyacemaker.config.resolve import resolve
from pyacemaker.selection.committee import CommitteeSelector
from pyacemaker.selection.maxvol import MaxVolSelector, RandomSelector

KINDS = {"maxvol": MaxVolSelector, "committee": CommitteeSelector, "random": RandomSelector}


@pytest.mark.parametrize("name", list(KINDS))
def test_the_selection_that_is_named_is_made(tmp_path: Path, name: str) -> None:
    path = tmp_path / "cu.yaml"
    path.write_text(
        "elements: [Cu]\n"
        "oracle: {code: ase, calculator: ase.calculators.emt.EMT}\n"
        "trainer: {functions_per_element: 20}\n"
        "dynamics: {engine: ase}\n"
        f"budget: {{selection: {name}}}\n"
    )
    settings = resolve(load_config(path)).settings
    selector = make_parts(settings, lambda text: None, tmp_path).selector
    assert type(selector) is KINDS[name]
    if isinstance(selector, CommitteeSelector):
        assert selector._cache.folder == tmp_path / ROWS, "the fit's own rows"
