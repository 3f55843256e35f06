"""The Python that README and docs/using.md show of a potential runs, as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write

from pyacemaker.trainer.base import FitResult

ROOT = Path(__file__).parents[4]
PLACES = {"README.md": "config/potential", "docs/using.md": "runs/silicon/potential"}


@pytest.mark.parametrize("page", PLACES)
def test_python_of_the_page_runs(
    page: str,
    copper: FitResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    blocks = re.findall(r"(?s)```python\n(.*?)```", (ROOT / page).read_text())
    (block,) = [block for block in blocks if "Potential.load" in block]
    monkeypatch.chdir(tmp_path)
    write("structure.cif", bulk("Cu", cubic=True))
    place = Path(PLACES[page])
    place.parent.mkdir(parents=True)
    place.symlink_to(copper.potential)
    exec(compile(block.replace('"Si"', '"Cu"'), page, "exec"), {})
    printed = [float(line) for line in capsys.readouterr().out.split()]
    assert printed[0] == pytest.approx(-0.028, abs=0.1)  # four atoms of EMT's copper
    assert all(0 < gamma < 3 for gamma in printed[1:])
