"""How long from an image to a job on virtual machines, with its row in the database.

    python benchmarks/ai-how/libvirt_cluster.py > benchmarks/ai-how/libvirt_cluster.json

As root on Debian or Ubuntu with libvirt. The image and its disk are made first, and how long that
took when they were made is told, with whether guests run by KVM or are emulated, and why. `up` is
from no folder to 1 controller and `nodes` nodes idle, the first `srun` on all of them with an
emulated GPU each, and its row in `sacct`; `ssh` from the same moment until each node takes a login,
asked all along; `again` a second `up`, which finds all there and runs the job again; `killed` an
`up` after one node was killed; `after_down` an `up` after `down`; `destroy` ends with nothing
left. Medians, least and greatest in seconds over `--repeats`. `load` is the one-minute load average
before and after: much more than the cores means that others worked too.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ai_how.cluster import lifecycle
from ai_how.drivers.base import DriverError
from ai_how.drivers.libvirt.acceleration import acceleration
from ai_how.drivers.libvirt.guests import guests_of
from ai_how.drivers.libvirt.remote import said_in
from ai_how.images.build import ensure
from ai_how.images.disk import base_mib, ensure_disk
from ai_how.images.recipe import recipe
from ai_how.plan.host import this_host

YAML = """\
version: 1
metadata: {{name: bench}}
global: {{driver: libvirt, overcommit: true}}
clusters:
  hpc:
    network: {{subnet: 10.216.0.0/24, bridge: ahbench1}}
    compute_nodes: {{name: n, count: {count}, memory: 600M, gpus: {{count: 1}}}}
"""


def quiet(_: str) -> None:
    pass


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def until_login(folder: Path, names: list[str], found: list[float], until: float) -> None:
    """Note when every node has taken a login by ssh, in seconds from now."""
    began, left = time.perf_counter(), list(names)
    while left and time.perf_counter() - began < until:
        try:
            said_in(folder, left[0], ["true"], limit_s=30)
            left.pop(0)
        except DriverError:
            time.sleep(1)
    if not left:
        found.append(time.perf_counter() - began)


def first_up(path: Path, folder: Path, count: int, ssh: list[float]) -> float:
    names = ["controller", *[f"n{number:02d}" for number in range(1, count + 1)]]
    watcher = threading.Thread(target=until_login, args=(folder, names, ssh, 1800.0), daemon=True)
    watcher.start()
    took = timed(lambda: lifecycle.up(str(path), quiet))
    watcher.join(60)
    return took


def kill_one(folder: Path) -> None:
    os.kill(guests_of(folder)["n01"], signal.SIGKILL)
    while "n01" in guests_of(folder):
        time.sleep(0.05)


def summary(values: list[float]) -> dict[str, float]:
    found = (statistics.median(values), min(values), max(values))
    return dict(zip(("median_s", "min_s", "max_s"), (round(v, 2) for v in found), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    image = ensure(recipe(guest=True), quiet)
    disk = ensure_disk(image, quiet)
    speed = acceleration(disk.kernel)
    load = [os.getloadavg()[0]]
    host = this_host()
    result = {
        "host": {"cores": host.cores, "memory_MiB": host.memory_MiB},
        "acceleration": "kvm" if speed.kind == "kvm" else f"none ({speed.why})",
        "repeats": options.repeats,
        "image": {"key": image.key, "size_MiB": image.size_MiB, "built_in_s": image.wall_s},
        "disk": {"size_MiB": base_mib(disk), "made_in_s": disk.wall_s},
        "clusters": [],
    }
    with tempfile.TemporaryDirectory(prefix="ah-", dir="/tmp") as root:
        os.environ["AI_HOW_STATE"] = f"{root}/s"
        path, folder = Path(root) / "bench.yaml", Path(root) / "s" / "bench"
        for count in options.nodes:
            path.write_text(YAML.format(count=count))
            kinds = ("ssh", "up", "again", "killed", "down", "after_down", "destroy")
            times: dict[str, list[float]] = {name: [] for name in kinds}
            for _ in range(options.repeats):
                try:
                    times["up"].append(first_up(path, folder, count, times["ssh"]))
                    times["again"].append(timed(lambda: lifecycle.up(str(path), quiet)))
                    kill_one(folder)
                    times["killed"].append(timed(lambda: lifecycle.up(str(path), quiet)))
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
