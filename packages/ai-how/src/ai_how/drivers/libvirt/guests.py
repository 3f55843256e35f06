"""Guests that run, read from /proc alone: libvirtd may have died, and they live on."""

from __future__ import annotations

import os
from pathlib import Path

from ai_how.drivers.daemons import commands
from ai_how.drivers.libvirt.domain import node_of


def guests_of(folder: Path) -> dict[str, int]:
    """Return the qemu of each node of the cluster in `folder` that runs."""
    found = {}
    for pid, words in commands():
        if Path(words[0]).name.startswith("qemu-system") and "-name" in words[:-1]:
            told = words[words.index("-name") + 1].split(",")[0].removeprefix("guest=")
            if (node := node_of(folder, told)) is not None:
                found[node] = pid
    return found


def age_s(pid: int) -> float:
    """Return how long a process runs, in seconds; 0 where it does not (proc(5): stat, field 22)."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
        up = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return 0.0
    began = int(status.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, up - began)
