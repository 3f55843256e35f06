"""What all commands share: where words go, how progress is told, how a command is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from pyacemaker.campaign.outcome import EXIT_USAGE

stdout = Console()
stderr = Console(stderr=True)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="Tell no progress.")]


def say(text: str) -> None:
    """Print a line on standard output as it is, whatever its length."""
    stdout.print(text, markup=False, highlight=False, soft_wrap=True)


def say_apart(text: str) -> None:
    """Print a line on standard error: beside results that a script may read."""
    stderr.print(text, markup=False, highlight=False, soft_wrap=True)


def progress(*, quiet: bool = False) -> Callable[[str], None]:
    """Return what takes lines of progress: standard error, or nothing."""
    return (lambda _: None) if quiet else say_apart


def refuse(message: str, code: int = EXIT_USAGE) -> typer.Exit:
    """Say why on standard error and return the exit to raise."""
    stderr.print(
        f"pyacemaker: {message}", style="red", markup=False, highlight=False, soft_wrap=True
    )
    return typer.Exit(code)
