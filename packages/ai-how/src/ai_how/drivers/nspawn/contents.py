"""What is written into nodes before they boot: all of it known from the plan, no step left over.

The same text is what the Ansible roles write, so that a playbook finds nothing to change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ai_how.drivers.booted import SLURMD_PORT
from ai_how.drivers.nspawn.root import NodeFile, owner_in
from ai_how.plan.nodes import Node
from ai_how.plan.plan import Plan
from ai_how.slurm.conf import Site, gres_conf, slurm_conf, slurmdbd_conf

SLURMCTLD_PORT = 6817
UNITS = {
    "controller": ("munge.service", "slurmctld.service", "ssh.service"),
    "compute": ("munge.service", "slurmd.service", "ssh.service"),
}
DATABASE_UNITS = ("mariadb.service", "slurmdbd.service")
# What serves the shared storage on the controller, and what every node has of it, by backend.
STORAGE_UNITS = {
    "host": ((), ()),
    "seaweedfs": (("seaweedfs.service",), ("seaweedfs-mount.service",)),
    "glusterfs": (("glusterd.service",), ("shared-mount.service",)),
    "nfs": (("nfs-server.service",), ("shared-mount.service",)),
    "beegfs": (
        ("beegfs-mgmtd.service", "beegfs-meta.service", "beegfs-storage.service"),
        ("beegfs-helperd.service", "beegfs-client.service"),
    ),
}
# What of it is to outlast the controller's root: a name, and where it is in the node.
STORAGE_DATA = {
    "host": {},
    "seaweedfs": {"seaweedfs": "/var/lib/seaweedfs"},
    "glusterfs": {"glusterd": "/var/lib/glusterd", "brick": "/var/lib/glusterfs-brick"},
    "nfs": {"nfs": "/srv/shared"},
    "beegfs": {"beegfs": "/var/lib/beegfs"},
}

# slurmctld(8) gives up where it has never seen its database and that does not answer yet.
WAITS_FOR_DATABASE = """\
[Unit]
After=slurmdbd.service

[Service]
ExecStartPre=/bin/bash -c 'for i in {1..300}; do (exec 3<>/dev/tcp/127.0.0.1/6819) 2>/dev/null \
&& exit 0; sleep 0.1; done; exit 1'
"""


@dataclass(frozen=True)
class Secrets:
    """What makes a cluster a cluster of its own. Keys are in ssh's own formats."""

    munge: bytes
    jwt: bytes
    host_private: bytes
    host_public: bytes
    authorized: bytes


def node_site(plan: Plan) -> Site:
    """Return where the daemons live in a node; the same for every node."""
    head = plan.controller
    names = [node.name for node in plan.compute]
    return Site(
        controller=f"{head.name}({head.ip})",
        controller_port=SLURMCTLD_PORT,
        user="slurm",
        slurmd_user="root",
        etc=Path("/etc/slurm"),
        run=Path("/run"),
        log=Path("/var/log/slurm"),
        spool=Path("/var/lib/slurm/slurmd"),
        state=Path("/var/lib/slurm/slurmctld"),
        munge_socket=Path("/run/munge/munge.socket.2"),
        node_ports=dict.fromkeys(names, SLURMD_PORT),
        node_addresses={node.name: (node.name, node.ip or "") for node in plan.compute},
        gpu_files={node.name: gpu_files(node) for node in plan.compute},
        # containers see the hierarchies of cgroups read only; a guest has its own
        proctrack="proctrack/cgroup" if _is_guest(plan) else "proctrack/linuxproc",
        task_plugin="task/affinity,task/cgroup" if _is_guest(plan) else "task/none",
        shares_host=False,
        database=head.ip if plan.accounting == "slurmdbd" else None,
        jwt_key=Path("/etc/slurm/jwt.key"),
    )


def host_conf(plan: Plan, munge_socket: Path) -> str:
    """Return the slurm.conf by which this machine's own commands speak to the cluster."""
    site = replace(node_site(plan), munge_socket=munge_socket, jwt_key=None, user="root")
    return slurm_conf(plan, site)


def rendered(plan: Plan) -> dict[str, str]:
    """Return the files that the nodes of a cluster have in common, by name."""
    site = node_site(plan)
    found = {
        "slurm.conf": slurm_conf(plan, site),
        "gres.conf": gres_conf(plan, site),
        "hosts": hosts(plan),
    }
    if plan.accounting == "slurmdbd":
        found["slurmdbd.conf"] = slurmdbd_conf(plan, site)
        found["slurmctld-waits.conf"] = WAITS_FOR_DATABASE
    return found


def units(plan: Plan, node: Node) -> tuple[str, ...]:
    """Return the services of a node, in the order in which they need each other."""
    own = UNITS["controller" if node.role == "controller" else "compute"]
    if node.role == "controller" and plan.accounting == "slurmdbd":
        return (own[0], *DATABASE_UNITS, *own[1:])
    return own


def services(plan: Plan, node: Node) -> list[str]:
    """Return the services of a node that the playbook sets up, as the cluster's file asks."""
    head = node.role == "controller"
    serving, mounting = STORAGE_UNITS[plan.storage]
    found = [*(serving if head else ()), *mounting]
    if "rest" in plan.services and head:
        found.append("slurmrestd.service")
    if "monitoring" in plan.services:
        found.append("prometheus-node-exporter.service")
        found += ["slurm-exporter.service", "prometheus.service"] if head else []
    return found


def gpu_files(node: Node) -> list[str]:
    """Return the character devices that stand for a node's GPUs; gres.conf(5) wants one each."""
    return [f"/dev/ai-how-gpu{index}" for index in range(node.gpus)]


def hosts(plan: Plan) -> str:
    """Return hosts(5) of a cluster's nodes."""
    lines = ["127.0.0.1 localhost"]
    lines += [f"{node.ip} {node.name}" for node in plan.nodes if node.cluster == "hpc"]
    return "\n".join(lines) + "\n"


def node_files(
    plan: Plan, node: Node, secrets: Secrets, tree: Path, common: Mapping[str, str], folder: Path
) -> dict[str, NodeFile]:
    """Return every file of a node that is not as in the image, by its path in the node."""
    net = next(net for net in plan.networks if net.cluster == node.cluster)
    munge, slurm = owner_in(tree, "munge"), owner_in(tree, "slurm")
    machine_id = hashlib.sha256(f"{folder}/{node.name}".encode()).hexdigest()[:32]
    interface = "eth0" if _is_guest(plan) else "host0"
    files = {
        "/etc/hostname": _text(f"{node.name}\n"),
        "/etc/hosts": _text(common["hosts"]),
        "/etc/machine-id": _text(f"{machine_id}\n", 0o444),
        "/etc/systemd/network/80-ai-how.network": _text(
            _network(node, net.subnet, net.gateway, interface)
        ),
        "/etc/munge/munge.key": NodeFile(secrets.munge, 0o400, munge),
        "/etc/ssh/ssh_host_ed25519_key": NodeFile(secrets.host_private, 0o600),
        "/etc/ssh/ssh_host_ed25519_key.pub": NodeFile(secrets.host_public),
        "/root/.ssh/authorized_keys": NodeFile(secrets.authorized, 0o600),
        "/etc/slurm/slurm.conf": _text(common["slurm.conf"]),
        "/etc/slurm/gres.conf": _text(common["gres.conf"]),
    }
    if node.gpus:
        rules = [f"c {path} 0666 root root - 1:3" for path in gpu_files(node)]
        files["/etc/tmpfiles.d/ai-how-gpu.conf"] = _text("\n".join(rules) + "\n")
    if node.role == "controller":
        files["/etc/slurm/jwt.key"] = NodeFile(secrets.jwt, 0o600, slurm)
        if "slurmdbd.conf" in common:
            files["/etc/slurm/slurmdbd.conf"] = _text(common["slurmdbd.conf"], 0o600, slurm)
            drop_in = "/etc/systemd/system/slurmctld.service.d/ai-how.conf"
            files[drop_in] = _text(common["slurmctld-waits.conf"])
    return files


def _is_guest(plan: Plan) -> bool:
    return plan.driver == "libvirt"


def _network(node: Node, subnet: str, gateway: str, interface: str) -> str:
    length = subnet.partition("/")[2]
    return (
        f"[Match]\nName={interface}\n\n[Network]\nAddress={node.ip}/{length}\nGateway={gateway}\n"
        "LinkLocalAddressing=no\nLLDP=no\nIPv6AcceptRA=no\nDHCP=no\n"
    )


def _text(text: str, mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> NodeFile:
    return NodeFile(text.encode(), mode, owner)
