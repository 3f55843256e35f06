"""What stands against virtual machines: they are slow, too small, or have no disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ai_how.config.sizes import format_mib
from ai_how.config.yaml_lines import KeyPath

if TYPE_CHECKING:
    from ai_how.plan.conflicts import Draft

_MEMORY_MIB, _DISK_MIB = 384, 2048  # the least that a Debian boots with

Found = Iterator[tuple[Literal["conflict", "warning"], KeyPath, str]]


def guest_findings(draft: Draft) -> Found:
    """Yield what only virtual machines have, where others would be made, and what they lack."""
    disk = draft.file.global_.disk
    if draft.driver != "libvirt":
        if disk is not None:
            yield (
                "conflict",
                ("global", "disk"),
                f"is for virtual machines, not for the driver {draft.driver!r}; leave it out, or "
                "take `driver: libvirt`",
            )
        return
    if disk is not None and not Path(disk).is_file():
        yield "conflict", ("global", "disk"), f"this machine has no file {disk}; leave it out"
    if draft.emulated:
        yield (
            "warning",
            ("global", "driver"),
            f"nodes are emulated, and many times slower than this machine: {draft.emulated}",
        )
    for node in draft.nodes:
        if node.cluster != "hpc":
            continue
        for key, given, least in (
            ("memory", node.memory_MiB, _MEMORY_MIB),
            ("disk", node.disk_MiB, _DISK_MIB),
        ):
            if given < least:
                yield (
                    "conflict",
                    (*node.key, key),
                    f"{format_mib(given)} is too little for a Debian that boots; "
                    f"give {format_mib(least)} or more",
                )
        if node.pci and node.gpus:
            yield (
                "conflict",
                (*node.key, "gpus"),
                "are emulated ones, and the node has devices that are passed through; keep one",
            )
