"""What the documentation shows is what the program takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from esper.config import load_config, parse_config
from esper.tezzeret.ir import parse_blueprint

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "docs" / name for name in ("esper.md", "esper-library.md")]
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"```yml\n(.*?)```", page.read_text(), re.DOTALL)
]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples/esper").glob("*.yaml")), ids=lambda path: path.name
)
def test_examples_load(path: Path) -> None:
    assert load_config(path).growth.kind != "none"


def test_yaml_in_the_documentation_loads() -> None:
    assert BLOCKS
    for block in BLOCKS:
        assert parse_config(yaml.safe_load(block)).network.widths


def test_the_blueprint_in_the_documentation_is_sound() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGES[1].read_text(), re.DOTALL)
    assert parse_blueprint(json.loads(text)).name == "mine"
