"""How long from an image to a job on nodes that boot, with its row in the database.

    python benchmarks/ai-how/nspawn_cluster.py > benchmarks/ai-how/nspawn_cluster.json

As root on Debian or Ubuntu. The image is made first, and how long that took when it was built is
told. `up` is from no folder to 1 controller and `nodes` nodes idle, the first `srun` on all of
them with an emulated GPU each, and its row in `sacct`; `again` a second `up`, which finds all
there and runs the job again; `after_down` an `up` after `down`; `destroy` ends with nothing left.
Medians, least and greatest in seconds over `--repeats`; the times are those of the Python calls.
`load` is the one-minute load average before and after: much more than the cores means that
others worked too.
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
from ai_how.images.build import ensure
from ai_how.images.recipe import recipe
from ai_how.plan.host import this_host

YAML = """\
version: 1
metadata: {{name: bench}}
global: {{driver: nspawn, overcommit: true}}
clusters:
  hpc:
    network: {{subnet: 10.214.0.0/24, bridge: ahbench0}}
    compute_nodes: {{name: n, count: {count}, memory: 500M, gpus: {{count: 1}}}}
"""


def quiet(_: str) -> None:
    pass


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def summary(values: list[float]) -> dict[str, float]:
    found = (statistics.median(values), min(values), max(values))
    return dict(zip(("median_s", "min_s", "max_s"), (round(v, 2) for v in found), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--nodes", type=int, nargs="+", default=[2, 16])
    options = parser.parse_args()
    image = ensure(recipe(), quiet)
    load = [os.getloadavg()[0]]
    host = this_host()
    result = {
        "host": {"cores": host.cores, "memory_MiB": host.memory_MiB},
        "repeats": options.repeats,
        "image": {"key": image.key, "size_MiB": image.size_MiB, "built_in_s": image.wall_s},
        "clusters": [],
    }
    with tempfile.TemporaryDirectory(prefix="ah-", dir="/tmp") as root:
        os.environ["AI_HOW_STATE"] = f"{root}/s"
        path = Path(root) / "bench.yaml"
        for count in options.nodes:
            path.write_text(YAML.format(count=count))
            times: dict[str, list[float]] = {
                name: [] for name in ("up", "again", "down", "after_down", "destroy")
            }
            for _ in range(options.repeats):
                try:
                    times["up"].append(timed(lambda: lifecycle.up(str(path), quiet)))
                    times["again"].append(timed(lambda: lifecycle.up(str(path), quiet)))
                    times["down"].append(timed(lambda: lifecycle.down(str(path))))
                    times["after_down"].append(timed(lambda: lifecycle.up(str(path), quiet)))
                finally:
                    times["destroy"].append(timed(lambda: lifecycle.destroy("bench")))
            row = {name: summary(values) for name, values in times.items() if values}
            result["clusters"].append({"nodes": count, **row})
    result["load"] = [round(value, 2) for value in (*load, os.getloadavg()[0])]
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
