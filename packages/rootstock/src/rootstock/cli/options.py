"""Options that several commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rootstock.cli.words import refuse

EXIT_CODES_HELP = (
    "Exit codes: 0 done; 1 failed (a build, a smoke test, a checksum); 2 bad usage, or a request "
    "that is refused; 130 interrupted (what was built before is as it was)."
)

RootOption = Annotated[
    Path | None,
    typer.Option("--root", "-r", help="The root's folder; by default $ROOTSTOCK_ROOT."),
]
ClusterOption = Annotated[
    str | None, typer.Option("--cluster", help="A cluster's root, by name; see clusters.")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="Tell no progress.")]
DeviceOption = Annotated[str, typer.Option("--device", "-d", help="cpu or cuda.")]
OptionList = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        help="NAME=VALUE for the environment's setup; JSON values are understood.",
    ),
]
ModelArgument = Annotated[
    str, typer.Argument(help="As in chgnet, mace-medium, mace-/path/to/weights.", metavar="MODEL")
]


def setup_options(words: list[str] | None) -> dict[str, Any]:
    """Return the values of ``--option NAME=VALUE``, as JSON where they are JSON."""
    options: dict[str, Any] = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise refuse(f"--option takes NAME=VALUE, not {word!r}")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options
