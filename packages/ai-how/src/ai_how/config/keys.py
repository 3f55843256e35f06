"""The keys that a cluster file may have, found in its models."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from ai_how.config.models import ClusterFile
from ai_how.config.yaml_lines import KeyPath


def keys_of(model: type[BaseModel]) -> dict[str, type[BaseModel] | None]:
    """Return the keys of a section as they are written, each with the section under it."""
    return {
        info.alias or key: _section_in(info.annotation) for key, info in model.model_fields.items()
    }


def section_at(path: KeyPath) -> type[BaseModel] | None:
    """Return the section that stands at `path`, or None if it is a plain value."""
    model: type[BaseModel] | None = ClusterFile
    for part in path:
        if isinstance(part, str):
            model = keys_of(model).get(part) if model else None
    return model


def valid_paths(model: type[BaseModel] = ClusterFile, above: str = "") -> Iterator[str]:
    """Yield the dotted path of every key a user may write (list indices left out)."""
    for key, inner in keys_of(model).items():
        yield above + key
        if inner is not None:
            yield from valid_paths(inner, f"{above}{key}.")


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {list, Annotated, Union, UnionType}:
        for part in get_args(annotation):
            if (found := _section_in(part)) is not None:
                return found
    return None
