"""How long from nothing to a verified cluster of processes, and how long to plan 50 nodes.

    python benchmarks/ai-how/process_cluster.py > benchmarks/ai-how/process_cluster.json

Each figure is over `--repeats` runs: median, least and greatest, in seconds. `load` is the
one-minute load average before and after: much more than the cores means that others worked too,
and that the times are too long. `up` is from no folder to a job done on all nodes, each with an
emulated GPU; `again` is a second `up`, which finds all there and runs the job again; `destroy`
ends with nothing left. The times are those of the Python calls: the start of the interpreter is
not in them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ai_how.cluster import lifecycle
from ai_how.config.load import parse_cluster
from ai_how.drivers.process import rendered
from ai_how.plan.host import this_host
from ai_how.plan.plan import make_plan

YAML = """\
version: 1
metadata: {{name: bench}}
global: {{driver: process, overcommit: true}}
clusters: {{hpc: {{compute_nodes: {{name: n, count: {count}, memory: 1G, gpus: {{count: 1}}}}}}}}
"""


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def summary(values: list[float]) -> dict[str, float]:
    found = (statistics.median(values), min(values), max(values))
    return dict(zip(("median_s", "min_s", "max_s"), (round(v, 4) for v in found), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--nodes", type=int, nargs="+", default=[2, 16, 50])
    options = parser.parse_args()

    def plan() -> None:
        rendered(make_plan(parse_cluster(YAML.format(count=50)), this_host()), Path("/state"))

    load = [os.getloadavg()[0]]
    result = {
        "host": {"cores": this_host().cores, "memory_MiB": this_host().memory_MiB},
        "repeats": options.repeats,
        "plan_and_render_50_nodes": summary([timed(plan) for _ in range(options.repeats)]),
        "clusters": [],
    }
    with tempfile.TemporaryDirectory(prefix="ah-", dir="/tmp") as root:
        os.environ["AI_HOW_STATE"] = f"{root}/s"
        path = Path(root) / "bench.yaml"
        for count in options.nodes:
            path.write_text(YAML.format(count=count))
            times: dict[str, list[float]] = {"up": [], "again": [], "destroy": []}
            for _ in range(options.repeats):
                try:
                    times["up"].append(timed(lambda: lifecycle.up(str(path), lambda _: None)))
                    times["again"].append(timed(lambda: lifecycle.up(str(path), lambda _: None)))
                finally:
                    times["destroy"].append(timed(lambda: lifecycle.destroy("bench")))
            row = {name: summary(values) for name, values in times.items()}
            result["clusters"].append({"nodes": count, **row})
    result["load"] = [round(value, 2) for value in (*load, os.getloadavg()[0])]
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
