"""The JSON schema of a cluster file, generated from the models, for editors.

`ai-how schema` prints it, and it is kept in docs/cluster.schema.json. An editor with a YAML
language server takes ``# yaml-language-server: $schema=...`` as a file's first line.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from ai_how.config.models import ClusterFile

SCHEMA_ID = "urn:ai-how:cluster:1"


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of what `load_cluster` accepts."""
    body = ClusterFile.model_json_schema(mode="validation")
    body.pop("title", None)
    body.pop("description", None)
    # One group may stand where a list of groups may; one kind of GPU where several may.
    for section, key in (
        ("Hpc", "compute_nodes"),
        ("Cloud", "control_plane"),
        ("Cloud", "workers"),
        ("NodeGroup", "gpus"),
    ):
        listed = body["$defs"][section]["properties"][key]
        about = listed.pop("description")
        body["$defs"][section]["properties"][key] = {
            "description": about,
            "oneOf": [listed, listed["items"]],
        }
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": SCHEMA_ID,
        "title": "ai-how cluster",
        "description": "A SLURM cluster on this machine.",
        **body,
    }


def schema_text() -> str:
    """Return the schema as it is kept in docs/cluster.schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    import sys
    from pathlib import Path

    Path(sys.argv[1]).write_text(schema_text(), encoding="utf-8")
