"""Commands that read a file and touch nothing: init, validate, plan, render, schema."""

from __future__ import annotations

import json
import signal
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

import ai_how
from ai_how.cli import clusters, jobs, looking
from ai_how.cli.base import EXIT_CODES_HELP, EXIT_USAGE, ClusterYaml, JsonFlag, refusing, tell
from ai_how.cli.gpus import gpu_app
from ai_how.cli.images import image_app

if TYPE_CHECKING:
    from ai_how.plan.plan import Plan

app = typer.Typer(
    help="From one YAML file to a running SLURM cluster on this machine.\n\n"
    "Begin with `ai-how init lab.yaml`, then `ai-how up lab.yaml`.",
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


FILE, MACHINE = "A cluster's file", "This machine"


class Format(StrEnum):
    """How a plan is printed."""

    text = "text"
    json = "json"
    markdown = "markdown"


@app.callback(invoke_without_command=True)
def version_option(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """From one YAML file to a running SLURM cluster on this machine."""
    if version:
        typer.echo(f"ai-how {ai_how.__version__}")
        raise typer.Exit


@app.command(rich_help_panel=FILE)
def init(
    file: Annotated[Path, typer.Argument(help="File to write.", metavar="FILE")] = Path(
        "cluster.yaml"
    ),
    name: Annotated[
        str | None, typer.Option("--name", help="The cluster's name; by default the file's.")
    ] = None,
    nodes: Annotated[int, typer.Option("--nodes", "-n", help="Compute nodes.", min=1)] = 2,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a cluster file with every key explained."""
    from ai_how.config.template import write_template

    with refusing():
        write_template(file, name or file.stem, nodes, force=force)
    tell(f"wrote {file}; next: ai-how up {file}")


@app.command(rich_help_panel=FILE)
def validate(file: ClusterYaml, as_json: JsonFlag = False) -> None:
    """Check a cluster file: every mistake with its line, its key and a remedy."""
    from ai_how.config.load import ConfigError, load_cluster

    if as_json:
        problems = []
        try:
            load_cluster(file)
        except ConfigError as error:
            problems = [vars(problem) for problem in error.problems]
        typer.echo(json.dumps({"file": str(file), "problems": problems}, indent=1))
        raise typer.Exit(EXIT_USAGE if problems else 0)
    with refusing():
        load_cluster(file)
    tell(f"{file}: valid; `ai-how plan {file}` shows what would be made")


@app.command(rich_help_panel=FILE)
def plan(
    file: ClusterYaml,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to print it.")] = Format.text,
    as_json: JsonFlag = False,
) -> None:
    """Show what would be made, and what stands against it. Touches nothing.

    Conflicts are addresses, bridges and devices used twice, in the file or by another cluster
    of this machine, and more cores or memory than it has. Exit code 2 where there are any.
    """
    from ai_how.plan.show import as_markdown, as_text

    found = _planned(file)
    if as_json or form is Format.json:
        typer.echo(json.dumps(found.as_data(), indent=1))
    else:
        typer.echo((as_markdown if form is Format.markdown else as_text)(found), nl=False)
    raise typer.Exit(EXIT_USAGE if found.conflicts else 0)


@app.command(rich_help_panel=FILE)
def render(
    file: ClusterYaml,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write into; else printed.")
    ] = None,
) -> None:
    """Write the configuration files that `up` would: slurm.conf and gres.conf."""
    from ai_how.cluster.state import folder_of
    from ai_how.drivers.nspawn import contents
    from ai_how.drivers.process import rendered
    from ai_how.files import write_whole
    from ai_how.plan.plan import refuse_conflicts

    found = _planned(file)
    with refusing():
        refuse_conflicts(found, str(file))
    boots = found.driver != "process"
    texts = contents.rendered(found) if boots else rendered(found, folder_of(found.name))
    for name, text in texts.items():
        if output is None:
            typer.echo(f"# {name}\n{text}")
        else:
            write_whole(output / name, text)
            tell(str(output / name))


@app.command(rich_help_panel=FILE)
def schema() -> None:
    """Print the JSON schema (draft 2020-12) of a cluster file, for editors."""
    from ai_how.config.schema import schema_text

    typer.echo(schema_text(), nl=False)


def _planned(file: Path) -> Plan:
    from ai_how.cluster.lifecycle import claims, host_for
    from ai_how.config.load import load_cluster
    from ai_how.drivers.libvirt.acceleration import why_emulated
    from ai_how.plan.plan import make_plan

    with refusing():
        read = load_cluster(file)
        name = read.metadata.name
        return make_plan(read, host_for(name), claims(name), emulated=why_emulated())


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


clusters.register(app)
jobs.register(app)
looking.register(app)
app.command(rich_help_panel=MACHINE)(clusters.doctor)
app.add_typer(gpu_app, name="gpu", rich_help_panel=MACHINE)
app.add_typer(image_app, name="image", rich_help_panel=MACHINE)


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, _interrupt)  # a polite stop is a Ctrl-C
    app()
