"""The first job: what proves that a cluster works, on every node that is idle."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ai_how.drivers.base import Driver, DriverError, Say
from ai_how.plan.plan import Plan
from ai_how.slurm.commands import NodeState, SlurmError, ask, node_states, queue

_LIMIT_S = 60.0
_RECORD_S = 30.0
_CANCEL_S = 10.0
_NAME = "ai-how-verify"


def verify(plan: Plan, driver: Driver, say: Say) -> dict[str, Any] | None:
    """Run a job on every idle node of the default partition, with a GPU where all have one.

    Returns what it ran on, None where no node is idle. Raises DriverError where it ran elsewhere,
    or where the database does not tell of it.
    """
    environment = driver.environment()
    _cancel_earlier(environment)
    partition = next(one for one in plan.partitions if one.default)
    states = node_states(environment)
    idle = [n for n in plan.compute if n.name in partition.nodes and _idle(states.get(n.name))]
    if partition.max_nodes:
        idle = idle[: partition.max_nodes]
    if not idle:
        say("no node is idle: no job was run to verify")
        return None
    gres = ["--gres=gpu:1"] if all(node.gpus for node in idle) else []
    command = [
        "srun",
        "--quiet",
        f"--partition={partition.name}",
        f"--nodes={len(idle)}",
        f"--ntasks={len(idle)}",
        f"--nodelist={','.join(node.name for node in idle)}",
        "--mem=1",
        "--time=1",
        f"--job-name={_NAME}",
        *gres,
        "sh",
        "-c",
        "echo $SLURMD_NODENAME ${CUDA_VISIBLE_DEVICES:-none} $SLURM_JOB_ID",
    ]
    began = time.monotonic()
    lines = ask(command, environment, limit_s=_LIMIT_S, cwd=Path("/")).split("\n")
    rows = [line.split() for line in lines if line]
    said = {node: gpu for node, gpu, _ in rows}
    wall_s = round(time.monotonic() - began, 3)
    expected = {node.name for node in idle}
    if set(said) != expected or (gres and "none" in said.values()):
        raise DriverError(f"the first job ran on {said}, not on {sorted(expected)}")
    what = f"a job on {len(idle)} nodes{' with a GPU each' if gres else ''}"
    say(f"verified by {what} ({wall_s:.2f} s)")
    if plan.accounting == "slurmdbd":
        _until_recorded(rows[0][2], environment, say)
    return {"nodes": sorted(said), "gres": bool(gres), "wall_s": wall_s}


def _cancel_earlier(environment: Mapping[str, str]) -> None:
    """End what an `up` that was killed, or a power cut, left of the first job."""
    until = time.monotonic() + _CANCEL_S
    while left := [job.id for job in queue(environment) if job.name == _NAME]:
        ask(["scancel", "--quiet", *left], environment)
        if time.monotonic() > until:
            return
        time.sleep(0.2)


def _until_recorded(job: str, environment: Mapping[str, str], say: Say) -> None:
    """Wait until the database has the end of a job; slurmctld sends its records in batches."""
    command = ["sacct", "--noheader", "--allocations", f"--jobs={job}", "--format=State"]
    until = time.monotonic() + _RECORD_S
    state = ""
    while time.monotonic() < until:
        try:
            state = ask(command, environment).strip()
        except SlurmError as error:  # slurmdbd was only just started
            state = str(error)
        if state.startswith("COMPLETED"):
            say(f"sacct tells of it: job {job} {state}")
            return
        time.sleep(0.2)
    raise DriverError(
        f"sacct says {state or 'nothing'} of job {job} after {_RECORD_S:.0f} s; "
        "`ai-how logs` shows slurmdbd's"
    )


def _idle(node: NodeState | None) -> bool:
    return node is not None and node.responds and node.state == "idle"
