"""`pyacemaker converge`: how fine the sampling has to be, measured and written down."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from pyacemaker.cli.words import JsonFlag, QuietFlag, refuse, stderr, stdout

if TYPE_CHECKING:
    from ase import Atoms

    from pyacemaker.oracle.base import Label
    from pyacemaker.oracle.convergence import DFTSettings, Row, Study, Tolerances


def converge(
    config: Annotated[Path, typer.Argument(help="The campaign's YAML.", metavar="CONFIG")],
    workdir: Annotated[
        Path | None,
        typer.Option("--workdir", "-w", help="Where labels are kept; default: NAME-converge."),
    ] = None,
    force: Annotated[float, typer.Option(help="Allowed error of a force in eV/A.")] = 0.01,
    stress: Annotated[float, typer.Option(help="Allowed error of the stress in GPa.")] = 0.3,
    energy: Annotated[
        float, typer.Option(help="Allowed error of an energy difference in meV/atom.")
    ] = 1.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure, but leave the configuration as it is.")
    ] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Find the cutoff, the k-points and the smearing, and write them into the configuration.

    Measured on the reference crystal, a compressed and a displaced cell: forces, stresses and
    energy differences against the finest sampling. Stop it whenever you like; the same command
    goes on, for labels are kept. The old file is kept as CONFIG.bak, comments stay.

    Exit codes: 0 all is converged; 1 something is not, or a label failed; 2 bad usage;
    130 interrupted.
    """
    from pyacemaker.config.load import ConfigError, load_config
    from pyacemaker.config.resolve import resolve
    from pyacemaker.config.rewrite import rewrite_file
    from pyacemaker.oracle.base import OracleError
    from pyacemaker.oracle.convergence import Tolerances
    from pyacemaker.oracle.settings import ASESettings, RootstockSettings
    from pyacemaker.process import StoppedError

    try:
        settings = resolve(load_config(config), config.parent).settings
    except ConfigError as error:
        raise refuse(str(error)) from error
    if not dry_run and not os.access(config, os.W_OK):
        raise refuse(f"{config} cannot be written; --dry-run measures only")
    oracle = settings.oracle
    if isinstance(oracle, ASESettings | RootstockSettings):
        raise refuse(f"{config}: only plane-wave codes have a cutoff and k-points to converge")
    reference = settings.structure.atoms()
    allowed = Tolerances(force, stress, energy)
    where = workdir or Path(f"{config.stem}-converge")
    try:
        found = _measure(
            oracle,
            reference,
            settings.seed,
            settings.workers,
            where,
            allowed,
            quiet=as_json or quiet,
        )
    except (KeyboardInterrupt, StoppedError):
        stderr.print("\nStopped. Everything finished is kept; run the same command to go on.")
        raise typer.Exit(130) from None
    except OracleError as error:
        raise refuse(f"a label failed: {error}", code=1) from error
    values = _values(found, oracle)
    backup = None
    if values and not dry_run:
        comment = f"converged: {force:g} eV/A, {stress:g} GPa, {energy:g} meV/atom"
        try:
            backup = rewrite_file(config, "oracle", values, comment)
        except ConfigError as error:
            raise refuse(str(error)) from error
    if as_json:
        told = {
            **found.as_dict(),
            "tolerances": asdict(allowed),
            "values": values,
            "written": backup is not None,
            "backup": None if backup is None else str(backup),
        }
        typer.echo(json.dumps(told, indent=1))
    else:
        _print(found, values, allowed, config, backup)
    raise typer.Exit(0 if found.converged else 1)


def _measure(
    oracle: DFTSettings,
    reference: Atoms,
    seed: int,
    workers: int,
    workdir: Path,
    allowed: Tolerances,
    *,
    quiet: bool,
) -> Study:
    from pyacemaker.campaign.labelling import label_batch
    from pyacemaker.execution.parsl_executor import ParslExecutor
    from pyacemaker.labels import LabelStore
    from pyacemaker.oracle.base import OracleError
    from pyacemaker.oracle.convergence import study, study_structures
    from pyacemaker.oracle.espresso.oracle import EspressoOracle
    from pyacemaker.oracle.settings import make_oracle
    from pyacemaker.process import allow_programs, stop_programs

    def say(text: str) -> None:
        if not quiet:
            stderr.print(text, markup=False, highlight=False, soft_wrap=True)

    store = LabelStore(workdir / "labels")
    allow_programs()
    with ParslExecutor(workers) as executor:

        def compute(settings: DFTSettings, structures: Sequence[Atoms]) -> list[Label]:
            maker = make_oracle(settings)
            batch = label_batch(list(structures), maker, store, executor, _labels_told(say))
            if batch.failures:
                raise OracleError(next(iter(batch.failures.values())))
            found = [store.get(key) for key in batch.keys if key is not None]
            return [label for label in found if label is not None]

        def on_value(parameter: str, value: float, n: int, most: int) -> None:
            part = ", the reference" if n == 1 else ""
            say(f"{parameter} {value:g} ({n} of at most {most}{part}) ...")

        say(f"labels are kept in {store.directory}")
        try:
            maker = make_oracle(oracle)
            if isinstance(maker, EspressoOracle):
                maker.prepare(dict.fromkeys(reference.get_chemical_symbols()), say)
            structures = study_structures(reference, seed)
            return study(
                oracle,
                structures,
                compute,
                allowed,
                lambda row: say(f"  {_verdict(row, allowed)}"),
                on_value,
            )
        except KeyboardInterrupt:
            stop_programs()
            raise


def _labels_told(say: Callable[[str], None]) -> Callable[[int, int], None]:
    """Return what tells how many labels of a value are there."""
    start, before = time.monotonic(), -1

    def told(done: int, total: int) -> None:
        nonlocal before
        if before < 0:
            if done:
                say(f"  {done} of {total} labels are there already")
        elif done > before:
            say(f"  label {done} of {total} after {time.monotonic() - start:.0f} s")
        before = done

    return told


def _verdict(row: Row, allowed: Tolerances) -> str:
    if row.is_reference:
        return "the others are compared with this"
    if row.problem:
        return f"failed: {row.problem}"
    verdict = "converged" if row.within(allowed) else "too coarse"
    return (
        f"{verdict}: force {row.force_error_eV_per_A:.4f} eV/A, stress "
        f"{row.stress_error_GPa:.3f} GPa, energy {row.energy_error_meV_per_atom:.3f} meV/atom"
    )


def _values(found: Study, oracle: DFTSettings) -> dict[str, float]:
    """Return what goes into the configuration."""
    from pyacemaker.oracle.settings import EspressoSettings

    values = {name: value for name, value in found.found.items() if value is not None}
    cutoff = values.get("ecutwfc_Ry")
    if isinstance(oracle, EspressoSettings) and cutoff is not None:
        values["ecutrho_Ry"] = round(cutoff * oracle.ecutrho_Ry / oracle.ecutwfc_Ry, 6)
    return values


def _print(
    found: Study,
    values: dict[str, float],
    allowed: Tolerances,
    config: Path,
    backup: Path | None,
) -> None:
    table = Table(box=None, header_style="dim")
    errors = ("force error (eV/Å)", "stress error (GPa)", "ΔE error (meV/atom)")
    for title in ("parameter", "value", "k-mesh", *errors, "3 labels (s)", ""):
        text = title in ("parameter", "")
        table.add_column(title, justify="left" if text else "right", no_wrap=True)
    for row in found.rows:
        numbers = (
            row.force_error_eV_per_A,
            row.stress_error_GPa,
            row.energy_error_meV_per_atom,
        )
        chosen = found.found[row.parameter] == row.value
        verdict = row.problem or ("" if row.within(allowed) else "too coarse")
        if row.is_reference:
            verdict = "reference"
        table.add_row(
            row.parameter,
            f"{row.value:g}",
            "x".join(map(str, row.mesh)),
            *("-" if n is None else f"{n:.4f}" for n in numbers),
            f"{row.wall_s:.0f}",
            "chosen" if chosen else verdict,
            style="bold green" if chosen else "",
        )
    wide = stdout if stdout.is_terminal else Console(width=160)
    wide.print(table)
    for line in found.advice(allowed):
        stdout.print(line, style="red", highlight=False, soft_wrap=True)
    if backup is not None:
        told = ", ".join(f"{name} {value:g}" for name, value in values.items())
        stdout.print(
            f"wrote {told} into {config} (before: {backup})", highlight=False, soft_wrap=True
        )
