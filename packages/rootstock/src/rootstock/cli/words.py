"""What commands say, and how they end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

from rootstock.build.programs import Say
from rootstock.root.errors import RootError
from rootstock.root.layout import ROOT_VARIABLE, Layout, open_root
from rootstock.root.resolve import resolve_cluster

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

stdout = Console()
stderr = Console(stderr=True)


def refuse(message: str, code: int = EXIT_USAGE) -> typer.Exit:
    """Say why on standard error and return the exit to raise."""
    stderr.print(
        f"rootstock: {message}", style="red", markup=False, highlight=False, soft_wrap=True
    )
    return typer.Exit(code)


def chosen_root(root: Path | None, cluster: str | None = None) -> Path:
    """Return the root's folder from --root, --cluster or ROOTSTOCK_ROOT."""
    if root is not None and cluster is not None:
        raise refuse("give --root or --cluster, not both")
    if cluster is not None:
        try:
            return resolve_cluster(cluster)
        except RootError as error:
            raise refuse(str(error)) from error
    named = root or os.environ.get(ROOT_VARIABLE)
    if not named:
        raise refuse(f"which root? Give --root DIR or --cluster NAME, or set {ROOT_VARIABLE}")
    return Path(named)


def opened(root: Path | None, cluster: str | None = None) -> Layout:
    """Return the layout of the chosen root, which must be there."""
    try:
        return open_root(chosen_root(root, cluster))
    except RootError as error:
        raise refuse(str(error)) from error


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Say]:
    """Give a function that takes lines of progress.

    On a terminal the newest line turns with a clock until the next; elsewhere every line is
    printed with the time, for logs.
    """
    if quiet:
        yield lambda _: None
        return
    if not stderr.is_terminal:

        def print_line(text: str) -> None:
            print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

        yield print_line
        return
    with stderr.status("") as status:
        last = ""

        def show(text: str) -> None:
            nonlocal last
            if last and not text.startswith(last.split(":", maxsplit=1)[0] + ": "):
                stderr.print(f"  {last}", style="dim", markup=False, highlight=False)
            last = text
            status.update(text.replace("[", r"\["))

        yield show
        if last:
            stderr.print(f"  {last}", style="dim", markup=False, highlight=False)


def size_text(size_bytes: float) -> str:
    """Return a size as a person reads it."""
    if size_bytes >= 1e9:
        return f"{size_bytes / 1e9:.2f} GB"
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes else "-"
