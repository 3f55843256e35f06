"""Which library a command works on, and what commands on it share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from esper.terminal import refuse

if TYPE_CHECKING:
    from esper.urza.library import Library
    from esper.urza.records import BlueprintRecord

LibraryOption = Annotated[
    str | None,
    typer.Option(
        "--library",
        metavar="URL",
        help="A file of SQLite or postgresql://...; by default $ESPER_LIBRARY, else your own.",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="The artifacts: a folder or s3://BUCKET/PREFIX; by default $ESPER_STORE, else a "
        "folder beside the library's file.",
    ),
]


@contextlib.contextmanager
def open_library(url: str | None, store: str | None) -> Iterator[Library]:
    """Open a library; what it cannot do ends the command with one line."""
    from esper.tezzeret.ir import BlueprintError
    from esper.tezzeret.module import KernelError
    from esper.urza.library import Library, LibraryError, NotThereError

    try:
        yield Library.open(url, store)
    except (BlueprintError, NotThereError) as error:
        raise refuse(str(error)) from error
    except (LibraryError, KernelError) as error:
        raise refuse(str(error), code=1) from error


def find_blueprint(library: Library, which: str) -> BlueprintRecord:
    """Return a blueprint of the library; one that comes with esper is put there first."""
    from esper.tezzeret.builtin import BUILTIN
    from esper.urza.library import NotThereError

    try:
        return library.blueprint(which)
    except NotThereError:
        if which not in BUILTIN:
            raise
        return library.add_blueprint(BUILTIN[which])


def as_text(record: Any) -> str:
    """Return a record as JSON."""
    return str(record.model_dump_json(indent=1))
