"""Commands, options, exit codes."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from rootstock.cli.models import benchmark, register, serve, verify
from rootstock.cli.options import (
    EXIT_CODES_HELP,
    ClusterOption,
    JsonFlag,
    OptionList,
    QuietFlag,
    RootOption,
    setup_options,
)
from rootstock.cli.words import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    chosen_root,
    opened,
    progress,
    refuse,
    size_text,
    stdout,
)
from rootstock.root.errors import BuildError, RootError

app = typer.Typer(
    help="Any interatomic potential, in an environment of its own, as one ASE calculator.\n\n"
    "Begin with `rootstock init -r models`, then `rootstock list` and `rootstock build NAME`.",
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def version_option(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Any interatomic potential, in an environment of its own, as one ASE calculator."""
    if version:
        from rootstock.build.version import package_version

        typer.echo(f"rootstock {package_version()}")
        raise typer.Exit


@app.command()
def init(root: RootOption = None) -> None:
    """Make a root: a folder for environments, interpreters and weights."""
    from rootstock.root.create import create_root

    folder = chosen_root(root)
    try:
        layout, new = create_root(folder)
    except RootError as error:
        raise refuse(str(error)) from error
    what = "made the root" if new else "the root is there already:"
    stdout.print(
        f"{what} {layout.folder}; next: rootstock build chgnet --root {layout.folder}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


@app.command(epilog=EXIT_CODES_HELP)
def build(
    names: Annotated[list[str], typer.Argument(help="Environments, as in list.", metavar="NAME")],
    root: RootOption = None,
    models: Annotated[
        str | None,
        typer.Option(help="Which models to fetch and test, with commas: medium,large."),
    ] = None,
    no_models: Annotated[
        bool, typer.Option("--no-models", help="Fetch and test no model (weights come later).")
    ] = False,
    device: Annotated[
        str, typer.Option("--device", "-d", help="What torch is installed for: cpu or cuda.")
    ] = "cpu",
    test_device: Annotated[
        str | None,
        typer.Option(help="Where the smoke test runs, if not on --device (a login node)."),
    ] = None,
    torch_backend: Annotated[
        str | None, typer.Option(help="uv's name of a build of torch, as in cu128.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build though nothing changed.")] = False,
    relock: Annotated[
        bool, typer.Option("--relock", help="Look for newer versions than the lock has.")
    ] = False,
    option: OptionList = None,
    quiet: QuietFlag = False,
) -> None:
    """Build environments, fetch their weights, and put them into use once they pass a test.

    The test compares forces and stress with finite differences of the energy. Until it has
    passed, and if it fails, what was built before stays in use.

    rootstock build chgnet sevennet --root models
    """
    from rootstock.build.build import BuildOptions
    from rootstock.build.build import build as build_one

    layout = opened(root)
    if models is not None and no_models:
        raise refuse("give --models or --no-models, not both")
    for value in (device, test_device):
        if value not in ("cpu", "cuda", None):
            raise refuse(f"--device takes cpu or cuda, not {value}")
    wanted: tuple[str, ...] | None = () if no_models else None
    if models is not None:
        wanted = tuple(part.strip() for part in models.split(","))
    options = BuildOptions(
        wanted, device, test_device, force, relock, torch_backend, setup_options(option)
    )
    for name in names:
        try:
            with progress(quiet=quiet) as say:
                record = build_one(layout, name, options, say)
        except BuildError as error:
            raise refuse(str(error), EXIT_FAILED) from error
        except RootError as error:
            raise refuse(str(error)) from error
        stdout.print(
            f"{record.name}: {size_text(record.size_bytes)}, Python {record.python}, "
            f"{len(record.packages)} packages",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip


@app.command("list")
def list_(root: RootOption = None, as_json: JsonFlag = False) -> None:
    """List every environment that can be built, with its models and licences."""
    import os

    from rootstock.cli.status import listed, print_list

    layout = opened(root) if root or os.environ.get("ROOTSTOCK_ROOT") else None
    try:
        rows = listed(layout)
    except RootError as error:
        raise refuse(str(error)) from error
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        print_list(stdout, rows)


@app.command()
def status(
    root: RootOption = None, cluster: ClusterOption = None, as_json: JsonFlag = False
) -> None:
    """Tell for each model whether it is built, where it was verified, its size and last error."""
    from rootstock.cli.status import print_status, status_of

    layout = opened(root, cluster)
    try:
        found = status_of(layout)
    except RootError as error:
        raise refuse(str(error)) from error
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        print_status(stdout, found)


@app.command()
def add(
    file: Annotated[
        str,
        typer.Argument(help="Your environment file, or the name of a shipped one.", metavar="FILE"),
    ],
    root: RootOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of a file of that name.")
    ] = False,
) -> None:
    """Add an environment file to the root; it is judged without being run.

    rootstock add mymodel.py --root models
    """
    from rootstock.build.requirements import check_requirements
    from rootstock.root.layout import environment_name, short_name
    from rootstock.root.shipped import shipped_source
    from rootstock.root.source import read_source

    layout = opened(root)
    path = Path(file).expanduser()
    if not path.exists() and (shipped := shipped_source(environment_name(file))) is not None:
        path = shipped
    try:
        source = read_source(path)
        check_requirements(source)
        target = layout.source(source.name)
        if target.exists() and target.read_bytes() != path.read_bytes() and not replace:
            raise refuse(f"{target} is there already and differs; --replace puts yours there")
        shutil.copyfile(path, target)
    except RootError as error:
        raise refuse(str(error)) from error
    except OSError as error:
        raise refuse(f"{layout.environments} cannot be written to: {error.strerror}") from error
    stdout.print(
        f"added {source.name}; next: rootstock build {short_name(source.name)} "
        f"--root {layout.folder}",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


@app.command()
def remove(
    name: Annotated[
        str, typer.Argument(help="A model, or an environment with all its models.", metavar="NAME")
    ],
    root: RootOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a model's weights, or an environment with everything that belongs to it."""
    from rootstock.build.remove import plan_removal
    from rootstock.build.remove import remove as remove_one

    layout = opened(root)
    try:
        removal = plan_removal(layout, name)
        what = f"the environment {removal.environment}" if removal.whole_environment else name
        models = ", ".join(removal.models)
        also = f" with {models}" if removal.whole_environment and models else ""
        size = size_text(removal.size_bytes)
        if not yes:
            if not sys.stdin.isatty():
                raise refuse(f"would remove {what}{also} ({size}); say --yes")
            typer.confirm(f"Remove {what}{also} ({size})?", abort=True)
        remove_one(layout, removal)
    except RootError as error:
        raise refuse(str(error)) from error
    stdout.print(f"removed {what}{also}: {size}", markup=False, highlight=False)


@app.command()
def clusters(as_json: JsonFlag = False) -> None:
    """List known clusters, their roots, and where each is written."""
    from rootstock.clusters import clusters as known
    from rootstock.clusters import config_files

    try:
        found = known()
    except RootError as error:
        raise refuse(str(error)) from error
    rows = [
        {"name": c.name, "root": str(c.root), "source": c.source, "here": c.root.is_dir()}
        for _, c in sorted(found.items())
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        here = ", here" if row["here"] else ""
        stdout.print(
            f"{row['name']:<12} {row['root']}  ({row['source']}{here})",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
    stdout.print(
        f"add your own to {config_files()[-1]}", style="dim", highlight=False, soft_wrap=True
    )


app.command()(register)
app.command(epilog=EXIT_CODES_HELP)(verify)
app.command()(serve)
app.command()(benchmark)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, _interrupt)  # a batch system's polite stop is a Ctrl-C
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        raise SystemExit(EXIT_INTERRUPTED) from None
