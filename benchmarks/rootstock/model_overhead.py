"""What the way to another process adds to a real model: by default CHGNet on CPU.

    python benchmarks/rootstock/model_overhead.py --python ENV/bin/python --out FILE

ENV holds the model and rootstock. The worker writes down how long the model's own `calculate`
takes; the overhead is what energy, forces and stress take in the caller, less that.
"""

import argparse
import dataclasses
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from ase.build import bulk
from measure import one_call

from rootstock import RootstockCalculator

HERE = Path(__file__).resolve().parent
_REPEATED = {64: (2, 2, 2), 256: (4, 4, 2), 1000: (5, 5, 5)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="the model's interpreter")
    parser.add_argument("--source", default=str(HERE / "chgnet_model.py"))
    parser.add_argument("--model", default="")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--atoms", type=int, nargs="+", default=[64, 256, 1000])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    report: dict[str, Any] = {
        "source": Path(options.source).name,
        "device": options.device,
        "cores": os.cpu_count(),
        "calls": options.calls,
        "atoms": {},
    }
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "seconds"
        calculator = RootstockCalculator(
            options.model or None,
            environment=HERE / "timed_model.py",
            device=options.device,
            options={"source": options.source, "log": str(log)},
        )
        calculator.resolved = dataclasses.replace(calculator.resolved, python=options.python)
        with calculator:
            for count in options.atoms:
                atoms = bulk("Si", cubic=True) * _REPEATED[count]
                atoms.rattle(0.03, seed=1)
                atoms.calc = calculator
                one_call(atoms)
                log.write_text("")
                whole = []
                for _ in range(options.calls):
                    atoms.rattle(0.001, seed=len(whole))
                    whole.append(one_call(atoms))
                model = [float(line) for line in log.read_text().split()]
                assert len(model) == len(whole)
                added = [w - m for w, m in zip(whole, model, strict=True)]
                report["atoms"][str(len(atoms))] = {
                    "model_ms": round(1e3 * statistics.median(model), 2),
                    "overhead_us": round(1e6 * statistics.median(added), 1),
                    "overhead_percent": round(
                        100 * statistics.median(a / m for a, m in zip(added, model, strict=True)),
                        4,
                    ),
                }
            report["worker"] = calculator.about
    print(json.dumps(report, indent=1))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
