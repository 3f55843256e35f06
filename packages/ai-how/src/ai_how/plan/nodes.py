"""Groups and addresses written out: one entry for every node."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ai_how.config.models import CloudMachine, ClusterFile, Machine, NodeGroup
from ai_how.config.yaml_lines import KeyPath

Role = Literal["controller", "compute", "control-plane", "worker"]


@dataclass(frozen=True)
class Node:
    """A node that would be made.

    `key` is where the file tells of it; `group` the name it shares with its like. `ip` is None
    where the subnet has no address left. `gpu_types` has the type of each of its `gpus`.
    """

    name: str
    cluster: str
    role: Role
    group: str
    ip: str | None
    cpu: int
    memory_MiB: int
    disk_MiB: int
    auto_start: bool
    gpus: int
    gpu_type: str
    gpu_types: tuple[str, ...]
    pci: tuple[str, ...]
    mounts: tuple[tuple[str, str, bool], ...]
    key: KeyPath


@dataclass(frozen=True)
class Net:
    """A cluster's network. The bridge, and with it this machine, has the first address."""

    cluster: str
    subnet: str
    bridge: str
    gateway: str
    key: KeyPath


def planned_networks(file: ClusterFile) -> list[Net]:
    """Return the networks of a file."""
    found = []
    for kind, cluster in (("hpc", file.clusters.hpc), ("cloud", file.clusters.cloud)):
        if cluster is not None:
            network = cluster.network
            gateway = str(ipaddress.IPv4Network(network.subnet)[1])
            key: KeyPath = ("clusters", kind, "network")
            found.append(Net(kind, network.subnet, network.bridge, gateway, key))
    return found


def planned_nodes(file: ClusterFile) -> list[Node]:
    """Return every node of a file, the controller first, groups in the order of the file.

    Addresses that are not given are the lowest free ones of the subnet, in the same order.
    """
    hpc, cloud = file.clusters.hpc, file.clusters.cloud
    wanted: list[tuple[Role, Machine, KeyPath]] = [
        ("controller", hpc.controller, ("clusters", "hpc", "controller"))
    ]
    wanted += _groups("compute", hpc.compute_nodes, ("clusters", "hpc", "compute_nodes"))
    nodes = _written_out("hpc", hpc.network.subnet, wanted)
    if cloud is not None:
        above: KeyPath = ("clusters", "cloud")
        wanted = _groups("control-plane", cloud.control_plane, (*above, "control_plane"))
        wanted += _groups("worker", cloud.workers, (*above, "workers"))
        nodes += _written_out("cloud", cloud.network.subnet, wanted)
    return nodes


def _groups(
    role: Role, groups: Sequence[Machine], key: KeyPath
) -> list[tuple[Role, Machine, KeyPath]]:
    return [(role, group, (*key, index)) for index, group in enumerate(groups)]


def _written_out(
    cluster: str, subnet: str, wanted: list[tuple[Role, Machine, KeyPath]]
) -> list[Node]:
    hosts = iter(ipaddress.IPv4Network(subnet).hosts())
    next(hosts)  # the bridge's own
    given = {ip for _, machine, _ in wanted for ip in _given_addresses(machine)}
    free = (str(host) for host in hosts if str(host) not in given)
    nodes = []
    for role, machine, key in wanted:
        own = _given_addresses(machine)
        for index, name in enumerate(_names(machine)):
            ip = own[index] if own else next(free, None)
            nodes.append(_node(cluster, role, machine, key, name, ip))
    return nodes


def _names(machine: Machine) -> list[str]:
    name: str = machine.name  # type: ignore[attr-defined]  # every kind of machine has one
    count = machine.count if isinstance(machine, NodeGroup | CloudMachine) else None
    if count is None:
        return [name]
    width = max(2, len(str(count)))
    return [f"{name}{number:0{width}d}" for number in range(1, count + 1)]


def _given_addresses(machine: Machine) -> list[str]:
    if machine.ip is None:
        return []
    first = ipaddress.IPv4Address(machine.ip)
    return [str(first + index) for index in range(len(_names(machine)))]


def _node(
    cluster: str, role: Role, machine: Machine, key: KeyPath, name: str, ip: str | None
) -> Node:
    declared = machine.gpus if isinstance(machine, NodeGroup) else []
    types = tuple(gpus.type for gpus in declared for _ in range(gpus.count))
    pci = machine.pcie_passthrough if isinstance(machine, NodeGroup | CloudMachine) else []
    return Node(
        name=name,
        cluster=cluster,
        role=role,
        group=machine.name,  # type: ignore[attr-defined]  # every kind of machine has one
        ip=ip,
        cpu=machine.cpu,
        memory_MiB=machine.memory,
        disk_MiB=machine.disk,
        auto_start=machine.auto_start,
        gpus=len(types),
        gpu_type=", ".join(dict.fromkeys(types)),
        gpu_types=types,
        pci=tuple(pci),
        mounts=tuple((m.source, m.target, m.read_only) for m in machine.mounts),
        key=key,
    )
