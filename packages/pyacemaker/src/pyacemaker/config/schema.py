"""The JSON schema of a configuration file, for editors (completion, hints, errors as you type).

In VS Code: ``# yaml-language-server: $schema=config.schema.json`` as a file's first line.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from pyacemaker.config.models import Config, sections

SCHEMA_ID = "urn:pyacemaker:config:1"


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of what `load_config` accepts."""
    body = Config.model_json_schema(mode="validation")
    body.pop("title", None)
    body.pop("description", None)
    for name in sections():  # a section whose keys are all commented out is null, and accepted
        properties = body["properties"][name]
        properties["anyOf"] = [{"$ref": properties.pop("$ref")}, {"type": "null"}]
    body["properties"]["execution"]["anyOf"].insert(1, {"enum": ["local", "slurm"]})
    schema = {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": SCHEMA_ID,
        "title": "pyacemaker configuration",
        "description": "A campaign that makes an interatomic potential. Smallest: elements: [Si]",
        **body,
    }
    return {key: _plain_numbers(value) for key, value in schema.items()}


def _plain_numbers(value: Any) -> Any:
    """Return `value` with 0.0 as 0, for they are equal.

    typing keeps one object for equal annotations, so which of the two a bound is written as
    would depend on what was imported first.
    """
    if isinstance(value, dict):
        return {key: _plain_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain_numbers(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def schema_text() -> str:
    """Return the schema as it is kept in docs/config.schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    import sys
    from pathlib import Path

    Path(sys.argv[1]).write_text(schema_text(), encoding="utf-8")
