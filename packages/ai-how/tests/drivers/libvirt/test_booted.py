"""Guests that really boot: up, broken, mended, configured, and gone without a trace.

Minutes where guests are emulated: it runs where they are not, or with AI_HOW_TEST_GUESTS=1.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ai_how.cluster.lifecycle import configure_nodes, destroy, down, made, start, status, stop, up
from ai_how.drivers.libvirt.guests import guests_of
from ai_how.drivers.libvirt.remote import said_in
from ai_how.slurm.commands import ask

from .conftest import leavings

pytestmark = pytest.mark.real


def until_ended(folder: Path, name: str) -> None:
    end = time.monotonic() + 20
    while name in guests_of(folder):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_life(state: Path, tmp_path: Path, slurm: None, boots: None) -> None:
    before = leavings()
    path, data = tmp_path / "guests.yaml", tmp_path / "data"
    data.mkdir()
    (data / "hello").write_text("hello\n")
    path.write_text(
        "version: 1\nmetadata: {name: guests}\n"
        "global: {driver: libvirt, overcommit: true}\nclusters:\n  hpc:\n"
        "    network: {subnet: 10.213.52.0/24, bridge: ahtest52}\n"
        "    compute_nodes: {name: n, count: 1, memory: 600M, disk: 3G, gpus: {count: 2},\n"
        f"      mounts: [{{source: {data}, target: /data, read_only: true}}]}}\n"
    )
    told: list[str] = []
    found = up(str(path), told.append)
    assert (found.driver, found.condition, found.problems) == ("libvirt", "up", ())
    assert found.verified is not None
    assert (found.verified["nodes"], found.verified["gres"]) == (["n01"], True)
    assert any("COMPLETED" in line for line in told)  # sacct's row
    _, plan, driver = made("guests")
    folder = state / "guests"

    # a system of its own: kernel, disk of the size of the file, cores, a folder that is read only
    looks = "uname -r; nproc; df --output=size -BM / | tail -n 1; cat /data/hello; touch /data/x"
    done = said_in(folder, "n01", ["sh", "-c", looks])
    kernel, cores, size, hello = done.stdout.decode().split()
    assert kernel != os.uname().release
    assert (cores, hello) == ("1", "hello")
    assert 2700 < int(size.rstrip("M")) <= 3072
    assert b"Read-only" in done.stderr
    facts = driver.inventory(plan)["_meta"]["hostvars"]["n01"]  # type: ignore[index]
    assert (facts["cgroup_mode"], facts["gpu_source"]) == ("v2", "fake")

    # a job cannot take more memory than it asked for
    hog = ["python3", "-c", "x = bytearray(200 << 20); print(len(x))"]
    done = subprocess.run(
        ["srun", "--mem=50", *hog],
        env=dict(driver.environment()),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd="/",
    )
    assert done.returncode != 0
    assert "oom" in done.stderr.lower() or "killed" in done.stderr.lower()

    # a second `up` starts nothing anew
    pids = guests_of(folder)
    assert up("guests", told.append).condition == "up"
    assert guests_of(folder) == pids

    # what can break is told, and mended: a daemon, a key, a node
    said_in(folder, "controller", ["systemctl", "kill", "-s", "KILL", "slurmctld"])
    wrong = "head -c 128 /dev/zero > /etc/munge/munge.key && systemctl restart munge"
    said_in(folder, "n01", ["sh", "-c", wrong])
    problems = "\n".join(status("guests").problems)
    assert "controller: slurmctld.service is failed; `ai-how up` starts it" in problems
    assert "n01: munge has another key than the cluster" in problems
    os.kill(guests_of(folder)["n01"], signal.SIGKILL)
    until_ended(folder, "n01")
    assert "n01: it is off" in "\n".join(status("guests").problems)
    assert up("guests", told.append).condition == "up"

    # a power cut of all, and an `up` that is killed
    for pid in guests_of(folder).values():
        os.kill(pid, signal.SIGKILL)
    for name in ("controller", "n01"):
        until_ended(folder, name)
    command = [sys.executable, "-c", "from ai_how.cli import main; main()", "up", "guests"]
    begun = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    time.sleep(4)
    os.killpg(begun.pid, signal.SIGKILL)
    begun.wait()
    assert up("guests", told.append).condition == "up"

    stop("guests", ["n01"])
    assert (status("guests").condition, list(guests_of(folder))) == ("up", ["controller"])
    down("guests")
    assert leavings()["processes"] == before["processes"]
    assert status("guests").condition == "down"
    assert start("guests", ["n01"], told.append).condition == "up"
    assert "ai-how" in ask(["sacct", "-n", "-X", "-o", "JobName%20"], driver.environment())

    # what was written before the boot is what the roles write: the playbook changes nothing
    totals = configure_nodes("guests", told.append)
    assert (totals["failures"], totals["unreachable"], totals["changed"]) == (0, 0, 0)

    assert destroy("guests")
    assert leavings() == before
    assert not state.exists()
