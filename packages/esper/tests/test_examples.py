"""What the documentation shows is what the program takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from esper.config import load_config, parse_config

ROOT = Path(__file__).parents[3]
BLOCKS = re.findall(r"```yml\n(.*?)```", (ROOT / "docs/esper.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples/esper").glob("*.yaml")), ids=lambda path: path.name
)
def test_examples_load(path: Path) -> None:
    assert load_config(path).growth.kind != "none"


def test_yaml_in_the_documentation_loads() -> None:
    assert BLOCKS
    for block in BLOCKS:
        assert parse_config(yaml.safe_load(block)).network.widths
