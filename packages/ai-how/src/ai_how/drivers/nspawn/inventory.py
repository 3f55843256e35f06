"""What Ansible is told of nodes that share the host's kernel."""

from __future__ import annotations

from pathlib import Path

from ai_how.drivers.inventory import inventory_of
from ai_how.drivers.nspawn import root
from ai_how.drivers.nspawn.machine import FUSE
from ai_how.plan.plan import Plan


def inventory(plan: Plan, folder: Path) -> dict[str, object]:
    """Return the inventory of the cluster in `folder`, as `ansible-inventory --list` prints it."""
    born = {node.name: root.born(folder / "nodes" / node.name) for node in plan.nodes}
    # systemd-nspawn mounts the hierarchies of cgroups read only
    return inventory_of(plan, folder, born, cgroup_mode="none", fuse=Path(FUSE).exists())
