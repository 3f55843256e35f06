"""Guests that run, read from /proc alone: libvirtd may have died, and they live on."""

from __future__ import annotations

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
