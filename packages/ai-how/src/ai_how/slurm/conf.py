"""slurm.conf and gres.conf of a plan. Keys are those of slurm.conf(5) and gres.conf(5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ai_how.plan.nodes import Node
from ai_how.plan.plan import Plan

JOB_RECORD = "finished.log"  # where jobcomp/filetxt writes, in the folder of logs


@dataclass(frozen=True)
class Site:
    """Where the daemons of a cluster live.

    Attributes
    ----------
    controller
        Host name and address, as SlurmctldHost wants them: ``head(10.77.0.2)``.
    controller_port
        TCP port of slurmctld.
    user
        Who runs slurmctld.
    etc, run, log, spool, state
        Folders of the daemons.
    munge_socket
        Socket of the munged that all trust.
    node_ports
        Port of each slurmd.
    node_addresses
        Host name and address of each slurmd.
    gpu_files
        Character devices that stand for the GPUs of a node.
    proctrack
        How a job's processes are found: ``proctrack/linuxproc`` or ``proctrack/cgroup``.
    task_plugin
        How tasks are bound to cores and confined to what they asked for.
    slurmd_user
        Who runs slurmd; the same as `user` where it is empty.
    shares_host
        Whether all daemons are processes of one machine, and must listen on its loopback
        interface alone.
    database
        Address of slurmdbd, or None where there is none.
    jwt_key
        Key of the tokens that slurmrestd takes, or None where it takes none.
    """

    controller: str
    controller_port: int
    user: str
    etc: Path
    run: Path
    log: Path
    spool: Path
    state: Path
    munge_socket: Path
    node_ports: Mapping[str, int]
    node_addresses: Mapping[str, tuple[str, str]]
    gpu_files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    proctrack: str = "proctrack/linuxproc"
    task_plugin: str = "task/none"
    slurmd_user: str = ""
    shares_host: bool = True
    database: str | None = None
    jwt_key: Path | None = None


def slurm_conf(plan: Plan, site: Site) -> str:
    """Return slurm.conf.

    A node that died is noticed after ten seconds and its job is requeued within half a
    minute (SlurmdTimeout and cred_expire); SLURM's own defaults take minutes, which suit
    large machines. Nodes may have more cores than the machine (config_overrides).
    """
    types = ["GresTypes=gpu"] if any(node.gpus for node in plan.compute) else []
    lines = [
        f"# Made by ai-how for the cluster {plan.name}; `ai-how up` writes it anew.",
        f"ClusterName={plan.slurm_name}",
        f"SlurmctldHost={site.controller}",
        f"SlurmctldPort={site.controller_port}",
        f"SlurmUser={site.user}",
        f"SlurmdUser={site.slurmd_user or site.user}",
        "AuthType=auth/munge",
        f"AuthInfo=socket={site.munge_socket},cred_expire=10",
        "CredType=cred/munge",
        *(["CommunicationParameters=NoInAddrAny,NoCtldInAddrAny"] if site.shares_host else []),
        *_tokens(site.jwt_key),
        f"StateSaveLocation={site.state}",
        f"SlurmdSpoolDir={site.spool}/%n",
        f"SlurmctldPidFile={site.run}/slurmctld.pid",
        f"SlurmdPidFile={site.run}/slurmd-%n.pid",
        f"SlurmctldLogFile={site.log}/slurmctld.log",
        f"SlurmdLogFile={site.log}/slurmd-%n.log",
        f"ProctrackType={site.proctrack}",
        f"TaskPlugin={site.task_plugin}",
        "MpiDefault=none",
        "MailProg=/bin/true",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        "SlurmdParameters=config_overrides",
        "JobAcctGatherType=jobacct_gather/linux",
        "JobAcctGatherFrequency=10",  # how fresh the efficiency of a job is, in seconds
        "ReturnToService=2",
        "SlurmdTimeout=10",
        "SlurmctldTimeout=10",
        "KillWait=5",
        "MinJobAge=300",
        "UnkillableStepTimeout=30",
        # without it a job that names no memory would take all of a node
        f"DefMemPerCPU={min(node.memory_MiB // node.cpu for node in plan.compute)}",
        f"MaxJobCount={plan.max_jobs}",
        f"MaxArraySize={plan.max_array}",
        *types,
        *_accounting(plan, site),
        *[_node_line(node, site) for node in plan.compute],
        *_partition_lines(plan),
    ]
    return "\n".join(lines) + "\n"


def gres_conf(plan: Plan, site: Site) -> str:
    """Return gres.conf. Emulated GPUs need character devices that exist (gres.conf(5): File)."""
    lines = [f"# Made by ai-how for the cluster {plan.name}."]
    for node in plan.compute:
        if node.gpus:
            files = site.gpu_files[node.name]
            for kind in dict.fromkeys(node.gpu_types):
                own = [f for f, of in zip(files, node.gpu_types, strict=True) if of == kind]
                lines.append(f"NodeName={node.name} Name=gpu Type={kind} File={','.join(own)}")
    return "\n".join(lines) + "\n"


def slurmdbd_conf(plan: Plan, site: Site) -> str:
    """Return slurmdbd.conf(5): a database on the same node, which knows its user by the kernel."""
    lines = [
        f"# Made by ai-how for the cluster {plan.name}.",
        "AuthType=auth/munge",
        f"AuthInfo=socket={site.munge_socket}",
        *_tokens(site.jwt_key),
        f"DbdHost={plan.controller.name}",
        f"SlurmUser={site.user}",
        f"LogFile={site.log}/slurmdbd.log",
        f"PidFile={site.run}/slurmdbd.pid",
        "StorageType=accounting_storage/mysql",
        "StorageHost=localhost",
        "StorageUser=slurm",
        "StorageLoc=slurm_acct_db",
    ]
    return "\n".join(lines) + "\n"


def _tokens(key: Path | None) -> list[str]:
    if key is None:
        return []
    return ["AuthAltTypes=auth/jwt", f"AuthAltParameters=jwt_key={key}"]


def _accounting(plan: Plan, site: Site) -> list[str]:
    """Return where finished jobs are recorded: in a file, and in a database where there is one."""
    storage = ["AccountingStorageType=accounting_storage/none"]
    if site.database is not None:
        storage = [
            "AccountingStorageType=accounting_storage/slurmdbd",
            f"AccountingStorageHost={site.database}",
            f"AccountingStoragePass={site.munge_socket}",  # with munge: its socket
        ]
        if any(node.gpus for node in plan.compute):
            storage.append("AccountingStorageTRES=gres/gpu")
    if plan.accounting == "none":
        return [*storage, "JobCompType=jobcomp/none"]
    return [*storage, "JobCompType=jobcomp/filetxt", f"JobCompLoc={site.log}/{JOB_RECORD}"]


def _node_line(node: Node, site: Site) -> str:
    hostname, address = site.node_addresses[node.name]
    kinds = [f"gpu:{kind}:{node.gpu_types.count(kind)}" for kind in dict.fromkeys(node.gpu_types)]
    gres = f" Gres={','.join(kinds)}" if kinds else ""
    return (
        f"NodeName={node.name} NodeHostname={hostname} NodeAddr={address} "
        f"Port={site.node_ports[node.name]} CPUs={node.cpu} RealMemory={node.memory_MiB}{gres} "
        f"Feature={node.group}"
    )


def _partition_lines(plan: Plan) -> list[str]:
    lines = []
    for queue in plan.partitions:
        parts = [
            f"PartitionName={queue.name}",
            f"Nodes={','.join(queue.nodes)}",
            f"Default={'YES' if queue.default else 'NO'}",
            f"MaxTime={queue.max_time}",
            f"PriorityTier={queue.priority}",
            "State=UP",
        ]
        if queue.default_time:
            parts.append(f"DefaultTime={queue.default_time}")
        if queue.max_nodes:
            parts.append(f"MaxNodes={queue.max_nodes}")
        lines.append(" ".join(parts))
    return lines
