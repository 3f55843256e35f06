"""Values written into a user's configuration; comments, order and style stay."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from pyacemaker.config.load import ConfigError, parse_config
from pyacemaker.config.yaml_lines import Problem
from pyacemaker.files import write_whole


def rewritten(text: str, section: str, values: Mapping[str, Any], comment: str) -> str:
    """Return the YAML `text` with `values` in `section`, which is made where it is missing.

    `comment` is put behind each value (where the section is not written in one line). Raises
    ConfigError if the result would be refused.
    """
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 4096
    document = yaml.load(text)
    found = document.get(section)
    if not isinstance(found, CommentedMap):
        found = CommentedMap()
        document[section] = found
    for key, value in values.items():
        found[key] = value
        if not found.fa.flow_style():
            found.yaml_add_eol_comment(comment, key)
    stream = io.StringIO()
    yaml.dump(document, stream)
    result = stream.getvalue()
    parse_config(result, "the new configuration")
    return result


def rewrite_file(path: Path, section: str, values: Mapping[str, Any], comment: str) -> Path:
    """Write `values` into the file, and return its backup (``NAME.bak``, the file as it was).

    Raises ConfigError where the file cannot be read or written.
    """
    backup = path.with_name(f"{path.name}.bak")
    try:
        before = path.read_text()
        after = rewritten(before, section, values, comment)
        write_whole(backup, before)
        write_whole(path, after)
    except OSError as error:
        why = f"cannot be rewritten ({error.strerror})"
        raise ConfigError(str(path), [Problem(None, "", why)]) from error
    return backup
