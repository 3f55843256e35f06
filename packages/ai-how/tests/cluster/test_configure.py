"""Playbooks that Ansible can read, and that say the same as the image."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from ai_how.cluster import configure
from ai_how.config.load import parse_cluster
from ai_how.drivers.base import DriverError
from ai_how.drivers.process import ProcessDriver
from ai_how.images.recipe import recipe
from ai_how.observe.slurm_exporter import prometheus_text
from ai_how.plan.host import Host
from ai_how.plan.plan import Plan, make_plan

HOST = Host("box", 8, 16_000, frozenset({"lo"}), (), None)


def plan_of(more: str = "", driver: str = "nspawn") -> Plan:
    text = (
        "version: 1\nmetadata: {name: lab}\nclusters:\n  hpc:\n    compute_nodes: {name: n}\n"
        f"{more}"
    )
    return make_plan(parse_cluster(text), HOST, driver=driver)


@pytest.mark.real
def test_playbooks_and_roles_pass_ansible_lint() -> None:
    """In its strictest profile; it checks the syntax of playbooks with every role as well."""
    program = configure.program("ansible-lint")
    assert program is not None, "ansible-lint is in requirements-dev.in"
    folder = configure.playbooks()
    done = subprocess.run(
        [program, "--offline", "--profile=production", "--nocolor", "-q", "site.yml", "cloud.yml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=folder,
        env=os.environ | {"PATH": f"{Path(program).parent}:/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_role_asks_how_a_node_was_made() -> None:
    for path in configure.playbooks().rglob("*"):
        if path.suffix in {".yml", ".j2"}:
            assert not re.search(r"nspawn|libvirt|ansible_virtualization", path.read_text()), path


def test_the_database_of_the_image_is_that_of_the_role() -> None:
    script = "\n".join(recipe([]).scripts)
    for name in ("90-ai-how.cnf", "ai-how.sql"):
        path = configure.playbooks() / "roles" / "slurm_dbd" / "files" / name
        assert path.read_text() in script


def test_every_dashboard_names_figures_that_are_gathered() -> None:
    roles = configure.playbooks() / "roles"
    board = json.loads((roles / "grafana/files/cluster.json").read_text())
    job = {"job": "7", "name": "a", "state": "RUNNING", "efficiency": 0.5}
    node = {"name": "n01", "state": "idle", "responds": True, "cores": 1, "cores_allocated": 0,
            "memory_bytes": 0, "memory_allocated_bytes": 0}  # fmt: skip
    gres = {"name": "gpu", "type": "a100", "total": 1, "used": 1}
    found = {"nodes": [node], "jobs": [], "gres": [gres], "efficiency": [job], "scrape_s": 0.1}
    exporter = prometheus_text(found)
    shown = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\bslurm_\w+", target["expr"])
    }
    assert len(shown) >= 4
    assert all(f"{name}{{" in exporter for name in shown - {"slurm_jobs"}), shown
    assert "# TYPE slurm_jobs gauge" in exporter


def test_the_playbook_is_run_where_the_file_asks_for_more() -> None:
    assert not configure.wants_configuring(plan_of())
    assert configure.wants_configuring(plan_of("    services: [rest]\n"))
    assert configure.wants_configuring(plan_of("    storage: {backend: seaweedfs}\n"))


def test_variables_of_roles_are_the_users_and_a_change_runs_the_playbook_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def lines(command: list[str], *_: object) -> list[str]:
        seen.append(command)
        return ["PLAY RECAP ***", "n : ok=1 changed=0 unreachable=0 failed=0"]

    monkeypatch.setattr(configure, "_lines", lines)
    (tmp_path / "etc").mkdir()
    driver = ProcessDriver(tmp_path)
    monkeypatch.setattr(driver, "inventory", lambda _: {})
    plan = plan_of("global: {role_variables: {grafana_deb: /g.deb}}\n")
    configure.configure(plan, driver, tmp_path, lambda _: None)
    (command,) = seen
    given = json.loads(command[command.index("--extra-vars") + 1])
    assert given["grafana_deb"] == "/g.deb"
    assert configure.is_configured(plan, driver, tmp_path)
    assert not configure.is_configured(plan_of(), driver, tmp_path)


def test_what_is_missing_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configure, "program", lambda _: None)
    told = configure.missing(plan_of("    storage: {backend: seaweedfs}\n"))
    assert ["ai-how[ansible]" in told[0], "ai-how[seaweedfs]" in told[1]] == [True, True]


def test_nodes_that_are_processes_are_not_configured(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="`driver: nspawn`"):
        configure.configure(
            plan_of(driver="process"), ProcessDriver(tmp_path), tmp_path, lambda _: None
        )
