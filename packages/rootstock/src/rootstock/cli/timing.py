"""`rootstock benchmark`: a model in its environment, and through the calculator from here."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rootstock.build.programs import Log, Say, run
from rootstock.build.timing import supercell, time_calls
from rootstock.root.errors import BuildError
from rootstock.root.layout import open_root
from rootstock.root.manifest import read_manifest
from rootstock.root.resolve import ResolvedModel, built_in, resolve_model
from rootstock.root.shipped import BUILT_IN
from rootstock.root.source import read_source
from rootstock.root.variables import complete

_LIMIT_S = 3600.0
_BUILT_IN_ELEMENTS = {"emt": ["Cu"], "lj": ["Ar"]}


def benchmark_model(
    root: Path,
    model: str,
    device: str,
    sizes: Sequence[int],
    repeats: int,
    elements: Sequence[str],
    options: Mapping[str, Any],
    say: Say,
) -> dict[str, Any]:
    """Return the medians of both ways for every size, as plain JSON values (seconds)."""
    resolved = built_in(model) if model in BUILT_IN else resolve_model(root, model)
    known, default = _elements(root, model, resolved)
    chosen = list(elements) or known
    say(f"timing {model} on {device} in its environment")
    direct = _direct(resolved, device, sizes, repeats, chosen, default, options, say)
    say(f"timing {model} through the calculator")
    through = _through(root, model, device, sizes, repeats, direct["elements"], options)
    rows = []
    for n, call in enumerate(direct["calls"]):
        row = {"atoms": call["atoms"], "in_environment_s": call["median_s"]}
        if through is not None:
            row["through_calculator_s"] = through[n]
            row["overhead_s"] = through[n] - call["median_s"]
        rows.append(row)
    return {
        "model": model,
        "device": device,
        "repeats": repeats,
        "elements": direct["elements"],
        "load_s": direct["load_s"],
        "calls": rows,
    }


def print_timings(console: Console, found: dict[str, Any]) -> None:
    """Print a table of milliseconds."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("atoms", "in environment (ms)", "through calculator (ms)", "overhead (ms, %)"):
        table.add_column(column, justify="right")
    for row in found["calls"]:
        cells = [str(row["atoms"]), f"{1000 * row['in_environment_s']:.2f}", "-", "-"]
        if "through_calculator_s" in row:
            cells[2] = f"{1000 * row['through_calculator_s']:.2f}"
            share = 100 * row["overhead_s"] / row["in_environment_s"]
            cells[3] = f"{1000 * row['overhead_s']:.3f}, {share:.1f}"
        table.add_row(*cells)
    console.print(
        f"{found['model']} on {found['device']}, {'-'.join(found['elements'])}, medians of "
        f"{found['repeats']}; loaded in {found['load_s']:.1f} s",
        markup=False, highlight=False,
    )  # fmt: skip
    console.print(table)


def _elements(root: Path, model: str, resolved: ResolvedModel) -> tuple[list[str], list[str]]:
    """Return the elements that the model is known to have, and those of its environment file."""
    if model in BUILT_IN:
        return _BUILT_IN_ELEMENTS[model], []
    record = read_manifest(open_root(root)).models.get(model)
    return record.elements if record else [], list(read_source(resolved.source).facts.elements)


def _direct(
    resolved: ResolvedModel,
    device: str,
    sizes: Sequence[int],
    repeats: int,
    elements: Sequence[str],
    default: Sequence[str],
    options: Mapping[str, Any],
    say: Say,
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="rootstock-") as work:
        out, log = Path(work) / "found.json", Log(Path(work) / "log")
        log.begin()
        run(
            "timing the model",
            [resolved.python, "-m", "rootstock.build.timing", "--source", resolved.source,
             "--model", resolved.argument, "--device", device, "--repeats", str(repeats),
             "--sizes", ",".join(map(str, sizes)), "--elements", ",".join(elements),
             "--default-elements", ",".join(default),
             "--options", json.dumps(dict(options)), "--out", out],
            log=log, timeout_s=_LIMIT_S, env=complete(resolved.variables), cwd=Path(work), say=say,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(out.read_text())
        return found


def _through(
    root: Path,
    model: str,
    device: str,
    sizes: Sequence[int],
    repeats: int,
    elements: list[str],
    options: Mapping[str, Any],
) -> list[float] | None:
    try:
        calculator_class = import_module("rootstock.calculator").RootstockCalculator
    except ImportError as error:
        raise BuildError(f"this rootstock has no calculator ({error})") from error
    where = {} if model in BUILT_IN else {"root": root}
    with calculator_class(**where, model=model, device=device, **options) as calculator:
        return [
            statistics.median(time_calls(calculator, supercell(elements, size), repeats))
            for size in sizes
        ]
