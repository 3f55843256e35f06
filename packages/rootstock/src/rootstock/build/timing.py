"""Run inside a built environment: the time of one call of a model, for several numbers of atoms.

Every call moves the atoms a little, so that nothing is taken from a cache. Imports numpy, ase
and the standard library.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from rootstock.build.smoke_test import chosen_elements, crystal, load


def supercell(elements: list[str], size: int) -> Atoms:
    """Return the smoke test's crystal repeated to about `size` atoms, as near a cube as it goes."""
    unit = crystal(elements)
    repeats = [1, 1, 1]
    while True:
        lengths = [n * a for n, a in zip(repeats, unit.cell.lengths(), strict=True)]
        longer = list(repeats)
        longer[int(np.argmin(lengths))] += 1
        now, then = len(unit) * np.prod(repeats), len(unit) * np.prod(longer)
        if abs(then - size) >= abs(now - size):
            return unit * repeats
        repeats = longer


def time_calls(calculator: Any, atoms: Atoms, repeats: int) -> list[float]:
    """Return the seconds of `repeats` calls for energy, forces and stress, after two to warm up."""
    atoms = atoms.copy()
    atoms.calc = calculator
    rng = np.random.default_rng(1)
    seconds = []
    for n in range(repeats + 2):
        atoms.positions += rng.normal(size=atoms.positions.shape) * 1e-3
        start = time.perf_counter()
        atoms.get_potential_energy()
        atoms.get_forces()
        if n >= 2:
            seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    """Time the model and write what was found as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--options", type=json.loads, default={})
    parser.add_argument("--elements", default="")
    parser.add_argument("--default-elements", default="")
    parser.add_argument("--sizes", required=True)
    parser.add_argument("--repeats", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    start = time.perf_counter()
    calculator = load(given.source, given.model, given.device, given.options)
    load_s = time.perf_counter() - start
    elements = chosen_elements(given.elements, calculator, given.default_elements)
    rows = []
    for size in (int(part) for part in given.sizes.split(",")):
        atoms = supercell(elements, size)
        seconds = time_calls(calculator, atoms, given.repeats)
        rows.append({"atoms": len(atoms), "median_s": statistics.median(seconds), "all_s": seconds})
    given.out.write_text(json.dumps({"load_s": load_s, "elements": elements, "calls": rows}))


if __name__ == "__main__":
    main()
