"""Parallel efficiency of labels in blocks of a SLURM cluster, on one node and on two.

    python -m benchmarks.scaling.slurm_labels > benchmarks/scaling/slurm_labels.json

The cluster is real SLURM made by `ai-how up`, its nodes processes of this machine. A label is an
EMT calculation that ends a stated time after it began: it holds its node as long as a DFT label
would, without the cores of this machine, which the nodes share. So what is measured is the cost
of being distributed (pickling, Parsl, the network, the label store with its locks and fsyncs,
waiting for work), and not how two codes share the memory of one machine.

`wall_s` is from the first label's begin to the last one's end, with all blocks running;
`start_s` what the blocks took before, from sbatch to the first label on the last of them.
efficiency = labels * seconds / (nodes * wall_s): 1 if no node ever waits. speed_up is the
one-node wall time over that of so many nodes. Median, least and greatest of the repeats.
`load` is the load average before and after; more than the cores means others worked too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

from ai_how.cluster import lifecycle
from ai_how.cluster.profile import make_profile
from pyacemaker.campaign.labelling import label_batch
from pyacemaker.execution.settings import ExecutionSettings
from pyacemaker.execution.slurm_executor import SlurmExecutor
from pyacemaker.labels import LabelStore
from pyacemaker.oracle.ase_oracle import ASEOracle
from pyacemaker.oracle.settings import ASESettings

ROOT = Path(__file__).parents[2]
YAML = """\
version: 1
metadata: {{name: scaling}}
global: {{driver: process, overcommit: true}}
clusters: {{hpc: {{compute_nodes: {{name: n, count: {nodes}, memory: 2G}}}}}}
"""


def structures(count: int, seed: int) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True, a=3.6)
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        made.append(atoms)
    return made


def warm(executor: SlurmExecutor, nodes: int) -> float:
    """Give short work until every node has taken some; return how long that took."""
    began = time.monotonic()
    seen: set[str] = set()
    while len(seen) < nodes:
        for outcome in executor.map_unordered(os.getenv, ["SLURMD_NODENAME"] * 2 * nodes):
            seen.add(outcome.value or "")
        for _ in executor.map_unordered(time.sleep, [0.5] * 2 * nodes):
            pass
    return time.monotonic() - began


def run(nodes: int, labels: int, seconds: float, seed: int, folder: Path) -> tuple[float, float]:
    _, plan, driver = lifecycle.made("scaling")
    profile = make_profile(plan, driver, folder).execution
    setup = f"export PYTHONPATH={ROOT}"
    settings = ExecutionSettings(**profile | {"blocks": nodes, "setup": setup})
    log = folder / "log"
    kwargs = {"seconds": seconds, "log": str(log)}
    oracle = ASEOracle(
        ASESettings(calculator="benchmarks.scaling.fixed_cost.FixedCost", kwargs=kwargs)
    )
    with SlurmExecutor(settings, folder / "slurm") as executor:
        start_s = warm(executor, nodes)
        atoms = structures(labels, seed)
        store = LabelStore(folder / "labels")
        batch = label_batch(atoms, oracle, store, executor, lambda *_: None)
    rows = [line.split() for line in log.read_text().splitlines()]
    assert batch.computed == labels == len(rows) == len(store)
    assert len({node for _, _, node in rows}) == nodes
    wall_s = max(float(end) for _, end, _ in rows) - min(float(begin) for begin, _, _ in rows)
    return wall_s, start_s


def summary(values: list[float]) -> dict[str, float]:
    found = (statistics.median(values), min(values), max(values))
    return dict(zip(("median", "min", "max"), (round(v, 3) for v in found), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=16)
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0, 3.0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    load, rows = [os.getloadavg()[0]], []
    with tempfile.TemporaryDirectory(prefix="ah-", dir="/tmp") as root:
        os.environ["AI_HOW_STATE"] = f"{root}/s"
        path = Path(root) / "scaling.yaml"
        path.write_text(YAML.format(nodes=max(options.nodes)))
        lifecycle.up(str(path), lambda _: None)
        try:
            for seconds in options.seconds:
                walls: dict[int, list[float]] = {}
                starts: dict[int, list[float]] = {}
                for repeat in range(options.repeats):
                    for nodes in options.nodes:  # side by side: a busy moment hits both
                        folder = Path(root) / f"{seconds}-{repeat}-{nodes}"
                        folder.mkdir()
                        wall_s, start_s = run(nodes, options.labels, seconds, repeat, folder)
                        walls.setdefault(nodes, []).append(wall_s)
                        starts.setdefault(nodes, []).append(start_s)
                one = walls[options.nodes[0]]
                for nodes, found in walls.items():
                    work = options.labels * seconds / nodes
                    rows.append(
                        {
                            "label_s": seconds,
                            "labels": options.labels,
                            "nodes": nodes,
                            "wall_s": summary(found),
                            "efficiency": summary([work / wall for wall in found]),
                            "speed_up": summary([a / b for a, b in zip(one, found, strict=True)]),
                            "start_s": summary(starts[nodes]),
                        }
                    )
        finally:
            lifecycle.destroy("scaling")
    load.append(os.getloadavg()[0])
    result = {
        "driver": "process",
        "host": {"cores": len(os.sched_getaffinity(0))},
        "repeats": options.repeats,
        "rows": rows,
        "load": [round(value, 2) for value in load],
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
