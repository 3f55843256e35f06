"""`pyacemaker validate`: put any potential through the gates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyacemaker.cli.reading import UnreadableError, read_structure, read_structures
from pyacemaker.cli.words import JsonFlag, QuietFlag, progress, refuse, say

if TYPE_CHECKING:
    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from pyacemaker.validator.base import CheckResult
    from pyacemaker.validator.settings import ValidationSettings

EXIT_NO_GO = 1


class _UsageError(Exception):
    """What the command line asks for cannot be had; the message is one line."""


def validate(
    potential: Annotated[
        str,
        typer.Argument(
            help="A folder with a potential (or a campaign's work directory), or the dotted name "
            "of an ASE calculator class, such as ase.calculators.emt.EMT.",
            metavar="POTENTIAL",
        ),
    ],
    structure: Annotated[
        Path | None,
        typer.Option(
            "--structure",
            "-s",
            help="The crystal's unit cell, in any format ASE reads; by default the reference "
            "structure of the campaign.",
        ),
    ] = None,
    element: Annotated[
        str | None,
        typer.Option("--element", "-e", help="Instead of a file: an element in its own crystal."),
    ] = None,
    kwargs: Annotated[
        str | None,
        typer.Option("--kwargs", help="Arguments of the calculator, as JSON: '{\"sigma\": 3.4}'."),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option("--test", help="Held-out labelled structures (extxyz) to compare with."),
    ] = None,
    gates: Annotated[
        str | None, typer.Option("--gates", help="Only these gates, separated by commas.")
    ] = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Larger cells and longer MD: minutes to hours.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A threshold: KEY=VALUE, as in the section `validation`."),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option("--reference", help="A value to reproduce, such as B0_GPa=88.6."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write all numbers and series as JSON.")
    ] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Put a potential through every gate, and tell for each why it is a go or a no-go.

    pyacemaker validate runs/silicon

    pyacemaker validate ase.calculators.emt.EMT -e Cu --gates eos,elastic

    Exit codes: 0 every gate is a go; 1 a gate is a no-go; 2 bad usage.
    """
    from pyacemaker.files import write_whole
    from pyacemaker.validator.run import validate as judge

    try:
        chosen = _settings(gates, thorough, settings or [], reference or [], test is not None)
        calculator, folder = _calculator(potential, kwargs)
        crystal = _crystal(structure, element, folder)
        labelled = _labelled(test)
    except _UsageError as error:
        raise refuse(str(error)) from None

    def tell(result: CheckResult) -> None:
        word = "go" if result.passed else "NO-GO"
        line = f"{result.name}: {word}, {result.reason}"
        if as_json or quiet:
            progress(quiet=quiet)(line)
        else:
            say(line)

    try:
        verdict = judge(calculator, crystal, labelled, chosen, tell)
    except ValueError as error:
        raise refuse(str(error)) from None
    text = json.dumps(verdict.as_dict(), indent=1)
    if output is not None:
        write_whole(output, text + "\n")
    if as_json:
        typer.echo(text)
    elif verdict.passed:
        typer.echo(f"go: all {len(verdict.results)} gates passed")
    else:
        typer.echo(f"NO-GO: {', '.join(verdict.reasons)}")
    raise typer.Exit(0 if verdict.passed else EXIT_NO_GO)


def _settings(
    gates: str | None,
    thorough: bool,
    changes: list[str],
    reference: list[str],
    labelled: bool,
) -> ValidationSettings:
    from pydantic import ValidationError

    from pyacemaker.validator.settings import GATES, ValidationSettings

    values: dict[str, Any] = {"tier": "thorough"} if thorough else {}
    if gates is not None:
        values["gates"] = tuple(name.strip() for name in gates.split(",") if name.strip())
    elif not labelled:
        values["gates"] = tuple(gate for gate in GATES if gate != "test_error")
    for change in changes:
        key, given = _pair("--set", change)
        try:
            values[key] = json.loads(given)
        except json.JSONDecodeError:
            values[key] = given
    try:
        wanted = dict(_pair("--reference", item) for item in reference)
        if wanted:
            values["reference"] = {key: float(value) for key, value in wanted.items()}
        return ValidationSettings(**values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the settings"
        message = str(first["msg"]).removeprefix("Value error, ")
        raise _UsageError(f"{where}: {message}") from error
    except ValueError as error:
        raise _UsageError(f"--reference: {error}") from error


def _pair(option: str, text: str) -> tuple[str, str]:
    key, mark, value = text.partition("=")
    if not (mark and key.strip() and value.strip()):
        raise _UsageError(f"{option} {text}: write KEY=VALUE")
    return key.strip(), value.strip()


def _calculator(potential: str, kwargs: str | None) -> tuple[Calculator, Path | None]:
    """Return the calculator, and the folder it came from (None for a dotted name)."""
    from pyacemaker.oracle.ase_oracle import calculator_class
    from pyacemaker.oracle.base import OracleError
    from pyacemaker.potential import Potential, PotentialError

    path = Path(potential)
    if path.is_file():
        raise _UsageError(f"{potential} is a file; name the potential's folder")
    if path.exists():
        folder = path / "potential" if (path / "potential" / "potential.json").exists() else path
        if kwargs is not None:
            raise _UsageError(f"--kwargs: {potential} is a folder, not the name of a calculator")
        try:
            return Potential.load(folder).calculator(), folder
        except PotentialError as error:
            raise _UsageError(str(error)) from error
    if "/" in potential or "." not in potential:
        raise _UsageError(f"{potential}: there is no such folder, nor is it a dotted name")
    try:
        values = json.loads(kwargs) if kwargs is not None else {}
    except json.JSONDecodeError as error:
        raise _UsageError(f"--kwargs is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise _UsageError('--kwargs: write a JSON object, such as {"sigma": 3.4}')
    try:
        return calculator_class(potential)(**values), None
    except OracleError as error:
        raise _UsageError(str(error).removeprefix("oracle.calculator ")) from error
    except Exception as error:
        words = " ".join(str(error).split())
        raise _UsageError(f"{potential} could not be made of {values}: {words}") from error


def _crystal(structure: Path | None, element: str | None, folder: Path | None) -> Atoms:
    from ase.build import bulk

    from pyacemaker.structures import read_structures as read_stored

    if structure is not None and element is not None:
        raise _UsageError("--structure and --element exclude each other")
    if element is not None:
        try:
            return bulk(element)
        except Exception as error:
            raise _UsageError(
                f"--element {element}: {error}; name a file with --structure"
            ) from error
    if structure is not None:
        try:
            return read_structure(structure)
        except UnreadableError as error:
            raise _UsageError(f"--structure {error}") from error
    for place in (folder, folder and folder.parent, folder and folder.parent.parent):
        if place is not None and (place / "preparation" / "reference.json").exists():
            return read_stored(place / "preparation" / "reference.json")[0]
    raise _UsageError("name the crystal with --structure FILE, or --element SYMBOL")


def _labelled(test: Path | None) -> list[Atoms]:
    if test is None:
        return []
    try:
        return read_structures(test)
    except UnreadableError as error:
        raise _UsageError(f"--test {error}") from error
