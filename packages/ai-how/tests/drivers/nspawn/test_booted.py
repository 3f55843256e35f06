"""Nodes that really boot: up, broken, mended, side by side, and gone without a trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ai_how.cli.app import app
from ai_how.cluster.lifecycle import configure_nodes, destroy, down, made, start, status, stop, up
from ai_how.drivers.nspawn.cgroups import hierarchies
from ai_how.drivers.nspawn.disk import loops_work
from ai_how.drivers.nspawn.machine import Machine, machines_of, said_in
from ai_how.images import build, store
from ai_how.images.build import ensure
from ai_how.images.recipe import recipe
from ai_how.slurm.commands import ask, finished, queue, submit

from .conftest import Write, leavings

pytestmark = pytest.mark.real


def quiet(_: str) -> None:
    pass


def until(true: Callable[[], bool], limit_s: float = 30.0) -> None:
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)


def until_jobs_are(state: str, environment: Mapping[str, str]) -> None:
    end = time.monotonic() + 30
    jobs = queue(environment)
    while [job.state for job in jobs] != [state]:
        assert time.monotonic() < end, jobs
        time.sleep(0.1)
        jobs = queue(environment)


def test_a_life(booted: Write, state: Path, tmp_path: Path) -> None:
    """One cluster for the whole story: booting is what takes time."""
    before = leavings(state)
    path = booted("life", 2, 41)
    told: list[str] = []
    found = up(str(path), told.append)
    assert (found.driver, found.condition, found.problems) == ("nspawn", "up", ())
    assert [node.slurm for node in found.nodes[1:]] == ["idle", "idle"]
    assert found.nodes[1].gpus == "2 emulated"
    assert found.verified is not None
    assert (found.verified["nodes"], found.verified["gres"]) == (["n01", "n02"], True)
    assert any("COMPLETED" in line for line in told)  # sacct's row
    _, plan, driver = made("life")
    folder = state / "life"
    assert [job["JobState"] for job in finished(driver.job_record(plan))] == ["COMPLETED"]

    # a system of its own: systemd, a host name, an address, an sshd with the cluster's key
    done = subprocess.run(
        [*driver.ssh_command("n01"), "hostname; cat /proc/1/comm; stat -c %F /dev/ai-how-gpu1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stdout.split("\n")[:3] == ["n01", "systemd", "character special file"], done.stderr
    facts = driver.inventory(plan)
    hosts = facts["_meta"]["hostvars"]  # type: ignore[index]
    assert hosts["n01"]["ansible_host"] == "10.213.41.3"
    assert (hosts["n01"]["gpu_source"], hosts["controller"]["gpu_source"]) == ("fake", "none")

    # and a control group of its own: the systemds of two nodes in one would disturb each other
    groups = {name: own_groups(machine) for name, machine in machines_of(folder).items()}
    assert all(groups.values())
    assert len({group for found in groups.values() for group in found}) == sum(
        len(found) for found in groups.values()
    )

    # a second `up` starts nothing anew
    leaders = {name: machine.leader for name, machine in machines_of(folder).items()}
    assert up("life", quiet).condition == "up"
    assert {name: machine.leader for name, machine in machines_of(folder).items()} == leaders

    # whoever has mounts of its own (a builder of images) has copies of the nodes' among them,
    # and is not taken for a node
    machines = machines_of(folder)
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sleep", "60"]
    with subprocess.Popen(words) as other:
        until(lambda: "sleep" in children(other.pid))
        assert machines_of(folder) == machines
        other.kill()

    # what can break inside is told, and mended
    machines = machines_of(folder)
    slurmctld = said_in(machines["controller"], ["pidof", "-s", "slurmctld"]).stdout.strip()
    assert slurmctld
    said_in(machines["controller"], ["systemctl", "kill", "-s", "KILL", "slurmctld"])
    key = folder / "nodes/n01/root/etc/munge/munge.key"
    key.write_bytes(b"x" * 128)
    said_in(machines["n01"], ["systemctl", "restart", "munge"])
    os.kill(machines["n02"].leader or -1, signal.SIGKILL)
    until(lambda: "n02" not in machines_of(folder))
    broken = status("life")
    assert broken.condition == "degraded"
    problems = "\n".join(broken.problems)
    for words in (
        "controller: slurmctld.service is failed; `ai-how up` starts it",
        "n01: munge has another key than the cluster",
        "n02: it is off",
    ):
        assert words in problems
    assert up("life", quiet).condition == "up"

    if loops_work():  # else a node's disk is this machine's
        a_full_disk_is_mended("life", folder)

    # a power cut of all; and an `up` killed at any moment
    for machine in machines_of(folder).values():
        for pid in machine.pids:
            os.kill(pid, signal.SIGKILL)
    command = [sys.executable, "-c", "from ai_how.cli import main; main()", "up", "life"]
    for delay_s in (0.6, 1.5):
        begun = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        time.sleep(delay_s)
        os.killpg(begun.pid, signal.SIGKILL)
        begun.wait()
    assert up("life", quiet).condition == "up"
    assert len(machines_of(folder)) == 3

    # a node switched off gives its job back; down and up keep the queue
    environment = driver.environment()
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/sh\nsleep 1000\n")
    number = submit(["--nodelist=n01", "--output=/dev/null", str(script)], environment)
    until_jobs_are("RUNNING", environment)
    stop("life", ["n01"])
    until_jobs_are("PENDING", environment)
    assert status("life").condition == "up"  # the user wanted it off
    fails_once(folder / "nodes/n02/root", "slurmd")
    down("life")
    after = leavings(state)
    assert (after["processes"], after["mounts"]) == (set(), set())
    assert status("life").condition == "down"
    told.clear()
    assert start("life", ["n01"], told.append).condition == "up"
    assert "n02: slurmd.service had failed, and is started again" in told
    assert [job.id for job in queue(environment)] == [number]
    assert number in ask(["sacct", "-n", "-X", "-o", "JobID"], environment)

    assert destroy("life")
    assert leavings(state) == before
    assert not [group for found in groups.values() for group in found if group.exists()]
    assert not state.exists()


def a_full_disk_is_mended(name: str, folder: Path) -> None:
    """By what a node can do without; else by a new disk, and the full one is kept."""
    n01 = machines_of(folder)["n01"]
    dd = ["dd", "if=/dev/zero", "bs=1M", "status=none"]
    said_in(n01, [*dd, "of=/var/tmp/core"], limit_s=60)
    found = status(name)
    assert [p for p in found.problems if p.startswith("n01: its disk is full (")], found.problems
    told: list[str] = []
    assert up(name, told.append).condition == "up"
    assert "n01: its disk was full; caches, logs and temporary files are removed" in told
    said_in(n01, [*dd, "of=/root/results"], limit_s=60)
    assert up(name, told.append).condition == "up"
    kept = folder / "nodes/n01/disk.kept.img"
    assert f"n01: its disk was full; it is kept as {kept}, and made anew" in told
    assert kept.stat().st_blocks * 512 > 200 << 20
    assert said_in(machines_of(folder)["n01"], ["ls", "/root"]).stdout == ""


def own_groups(machine: Machine) -> set[Path]:
    """Return the folders of the control groups that a node's process 1 manages."""
    told = Path(f"/proc/{machine.leader}/cgroup").read_text().split()
    paths = {line.partition("::")[2] or line.partition("name=systemd:")[2] for line in told}
    return {
        place / path.split("/")[1]
        for place in hierarchies()
        for path in paths
        if path.startswith("/ai-how-")
    }


def fails_once(root: Path, service: str) -> None:
    """Let a service fail the next time that it is started, as where a node lacks something yet."""
    folder = root / f"etc/systemd/system/{service}.service.d"
    folder.mkdir(parents=True, exist_ok=True)
    (root / "root/once").mkdir()
    command = "/bin/sh -c 'rmdir /root/once && exit 1; exit 0'"
    (folder / "once.conf").write_text(f"[Service]\nExecStartPre={command}\n")


def children(pid: int) -> str:
    return subprocess.run(
        ["ps", "--ppid", str(pid), "-o", "comm="], capture_output=True, text=True, check=False
    ).stdout


def test_two_clusters_side_by_side_and_services(booted: Write, state: Path) -> None:
    before = leavings(state)
    storage = "    storage: {backend: seaweedfs}\n" if Path("/dev/fuse").exists() else ""
    one = booted("one", 1, 42)
    two = booted("two", 1, 43, f"    services: [rest, monitoring]\n{storage}")
    up(str(one), quiet)
    found = up(str(two), quiet)
    assert (found.condition, found.problems) == ("up", ())
    for name, address in (("one", "10.213.42.3"), ("two", "10.213.43.3")):
        _, _, driver = made(name)
        said = ask(["scontrol", "show", "node", "n01"], driver.environment())
        assert f"NodeAddr={address}" in said
    # a job that is submitted where nodes see nothing writes where they do
    done = CliRunner().invoke(app, ["submit", "one", "--wrap=hostname"])
    assert f"nodes do not see {Path.cwd()}" in done.stderr
    written = state / f"one/shared/slurm-{done.stdout.strip()}.out"
    until(lambda: written.exists() and written.read_text() == "n01\n")
    (state / "one" / "state.json").unlink()  # as a destroy leaves it that was killed at the end
    assert destroy("one")

    # what was written before the boot is what the roles write: of SLURM the playbook changed
    # nothing, and of what it has set up its second run changes nothing
    changed = roles_that_changed((state / "two/log/ansible.log").read_text())
    assert {"node_exporter", "prometheus", "slurm_exporter", "slurm_restd"} <= changed
    assert not changed & {"common", "containers", "munge", "slurm_compute", "slurm_controller",
                          "slurm_dbd"}  # fmt: skip
    totals = configure_nodes("two", quiet)
    assert (totals["failures"], totals["unreachable"], totals["changed"]) == (0, 0, 0)
    assert totals["ok"] > 40

    # services that die are told, and mended
    machines = machines_of(state / "two")
    dead = {
        "controller": ["mariadb", "slurmdbd", "slurmrestd", "prometheus", "slurm-exporter"],
        "n01": ["prometheus-node-exporter"],
    }
    if storage:
        dead["controller"].append("seaweedfs")
        dead["n01"].append("seaweedfs-mount")
    for node, units in dead.items():
        said_in(machines[node], ["systemctl", "stop", *units], limit_s=60)
    problems = status("two").problems
    for node, units in dead.items():
        for unit in units:
            assert f"{node}: {unit}.service is inactive; `ai-how up` starts it" in problems
    told: list[str] = []
    found = up("two", told.append)
    assert (found.condition, found.problems) == ("up", ())
    assert not any("playbook" in line for line in told)  # they were only started
    if storage:
        said_in(machines["n01"], ["touch", "/shared/seen"])
        until(lambda: "seen" in said_in(machines["controller"], ["ls", "/shared"]).stdout)

    # Prometheus gathers from every node, and from SLURM
    url = "http://10.213.43.2:9090/api/v1/targets?state=active"
    until(lambda: healths(url) == {"controller": "up", "n01": "up", "slurm": "up"})
    assert destroy("two")
    assert leavings(state) == before


def roles_that_changed(log: str) -> set[str]:
    """Return the roles of which a task changed something in a run of the playbook."""
    role, found = "", set()
    for line in log.splitlines():
        if line.startswith(("TASK [", "RUNNING HANDLER [")):
            role = line.partition("[")[2].partition(" : ")[0]
        elif line.startswith("changed: "):
            found.add(role)
    return found


def healths(url: str) -> dict[str, str]:
    """Return the health of each node's figures, and of SLURM's, as Prometheus tells it."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            targets = json.load(answer)["data"]["activeTargets"]
    except OSError:
        return {}
    return {
        target["labels"].get("node", target["labels"]["job"]): target["health"]
        for target in targets
    }


def test_an_image_that_is_damaged(
    booted: Write, state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a copy of the image, which is changed; what is built anew is a copy too, for its time."""
    before = leavings(state)
    good = ensure(recipe(), quiet)
    source = store.folder_of(good.key)
    monkeypatch.setenv("AI_HOW_CACHE", str(tmp_path / "cache"))

    def copy(_: object, folder: Path, __: object) -> store.Image:
        folder.mkdir(parents=True)
        subprocess.run(["cp", "-al", source / "tree", folder / "tree"], check=True)
        store.write_record(good)
        return good

    copy(None, store.folder_of(good.key), None)
    up(str(booted("hurt", 1, 44)), quiet)
    extra = good.tree / "usr/lib/x86_64-linux-gnu/libc.so.7"
    extra.touch()
    found = status("hurt")
    assert found.condition == "degraded"
    assert "were changed, added or removed since it was built; `ai-how up`" in found.problems[0]
    monkeypatch.setattr(build, "_build", copy)
    told: list[str] = []
    assert up("hurt", told.append).condition == "up"
    assert "n01: ended, for its image is damaged" in told
    assert any(line.endswith("it is built anew") for line in told)
    assert not extra.exists()
    assert destroy("hurt")
    assert leavings(state) == before
