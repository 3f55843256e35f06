"""What a user may write in a cluster file. Units: memory and disk in MiB once read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from ai_how.config.sizes import MiB
from ai_how.config.values import (
    AbsolutePath,
    Address,
    Bridge,
    GpuType,
    Name,
    PackageName,
    PciAddress,
    Subnet,
    TimeLimit,
    VariableName,
    as_list,
)
from ai_how.config.yaml_lines import KeyPath

DriverName = Literal["auto", "nspawn", "libvirt", "process"]

ServiceName = Literal["monitoring", "rest"]


@dataclass(frozen=True)
class Origin:
    """Where a file was read: its name as the user gave it, and each key's line."""

    file: str
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def line_of(self, path: KeyPath) -> int | None:
        """Return the line (from 1) of `path`, or of the nearest key above it."""
        for length in range(len(path), -1, -1):
            if (line := self.lines.get(path[:length])) is not None:
                return line
        return None


class Section(BaseModel):
    """A group of keys; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class Metadata(Section):
    """What the cluster is called."""

    name: Name = Field(description="Its name on this machine; `ai-how status NAME` takes it too.")
    description: str = Field(default="", max_length=500, description="A line for people.")


class Global(Section):
    """What holds for the whole file."""

    driver: DriverName = Field(
        default="auto",
        description="How nodes are made. nspawn: every node boots a Debian of its own in a "
        "container, with an address, ssh and accounting; wants root on Debian or Ubuntu. "
        "libvirt: every node is a virtual machine with a kernel of its own, which confines jobs "
        "and takes PCI devices; emulated, and slow, where the machine has no KVM that works. "
        "process: every slurmd is a process of this machine, with a port of its own; up in a "
        "second, for tests of job scripts and schedulers. auto: nspawn where this machine can do "
        "it, else process.",
    )
    packages: list[PackageName] = Field(
        default_factory=list,
        max_length=200,
        description="Debian packages that every node has besides SLURM, such as openmpi-bin; "
        "part of the image (nodes that boot).",
    )
    disk: AbsolutePath | None = Field(
        default=None,
        description="A qcow2 disk of this machine that nodes stand on in the place of the "
        "image's own, as `ai-how image packer` helps to make (driver libvirt).",
    )
    role_variables: dict[VariableName, str] = Field(
        default_factory=dict,
        max_length=50,
        description="Variables of the Ansible roles, such as grafana_deb or "
        "shared_storage_beegfs_repository, for what Debian does not have.",
    )
    overcommit: bool = Field(
        default=False,
        description="true: nodes may add up to more cores or memory than the machine has; "
        "right for learning and for tests, wrong for timing.",
    )


class Network(Section):
    """The cluster's own network."""

    subnet: Subnet = Field(
        default="10.77.0.0/24", description="IPv4 subnet of the nodes; its first address is ours."
    )
    bridge: Bridge = Field(default="aihow0", description="Name of the bridge, 15 characters.")


class Gpus(Section):
    """GPUs that a node declares to SLURM."""

    count: int = Field(ge=1, le=64, description="How many.")
    type: GpuType = Field(default="emulated", description="Type for --gres=gpu:TYPE:N.")


class Mount(Section):
    """A folder of the host inside a node."""

    source: AbsolutePath = Field(description="Folder on this machine.")
    target: AbsolutePath = Field(description="Where it is in the node.")
    read_only: bool = Field(default=False, description="true: the node cannot write to it.")


class Machine(Section):
    """What every node has."""

    cpu: int = Field(default=1, ge=1, le=1024, description="Cores.")
    memory: MiB = Field(default=1024, description="Memory: 2G, 512M; a bare number is MiB.")
    disk: MiB = Field(default=10240, ge=128, description="Disk, as memory, of 128M or more.")
    ip: Address | None = Field(
        default=None,
        description="Address; of a group that of its first node, the others follow. "
        "Default: the next free one of the subnet.",
    )
    auto_start: bool = Field(default=True, description="false: `up` leaves it switched off.")
    mounts: list[Mount] = Field(
        default_factory=list, max_length=50, description="Folders of this machine in the node."
    )


class Controller(Machine):
    """The node that schedules and takes logins."""

    name: Name = Field(default="controller", description="Its host name.")


class NodeGroup(Machine):
    """One compute node, or `count` of them alike."""

    name: Name = Field(
        default="node",
        description="Host name; with `count` what comes before the number: node01, node02.",
    )
    count: int | None = Field(
        default=None, ge=1, le=1000, description="How many; left out: one, called by `name` alone."
    )
    gpus: Annotated[list[Gpus], BeforeValidator(as_list)] = Field(
        default_factory=list,
        max_length=16,
        description="GPUs declared to SLURM, or a list of one entry for each type (MIG "
        "instances, say); emulated, for tests of schedulers.",
    )
    pcie_passthrough: list[PciAddress] = Field(
        default_factory=list,
        max_length=64,
        description="PCI addresses of GPUs of this machine given to the node (driver libvirt).",
    )


class Partition(Section):
    """A queue."""

    name: Name = Field(description="Its name for --partition.")
    nodes: list[Name] | None = Field(
        default=None, min_length=1, description="Nodes or groups by name. Default: all."
    )
    max_time: TimeLimit = Field(default="UNLIMITED", description="Longest job: 60, 1:00:00, 2-00.")
    default_time: TimeLimit | None = Field(
        default=None, description="Time of a job that names none."
    )
    max_nodes: int | None = Field(default=None, ge=1, description="Most nodes of one job.")
    priority: int = Field(default=1, ge=1, le=65533, description="Priority tier.")


class Limits(Section):
    """Limits of the scheduler."""

    max_jobs: int = Field(default=10_000, ge=1, description="Most jobs known at one time.")
    max_array: int = Field(default=1001, ge=1, description="Longest job array.")


class Slurm(Section):
    """The scheduler."""

    partitions: list[Partition] = Field(
        default_factory=lambda: [Partition(name="main")],
        min_length=1,
        max_length=100,
        description="Queues. Default: one, `main`, of all nodes.",
    )
    default: Name | None = Field(
        default=None, description="Partition of jobs that name none. Default: the first."
    )
    limits: Limits = Field(default_factory=Limits, description="Limits of the scheduler.")
    accounting: Literal["auto", "none", "text", "slurmdbd"] = Field(
        default="auto",
        description="text: a line for each finished job in a file, which "
        "`ai-how queue --finished` shows. slurmdbd: also a database on the controller, for sacct "
        "and sreport. auto: slurmdbd where nodes boot (nspawn, libvirt), else text.",
    )

    @model_validator(mode="after")
    def _default_is_one_of_them(self) -> Slurm:
        names = [partition.name for partition in self.partitions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"partition {twice[0]!r} is given twice; keep one")
        if self.default is not None and self.default not in names:
            raise ValueError(
                f"default {self.default!r} is no partition; there are {', '.join(names)}"
            )
        return self


class Storage(Section):
    """What all nodes share."""

    backend: Literal["host", "seaweedfs", "glusterfs", "nfs", "beegfs"] = Field(
        default="host",
        description="host: the shared folder is this machine's, bound into every node. The "
        "others are set up on the nodes by `ai-how configure`, and mounted at /shared; "
        "seaweedfs also gives S3 on port 8333 of the controller (nodes that boot).",
    )

    shared: AbsolutePath | None = Field(
        default=None,
        description="Folder of this machine that every node sees at the same path; "
        "it stays when the cluster goes. Default: one in the cluster's own state, removed with it.",
    )


class Hpc(Section):
    """A SLURM cluster."""

    name: Name | None = Field(default=None, description="SLURM's name. Default: metadata.name.")
    network: Network = Field(default_factory=Network, description="The cluster's own network.")
    controller: Controller = Field(default_factory=Controller, description="The head node.")
    compute_nodes: Annotated[list[NodeGroup], BeforeValidator(as_list)] = Field(
        min_length=1,
        max_length=200,
        description="One group, or a list of nodes and groups.",
    )
    slurm: Slurm = Field(default_factory=Slurm, description="The scheduler.")
    storage: Storage = Field(default_factory=Storage, description="What all nodes share.")
    services: list[ServiceName] = Field(
        default_factory=list,
        max_length=4,
        description="What `up` configures besides SLURM, with Ansible (nodes that boot). rest: "
        "slurmrestd on port 6820 of the controller, with tokens. monitoring: Prometheus on its "
        "port 9090, with figures of every node and of SLURM.",
    )


class CloudMachine(Machine):
    """A node of the cloud cluster."""

    name: Name = Field(default="cloud", description="Host name, or what precedes the number.")
    count: int | None = Field(default=None, ge=1, le=1000, description="How many.")
    pcie_passthrough: list[PciAddress] = Field(
        default_factory=list, max_length=64, description="GPUs of this machine given to the node."
    )


class Cloud(Section):
    """A cluster of bare machines for Kubernetes: validated and planned."""

    name: Name | None = Field(default=None, description="Its name. Default: metadata.name.")
    network: Network = Field(
        default_factory=lambda: Network(subnet="10.78.0.0/24", bridge="aihow1"),
        description="The cluster's own network.",
    )
    control_plane: Annotated[list[CloudMachine], BeforeValidator(as_list)] = Field(
        min_length=1, description="Nodes of the control plane."
    )
    workers: Annotated[list[CloudMachine], BeforeValidator(as_list)] = Field(
        default_factory=list, description="Nodes that run pods."
    )
    cni: Literal["flannel", "calico", "cilium"] = Field(
        default="flannel", description="Network of the pods."
    )


class Clusters(Section):
    """The clusters of the file."""

    hpc: Hpc = Field(description="A SLURM cluster.")
    cloud: Cloud | None = Field(default=None, description="A cluster for Kubernetes.")


class ClusterFile(Section):
    """A cluster on this machine. Smallest: version, metadata.name, clusters.hpc.compute_nodes."""

    version: Literal[1] = Field(description="Version of this format.")
    metadata: Metadata = Field(description="What the cluster is called.")
    global_: Global = Field(
        default_factory=Global, alias="global", description="What holds for the whole file."
    )
    clusters: Clusters = Field(description="The clusters of the file.")

    _origin: Origin | None = PrivateAttr(default=None)

    @property
    def origin(self) -> Origin | None:
        """Where it was read, or None if it was made in Python."""
        return self._origin

    def with_origin(self, origin: Origin) -> ClusterFile:
        """Return itself, told where it was read."""
        self._origin = origin
        return self
