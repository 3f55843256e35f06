"""The published schema is that of the models, and says yes and no where they do."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from ai_how.config.load import ConfigError, parse_cluster
from ai_how.config.schema import json_schema, schema_text
from ai_how.config.template import template_text

ROOT = Path(__file__).parents[4]
BASE = "version: 1\nmetadata: {name: lab}\nclusters: {hpc: {compute_nodes: %s}}\n"


def test_committed_schema_is_this_schema() -> None:
    assert (ROOT / "docs" / "cluster.schema.json").read_text() == schema_text(), (
        "docs/cluster.schema.json is out of step; write it again with "
        "python -m ai_how.config.schema docs/cluster.schema.json"
    )


def test_it_is_a_schema_and_describes_every_key() -> None:
    schema = json_schema()
    assert schema["$schema"].endswith("2020-12/schema")
    Draft202012Validator.check_schema(schema)
    for name, part in schema["$defs"].items():
        assert part["additionalProperties"] is False, name
        for key, about in part["properties"].items():
            assert about.get("description") or "$ref" in about, f"{name}.{key}"


@pytest.mark.parametrize(
    ("nodes", "valid"),
    [
        ("{count: 2}", True),
        ("[{name: a}, {name: b, count: 3, memory: 2G, gpus: {count: 1}}]", True),
        ("{memory: 512}", True),
        ("{memory: lots}", False),
        ("[]", False),
        ("{count: 0}", False),
        ("{name: Big}", False),
        ("{cores: 2}", False),
        ("7", False),
    ],
)
def test_schema_and_models_agree(nodes: str, valid: bool) -> None:
    validator = Draft202012Validator(json_schema())
    text = BASE % nodes
    assert validator.is_valid(yaml.safe_load(text)) is valid
    if valid:
        parse_cluster(text)
    else:
        with pytest.raises(ConfigError):
            parse_cluster(text)


def test_the_template_and_the_examples_satisfy_it() -> None:
    validator = Draft202012Validator(json_schema())
    validator.validate(yaml.safe_load(template_text("lab")))
    files = sorted((ROOT / "examples").glob("cluster*.yaml"))
    assert files
    for path in files:
        validator.validate(yaml.safe_load(path.read_text()))
        parse_cluster(path.read_text())
