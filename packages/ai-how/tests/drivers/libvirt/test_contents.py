"""What a guest has besides what every booted node has, and that the roles would write the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jinja2
import pytest

from ai_how.cluster.configure import playbooks
from ai_how.config.load import parse_cluster
from ai_how.drivers.libvirt import contents
from ai_how.drivers.nspawn import contents as booted
from ai_how.plan.host import this_host
from ai_how.plan.plan import Plan, make_plan

YAML = """\
version: 1
metadata: {{name: lab}}
global: {{driver: {driver}, overcommit: true}}
clusters:
  hpc:
    compute_nodes:
      - name: fake
        gpus: {{count: 2}}
        mounts: [{{source: /usr, target: /data, read_only: true}}]
      - {{name: plain}}
"""
SECRETS = booted.Secrets(b"m", b"j", b"h", b"p", b"a")


def plan_for(driver: str) -> Plan:
    return make_plan(parse_cluster(YAML.format(driver=driver), "lab.yaml"), this_host())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("munge:x:1:2::/:/x\nslurm:x:64030:64030::/:/x\n")
    return tmp_path


@pytest.mark.parametrize("number", [0, 1])
def test_cgroup_conf_is_what_the_role_writes(tree: Path, number: int) -> None:
    plan = plan_for("libvirt")
    node = plan.compute[number]
    files = contents.guest_files(plan, node, SECRETS, tree, booted.rendered(plan), Path("/x/lab"))
    role = playbooks() / "roles/slurm_compute/templates/cgroup.conf.j2"
    source = "fake" if node.gpus else "none"
    environment = jinja2.Environment(keep_trailing_newline=True)  # as Ansible has it
    text = environment.from_string(role.read_text()).render(cgroup_mode="v2", gpu_source=source)
    assert files["/etc/slurm/cgroup.conf"].content.decode() == text
    # emulated GPUs are what /dev/null is, which every job needs
    assert f"ConstrainDevices={'no' if node.gpus else 'yes'}" in text


def test_jobs_are_confined_in_guests_alone() -> None:
    texts = {name: booted.rendered(plan_for(name))["slurm.conf"] for name in ("libvirt", "nspawn")}
    assert "ProctrackType=proctrack/cgroup" in texts["libvirt"]
    assert "TaskPlugin=task/affinity,task/cgroup" in texts["libvirt"]
    assert "ProctrackType=proctrack/linuxproc" in texts["nspawn"]
    assert "TaskPlugin=task/none" in texts["nspawn"]


def test_fstab_has_shares_and_what_lasts() -> None:
    plan = plan_for("libvirt")
    folder = Path("/x/lab")

    def fstabs(plan: Plan) -> list[str]:
        return [contents.fstab(plan, n, contents.shares(plan, n, folder)) for n in plan.nodes]

    head, fake, _ = fstabs(plan)
    assert "log /var/log/slurm virtiofs rw 0 0\n" in fake
    assert "shared /x/lab/shared virtiofs rw 0 0\n" in fake
    assert "mount0 /data virtiofs ro 0 0\n" in fake
    assert "/srv/ai-how/mysql /var/lib/mysql none bind 0 0\n" in head
    assert "mysql" not in fake
    assert all(len(line.split()) == 6 for line in (head + fake).splitlines())  # fstab(5)
    head, fake, _ = fstabs(replace(plan, storage="glusterfs"))
    assert "/srv/ai-how/brick /var/lib/glusterfs-brick none bind 0 0\n" in head
    assert "brick" not in fake


def test_what_is_read_at_boot_alone_wants_another_boot() -> None:
    assert contents.wants_restart({"/etc/fstab"})
    assert contents.wants_restart({"/etc/systemd/network/80-ai-how.network", "/etc/hosts"})
    assert not contents.wants_restart({"/etc/slurm/slurm.conf", "/etc/munge/munge.key"})
