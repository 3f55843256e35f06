"""What stands against a plan: each finding with its line, its key and a remedy."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ai_how.config.load import dotted
from ai_how.config.models import ClusterFile, Origin
from ai_how.config.sizes import format_mib
from ai_how.config.yaml_lines import KeyPath
from ai_how.gpu.sysfs import passthrough_problems
from ai_how.plan.guests import guest_findings
from ai_how.plan.host import Host
from ai_how.plan.nodes import Net, Node


@dataclass(frozen=True)
class Finding:
    """A conflict forbids `up`; a warning is told and does not."""

    severity: Literal["conflict", "warning"]
    line: int | None
    key: str
    message: str


@dataclass(frozen=True)
class Claim:
    """What another cluster of this machine holds."""

    cluster: str
    subnets: tuple[str, ...] = ()
    bridges: tuple[str, ...] = ()
    pci: tuple[str, ...] = ()


@dataclass(frozen=True)
class Draft:
    """Everything the checks look at.

    `uses_network` says whether bridges would be made; `lacking` what kept `auto` from `nspawn`;
    `emulated` why virtual machines would be, empty where they are not or it is not known.
    """

    file: ClusterFile
    driver: str
    uses_network: bool
    nodes: list[Node]
    networks: list[Net]
    host: Host
    claims: tuple[Claim, ...] = field(default=())
    lacking: tuple[str, ...] = field(default=())
    emulated: str = ""


Found = Iterator[tuple[Literal["conflict", "warning"], KeyPath, str]]


def findings(draft: Draft) -> list[Finding]:
    """Return all conflicts and warnings in the order of the file's lines."""
    origin = draft.file.origin or Origin("")
    checks = (_names, _partitions, _addresses, _networks, _gpus, _resources, _driver)
    found = {
        Finding(severity, origin.line_of(key), dotted(key), message)
        for check in checks
        for severity, key, message in check(draft)
    }
    return sorted(found, key=lambda f: (f.severity, f.line or 0, f.key, f.message))


def _names(draft: Draft) -> Found:
    seen: dict[str, Node] = {}
    for node in draft.nodes:
        if (first := seen.setdefault(node.name, node)) is not node:
            where = dotted(first.key)
            yield (
                "conflict",
                (*node.key, "name"),
                (f"node {node.name!r} is there already ({where}); give one another name"),
            )


def _partitions(draft: Draft) -> Found:
    compute = [node for node in draft.nodes if node.role == "compute"]
    known = {node.name for node in compute} | {node.group for node in compute}
    for index, partition in enumerate(draft.file.clusters.hpc.slurm.partitions):
        for name in partition.nodes or ():
            if name not in known:
                groups = ", ".join(dict.fromkeys(node.group for node in compute))
                yield (
                    "conflict",
                    ("clusters", "hpc", "slurm", "partitions", index, "nodes"),
                    (f"{name!r} is no compute node and no group; there are {groups}"),
                )


def _addresses(draft: Draft) -> Found:
    networks = {net.cluster: net for net in draft.networks}
    seen: dict[str, Node] = {}
    for node in draft.nodes:
        net = networks[node.cluster]
        key = (*node.key, "ip")
        if node.ip is None:
            yield (
                "conflict",
                (*net.key, "subnet"),
                (
                    f"{net.subnet} has no address left for {node.name!r}; take a larger "
                    f"one, such as {_larger(net.subnet)}"
                ),
            )
            continue
        subnet, address = ipaddress.IPv4Network(net.subnet), ipaddress.IPv4Address(node.ip)
        if address not in subnet:
            yield (
                "conflict",
                key,
                (
                    f"{node.ip} of {node.name!r} is outside the subnet {net.subnet}; "
                    f"choose one from {subnet[2]} to {subnet[-2]}"
                ),
            )
        elif address in {subnet[0], subnet[-1]}:
            yield "conflict", key, f"{node.ip} is the subnet's own address; choose another"
        elif node.ip == net.gateway:
            yield "conflict", key, f"{node.ip} is this machine's address on the bridge"
        if (first := seen.setdefault(node.ip, node)) is not node:
            yield (
                "conflict",
                key,
                (
                    f"address {node.ip} is used twice, by {first.name!r} and {node.name!r}; "
                    f"change one, or leave `ip` out"
                ),
            )


def _larger(subnet: str) -> str:
    network = ipaddress.IPv4Network(subnet)
    return str(network.supernet(min(2, network.prefixlen)))


def _networks(draft: Draft) -> Found:
    for index, net in enumerate(draft.networks):
        own = ipaddress.IPv4Network(net.subnet)
        for other in draft.networks[:index]:
            if other.bridge == net.bridge:
                yield (
                    "conflict",
                    (*net.key, "bridge"),
                    (
                        f"bridge {net.bridge!r} is used twice, by {other.cluster} and "
                        f"{net.cluster}; name another"
                    ),
                )
            if ipaddress.IPv4Network(other.subnet).overlaps(own):
                yield (
                    "conflict",
                    (*net.key, "subnet"),
                    (f"{net.subnet} overlaps {other.subnet} of {other.cluster}; take another"),
                )
        if draft.uses_network:
            yield from _taken(draft, net, own)


def _taken(draft: Draft, net: Net, own: ipaddress.IPv4Network) -> Found:
    for claim in draft.claims:
        if net.bridge in claim.bridges:
            yield (
                "conflict",
                (*net.key, "bridge"),
                (f"bridge {net.bridge!r} belongs to the cluster {claim.cluster!r}; name another"),
            )
        for subnet in claim.subnets:
            if ipaddress.IPv4Network(subnet).overlaps(own):
                yield (
                    "conflict",
                    (*net.key, "subnet"),
                    (
                        f"{net.subnet} overlaps {subnet} of the cluster "
                        f"{claim.cluster!r}; take another"
                    ),
                )
    if net.bridge in draft.host.interfaces:
        yield (
            "conflict",
            (*net.key, "bridge"),
            (f"this machine has an interface {net.bridge!r} that is not ours; name another"),
        )
    for route, interface in draft.host.routes:
        if interface != net.bridge and route.overlaps(own):
            yield (
                "conflict",
                (*net.key, "subnet"),
                (
                    f"{net.subnet} overlaps {route}, which this machine reaches by {interface}; "
                    "take another"
                ),
            )


def _gpus(draft: Draft) -> Found:
    seen: dict[str, Node] = {}
    for node in draft.nodes:
        key = (*node.key, "pcie_passthrough")
        for address in node.pci:
            first = seen.setdefault(address, node)
            if first is not node:
                yield (
                    "conflict",
                    key,
                    (
                        f"device {address} is given twice, to {first.name!r} and {node.name!r}; "
                        "a device has one owner"
                    ),
                )
            elif node.pci.count(address) > 1:
                yield "conflict", key, f"device {address} is named twice; keep one"
            for claim in draft.claims:
                if address in claim.pci:
                    yield (
                        "conflict",
                        key,
                        (f"device {address} belongs to the cluster {claim.cluster!r}"),
                    )
            if draft.host.pci is not None and address not in draft.host.pci:
                yield (
                    "conflict",
                    key,
                    (f"this machine has no device {address}; `lspci -D` prints what it has"),
                )
        if draft.uses_network:  # nodes of their own, which a device is passed through to
            for gpu in draft.host.gpus:
                if gpu.address in node.pci:
                    for problem in passthrough_problems(gpu, node.pci):
                        yield "conflict", key, problem


def _resources(draft: Draft) -> Found:
    """Compare with the machine. Where nodes are processes the controller reserves nothing."""
    host, file = draft.host, draft.file
    counted = [n for n in draft.nodes if draft.driver != "process" or n.role == "compute"]
    if draft.driver == "process":
        counted = [node for node in counted if node.cluster == "hpc"]
    severity: Literal["conflict", "warning"] = "conflict"
    remedy = "give less, or set `global.overcommit: true`"
    if file.global_.overcommit:
        severity, remedy = "warning", "they share what there is (`global.overcommit`)"
    told = False
    for node in counted:
        if node.cpu > host.cores:
            told = True
            yield (
                severity,
                (*node.key, "cpu"),
                (f"{node.cpu} cores for a node, but this machine has {host.cores}; {remedy}"),
            )
        if node.memory_MiB > host.memory_MiB:
            told = True
            yield (
                severity,
                (*node.key, "memory"),
                (
                    f"{format_mib(node.memory_MiB)} for a node, but this machine has "
                    f"{host.memory_MiB / 1024:.1f}G; {remedy}"
                ),
            )
    if told:
        return
    cores = sum(node.cpu for node in counted)
    memory = sum(node.memory_MiB for node in counted)
    key: KeyPath = ("clusters", "hpc", "compute_nodes")
    if cores > host.cores:
        yield (
            severity,
            key,
            (f"the nodes have {cores} cores together, but this machine has {host.cores}; {remedy}"),
        )
    if memory > host.memory_MiB:
        yield (
            severity,
            key,
            (
                f"the nodes have {memory / 1024:.1f}G of memory together, but this machine has "
                f"{host.memory_MiB / 1024:.1f}G; {remedy}"
            ),
        )


def _driver(draft: Draft) -> Found:
    """Refuse what the driver cannot do, before anything is made."""
    if draft.file.clusters.cloud is not None:
        yield (
            "warning",
            ("clusters", "cloud"),
            ("a cloud cluster is checked and planned; `up` makes the hpc cluster alone"),
        )
    shared = draft.file.clusters.hpc.storage.shared
    if shared is not None and not Path(shared).is_dir():
        yield (
            "conflict",
            ("clusters", "hpc", "storage", "shared"),
            f"this machine has no folder {shared}; make it, or leave `shared` out",
        )
    for node in draft.nodes:
        for source, _, _ in node.mounts:
            if not Path(source).exists():
                yield (
                    "conflict",
                    (*node.key, "mounts"),
                    f"this machine has no {source}; make it, or leave the mount out",
                )
    yield from guest_findings(draft)
    if draft.driver == "nspawn":
        yield from _nspawn(draft)
    if draft.driver == "process":
        yield from _process(draft)


def _nspawn(draft: Draft) -> Found:
    for node in draft.nodes:
        if node.pci and node.cluster == "hpc":
            yield (
                "conflict",
                (*node.key, "pcie_passthrough"),
                (
                    "nodes of the driver 'nspawn' are containers and take no device from this "
                    "machine; declare emulated ones with `gpus`"
                ),
            )


def _process(draft: Draft) -> Found:
    hpc = draft.file.clusters.hpc
    for reason in draft.lacking:
        yield (
            "warning",
            ("global", "driver"),
            f"nodes are processes of this machine, not booted ones: {reason}",
        )
    unfit: list[tuple[KeyPath, bool, str]] = [
        (("clusters", "hpc", "slurm", "accounting"), hpc.slurm.accounting == "slurmdbd", "text"),
        (("clusters", "hpc", "storage", "backend"), hpc.storage.backend != "host", "host"),
        (("clusters", "hpc", "services"), bool(hpc.services), "[]"),
        (("global", "packages"), bool(draft.file.global_.packages), "[]"),
    ]
    for key, given, instead in unfit:
        if given:
            yield (
                "conflict",
                key,
                (
                    "wants nodes that boot, and those of the driver 'process' do not; "
                    f"take `driver: nspawn` or `libvirt`, or {instead} here"
                ),
            )
    for node in draft.nodes:
        if node.cluster != "hpc":
            continue
        if node.pci:
            yield (
                "conflict",
                (*node.key, "pcie_passthrough"),
                (
                    "nodes of the driver 'process' are this machine and take no device from it; "
                    "declare emulated ones with `gpus`"
                ),
            )
        for source, target, _ in node.mounts:
            if source != target:
                yield (
                    "conflict",
                    (*node.key, "mounts"),
                    (
                        f"nodes of the driver 'process' see {source} where it is, not at {target}; "
                        "name the same path for both"
                    ),
                )


def conflicts_of(found: Iterable[Finding]) -> list[Finding]:
    """Return the conflicts among the findings."""
    return [finding for finding in found if finding.severity == "conflict"]
