"""`pyacemaker run`: the campaign with its words, whatever way it ends."""

from __future__ import annotations

import contextlib
import errno
import json
import shlex
import sqlite3
import time
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from pyacemaker.campaign.errors import CampaignError
from pyacemaker.campaign.events import Listener, silent
from pyacemaker.campaign.layout import DATA, POTENTIAL, REPORT
from pyacemaker.campaign.orchestrator import run_campaign
from pyacemaker.campaign.outcome import EXIT_CODES, EXIT_USAGE, Ending, Outcome
from pyacemaker.campaign.parts import make_parts
from pyacemaker.campaign.state import StateError
from pyacemaker.cli import watch
from pyacemaker.config.settings import CampaignSettings
from pyacemaker.dynamics.base import DynamicsError
from pyacemaker.execution.base import ExecutionError
from pyacemaker.files import AlreadyLockedError
from pyacemaker.generator.base import GeneratorError
from pyacemaker.labels import CorruptLabelError
from pyacemaker.oracle.base import OracleError
from pyacemaker.oracle.upf import PseudopotentialError
from pyacemaker.parts.sources import PartError
from pyacemaker.potential import PotentialError
from pyacemaker.process import StoppedError
from pyacemaker.structures import CorruptFileError
from pyacemaker.trainer.base import TrainerError

# Reasons that are somebody's to mend, told in their own words; anything else is a defect.
_KNOWN = (
    CampaignError,
    StateError,
    CorruptFileError,
    CorruptLabelError,
    PotentialError,
    PartError,
    DynamicsError,
    GeneratorError,
    OracleError,
    TrainerError,
    PseudopotentialError,
    ExecutionError,
)
_DISK_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
)


def run_with_words(
    settings: CampaignSettings,
    config: Path,
    workdir: Path,
    rows: list[dict[str, str]],
    *,
    as_json: bool,
    quiet: bool,
    retry_failed: bool,
) -> int:
    """Run the campaign, show it (with `quiet` only how it ended), and return the exit code."""
    console = Console(stderr=as_json)
    start = time.monotonic()
    view = _view(console, settings, as_json=as_json, quiet=quiet)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        say(f"pyacemaker: {workdir}: cannot be the work directory ({_reason(error)})")
        return EXIT_USAGE
    command = f"pyacemaker run {shlex.quote(str(config))} --workdir {shlex.quote(str(workdir))}"
    if not quiet:
        say(f"{'-'.join(settings.elements)} campaign in {workdir}")
    try:
        parts = make_parts(settings, (lambda _: None) if quiet else say, workdir)
        with view as listener:
            outcome = run_campaign(
                settings,
                workdir,
                parts,
                listener,
                settings_rows=rows,
                retry_failed=retry_failed,
            )
    except (KeyboardInterrupt, StoppedError):
        say(f"\nStopped. Everything finished is kept. Go on with:  {command}")
        return EXIT_CODES[Ending.INTERRUPTED]
    except AlreadyLockedError as error:
        say(f"pyacemaker: another run works in {workdir} ({error}); wait for it, or stop it first")
        return EXIT_USAGE
    except _KNOWN as error:
        say(f"pyacemaker: the campaign failed: {error}")
        return EXIT_CODES[Ending.FAILED]
    except (OSError, sqlite3.OperationalError) as error:
        if not _is_of_the_disk(error):
            raise
        say(
            f"pyacemaker: the campaign failed: {_reason(error)}. Everything finished is kept. "
            f"Mend the disk or its rights, then go on with:  {command}"
        )
        return EXIT_CODES[Ending.FAILED]
    if as_json:
        typer.echo(json.dumps(_summary(outcome, workdir)))
    else:
        _print_end(console, outcome, workdir, time.monotonic() - start)
    return outcome.exit_code


def _view(
    console: Console, settings: CampaignSettings, *, as_json: bool, quiet: bool
) -> contextlib.AbstractContextManager[Listener]:
    """Return how the campaign is shown while it runs."""
    if quiet:
        return contextlib.nullcontext(silent)
    if as_json:
        return watch.json_lines()
    return watch.live(console, settings) if console.is_terminal else watch.plain(settings)


def _reason(error: OSError | sqlite3.OperationalError) -> str:
    if isinstance(error, sqlite3.OperationalError):
        return f"campaign.db: {error}"
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _is_of_the_disk(error: OSError | sqlite3.OperationalError) -> bool:
    """Say whether the user's disk refused; anything else is a defect and shows its traceback."""
    return isinstance(error, sqlite3.OperationalError) or error.errno in _DISK_ERRORS


def _places(workdir: Path) -> dict[str, str]:
    return {
        what: str(workdir / name)
        for what, name in (("report", REPORT), ("potential", POTENTIAL), ("data", DATA))
        if (workdir / name).exists()
    }


def _summary(outcome: Outcome, workdir: Path) -> dict[str, Any]:
    return {"event": "outcome", "ending": outcome.ending, "reason": outcome.reason} | _places(
        workdir
    )


def _print_end(console: Console, outcome: Outcome, workdir: Path, wall_s: float) -> None:
    colour = {"converged": "bold green", "budget": "bold yellow"}.get(outcome.ending, "bold red")
    console.print(
        f"\n{outcome.ending.upper()}: {outcome.reason}",
        style=colour,
        markup=False,
        soft_wrap=not console.is_terminal,
    )
    console.print(f"in {watch.duration(wall_s)}", style="dim")
    for what, place in _places(workdir).items():
        console.print(f"  {what:<10} {place}", markup=False, highlight=False, soft_wrap=True)
