"""How the commands speak: results on stdout, all else on stderr."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

stdout = Console()
stderr = Console(stderr=True)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="Tell no progress.")]


def refuse(message: str, code: int = 2) -> typer.Exit:
    """Print what is wrong, and return the exit to raise."""
    warn(message)
    return typer.Exit(code)


def warn(message: str) -> None:
    """Print a line on stderr."""
    stderr.print(f"esper: {message}", style="red", markup=False, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """Print a line on stdout, as it is."""
    stdout.print(message, markup=False, highlight=False, soft_wrap=True)
