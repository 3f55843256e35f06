"""Commands, options, exit codes."""

from __future__ import annotations

import json
import logging
import signal
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.padding import Padding
from rich.text import Text

import pyacemaker
from pyacemaker.cli.comparing import compare
from pyacemaker.cli.converging import converge
from pyacemaker.cli.data import data_app
from pyacemaker.cli.oracle import oracle_app
from pyacemaker.cli.publishing import publish
from pyacemaker.cli.serving import serve
from pyacemaker.cli.validating import validate
from pyacemaker.cli.walking import kmc
from pyacemaker.cli.words import JsonFlag, QuietFlag, progress, refuse, say, stdout

if TYPE_CHECKING:
    from pyacemaker.config.resolve import Resolved

EXIT_CODES_HELP = (
    "Exit codes: 0 converged (the potential is certified); 1 failed; 2 bad usage, a configuration "
    "that is refused, or a work directory in use; 3 a budget is spent; 130 interrupted (run again "
    "to go on)."
)

app = typer.Typer(
    help="From a list of elements to a certified interatomic potential.\n\n"
    "Begin with `pyacemaker init -e Si`, then `pyacemaker run config.yaml`.",
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(help="Look at a configuration.", no_args_is_help=True)
# What `--help` puts together; in this order, for panels come as their first commands do.
CAMPAIGN, POTENTIAL, LABELS, PROGRAMS = "A campaign", "Its potential", "Labels", "Programs"

ConfigFile = Annotated[
    Path,
    typer.Argument(help="The campaign's YAML; `pyacemaker init` writes one.", metavar="CONFIG"),
]


@app.callback(invoke_without_command=True)
def version_option(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """From a list of elements to a certified interatomic potential."""
    if version:
        typer.echo(f"pyacemaker {pyacemaker.__version__}")
        raise typer.Exit


@app.command(rich_help_panel=CAMPAIGN)
def init(
    elements: Annotated[
        list[str], typer.Option("--elements", "-e", help="Chemical symbols, one after the other.")
    ],
    more: Annotated[list[str] | None, typer.Argument(hidden=True, metavar="ELEMENT")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "config.yaml"
    ),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a configuration: the elements, and what one may want to change with its defaults.

    pyacemaker init -e Ti O -o titania.yaml
    """
    from pyacemaker.config.load import ConfigError
    from pyacemaker.config.template import write_template

    symbols = [
        name for text in (*elements, *(more or ())) for name in text.replace(",", " ").split()
    ]
    try:
        write_template(symbols, output, force=force)
    except (ConfigError, FileExistsError, ValueError) as error:
        raise refuse(str(error)) from error
    say(f"wrote {output}; next: pyacemaker run {output}")


@config_app.command("show")
def config_show(config: ConfigFile, as_json: JsonFlag = False) -> None:
    """Print every resolved value, its unit, and where it came from."""
    resolved = _resolved(config)
    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in resolved.entries], indent=1))
        return
    for row in _rows(resolved):
        value = Text.assemble((row["key"], "bold"), f": {row['value']} {row['unit']}".rstrip())
        why = Text.assemble((row["source"], "cyan"), (f", {row['explanation']}", "dim"))
        stdout.print(value, soft_wrap=not stdout.is_terminal)
        if stdout.is_terminal:
            stdout.print(Padding(why, (0, 0, 0, 4)))
        else:  # one line each, whatever its length: for grep
            stdout.print(Text("    ").append(why), soft_wrap=True)


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of a configuration, for editors."""
    from pyacemaker.config.schema import schema_text

    typer.echo(schema_text())


@app.command(epilog=EXIT_CODES_HELP, rich_help_panel=CAMPAIGN)
def run(
    config: ConfigFile,
    workdir: Annotated[
        Path | None,
        typer.Option("--workdir", "-w", help="Where it works; by default the YAML's name, here."),
    ] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Try structures again that could not be labelled."),
    ] = False,
) -> None:
    """Run a campaign, or go on with the one in the work directory.

    It can be stopped at any moment, by Ctrl-C or by a crash: run the same command again and
    it goes on from there. No finished label is computed twice.

    pyacemaker run silicon.yaml --workdir runs/silicon
    """
    from pyacemaker.cli.running import run_with_words

    resolved = _resolved(config)
    where = workdir or Path(config.stem)
    raise typer.Exit(
        run_with_words(
            resolved.settings,
            config,
            where,
            _rows(resolved),
            as_json=as_json,
            quiet=quiet,
            retry_failed=retry_failed,
        )
    )


@app.command(rich_help_panel=CAMPAIGN)
def status(
    workdir: Annotated[Path, typer.Argument(help="A campaign's work directory.", metavar="DIR")],
    as_json: JsonFlag = False,
) -> None:
    """Tell how far a campaign is; it may be running, and is not disturbed."""
    from pyacemaker.campaign.state import StateError
    from pyacemaker.campaign.status import status_of
    from pyacemaker.cli.showing import print_status

    try:
        found = status_of(workdir)
    except StateError as error:
        raise refuse(str(error)) from error
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        print_status(stdout, found)


@app.command(rich_help_panel=CAMPAIGN)
def report(
    workdir: Annotated[Path, typer.Argument(help="A campaign's work directory.", metavar="DIR")],
) -> None:
    """Write report.html anew from what the campaign has done so far."""
    from pyacemaker.campaign.deploy import report_from
    from pyacemaker.campaign.report_data import UNREADABLE

    try:
        path = report_from(workdir)
    except UNREADABLE as error:
        raise refuse(str(error)) from error
    typer.echo(path)


app.command(rich_help_panel=CAMPAIGN)(serve)
app.command(rich_help_panel=CAMPAIGN)(compare)
app.add_typer(config_app, name="config", rich_help_panel=CAMPAIGN)
app.command(rich_help_panel=POTENTIAL)(validate)
app.command(rich_help_panel=POTENTIAL)(publish)
app.command(rich_help_panel=POTENTIAL)(kmc)
app.command(rich_help_panel=LABELS)(converge)
app.add_typer(data_app, name="data", rich_help_panel=LABELS)
app.add_typer(oracle_app, name="oracle", rich_help_panel=LABELS)


@app.command("build-plugin", rich_help_panel=PROGRAMS)
def build_plugin(quiet: QuietFlag = False) -> None:
    """Build the ML-PACE plugin for LAMMPS, once; `run` does it by itself when it is needed.

    Two or three minutes with g++. Prints where it is.
    """
    from pyacemaker.parts.mlpace_plugin import build_plugin as build
    from pyacemaker.parts.sources import PartError

    try:
        path = build(say=progress(quiet=quiet))
    except PartError as error:
        raise refuse(str(error), code=1) from error
    typer.echo(path)


@app.command("build-eon", rich_help_panel=PROGRAMS)
def build_eon(
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", help="Compilers at a time; by default one a core.", min=1),
    ] = None,
    quiet: QuietFlag = False,
) -> None:
    """Build EON for kinetic Monte Carlo (kmc.engine: eon), once, on Debian 12.

    About an hour on one busy core. Installs Debian's packages where it may (as root) and names
    them otherwise. Stop it at any moment and run it again: it goes on. Prints the folder of
    eon-server and eonclient.

    Exit codes: 0 built and tested; 1 failed (the message names the log to read); 2 bad usage;
    130 interrupted.
    """
    from pyacemaker.parts.eon import build_eon as build
    from pyacemaker.parts.sources import PartError

    try:
        path = build(progress(quiet=quiet), jobs=jobs)
    except PartError as error:
        raise refuse(str(error), code=1) from error
    except KeyboardInterrupt:
        raise refuse("stopped; the same command goes on", code=130) from None
    typer.echo(path)


def _resolved(config: Path) -> Resolved:
    from pyacemaker.config.load import ConfigError, load_config
    from pyacemaker.config.resolve import resolve

    try:
        return resolve(load_config(config), config.parent)
    except ConfigError as error:
        raise refuse(str(error)) from error


def _rows(resolved: Resolved) -> list[dict[str, str]]:
    from pyacemaker.config.show import format_resolved

    return [asdict(row) for row in format_resolved(resolved)]


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line."""
    # Libraries report their own progress as INFO on the root logger; ours is told by `watch`.
    logging.getLogger("parsl").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _interrupt)  # a batch system's polite stop is a Ctrl-C
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup wants to outlive it
        signal.signal(signal.SIGHUP, _interrupt)
    app()
