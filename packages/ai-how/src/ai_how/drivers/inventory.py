"""Booted nodes as an Ansible inventory: all that a role may know, whatever made the nodes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ai_how.drivers.nspawn import keys
from ai_how.plan.plan import Plan


def inventory_of(
    plan: Plan, folder: Path, born: Mapping[str, str], *, cgroup_mode: str, fuse: bool
) -> dict[str, object]:
    """Return the inventory of the cluster in `folder`: addresses, the ssh key, groups, facts.

    `born` is what each node's root is known by until it is made anew; `cgroup_mode` is ``none``
    or ``v2``; `fuse` whether nodes can mount by FUSE.
    """
    etc = folder / "etc"
    facts = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(keys.private_key(folder)),
        "ansible_ssh_common_args": " ".join(keys.ssh_options(folder)),
        "ansible_python_interpreter": "/usr/bin/python3",
        "cgroup_mode": cgroup_mode,
        "fuse": fuse,
    }
    hosts = {
        node.name: {
            "ansible_host": node.ip,
            "gpu_source": "vfio" if node.pci else "fake" if node.gpus else "none",
            "gpu_count": node.gpus,
            "born": born.get(node.name, ""),
            **facts,
        }
        for node in plan.nodes
        if node.cluster == "hpc"
    }
    common = {
        "cluster_name": plan.slurm_name,
        "controller_name": plan.controller.name,
        "controller_address": plan.controller.ip,
        "munge_key_file": str(etc / "keys" / "munge.key"),
        "jwt_key_file": str(etc / "keys" / "jwt.key"),
        "slurm_conf_dir": str(etc / "nodes"),
        "accounting": plan.accounting,
        "shared": plan.shared or str(folder / "shared"),
        "storage_backend": plan.storage,
        "services": list(plan.services),
    }
    return {
        "_meta": {"hostvars": hosts},
        "all": {"children": ["controller", "compute"], "vars": common},
        "controller": {"hosts": [plan.controller.name]},
        "compute": {"hosts": [node.name for node in plan.compute]},
    }
