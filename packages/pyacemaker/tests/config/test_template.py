"""The file that `pyacemaker init` writes, and the schema for editors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pyacemaker.config.load import ConfigError, load_config, parse_config
from pyacemaker.config.resolve import resolve
from pyacemaker.config.schema import json_schema, schema_text
from pyacemaker.config.template import template_text, write_template

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("elements", [["Si"], ["Ti", "O"], ["Fe"], ["N", "Y"]])
def test_template_loads_and_its_comments_are_the_defaults(
    elements: list[str], tmp_path: Path
) -> None:
    path = write_template(elements, tmp_path / "new.yaml")
    assert load_config(path).elements == elements
    text = path.read_text()
    shown = re.sub(r"(?m)^# ( *[A-Za-z_]+:(?: .*)?)$", r"\1", text)
    assert shown.count("\n# ") < 8
    everything = parse_config(shown)
    assert len(re.findall(r"(?m)^[A-Za-z_]+:", shown)) <= 10  # an ordinary campaign's keys
    assert everything.temperatures_K
    plain = resolve(parse_config(f"elements: [{', '.join(elements)}]"))
    assert resolve(everything).settings == plain.settings


def test_template_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="exists already; use --force"):
        write_template(["Si"], path)
    assert path.read_text() == "mine"
    write_template(["Si"], path, force=True)
    assert load_config(path).elements == ["Si"]
    with pytest.raises(ConfigError, match="is a folder"):
        write_template(["Si"], tmp_path, force=True)
    with pytest.raises(ConfigError, match="did you mean 'Ti'"):
        write_template(["ti"], tmp_path / "no.yaml")
    assert not (tmp_path / "no.yaml").exists()


def test_committed_schema_is_this_schema() -> None:
    committed = ROOT / "docs" / "config.schema.json"
    assert committed.read_text() == schema_text(), (
        "docs/config.schema.json is out of step; write it again with "
        "python -m pyacemaker.config.schema docs/config.schema.json"
    )


def test_schema_describes_every_key() -> None:
    schema = json_schema()
    assert schema["$schema"].endswith("2020-12/schema")
    assert schema["required"] == ["elements"]
    assert schema["additionalProperties"] is False
    for name, part in schema["$defs"].items():
        for key, body in part.get("properties", {}).items():
            assert body.get("description"), f"{name}.{key}"
    assert "No" in schema["properties"]["elements"]["oneOf"][0]["items"]["enum"]
    assert template_text(["Si"]).startswith("# ")


def test_schema_takes_the_short_forms_that_loading_takes() -> None:
    schema = json_schema()
    command = schema["$defs"]["OracleSection"]["properties"]["command"]
    assert {"type": "string"} in _alternatives(command)
    temperatures = _alternatives(schema["properties"]["temperatures_K"])
    assert any(kind.get("type") == "number" for kind in temperatures)
    assert {"type": "null"} in _alternatives(schema["properties"]["oracle"])


def _alternatives(part: dict[str, Any]) -> list[dict[str, Any]]:
    """All the kinds of value that `part` takes, however its unions are nested."""
    inner = part.get("anyOf")
    return [kind for one in inner for kind in _alternatives(one)] if inner else [part]
