"""The plan: what `up` would make on this machine, and what stands against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ai_how.config.load import ConfigError
from ai_how.config.models import ClusterFile
from ai_how.config.yaml_lines import Problem
from ai_how.plan.ability import best_driver
from ai_how.plan.conflicts import Claim, Draft, Finding, conflicts_of, findings
from ai_how.plan.host import Host
from ai_how.plan.nodes import Net, Node, planned_networks, planned_nodes


@dataclass(frozen=True)
class Queue:
    """A partition with its nodes written out. Times are SLURM's own: minutes, 1:00:00, 2-00."""

    name: str
    nodes: tuple[str, ...]
    default: bool
    max_time: str
    default_time: str | None
    max_nodes: int | None
    priority: int


@dataclass(frozen=True)
class Plan:
    """What would be made."""

    name: str
    slurm_name: str
    driver: str
    nodes: tuple[Node, ...]
    networks: tuple[Net, ...]
    partitions: tuple[Queue, ...]
    accounting: str
    max_jobs: int
    max_array: int
    shared: str | None
    storage: str
    services: tuple[str, ...]
    role_variables: dict[str, str]
    packages: tuple[str, ...]
    disk: str | None
    host: Host
    findings: tuple[Finding, ...]

    @property
    def controller(self) -> Node:
        """The node that schedules."""
        return next(node for node in self.nodes if node.role == "controller")

    @property
    def compute(self) -> tuple[Node, ...]:
        """The nodes that run jobs."""
        return tuple(node for node in self.nodes if node.role == "compute")

    @property
    def conflicts(self) -> list[Finding]:
        """What forbids `up`."""
        return conflicts_of(self.findings)

    def as_data(self) -> dict[str, Any]:
        """Return the plan as plain values, for JSON."""
        host = self.host
        return {
            "name": self.name,
            "driver": self.driver,
            "nodes": [
                {key: value for key, value in asdict(node).items() if key != "key"}
                for node in self.nodes
            ],
            "networks": [
                {key: value for key, value in asdict(net).items() if key != "key"}
                for net in self.networks
            ],
            "partitions": [asdict(queue) for queue in self.partitions],
            "accounting": self.accounting,
            "shared": self.shared,
            "storage": self.storage,
            "services": list(self.services),
            "role_variables": self.role_variables,
            "packages": list(self.packages),
            "disk": self.disk,
            "host": {"cores": host.cores, "memory_MiB": host.memory_MiB},
            "conflicts": [asdict(f) for f in self.findings if f.severity == "conflict"],
            "warnings": [asdict(f) for f in self.findings if f.severity == "warning"],
        }


def make_plan(
    file: ClusterFile,
    host: Host,
    claims: Sequence[Claim] = (),
    driver: str | None = None,
    emulated: str = "",
) -> Plan:
    """Return the plan of a file on a machine where others hold `claims`. Touches nothing.

    `driver` is what `auto` stands for; by default the best that the machine can do. `emulated`
    is why virtual machines would be, where they would.
    """
    hpc = file.clusters.hpc
    lacking: list[str] = []
    if file.global_.driver != "auto":
        driver = file.global_.driver
    elif driver is None:
        driver, lacking = best_driver()
    accounting = hpc.slurm.accounting
    if accounting == "auto":
        accounting = "text" if driver == "process" else "slurmdbd"
    nodes, networks = planned_nodes(file), planned_networks(file)
    draft = Draft(
        file=file,
        driver=driver,
        uses_network=driver != "process",
        nodes=nodes,
        networks=networks,
        host=host,
        claims=tuple(claim for claim in claims if claim.cluster != file.metadata.name),
        lacking=tuple(lacking),
        emulated=emulated,
    )
    return Plan(
        name=file.metadata.name,
        slurm_name=hpc.name or file.metadata.name,
        driver=driver,
        nodes=tuple(nodes),
        networks=tuple(networks),
        partitions=tuple(_queues(file, nodes)),
        accounting=accounting,
        max_jobs=hpc.slurm.limits.max_jobs,
        max_array=hpc.slurm.limits.max_array,
        shared=hpc.storage.shared,
        storage=hpc.storage.backend,
        services=tuple(dict.fromkeys(hpc.services)),
        role_variables=dict(file.global_.role_variables),
        packages=tuple(sorted(set(file.global_.packages))),
        disk=file.global_.disk,
        host=host,
        findings=tuple(findings(draft)),
    )


def refuse_conflicts(plan: Plan, file: str) -> None:
    """Raise ConfigError where a conflict forbids `up`."""
    if plan.conflicts:
        raise ConfigError(file, [Problem(f.line, f.key, f.message) for f in plan.conflicts])


def _queues(file: ClusterFile, nodes: list[Node]) -> list[Queue]:
    slurm = file.clusters.hpc.slurm
    default = slurm.default or slurm.partitions[0].name
    compute = [node for node in nodes if node.role == "compute"]
    return [
        Queue(
            name=partition.name,
            nodes=tuple(
                node.name
                for node in compute
                if partition.nodes is None
                or node.name in partition.nodes
                or node.group in partition.nodes
            ),
            default=partition.name == default,
            max_time=partition.max_time,
            default_time=partition.default_time,
            max_nodes=partition.max_nodes,
            priority=partition.priority,
        )
        for partition in slurm.partitions
    ]
