"""What a node is booted with: its cable, its folders of what is to last, its devices."""

from __future__ import annotations

from pathlib import Path

from ai_how.drivers.nspawn.contents import STORAGE_DATA
from ai_how.drivers.nspawn.machine import FUSE, Boot
from ai_how.plan.nodes import Node
from ai_how.plan.plan import Plan


def boot_of(plan: Plan, node: Node, folder: Path, bridge: str) -> Boot:
    """Return how a node of the cluster in `folder` is booted; folders that it binds are made."""
    shared = plan.shared or str(folder / "shared")
    binds = [
        (str(folder / "log" / node.name), "/var/log/slurm", False),
        (shared, shared, False),
        *node.mounts,
    ]
    if node.role == "controller":
        data = folder / "data"
        binds.append((str(data / "mysql"), "/var/lib/mysql", False))
        binds.append((str(data / "slurmctld"), "/var/lib/slurm/slurmctld", False))
        for name, place in STORAGE_DATA[plan.storage].items():
            (data / name).mkdir(exist_ok=True)
            binds.append((str(data / name), place, False))
    return Boot(
        node=node.name,
        root=folder / "nodes" / node.name / "root",
        bridge=bridge,
        console=folder / "log" / f"console-{node.name}.log",
        binds=binds,
        devices=[FUSE] if Path(FUSE).exists() else [],
    )
