"""The command line as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import ai_how
from ai_how.cli.app import app

runner = CliRunner(env={"COLUMNS": "100", "TERM": "dumb"})


def test_help_teaches_the_commands_and_the_exit_codes() -> None:
    shown = runner.invoke(app, ["--help"]).output
    for word in ("init", "validate", "plan", "render", "up", "status", "destroy", "Exit codes"):
        assert word in shown


def test_the_command_is_installed() -> None:
    command = [Path(sys.executable).parent / "ai-how", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == f"ai-how {ai_how.__version__}\n"


def test_init_validate_plan_render(tmp_path: Path, state: Path) -> None:
    path = tmp_path / "lab.yaml"
    done = runner.invoke(app, ["init", str(path), "--nodes", "3"])
    assert done.exit_code == 0, done.output
    assert "next: ai-how up" in done.output
    assert runner.invoke(app, ["init", str(path)]).exit_code == 2
    assert runner.invoke(app, ["validate", str(path)]).exit_code == 0
    data = json.loads(runner.invoke(app, ["plan", str(path), "--json"]).output)
    assert [node["name"] for node in data["nodes"]] == ["controller", "node01", "node02", "node03"]
    assert runner.invoke(app, ["plan", str(path), "-f", "markdown"]).output.startswith("# Cluster")
    done = runner.invoke(app, ["render", str(path), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert "ClusterName=lab\n" in (tmp_path / "out" / "slurm.conf").read_text()
    assert "Name=gpu Type=emulated" in (tmp_path / "out" / "gres.conf").read_text()
    assert not state.exists()


def test_a_refused_file_has_its_lines_on_standard_error(tmp_path: Path, state: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("version: 1\nmetadata: {name: lab}\nclusters: {hpc: {compute_node: {}}}\n")
    for command in ("validate", "plan", "render", "up"):
        done = runner.invoke(app, [command, str(path)])
        assert done.exit_code == 2, command
        assert "bad.yaml:3: key 'clusters.hpc.compute_node': unknown key" in done.stderr
    done = runner.invoke(app, ["validate", str(path), "--json"])
    assert done.exit_code == 2
    assert json.loads(done.output)["problems"][0]["line"] == 3


def test_a_conflict_is_exit_code_2(tmp_path: Path, state: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_text(
        "version: 1\nmetadata: {name: lab}\nclusters: {hpc: {compute_nodes: {memory: 900T}}}\n"
    )
    done = runner.invoke(app, ["plan", str(path)])
    assert done.exit_code == 2
    assert "1 conflict to be resolved" in done.output


def test_an_unknown_cluster_is_said_in_a_line(state: Path) -> None:
    for command in (["queue", "nix"], ["stop", "nix", "n01"], ["env", "nix"], ["down", "nix"]):
        done = runner.invoke(app, command)
        assert done.exit_code == 2
        assert done.stderr.strip() == "ai-how: there is no cluster 'nix'; made are: none"
    assert not state.exists()
    assert runner.invoke(app, ["status", "nix"]).exit_code == 1


@pytest.mark.real
def test_a_life(small: Path, state: Path, tmp_path: Path) -> None:
    done = runner.invoke(app, ["up", str(small)])
    assert done.exit_code == 0, done.output
    assert "verified by a job on 2 nodes with a GPU each" in done.output
    data = json.loads(runner.invoke(app, ["status", "small", "--json"]).output)
    assert data["condition"] == "up"
    assert "small  up  2 nodes  process" in runner.invoke(app, ["list"]).output
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/sh\necho done\n")
    out = tmp_path / "out"
    done = runner.invoke(app, ["submit", "small", f"--output={out}", str(script)])
    assert done.output.strip().isdigit()
    end = time.monotonic() + 30
    while not (out.exists() and out.read_text()) and time.monotonic() < end:
        time.sleep(0.1)
    assert out.read_text() == "done\n"
    line = runner.invoke(app, ["env", "small"]).output
    nodes = subprocess.run(
        ["sh", "-c", f"{line}\nsinfo -h -N -o %N"], capture_output=True, text=True, check=True
    )
    assert nodes.stdout.split() == ["n01", "n02"]
    inventory = json.loads(runner.invoke(app, ["inventory", "small"]).output)
    assert inventory["compute"]["hosts"] == ["n01", "n02"]
    facts = inventory["_meta"]["hostvars"]["n01"]
    assert (facts["gpu_source"], facts["cgroup_mode"]) == ("fake", "none")
    assert Path(facts["shared"]).is_dir()
    assert "slurmd started" in runner.invoke(app, ["logs", "small", "n01", "-n", "99"]).output
    command = [Path(sys.executable).parent / "ai-how", "exec", "small", "n02", "sh", "-c"]
    said = subprocess.run(
        [*command, "echo $SLURMD_NODENAME; exit 3"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ.copy(),
    )
    assert (said.stdout, said.returncode) == ("n02\n", 3)
    assert runner.invoke(app, ["doctor"]).exit_code == 0
    assert runner.invoke(app, ["stop", "small", "n02"]).exit_code == 0
    assert runner.invoke(app, ["start", "small", "n02"]).exit_code == 0
    assert runner.invoke(app, ["down", "small"]).exit_code == 0
    assert runner.invoke(app, ["destroy", "small"], input="n\n").exit_code == 1
    assert runner.invoke(app, ["destroy", str(small), "--yes"]).exit_code == 0
    assert not state.exists()


@pytest.mark.real
def test_ssh_topology_and_profile(small: Path, state: Path, tmp_path: Path) -> None:
    assert runner.invoke(app, ["topology", str(small)]).exit_code == 0  # not made yet
    assert runner.invoke(app, ["up", str(small)]).exit_code == 0
    data = json.loads(runner.invoke(app, ["topology", "small", "--json"]).output)
    assert [node["state"] for node in data["networks"][0]["nodes"]] == ["runs", "idle", "idle"]
    assert "```mermaid" in runner.invoke(app, ["topology", "small", "-f", "markdown"]).output

    program = [Path(sys.executable).parent / "ai-how", "ssh"]
    for words in (["small", "n02", "echo $SLURMD_NODENAME; exit 4"], ["n02", "--", "exit", "4"]):
        done = subprocess.run(
            [*program, *words], capture_output=True, text=True, check=False, env=os.environ.copy()
        )
        assert done.returncode == 4, done.stderr
    done = subprocess.run(
        [*program, "small", "n02"],
        input="sinfo -h -o %N; echo $SLURMD_NODENAME",
        capture_output=True,
        text=True,
        check=False,
        env=os.environ.copy(),
    )
    assert done.stdout == "n[01-02]\nn02\n"
    for words, said in (
        (["small"], "name a node of 'small' too; it has controller, n01, n02"),
        (["nix"], "'nix' is neither a cluster nor a node of one; made are: small"),
        (["small", "nix"], "'nix' is no node of 'small'"),
    ):
        done_here = runner.invoke(app, ["ssh", *words])
        assert (done_here.exit_code, said in done_here.stderr) == (2, True)

    printed = runner.invoke(app, ["profile", "small"]).output
    execution, roots = yaml.safe_load_all(printed)
    assert execution["execution"]["partition"] == "main"
    assert Path(roots["clusters"]["small"]) == state / "small" / "shared" / "rootstock"
    out = tmp_path / "c.yaml"
    assert runner.invoke(app, ["profile", "small", "-o", str(out)]).exit_code == 0
    assert yaml.safe_load(out.read_text()) == execution
    assert (
        json.loads(runner.invoke(app, ["profile", "small", "--json"]).output)["execution"]["blocks"]
        == 2
    )
