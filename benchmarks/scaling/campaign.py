"""What the orchestrator costs: a whole campaign whose oracle, fits and trajectories are null.

    python -m benchmarks.scaling.campaign --json benchmarks/scaling/campaign.json

The campaign is the product's own `run_campaign`, with its state file, journal, label store, Parsl
executor, candidates round halts and report after every cycle; only the parts that would cost hours
do nothing (`null_parts.py`). Candidates are 32-atom cells of copper. What is left is the
orchestrator: `wall_s`, and `cpu_s` of all its threads, which a busy machine does not stretch.

The work it is compared with is counted in labels of 60 s, one core each (a small DFT label; most
cost more), one after the other: `overhead_percent` = wall_s / (labels * 60 s). Fits and MD of a
real campaign are left out, which would make the share smaller. The orchestrator is one process
while labels may run at once, so `overhead_percent_16_at_once` says what part of the time 16
workers would wait for it: wall_s / (labels * 60 s / 16).

`rss_MB` is the resident memory at the end of each cycle, `labels` how many there were then.
`resume` starts the finished campaign again with a larger budget, in a new process, and stops it at
its first new step: `from_start_s` from the start of Python, `from_start_cpu_s` the processor
time of that, `from_run_s` from the call of `run_campaign`. `load` is the load average before and
after.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pyacemaker.files import write_whole

LABEL_S = 60.0
AT_ONCE = 16
ATOMS = 32
PER_HALT = 20  # candidates round one halted frame, `local_candidates`' own number
CONFIG = """\
elements: [Cu]
seed: 1
workers: 2
temperatures_K: {temperatures}
oracle: {{code: ase, calculator: ase.calculators.emt.EMT}}
trainer: {{functions_per_element: 40, cutoff_A: 5.0, max_body_order: 4}}
dynamics: {{md_ps: 1, timestep_fs: 2, atoms: {atoms}, gamma_from: settings, explore: goal}}
budget: {{initial_labels: {batch}, labels_per_iteration: {batch}, labels: {labels},
  max_atoms: {atoms}}}
"""


def child(workdir: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Run the campaign in this process; with `--resume` only to its first new step."""
    from benchmarks.scaling.null_parts import NullParts

    from pyacemaker.campaign.events import Event
    from pyacemaker.campaign.orchestrator import run_campaign
    from pyacemaker.config.load import parse_config
    from pyacemaker.config.resolve import resolve

    halts = round(given.candidates / given.cycles / PER_HALT)
    batch = round(given.labels / given.cycles)
    text = CONFIG.format(
        temperatures=[300.0 + 20 * n for n in range(halts)],
        batch=batch,
        labels=given.labels + (batch if given.resume else 0),
        atoms=ATOMS,
    )
    settings = resolve(parse_config(text)).settings
    logging.getLogger("parsl").setLevel(logging.WARNING)
    rows: list[dict[str, Any]] = []
    counted = {"candidates": 0, "labels": 0}
    began = time.time()
    first_step: list[float] = []
    first_cpu: list[float] = []

    def listener(event: Event) -> None:
        if event.kind == "begin" and not first_step:
            first_step.append(time.time())
            first_cpu.append(time.process_time())
            if given.resume:
                raise KeyboardInterrupt
        if event.kind != "end":
            return
        if event.step == "explore":
            counted["candidates"] += event.data["count"]
        elif event.step == "label":
            counted["labels"] += len(event.data["keys"])
        elif event.step == "md":
            rows.append(
                {
                    "cycle": event.iteration,
                    **counted,
                    "at_s": round(time.time() - began, 2),
                    "rss_MB": round(_resident(), 1),
                }
            )

    try:
        outcome = run_campaign(settings, workdir, NullParts(settings, given.potential), listener)
        ending = f"{outcome.ending}: {outcome.reason}"
    except KeyboardInterrupt:
        ending = "stopped at its first new step"
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "ending": ending,
        **counted,
        "wall_s": time.time() - began,
        "cpu_s": used.ru_utime + used.ru_stime,
        "began": began,
        "first_step": first_step[0],
        "first_step_cpu_s": first_cpu[0],
        "rows": rows,
    }


def _resident() -> float:
    """Return the resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def start(workdir: Path, given: argparse.Namespace, *more: str) -> dict[str, Any]:
    """Run `child` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scaling.campaign", "--child", str(workdir)]
    for name in ("candidates", "labels", "cycles", "potential"):
        command += [f"--{name}", str(getattr(given, name))]
    began = time.time()
    done = subprocess.run(
        [*command, *more],
        stdout=subprocess.PIPE,
        text=True,
        timeout=given.limit_s,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "started": began}


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the campaign, then resume it as often as asked."""
    load = [round(os.getloadavg()[0], 2)]
    workdir = folder / "campaign"
    profile = ["--profile", str(given.profile.resolve())] if given.profile else []
    found = start(workdir, given, *profile)
    resumed = [start(workdir, given, "--resume") for _ in range(given.repeats)]
    load.append(round(os.getloadavg()[0], 2))
    labels, wall_s = found["labels"], found["wall_s"]
    rows = found["rows"]
    quarter = rows[len(rows) // 4 :]
    return {
        "candidates": found["candidates"],
        "labels": labels,
        "cycles": len(rows),
        "ending": found["ending"],
        "label_s": LABEL_S,
        "wall_s": round(wall_s, 2),
        "cpu_s": round(found["cpu_s"], 2),
        "wall_s_per_label": round(wall_s / labels, 4),
        "overhead_percent": round(100 * wall_s / (labels * LABEL_S), 3),
        "overhead_percent_16_at_once": round(100 * wall_s * AT_ONCE / (labels * LABEL_S), 3),
        "rss_growth_MB_per_1000_labels": round(
            1000
            * (quarter[-1]["rss_MB"] - quarter[0]["rss_MB"])
            / max(1, quarter[-1]["labels"] - quarter[0]["labels"]),
            1,
        ),
        "resume": {
            name: _spread([run["first_step"] - run[since] for run in resumed])
            for name, since in (("from_start_s", "started"), ("from_run_s", "began"))
        }
        | {"from_start_cpu_s": _spread([run["first_step_cpu_s"] for run in resumed])},
        "host": {"cores": os.cpu_count()},
        "load": load,
        "rows": rows,
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def main() -> None:
    """Measure; write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--labels", type=int, default=1_000)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3, help="of the resumed start")
    parser.add_argument("--limit-s", type=float, default=3600)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--profile", type=Path, help="where to write a cProfile of the campaign")
    parser.add_argument("--potential", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--resume", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        if given.profile:
            with cProfile.Profile() as profiler:
                found = child(given.child, given)
            profiler.dump_stats(given.profile)
        else:
            found = child(given.child, given)
        print(json.dumps(found))
        return
    from benchmarks.scaling.null_parts import fitted_potential

    with tempfile.TemporaryDirectory(prefix="pyacemaker-scaling-") as name:
        given.potential = fitted_potential(Path(name) / "potential")
        text = json.dumps(measure(given, Path(name)), indent=1)
    print(text)
    if given.json:
        write_whole(given.json, text + "\n")


if __name__ == "__main__":
    main()
