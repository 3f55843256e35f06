"""One way to a model, measured in a process of its own: JSON on standard output.

Called by overhead.py; imports nothing that the environments of the peers lack.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk

HERE = Path(__file__).resolve().parent
_REPEATED = {64: (4, 4, 1), 256: (4, 4, 4), 1000: (10, 5, 5)}


def rss_kib() -> int:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def structure(count: int) -> Any:
    """Return a rattled crystal of `count` atoms; copper, or silicon for a real model."""
    if count in _REPEATED:
        atoms = bulk("Cu", cubic=True) * _REPEATED[count]
    else:
        raise SystemExit(f"{count} atoms: one of {sorted(_REPEATED)}")
    atoms.rattle(0.02, seed=1)
    return atoms


def own_calculator(source: str, model: str) -> Any:
    """Return the model's calculator in this process."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("benchmarked_model", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.setup(model, "cpu")


class _Factory:
    """Makes the calculator in ASE's client, which gets this pickled."""

    def __init__(self, source: str, model: str) -> None:
        self.source, self.model = source, model

    def __call__(self) -> Any:
        return own_calculator(self.source, self.model)


def calculator(way: str, options: argparse.Namespace) -> Any:
    """Return the calculator for a way."""
    if way in ("in-process", "model"):
        return own_calculator(options.source, options.model)
    if way == "ase-socketio":
        from ase.calculators.socketio import PySocketIOClient, SocketIOCalculator
        from measure import _Factory as Factory  # by a name that the client can import

        return SocketIOCalculator(
            launch_client=PySocketIOClient(Factory(options.source, options.model)),
            unixsocket=f"bench_{os.getpid()}",
        )
    if way == "rootstock-1.6.4":
        from rootstock import RootstockCalculator

        return RootstockCalculator(checkpoint="null", root=options.root, device="cpu")
    from rootstock import RootstockCalculator

    transport = {"shared-memory": "auto", "socket": "socket", "plain-i-pi": "i-pi"}[way]
    return RootstockCalculator(
        options.model, environment=options.source, transport=transport, timeout=600
    )


def one_call(atoms: Any, bare: bool = False) -> float:
    """Return the seconds that energy, forces and stress take; `bare`: of the model's own call."""
    start = time.perf_counter()
    if bare:
        atoms.calc.calculate(atoms, ["energy", "forces", "stress"], ["positions"])
        return time.perf_counter() - start
    atoms.get_potential_energy()
    atoms.get_forces()
    atoms.get_stress()
    return time.perf_counter() - start


def calls(atoms: Any, count: int, bare: bool = False) -> list[float]:
    """Return the seconds of `count` calls, each after a move of all atoms."""
    step = 1e-3 * np.random.default_rng(0).normal(size=atoms.positions.shape)
    seconds = []
    for n in range(count):
        atoms.positions += step if n % 2 else -step
        seconds.append(one_call(atoms, bare))
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("way")
    parser.add_argument("--source", default=str(HERE / "null_model.py"))
    parser.add_argument("--model", default="")
    parser.add_argument("--root")
    parser.add_argument("--atoms", type=int, nargs="+", default=[64, 256, 1000])
    parser.add_argument("--calls", type=int, default=300)
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(HERE)  # ASE's client unpickles from this module
    sys.path.insert(0, str(HERE))

    first = structure(options.atoms[0])
    one = np.linalg.norm(first.get_all_distances(mic=False)[:8])  # what any script has loaded
    before = rss_kib()
    start = time.perf_counter()
    first.calc = calculator(options.way, options)
    first.get_potential_energy()
    result: dict[str, Any] = {
        "way": options.way,
        "first_energy_s": time.perf_counter() - start,
        "calls": options.calls,
        "median_us": {},
        "p90_us": {},
        "checked": bool(one > 0),
    }
    for count in options.atoms:
        atoms = first if count == options.atoms[0] else structure(count)
        if atoms is not first and options.way in ("ase-socketio",):
            first.calc.close()  # it can be told no other number of atoms
            atoms.calc = calculator(options.way, options)
        else:
            atoms.calc = first.calc
        bare = options.way == "model"
        calls(atoms, max(3, options.calls // 10), bare)
        seconds = sorted(calls(atoms, options.calls, bare))
        result["median_us"][str(count)] = 1e6 * statistics.median(seconds)
        result["p90_us"][str(count)] = 1e6 * seconds[int(0.9 * len(seconds))]
        if atoms is not first and options.way in ("ase-socketio",):
            atoms.calc.close()
    result["added_rss_kib"] = rss_kib() - before
    print(json.dumps(result), flush=True)
    os._exit(0)  # the peers' own ends are not measured


if __name__ == "__main__":
    main()
