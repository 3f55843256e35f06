"""`pyacemaker kmc`: adaptive kinetic Monte Carlo with any potential, from one structure."""

from __future__ import annotations

import io
import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pyacemaker.cli.reading import UnreadableError, read_structure
from pyacemaker.cli.words import JsonFlag, QuietFlag, progress, refuse, say, say_apart, stdout

if TYPE_CHECKING:
    from ase import Atoms

    from pyacemaker.dynamics.kmc.landscape import Landscape
    from pyacemaker.dynamics.kmc.settings import KMCSettings

EXIT_HALTED = 3
_CODES = {"completed": 0, "failed": 1, "halted": EXIT_HALTED}
_MOST_ROWS = 30


class Engine(StrEnum):
    """What walks."""

    BUILTIN = "builtin"
    EON = "eon"


def kmc(
    structure: Annotated[
        Path,
        typer.Argument(
            help="A structure file that ASE reads; atoms it holds fixed stay so.",
            metavar="STRUCTURE",
        ),
    ],
    temperature_K: Annotated[
        float, typer.Option("--temperature", "-T", help="Temperature in K.", min=0.1)
    ] = 300.0,
    potential: Annotated[
        Path | None,
        typer.Option("--potential", "-p", help="A potential of a campaign; gamma is watched."),
    ] = None,
    calculator: Annotated[
        str | None,
        typer.Option(
            "--calculator", help="An ASE calculator instead, such as ase.calculators.emt.EMT."
        ),
    ] = None,
    workdir: Annotated[
        Path | None,
        typer.Option("--workdir", "-w", help="Where it works; by default STRUCTURE's name-kmc."),
    ] = None,
    events: Annotated[int, typer.Option("--events", "-n", help="Hops to make.", min=1)] = 20,
    confidence: Annotated[
        float | None, typer.Option("--confidence", help="When a state counts as known (0 to 1).")
    ] = None,
    max_searches: Annotated[
        int | None, typer.Option("--max-searches", help="Most searches from one state.")
    ] = None,
    max_barrier_eV: Annotated[
        float | None, typer.Option("--max-barrier", help="Leave out barriers above this, in eV.")
    ] = None,
    prefactor_THz: Annotated[
        float | None,
        typer.Option("--prefactor", help="A fixed prefactor in THz instead of Vineyard's."),
    ] = None,
    gamma_halt: Annotated[
        float, typer.Option("--gamma-halt", help="Halt where gamma exceeds this.", min=1.0)
    ] = 10.0,
    neb: Annotated[
        bool,
        typer.Option("--neb", help="Compute every barrier again by a climbing elastic band."),
    ] = False,
    engine: Annotated[
        Engine,
        typer.Option(
            "--engine", help="builtin, or eon: your own, or what `pyacemaker build-eon` built."
        ),
    ] = Engine.BUILTIN,
    eon: Annotated[
        str | None,
        typer.Option("--eon", help="Folder of eon-server and eonclient; for engine eon."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the one generator.", min=0)] = 1,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Walk over rare events: find the ways out of each state, their barriers and rates, and hop.

    Stop it at any moment and run it again: it goes on from the state table in the work
    directory. Ask for more --events and it goes on from the last.

    pyacemaker kmc adatom.vasp --calculator ase.calculators.emt.EMT -T 300 -n 5

    Exit codes: 0 all hops made; 1 failed; 2 bad usage; 3 halted where gamma is too large (that
    structure is in halted.extxyz); 130 interrupted.
    """
    from pydantic import ValidationError

    from pyacemaker.dynamics.base import DynamicsError
    from pyacemaker.dynamics.kmc.settings import KMCSettings
    from pyacemaker.dynamics.kmc.table import TableError
    from pyacemaker.files import AlreadyLockedError, locked

    given = {
        "confidence": confidence,
        "max_searches": max_searches,
        "max_barrier_eV": max_barrier_eV,
        "prefactor_THz": prefactor_THz,
        "eon": eon,
    }
    try:
        settings = KMCSettings(
            temperature_K=temperature_K,
            events=events,
            engine=engine.value if eon is None else Engine.EON.value,
            **{key: value for key, value in given.items() if value is not None},
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise refuse(f"{first['loc'][0]}: {first['msg']}") from error
    try:
        atoms = read_structure(structure)
    except UnreadableError as error:
        raise refuse(str(error)) from error
    landscape = _landscape(potential, calculator, gamma_halt)
    where = workdir or Path(f"{structure.stem}-kmc")
    try:
        where.mkdir(parents=True, exist_ok=True)
        with locked(where / ".lock", wait=False):
            code = _walk(
                atoms, landscape, settings, seed, where, neb=neb, as_json=as_json, quiet=quiet
            )
    except AlreadyLockedError as error:
        raise refuse(f"another walk works in {where} ({error})") from error
    except (DynamicsError, TableError, OSError) as error:
        raise refuse(str(error), 1) from error
    except KeyboardInterrupt:
        say_apart("\nStopped. Everything found is kept; the same command goes on.")
        raise typer.Exit(130) from None
    raise typer.Exit(code)


def _landscape(potential: Path | None, calculator: str | None, gamma_halt: float) -> Landscape:
    from pyacemaker.dynamics.kmc.landscape import Landscape
    from pyacemaker.files import sha256_of
    from pyacemaker.oracle.ase_oracle import calculator_class
    from pyacemaker.oracle.base import OracleError
    from pyacemaker.potential import Potential, PotentialError
    from pyacemaker.potential.manifest import MANIFEST

    if (potential is None) == (calculator is None):
        raise refuse("name one potential: --potential DIR, or --calculator DOTTED.NAME")
    if calculator is not None:
        try:
            return Landscape(calculator_class(calculator)(), calculator)
        except (OracleError, TypeError) as error:
            raise refuse(f"--calculator {calculator}: {error}") from error
    assert potential is not None  # noqa: S101 - one of the two is given
    try:
        made = Potential.load(potential).calculator()
    except PotentialError as error:
        raise refuse(str(error)) from error
    return Landscape(made, sha256_of(potential / MANIFEST), gamma_halt)


def _walk(
    atoms: Atoms,
    landscape: Landscape,
    settings: KMCSettings,
    seed: int,
    workdir: Path,
    *,
    neb: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    from ase.io.extxyz import write_extxyz

    from pyacemaker.dynamics.kmc.base import KMCRequest
    from pyacemaker.dynamics.kmc.choose import make_kmc
    from pyacemaker.dynamics.kmc.summary import summary_of
    from pyacemaker.files import write_whole

    tell = progress(quiet=quiet)
    engine = make_kmc(settings)
    result = engine.run(
        KMCRequest(atoms, landscape, settings, seed),
        workdir,
        lambda done, total, told: tell(f"{done} of {total} hops, {told}"),
    )
    summary: dict[str, Any] = {
        "status": result.status,
        "message": result.message,
        "engine": result.engine,
        "temperature_K": settings.temperature_K,
        "warnings": list(result.warnings),
        "table": str(result.table),
        **summary_of(result, settings),
    }
    if neb:
        _add_neb(summary, result.states, landscape)
    name = "halted.extxyz" if result.status == "halted" else "current.extxyz"
    frame = io.StringIO()
    write_extxyz(frame, [result.frame])
    write_whole(workdir / name, frame.getvalue())
    write_whole(workdir / "kmc.json", json.dumps(summary, indent=1))
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        _print(summary)
    return _CODES[result.status]


def _add_neb(summary: dict[str, Any], states: tuple[Any, ...], landscape: Landscape) -> None:
    """Put `neb_barrier_eV` into every process; None where the band did not converge."""
    from pyacemaker.dynamics.kmc.landscape import LostSearchError
    from pyacemaker.dynamics.kmc.neb import neb_barrier

    known = {(s.number, one.number): (s, one) for s in states for one in s.mechanisms}
    for row in summary["processes"]:
        state, one = known[row["state"], row["mechanism"]]
        try:
            row["neb_barrier_eV"] = neb_barrier(state.atoms, one.product, landscape)
        except LostSearchError:
            row["neb_barrier_eV"] = None


def _print(summary: dict[str, Any]) -> None:
    table = Table(title=f"Ways out, with their rates at {summary['temperature_K']:g} K")
    by_neb = any("neb_barrier_eV" in row for row in summary["processes"])
    for head in ("state", "barrier (eV)", *(["by NEB (eV)"] if by_neb else [])):
        table.add_column(head, justify="right")
    for head in ("back (eV)", "prefactor (THz)", "rate (1/s)", "copies", "found"):
        table.add_column(head, justify="right")
    for row in summary["processes"][:_MOST_ROWS]:
        band = row.get("neb_barrier_eV")
        table.add_row(
            str(row["state"]),
            f"{row['barrier_eV']:.4f}",
            *(["-" if band is None else f"{band:.4f}"] if by_neb else []),
            f"{row['reverse_barrier_eV']:.4f}",
            f"{row['prefactor_THz']:.2f}",
            f"{row['rate_per_s']:.3g}",
            str(row["copies"]),
            str(row["found"]),
        )
    stdout.print(table)
    told = ", ".join(f"{count} {name}" for name, count in summary["searches"].items())
    lines = [
        f"{summary['status']}: {summary['hops_done']} hops in {summary['time_s']:.4g} s; "
        f"{summary['states']} states; searches: {told or 'none'}",
        summary["message"],
        *summary["warnings"],
        f"state table: {summary['table']}",
    ]
    for line in filter(None, lines):
        say(line)
