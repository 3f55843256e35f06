"""What `pyacemaker data` prints for people."""

from __future__ import annotations

import json

import numpy as np
from ase.units import GPa
from rich.console import Console
from rich.table import Table

from pyacemaker.data.importing import Imported
from pyacemaker.data.listing import provenance
from pyacemaker.data.verify import StoreReport
from pyacemaker.oracle.base import Label

_MOST_TOLD = 20


def print_label(console: Console, key: str, label: Label) -> None:
    """Print one label: results, settings, provenance, record, forces."""
    atoms, results = label.atoms, label.atoms.calc.results
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right")
    table.add_column(overflow="fold")
    table.add_row("key", key)
    table.add_row("structure", f"{atoms.get_chemical_formula()}, {len(atoms)} atoms")
    if atoms.cell.rank == 3:
        table.add_row("volume", f"{atoms.get_volume() / len(atoms):.4f} Å^3/atom")
    energy = float(results["energy"])
    table.add_row("energy", f"{energy:.6f} eV, {energy / len(atoms):.6f} eV/atom")
    if results.get("stress") is not None:
        stress = ", ".join(f"{value / GPa:.3f}" for value in results["stress"])
        table.add_row("stress", f"{stress} GPa (xx yy zz yz xz xy, tension positive)")
    for name, content in (
        ("settings", label.settings),
        ("provenance", provenance(label)),
        ("record", label.meta),
    ):
        table.add_row(name, json.dumps(content, sort_keys=True))
    console.print(table, highlight=False)
    rows = Table(box=None, header_style="dim")
    for title in ("atom", "x (Å)", "y", "z", "Fx (eV/Å)", "Fy", "Fz"):
        rows.add_column(title, justify="right")
    for symbol, place, force in zip(
        atoms.get_chemical_symbols(), atoms.positions, np.asarray(results["forces"]), strict=True
    ):
        rows.add_row(symbol, *(f"{x:.5f}" for x in place), *(f"{x:+.5f}" for x in force))
    console.print(rows, highlight=False)


def print_imported(console: Console, done: Imported, name: str, dry_run: bool) -> None:
    """Print what became of a file's structures."""

    def say(text: str, style: str = "") -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True, style=style)

    verb = "would be imported" if dry_run else "imported"
    say(f"{len(done.taken)} of {done.read} structures {verb} as {name!r}")
    if done.duplicates:
        say(f"{done.duplicates} duplicates left out")
    for remark in done.remarks[:_MOST_TOLD]:
        say(f"note: {remark}", "yellow")
    for place, why in done.set_aside[:_MOST_TOLD]:
        say(f"structure {place} set aside: {why}", "red")
    if (left := len(done.set_aside) - _MOST_TOLD) > 0:
        say(f"and {left} more set aside (--json lists all)", "red")
    if done.set_aside:
        say("--keep-outliers takes what is odd and right all the same")
    if done.taken and not dry_run:
        say(f"a campaign uses them where its configuration says   oracle: {{imported: [{name}]}}")


def print_check(console: Console, report: StoreReport) -> None:
    """Print what is wrong with a store, or that nothing is."""
    twice = f", {report.computed_twice} computed twice" if report.computed_twice else ""
    console.print(
        f"{report.labels} labels and {report.failures} failures in {report.directory}{twice}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    for finding in report.findings:
        console.print(
            f"{finding.key[:12]} {finding.kind}: {finding.message}",
            style="red",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if not report.findings:
        console.print("every checksum and key is right, and nothing looks wrong", style="green")
