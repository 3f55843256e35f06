"""Commands, options, exit codes."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

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

EXIT_CODES_HELP = (
    "Exit codes: 0 done; 1 failed (a build, a smoke test, a checksum); 2 bad usage, or a request "
    "that is refused; 130 interrupted (what was built before is as it was)."
)

app = typer.Typer(
    help="Any interatomic potential, in an environment of its own, as one ASE calculator.",
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RootOption = Annotated[
    Path | None,
    typer.Option("--root", "-r", help="The root's folder; by default $ROOTSTOCK_ROOT."),
]
ClusterOption = Annotated[
    str | None, typer.Option("--cluster", help="A cluster's root, by name; see clusters.")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
DeviceOption = Annotated[str, typer.Option("--device", "-d", help="cpu or cuda.")]
OptionList = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        help="NAME=VALUE for the environment's setup; JSON values are understood.",
    ),
]
ModelArgument = Annotated[
    str, typer.Argument(help="As in chgnet, mace-medium, mace-/path/to/weights.", metavar="MODEL")
]


@app.callback(invoke_without_command=True)
def version_option(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Any interatomic potential, in an environment of its own, as one ASE calculator."""
    if version:
        from rootstock.build.version import package_version  # noqa: PLC0415 - quick --help

        typer.echo(f"rootstock {package_version()}")
        raise typer.Exit


@app.command()
def init(root: RootOption = None) -> None:
    """Make a root: a folder for environments, interpreters and weights."""
    from rootstock.root.create import create_root  # noqa: PLC0415

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
) -> None:
    """Build environments, fetch their weights, and put them into use once they pass a test.

    The test compares forces and stress with finite differences of the energy. Until it has
    passed, and if it fails, what was built before stays in use.
    """
    from rootstock.build.build import BuildOptions  # noqa: PLC0415
    from rootstock.build.build import build as build_one  # noqa: PLC0415

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
        wanted, device, test_device, force, relock, torch_backend, _options(option)
    )
    for name in names:
        try:
            with progress() as say:
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
    import os  # noqa: PLC0415

    from rootstock.cli.status import listed, print_list  # noqa: PLC0415

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
    from rootstock.cli.status import print_status, status_of  # noqa: PLC0415

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
def register(
    model: Annotated[
        str, typer.Argument(help="An environment's name and one of yours: mace-mine.")
    ],
    path: Annotated[Path, typer.Argument(help="Weights: a file, or a potential's folder.")],
    root: RootOption = None,
    elements: Annotated[
        str, typer.Option(help="Elements it knows, with commas, where it does not tell.")
    ] = "",
    device: DeviceOption = "cpu",
    option: OptionList = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of weights of that name.")
    ] = False,
    no_test: Annotated[
        bool, typer.Option("--no-test", help="Leave the smoke test to verify.")
    ] = False,
) -> None:
    """Copy weights into the root under a model's name, with checksums, and test them."""
    from rootstock.build.register import register as register_one  # noqa: PLC0415

    layout = opened(root)
    symbols = [part.strip() for part in elements.split(",") if part.strip()]
    try:
        with progress() as say:
            register_one(
                layout, model, path, say, elements=symbols, device=device, replace=replace,
                setup_options=_options(option), test=not no_test,
            )  # fmt: skip
    except BuildError as error:
        raise refuse(str(error), EXIT_FAILED) from error
    except RootError as error:
        raise refuse(str(error)) from error


@app.command()
def add(
    file: Annotated[
        str, typer.Argument(help="Your environment file, or the name of a shipped one.")
    ],
    root: RootOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of a file of that name.")
    ] = False,
) -> None:
    """Add an environment file to the root; it is judged without being run."""
    from rootstock.build.requirements import check_requirements  # noqa: PLC0415
    from rootstock.root.layout import environment_name, short_name  # noqa: PLC0415
    from rootstock.root.shipped import shipped_source  # noqa: PLC0415
    from rootstock.root.source import read_source  # noqa: PLC0415

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


@app.command(epilog=EXIT_CODES_HELP)
def verify(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models; all by default.", metavar="[MODEL]...")
    ] = None,
    root: RootOption = None,
    cluster: ClusterOption = None,
    device: DeviceOption = "cpu",
    checksums: Annotated[
        bool, typer.Option("--checksums", help="Compare checksums only; run no model.")
    ] = False,
    option: OptionList = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare checksums and run the smoke test again; a read-only root is verified as well."""
    from dataclasses import asdict  # noqa: PLC0415

    from rootstock.build.verify import verify as verify_models  # noqa: PLC0415

    layout = opened(root, cluster)
    found = []
    try:
        with progress(quiet=as_json) as say:
            for verdict in verify_models(
                layout, tuple(models or ()), device, say, checksums_only=checksums,
                setup_options=_options(option),
            ):  # fmt: skip
                found.append(verdict)
                if verdict.problem is not None:
                    say(f"{verdict.model}: {verdict.problem}")
    except RootError as error:
        raise refuse(str(error)) from error
    if as_json:
        typer.echo(json.dumps([asdict(verdict) for verdict in found], indent=1))
    bad = [verdict for verdict in found if verdict.problem is not None]
    if not as_json:
        stdout.print(f"{len(found) - len(bad)} of {len(found)} models are well", highlight=False)
    if bad:
        raise refuse(f"{bad[0].model}: {bad[0].problem}", EXIT_FAILED)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="A model, or an environment with all its models.")],
    root: RootOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a model's weights, or an environment with everything that belongs to it."""
    from rootstock.build.remove import plan_removal  # noqa: PLC0415
    from rootstock.build.remove import remove as remove_one  # noqa: PLC0415

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
def serve(
    model: ModelArgument,
    address: Annotated[
        str, typer.Argument(help="HOST:PORT, or the path of a Unix socket.", metavar="ADDRESS")
    ],
    root: RootOption = None,
    cluster: ClusterOption = None,
    device: DeviceOption = "cpu",
    template: Annotated[
        Path | None,
        typer.Option(
            help="A structure file with the atoms in the server's order, for servers that tell no "
            "species (i-PI, ASE).",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    option: OptionList = None,
) -> None:
    """Run a model for a server that speaks the i-PI protocol (i-PI, ASE, LAMMPS drivers).

    The plain protocol tells positions and cell, and no species: name a --template for it.
    """
    from rootstock.cli.serving import serve_model  # noqa: PLC0415
    from rootstock.root.shipped import BUILT_IN  # noqa: PLC0415

    folder = Path() if model in BUILT_IN else chosen_root(root, cluster)
    try:
        code = serve_model(folder, model, address, device, _options(option), template)
    except RootError as error:
        raise refuse(str(error)) from error
    raise typer.Exit(code)


@app.command()
def benchmark(
    model: ModelArgument,
    root: RootOption = None,
    cluster: ClusterOption = None,
    device: DeviceOption = "cpu",
    atoms: Annotated[str, typer.Option(help="Numbers of atoms, with commas.")] = "64,256,1000",
    repeats: Annotated[int, typer.Option(min=1, help="Calls of each size; medians are told.")] = 7,
    elements: Annotated[str, typer.Option(help="Elements of the crystal, with commas.")] = "",
    option: OptionList = None,
    as_json: JsonFlag = False,
) -> None:
    """Time calls of a model: in its environment, and from here through the calculator."""
    from rootstock.cli.timing import benchmark_model, print_timings  # noqa: PLC0415
    from rootstock.root.shipped import BUILT_IN  # noqa: PLC0415

    try:
        sizes = [int(part) for part in atoms.split(",")]
    except ValueError:
        raise refuse(f"--atoms takes numbers with commas, not {atoms!r}") from None
    if min(sizes) < 1:
        raise refuse("--atoms takes positive numbers")
    folder = Path() if model in BUILT_IN else chosen_root(root, cluster)
    symbols = [part.strip() for part in elements.split(",") if part.strip()]
    try:
        with progress(quiet=as_json) as say:
            found = benchmark_model(
                folder, model, device, sizes, repeats, symbols, _options(option), say
            )
    except BuildError as error:
        raise refuse(str(error), EXIT_FAILED) from error
    except RootError as error:
        raise refuse(str(error)) from error
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        print_timings(stdout, found)


@app.command()
def clusters(as_json: JsonFlag = False) -> None:
    """List known clusters, their roots, and where each is written."""
    from rootstock.clusters import clusters as known  # noqa: PLC0415
    from rootstock.clusters import config_files  # noqa: PLC0415

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


def _options(words: list[str] | None) -> dict[str, Any]:
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


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, _interrupt)  # a batch system's polite stop is a Ctrl-C
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        raise SystemExit(EXIT_INTERRUPTED) from None
