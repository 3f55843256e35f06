"""What all commands share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ai_how.errors import AiHowError, BadRequestError

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
EXIT_CODES_HELP = (
    "Exit codes: 0 done, and all is well; 1 failed, or a cluster is not as it should be; "
    "2 bad usage, a file that is refused or a plan with conflicts; 130 interrupted (run it again)."
)

# What `--help` puts together.
CLUSTER, JOBS, INSIDE = "A cluster", "Jobs", "Looking in"

stdout = Console()
stderr = Console(stderr=True)

ClusterYaml = Annotated[
    Path, typer.Argument(help="A cluster's YAML; `ai-how init` writes one.", metavar="FILE")
]
Cluster = Annotated[str, typer.Argument(help="A cluster's YAML, or its name.", metavar="CLUSTER")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="Tell no progress.")]


def tell(text: str) -> None:
    """Print a line as it is, whatever its length."""
    stdout.print(text, markup=False, highlight=False, soft_wrap=True)


def tell_apart(text: str) -> None:
    """Print a line on standard error, for a command whose output is read by scripts."""
    stderr.print(text, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Turn what the user can mend into a line on standard error and an exit code."""
    try:
        yield
    except AiHowError as error:
        for line in str(error).splitlines():
            stderr.print(
                f"ai-how: {line}", style="red", markup=False, highlight=False, soft_wrap=True
            )
        code = EXIT_USAGE if isinstance(error, BadRequestError) else EXIT_FAILED
        raise typer.Exit(code) from error


class Progress:
    """Prints what is done, with the time since the command began in seconds; `quiet`: nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._began = time.monotonic()
        self._quiet = quiet

    def __call__(self, text: str) -> None:
        """Print a line."""
        if not self._quiet:
            tell(f"{time.monotonic() - self._began:6.2f} s  {text}")
