"""Real clusters of real daemons: up, broken in every way, mended, and gone without a trace."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ai_how.cluster.lifecycle import destroy, down, made, start, status, stop, up
from ai_how.cluster.state import StateError, changing, known_clusters
from ai_how.config.load import ConfigError
from ai_how.drivers.daemons import daemons_of, job_processes
from ai_how.slurm.commands import ask, finished, node_states, queue, submit

pytestmark = pytest.mark.real


def quiet(_: str) -> None:
    pass


def processes(root: Path) -> set[str]:
    """Whatever runs and names the folder `root`, or has a file in it open, by its command."""
    found = set()
    for path in Path("/proc").iterdir():
        if not path.name.isdigit() or int(path.name) == os.getpid():
            continue
        try:
            words = (path / "cmdline").read_bytes().decode(errors="replace")
            links = [str(link.readlink()) for link in (path / "fd").iterdir()]
        except OSError:
            continue  # it ended meanwhile
        if root.name in words or any(link.startswith(f"{root}/") for link in links):
            found.add(f"{path.name} {words}")
    return found


def until(true: Callable[[], bool], limit_s: float = 30.0) -> None:
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)


def job(folder: Path, text: str) -> str:
    path = folder / "job.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    return str(path)


def test_from_nothing_to_a_job_and_back_to_nothing(
    small: Path, state: Path, tmp_path: Path
) -> None:
    root = state.parent
    found = up(str(small), quiet)
    assert found.condition == "up"
    assert [node.slurm for node in found.nodes[1:]] == ["idle", "idle"]
    assert found.nodes[1].gpus == "2 a100_3g.20gb (emulated)"
    assert found.verified is not None
    assert (found.verified["nodes"], found.verified["gres"]) == (["n01", "n02"], True)

    _, _, driver = made("small")
    environment = driver.environment()
    script = job(tmp_path, "srun sh -c 'echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES'")
    out = tmp_path / "out.txt"
    number = submit(["--nodes=2", "--gres=gpu:2", f"--output={out}", script], environment)
    until(lambda: not queue(environment))
    assert sorted(out.read_text().splitlines()) == ["n01 0,1", "n02 0,1"]
    until(lambda: any(j["JobId"] == number for j in finished(state / "small/log/finished.log")))
    last = finished(state / "small/log/finished.log")[-1]
    assert (last["JobState"], last["Name"]) == ("COMPLETED", "job.sh")

    # a job that hides: no environment of its submitter, and none at all in its child
    marker = f"job-of-{root.name}"
    lasting = job(tmp_path, f"env -i sh -c 'while :; do sleep 1; done' {marker}")
    submit(["--export=NONE", f"--output={out}", lasting], environment)
    until(lambda: any(marker in words for words in processes(root)))
    assert len(processes(root)) >= 5
    assert destroy("small")
    assert processes(root) == set()
    assert not state.exists()
    assert not destroy("small")


def test_daemons_listen_on_the_loopback_interface_only(small: Path, state: Path) -> None:
    up(str(small), quiet)
    pids = {daemon.pid for daemon in daemons_of(state / "small")}
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            inodes.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and row[9] in inodes]
    assert len(listening) == 3
    assert all(place.startswith("0100007F:") for place in listening)
    six = Path("/proc/net/tcp6")
    rows = [line.split() for line in six.read_text().splitlines()[1:]] if six.exists() else []
    assert not [row for row in rows if row[3] == "0A" and row[9] in inodes]


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("slurmd", "slurmd does not run"),
        ("slurmctld", "slurmctld does not run"),
        ("munged", "munged does not run"),
        ("", "does not run"),
    ],
)
def test_a_daemon_that_died_is_told_by_status_and_started_by_up(
    small: Path, state: Path, program: str, words: str
) -> None:
    up(str(small), quiet)
    for daemon in daemons_of(state / "small"):
        if daemon.program.startswith(program):  # with no name: all, as by a reboot
            os.kill(daemon.pid, signal.SIGKILL)
    until(lambda: all(not d.program.startswith(program) for d in daemons_of(state / "small")))
    if not program:
        until(lambda: not processes(state.parent))
    broken = status("small")
    assert broken.condition == "degraded"
    assert words in broken.problems[0]
    assert up("small", quiet).condition == "up"
    assert len(daemons_of(state / "small")) == 4


def test_up_killed_at_any_moment_is_gone_on_with(small: Path, state: Path) -> None:
    command = [sys.executable, "-c", "from ai_how.cli import main; main()", "up", str(small)]
    for delay_s in (0.25, 0.35, 0.45, 0.6, 0.8):
        begun = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        time.sleep(delay_s)
        os.killpg(begun.pid, signal.SIGKILL)
        begun.wait()
    assert up(str(small), quiet).condition == "up"
    daemons = [(d.program, d.node) for d in daemons_of(state / "small")]
    assert sorted(daemons, key=str) == [
        ("munged", None),
        ("slurmctld", None),
        ("slurmd", "n01"),
        ("slurmd", "n02"),
    ]


def test_a_second_up_changes_nothing(small: Path, state: Path) -> None:
    up(str(small), quiet)
    first = {daemon.pid for daemon in daemons_of(state / "small")}
    files = {p: p.read_bytes() for p in (state / "small/etc").rglob("*") if p.is_file()}
    up(str(small), quiet)
    assert {daemon.pid for daemon in daemons_of(state / "small")} == first
    assert {p: p.read_bytes() for p in (state / "small/etc").rglob("*") if p.is_file()} == files


def test_a_node_switched_off_gives_its_job_back(small: Path, state: Path, tmp_path: Path) -> None:
    up(str(small), quiet)
    _, _, driver = made("small")
    environment = driver.environment()
    script = job(tmp_path, "exec sh -c 'while :; do sleep 1; done' ai-how-test-job")
    number = submit(["--nodelist=n01", f"--output={tmp_path}/out", script], environment)
    until(lambda: [j.state for j in queue(environment)] == ["RUNNING"])
    until(lambda: bool(job_processes(state / "small", "n01")))
    stop("small", ["n01"])
    until(lambda: [j.state for j in queue(environment)] == ["PENDING"])
    assert not job_processes(state / "small", "n01")
    found = status("small")
    assert found.condition == "up"  # the user wanted it off
    assert (found.nodes[1].running, found.nodes[1].slurm) == (False, "down")
    assert not up("small", quiet).nodes[1].running
    assert start("small", ["n01"], quiet).nodes[1].running
    ask(["scontrol", "update", f"JobId={number}", "StartTime=now"], environment)
    until(lambda: [j.state for j in queue(environment)] == ["RUNNING"], 150)
    assert "Restarts=1" in ask(["scontrol", "show", "job", number], environment)


def test_down_and_up_keep_the_queue(small: Path, state: Path, tmp_path: Path) -> None:
    up(str(small), quiet)
    _, _, driver = made("small")
    environment = driver.environment()
    script = job(tmp_path, "sleep 1000")
    numbers = {
        submit(["--nodes=2", f"--output={tmp_path}/out", script], environment) for _ in range(3)
    }
    until(lambda: "RUNNING" in [j.state for j in queue(environment)])
    down("small")
    assert not daemons_of(state / "small")
    assert not job_processes(state / "small")
    assert status("small").condition == "down"
    assert start("small", [], quiet).condition == "up"
    assert {j.id for j in queue(environment)} == numbers


def test_a_changed_file_changes_the_cluster(
    small: Path, state: Path, write: Callable[[str, int], Path]
) -> None:
    up(str(small), quiet)
    write("small", 3)
    found = up(str(small), quiet)
    assert [node.name for node in found.nodes if node.running] == [
        "controller",
        "n01",
        "n02",
        "n03",
    ]
    write("small", 1)
    found = up(str(small), quiet)
    assert [node.name for node in found.nodes if node.running] == ["controller", "n01"]
    assert len(daemons_of(state / "small")) == 3


def test_two_clusters_side_by_side(
    small: Path, state: Path, write: Callable[[str, int], Path]
) -> None:
    other = write("other", 1)
    up(str(small), quiet)
    up(str(other), quiet)
    assert known_clusters() == ["other", "small"]
    for name, nodes in (("small", {"n01", "n02"}), ("other", {"n01"})):
        _, _, driver = made(name)
        assert set(node_states(driver.environment())) == nodes
    destroy("small")
    assert status("other").condition == "up"


@pytest.mark.parametrize("whose", ["slurmctld", "slurmd"])
def test_a_port_taken_meanwhile_is_changed(small: Path, state: Path, whose: str) -> None:
    up(str(small), quiet)
    conf = state / "small" / "etc" / "slurm.conf"
    port = int(conf.read_text().split("SlurmctldPort=")[1].split()[0])
    if whose == "slurmctld":
        down("small")
    else:
        port += 2  # of n02, while all others run on
        stop("small", ["n02"])
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        assert start("small", ["n02"], quiet).condition == "up"
        assert f"Port={port}\n" not in conf.read_text()
        assert f"Port={port} " not in conf.read_text()


def test_one_command_at_a_time(small: Path, state: Path) -> None:
    with changing("small"), pytest.raises(StateError, match="another command is changing"):
        up(str(small), quiet)


def test_a_damaged_state_is_named_with_a_remedy(small: Path, state: Path) -> None:
    up(str(small), quiet)
    (state / "small" / "state.json").write_text('{"version"')
    with pytest.raises(StateError, match=r"state\.json: damaged .*`ai-how up`"):
        status("small")
    assert up(str(small), quiet).condition == "up"
    (state / "small" / "state.json").write_text("")
    assert destroy("small")
    assert not state.exists()


def test_conflicts_and_missing_clusters_touch_nothing(small: Path, state: Path) -> None:
    small.write_text(small.read_text().replace("true", "false").replace("500M", "900T"))
    with pytest.raises(ConfigError, match="for a node, but this machine has"):
        up(str(small), quiet)
    assert not state.exists()
    with pytest.raises(StateError, match="there is no cluster 'nix'; made are: none"):
        made("nix")
    assert status("nix").condition == "not made"
