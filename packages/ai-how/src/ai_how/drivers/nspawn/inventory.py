"""The nodes as Ansible sees them: names, addresses, the ssh key, groups and facts."""

from __future__ import annotations

from pathlib import Path

from ai_how.drivers.nspawn import keys, root
from ai_how.drivers.nspawn.machine import FUSE
from ai_how.plan.plan import Plan


def inventory(plan: Plan, folder: Path) -> dict[str, object]:
    """Return the inventory of the cluster in `folder`, as `ansible-inventory --list` prints it."""
    etc = folder / "etc"
    facts = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(keys.private_key(folder)),
        "ansible_ssh_common_args": " ".join(keys.ssh_options(folder)),
        "ansible_python_interpreter": "/usr/bin/python3",
        "cgroup_mode": "none",  # systemd-nspawn mounts the hierarchies read only
        "fuse": Path(FUSE).exists(),
    }
    hosts = {
        node.name: {
            "ansible_host": node.ip,
            "gpu_source": "fake" if node.gpus else "none",
            "gpu_count": node.gpus,
            "born": root.born(folder / "nodes" / node.name),
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
