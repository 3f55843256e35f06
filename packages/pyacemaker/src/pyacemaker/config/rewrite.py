"""Values written into a user's configuration; comments, order and style stay."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.tokens import CommentToken

from pyacemaker.config.load import ConfigError, parse_config
from pyacemaker.config.yaml_lines import Problem
from pyacemaker.files import write_whole


def rewritten(text: str, section: str, values: Mapping[str, Any], comment: str) -> str:
    """Return the YAML `text` with `values` in `section`, which is made where it is missing.

    `comment` is put behind each value (where the section is not written in one line). What was
    said behind the old value stays, with that value: ``# comment (was 20: a guess)``. Raises
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
        last = next(reversed(found), None)
        added, before = key not in found, found.get(key)
        found[key] = value
        if not found.fa.flow_style():
            _say_behind(found, key, comment, before)
            if added and last is not None:
                _move_what_follows(found, last, key)
    stream = io.StringIO()
    yaml.dump(document, stream)
    result = stream.getvalue()
    parse_config(result, "the new configuration")
    return result


_EARLIER = re.compile(r"\(was .*\)$")


def _say_behind(section: CommentedMap, key: str, comment: str, before: Any) -> None:
    """Put `comment` behind a value; the lines that follow belong to the same token and stay."""
    token = _token(section, key)
    if token is None:
        section.yaml_add_eol_comment(comment, key)
        return
    said, newline, follows = token.value.partition("\n")
    said = said.strip().lstrip("#").strip()
    if earlier := _EARLIER.search(said):  # written by an earlier run
        comment = f"{comment} {earlier[0]}"
    elif said and said.partition(":")[0] != comment.partition(":")[0]:
        comment = f"{comment} (was {before}: {said})"
    token.value = f"# {comment}{newline}{follows}"


def _move_what_follows(section: CommentedMap, last: str, added: str) -> None:
    """Move blank and comment lines behind the old last value behind the one that was added."""
    new = _token(section, added)
    while isinstance(section[last], CommentedMap) and section[last]:
        section = section[last]  # what follows a block is kept behind its last value
        last = next(reversed(section))
    token = _token(section, last)
    if token is None or new is None:
        return
    said, _, follows = token.value.partition("\n")
    if not follows:
        return
    new.value = f"{new.value.rstrip()}\n{follows}"
    if said.strip():
        token.value = f"{said}\n"
    else:
        del section.ca.items[last]


def _token(section: CommentedMap, key: str) -> CommentToken | None:
    """Return what ruamel.yaml keeps behind a value: its comment, and lines up to the next key."""
    found = section.ca.items.get(key)
    token = found[2] if found else None
    return token if isinstance(token, CommentToken) else None


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
