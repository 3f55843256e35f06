"""Roles that cannot run on a booted node, checked on one: before and after their packages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
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
PLAYBOOK = [
    *[
        {
            "hosts": "n01",
            "gather_facts": False,
            "vars": {"storage_backend": backend},
            "roles": ["shared_storage"],
        }
        for backend in BACKENDS
    ],
    {
        "hosts": "n01",
        "gather_facts": False,
        "vars": {"dcgm_exporter_deb": f"{FOLDER}/datacenter-gpu-manager-exporter.deb"},
        "roles": ["gpu_drivers", "dcgm_exporter", "kubernetes_base"],
    },
]


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
            PLAYBOOK, shared_storage_beegfs_repository=SOURCE, shared_storage_nfs={"rc": 0}
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refuses(self, role: str, **variables: object) -> str:
        """Check a role that must refuse; return the message."""
        play = {"hosts": "n01", "gather_facts": False, "roles": [role]}
        done = self.run([play], **variables)
        assert done.returncode == 2, done.stdout + done.stderr
        return " ".join(done.stdout.split())


def apt(machine: Machine, *words: str) -> None:
    sources = [
        "-oDir::Etc::SourceList=/etc/apt/sources.list.d/own.list",
        "-oDir::Etc::SourceParts=-",
    ]
    done = said_in(machine, ["apt-get", *sources, "-qq", "-y", *words], limit_s=120)
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
    assert "global.packages" in checks.refuses("shared_storage", storage_backend="glusterfs")
    assert "BeeGFS is not in Debian" in checks.refuses("shared_storage", storage_backend="beegfs")
    assert "add non-free" in checks.refuses("gpu_drivers")
    assert "set dcgm_exporter_deb" in checks.refuses("dcgm_exporter")
    if "nfs4" not in Path("/proc/filesystems").read_text().split():
        assert "has no NFS" in checks.refuses("shared_storage", storage_backend="nfs")

    # packages can be had, and are not there yet
    write_source(root / FOLDER.lstrip("/"), tmp_path / "packages")
    (root / "etc/apt/sources.list.d/own.list").write_text(f"{SOURCE}\n")
    apt(n01, "update")
    said = checks.pass_all()
    assert tasks_that_changed(said) >= {"GlusterFS", "NFS", "BeeGFS", "Container runtime"}

    # they are there: nothing is left out but commands
    apt(n01, "install", *PACKAGES)
    said = checks.pass_all()
    assert tasks_that_changed(said) >= {
        "Its server runs", "The volume is made", "Settings of a server", "Settings of its clients",
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
