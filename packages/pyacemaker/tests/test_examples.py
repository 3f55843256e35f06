"""What the documentation shows is what the program takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyacemaker.config.load import load_config, parse_config

ROOT = Path(__file__).parents[3]
OTHERS = re.compile(r"^clusters:", re.MULTILINE)  # files of ai-how and rootstock
EXAMPLES = [
    path
    for path in sorted((ROOT / "examples").glob("*.yaml"))
    if not OTHERS.search(path.read_text())
]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL))
    if not OTHERS.search(block)
]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_load(path: Path) -> None:
    assert load_config(path).elements


@pytest.mark.parametrize("block", BLOCKS)
def test_yaml_in_the_documentation_loads(block: str) -> None:
    text = block if "elements:" in block else f"elements: [Si]\n{block}"
    assert parse_config(text, "documentation").elements
