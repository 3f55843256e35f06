"""Roles that cannot run on a booted node, checked on one: before and after their packages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ai_how.cluster.configure import playbooks, program
from ai_how.cluster.lifecycle import destroy, made, up
from ai_how.drivers.nspawn.machine import Machine, machines_of, said_in

from .conftest import Write, leavings
from .packages import FOLDER, PACKAGES, SOURCE, write_source

pytestmark = pytest.mark.real
DEBIAN = (
    "glusterfs-client", "glusterfs-server", "nfs-common", "nfs-kernel-server", "containerd",
    "containernetworking-plugins", "conntrack", "iptables", "socat", "linux-headers-amd64",
)  # fmt: skip
BACKENDS = ("glusterfs", "nfs", "beegfs")


def plays(roles: Sequence[str], **keys: object) -> list[dict[str, object]]:
    """Return a playbook of roles for the node n01: shared storage by each backend, and `roles`."""
    parts: list[dict[str, object]] = [
        {"roles": ["shared_storage"], "vars": {"storage_backend": backend}} for backend in BACKENDS
    ]
    parts += [{"roles": [role]} for role in roles]
    return [{"hosts": "n01", "gather_facts": False, **keys, **part} for part in parts]


def quiet(_: str) -> None:
    pass


class Checks:
    """Runs of Ansible with `--check` on the node n01, which is controller and compute node."""

    def __init__(self, inventory: dict[str, Any], folder: Path) -> None:
        facts = {**inventory["all"]["vars"], **inventory["_meta"]["hostvars"]["n01"], "fuse": True}
        hosts = {"hosts": {"n01": facts}}
        self.folder = folder
        (folder / "inventory.json").write_text(
            json.dumps({"all": {"children": {"controller": hosts, "compute": hosts}}})
        )

    def run(self, playbook: object, **variables: object) -> subprocess.CompletedProcess[str]:
        path = self.folder / "playbook.json"
        path.write_text(json.dumps(playbook))
        command = [
            program("ansible-playbook") or "",
            "--check",
            "--inventory",
            self.folder / "inventory.json",
            "--extra-vars",
            json.dumps(variables),
            path,
        ]
        roles = {"ANSIBLE_ROLES_PATH": str(playbooks() / "roles"), "ANSIBLE_NOCOLOR": "1"}
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env=os.environ | {"ANSIBLE_CONFIG": str(playbooks() / "ansible.cfg")} | roles,
        )

    def pass_all(self) -> str:
        """Check all roles, on a kernel that says it has NFS; return what Ansible said."""
        done = self.run(
            plays(["gpu_drivers", "dcgm_exporter", "kubernetes_base"]),
            shared_storage_beegfs_repository=SOURCE,
            shared_storage_nfs={"rc": 0},
            dcgm_exporter_deb=f"{FOLDER}/datacenter-gpu-manager-exporter.deb",
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refusals(self) -> str:
        """Check roles that must refuse; return what they say, on one line."""
        return " ".join(
            self.run(plays(["gpu_drivers", "dcgm_exporter"], ignore_errors=True)).stdout.split()
        )


def ran(machine: Machine, *command: str) -> None:
    done = said_in(machine, command, limit_s=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_check_mode_of_roles_that_do_not_run_here(
    booted: Write, state: Path, tmp_path: Path
) -> None:
    before = leavings(state)
    up(str(booted("roles", 1, 46)), quiet)
    _, plan, driver = made("roles")
    root = state / "roles/nodes/n01/root"
    n01 = machines_of(state / "roles")["n01"]
    checks = Checks(driver.inventory(plan), tmp_path)  # type: ignore[arg-type]

    # without their packages each says what is to be done
    said = checks.refusals()
    for words in (
        "global.packages",
        "BeeGFS is not in Debian",
        "add non-free",
        "dcgm_exporter_deb",
    ):
        assert words in said, said
    if "nfs4" not in Path("/proc/filesystems").read_text().split():
        assert "has no NFS" in said

    # packages can be had, and are not there yet
    write_source(root / FOLDER.lstrip("/"), tmp_path / "packages")
    (root / "etc/apt/sources.list.d/own.list").write_text(f"{SOURCE}\n")
    sources = ["-oDir::Etc::SourceList=/etc/apt/sources.list.d/own.list"]
    ran(n01, "apt-get", *sources, "-oDir::Etc::SourceParts=-", "-qq", "update")
    said = checks.pass_all()
    assert tasks_that_changed(said) >= {"GlusterFS", "NFS", "BeeGFS", "Container runtime"}

    # they are there: nothing is left out but commands
    files = [f"{FOLDER}/{name}.deb" for name in PACKAGES]
    ran(n01, "dpkg", "--install", *files)
    said = checks.pass_all()
    assert tasks_that_changed(said) >= {
        "Its server runs", "Settings of a server", "Settings of its clients",
        "Runtime with systemd's control groups", "It runs",
    }  # fmt: skip
    # a check changed nothing
    assert said_in(n01, ["cat", "/etc/containerd/config.toml"]).stdout == "# as it comes\n"
    assert not (root / "etc/exports.d").exists()

    assert destroy("roles")
    assert leavings(state) == before


def tasks_that_changed(said: str) -> set[str]:
    """Return the tasks that would have changed something, or were left out because of a check."""
    task, found = "", set()
    for line in said.splitlines():
        if match := re.match(r"TASK \[(?:\w+ : )?(.*)\]", line):
            task = match[1]
        elif line.startswith("changed: "):
            found.add(task)
    return found


def test_packages_that_roles_take_from_debian_are_there() -> None:
    if shutil.which("apt-cache") is None or not any(Path("/var/lib/apt/lists").glob("*Packages*")):
        pytest.skip("apt has no lists here; `apt-get update` fetches them")
    done = subprocess.run(
        ["apt-cache", "policy", *DEBIAN], capture_output=True, text=True, check=True, timeout=60
    )
    known = re.findall(r"^(\S+):\n.*\n  Candidate: [^(]", done.stdout, flags=re.MULTILINE)
    assert known == list(DEBIAN)
