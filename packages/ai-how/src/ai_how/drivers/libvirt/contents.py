"""What is written into a guest before it boots, besides what every booted node has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ai_how.drivers.libvirt.domain import DATA_SERIAL, Share
from ai_how.drivers.nspawn import contents
from ai_how.drivers.nspawn.root import NodeFile
from ai_how.plan.nodes import Node
from ai_how.plan.plan import Plan

CGROUP_MODE = "v2"
_DATA = "/srv/ai-how"
# As the role slurm_compute writes it for this cgroup_mode. Emulated GPUs have the number of
# /dev/null: a job without one would be kept from that.
_CGROUP_CONF = f"""\
CgroupPlugin=cgroup/{CGROUP_MODE}
ConstrainCores=yes
ConstrainDevices={{devices}}
ConstrainRAMSpace=yes
"""
# What cannot be changed while a guest runs.
_AT_BOOT = ("/etc/fstab", "/etc/hostname", "/etc/machine-id", "/etc/tmpfiles.d", "/etc/systemd/net")


def shares(plan: Plan, node: Node, folder: Path) -> list[Share]:
    """Return the folders of this machine that a node sees."""
    shared = plan.shared or str(folder / "shared")
    found = [
        Share(str(folder / "log" / node.name), "/var/log/slurm", False, "log"),
        Share(shared, shared, False, "shared"),
    ]
    for index, (source, target, read_only) in enumerate(node.mounts):
        found.append(Share(source, target, read_only, f"mount{index}"))
    return found


def fstab(plan: Plan, node: Node, folders: Sequence[Share]) -> str:
    """Return fstab(5) of a node. Its root grows to the size of its disk (systemd-growfs(8))."""
    lines = ["/dev/vda / ext4 rw,x-systemd.growfs 0 0"]
    lines += [
        f"{share.tag} {share.target} virtiofs {'ro' if share.read_only else 'rw'} 0 0"
        for share in folders
    ]
    if node.role == "controller":
        lines.append(f"/dev/disk/by-id/virtio-{DATA_SERIAL} {_DATA} ext4 rw 0 0")
        for name, target in (
            ("mysql", "/var/lib/mysql"),
            ("slurmctld", "/var/lib/slurm/slurmctld"),
            *contents.STORAGE_DATA[plan.storage].items(),
        ):
            lines.append(f"{_DATA}/{name} {target} none bind 0 0")
    return "\n".join(lines) + "\n"


def guest_files(
    plan: Plan,
    node: Node,
    secrets: contents.Secrets,
    tree: Path,
    common: Mapping[str, str],
    folder: Path,
) -> dict[str, NodeFile]:
    """Return every file of a node that is not as in the image, by its path in the node."""
    files = contents.node_files(plan, node, secrets, tree, common, folder)
    files["/etc/fstab"] = NodeFile(fstab(plan, node, shares(plan, node, folder)).encode())
    if node.role == "compute":
        files["/etc/slurm/cgroup.conf"] = NodeFile(
            _CGROUP_CONF.format(devices="no" if node.gpus and not node.pci else "yes").encode()
        )
    return files


def guest_links(plan: Plan, node: Node) -> dict[str, str]:
    """Return the links by which systemd starts a node's services."""
    wants = "/etc/systemd/system/multi-user.target.wants"
    units = contents.units(plan, node)
    return {f"{wants}/{unit}": f"/lib/systemd/system/{unit}" for unit in units}


def wants_restart(changed: Mapping[str, str] | set[str]) -> bool:
    """Say whether a guest must boot again for files that have changed."""
    return any(name.startswith(_AT_BOOT) for name in changed)
