"""Commands about models: their weights, their tests, their service, their speed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rootstock.cli.options import (
    ClusterOption,
    DeviceOption,
    JsonFlag,
    ModelArgument,
    OptionList,
    QuietFlag,
    RootOption,
    setup_options,
)
from rootstock.cli.words import EXIT_FAILED, chosen_root, opened, progress, refuse, stdout
from rootstock.root.errors import BuildError, RootError


def register(
    model: Annotated[
        str,
        typer.Argument(help="An environment's name and one of yours: mace-mine.", metavar="MODEL"),
    ],
    path: Annotated[
        Path, typer.Argument(help="Weights: a file, or a potential's folder.", metavar="PATH")
    ],
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
    quiet: QuietFlag = False,
) -> None:
    """Copy weights into the root under a model's name, with checksums, and test them.

    rootstock register mace-mine weights.model --elements Cu,Au --root models
    """
    from rootstock.build.register import register as register_one

    layout = opened(root)
    symbols = [part.strip() for part in elements.split(",") if part.strip()]
    try:
        with progress(quiet=quiet) as say:
            register_one(
                layout, model, path, say, elements=symbols, device=device, replace=replace,
                setup_options=setup_options(option), test=not no_test,
            )  # fmt: skip
    except BuildError as error:
        raise refuse(str(error), EXIT_FAILED) from error
    except RootError as error:
        raise refuse(str(error)) from error


def verify(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models; all by default.", metavar="MODEL")
    ] = None,
    root: RootOption = None,
    cluster: ClusterOption = None,
    device: DeviceOption = "cpu",
    checksums: Annotated[
        bool, typer.Option("--checksums", help="Compare checksums only; run no model.")
    ] = False,
    option: OptionList = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Compare checksums and run the smoke test again; a read-only root is verified as well."""
    from dataclasses import asdict

    from rootstock.build.verify import verify as verify_models

    layout = opened(root, cluster)
    found = []
    try:
        with progress(quiet=as_json or quiet) as say:
            for verdict in verify_models(
                layout, tuple(models or ()), device, say, checksums_only=checksums,
                setup_options=setup_options(option),
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

    rootstock serve emt localhost:31415 --template start.xyz
    """
    from rootstock.cli.serving import serve_model
    from rootstock.root.shipped import BUILT_IN

    folder = Path() if model in BUILT_IN else chosen_root(root, cluster)
    try:
        code = serve_model(folder, model, address, device, setup_options(option), template)
    except RootError as error:
        raise refuse(str(error)) from error
    raise typer.Exit(code)


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
    quiet: QuietFlag = False,
) -> None:
    """Time calls of a model: in its environment, and from here through the calculator."""
    from rootstock.cli.timing import benchmark_model, print_timings
    from rootstock.root.shipped import BUILT_IN

    try:
        sizes = [int(part) for part in atoms.split(",")]
    except ValueError:
        raise refuse(f"--atoms takes numbers with commas, not {atoms!r}") from None
    if min(sizes) < 1:
        raise refuse("--atoms takes positive numbers")
    folder = Path() if model in BUILT_IN else chosen_root(root, cluster)
    symbols = [part.strip() for part in elements.split(",") if part.strip()]
    try:
        with progress(quiet=as_json or quiet) as say:
            found = benchmark_model(
                folder, model, device, sizes, repeats, symbols, setup_options(option), say
            )
    except BuildError as error:
        raise refuse(str(error), EXIT_FAILED) from error
    except RootError as error:
        raise refuse(str(error)) from error
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        print_timings(stdout, found)
