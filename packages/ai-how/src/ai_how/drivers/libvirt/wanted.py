"""A guest as it is to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ai_how.drivers.libvirt import seed
from ai_how.drivers.nspawn.root import NodeFile
from ai_how.plan.nodes import Node


@dataclass(frozen=True)
class WantedGuest:
    """A node with its definition in libvirt, and the files and links that are written into it."""

    node: Node
    xml: str
    files: Mapping[str, NodeFile]
    links: Mapping[str, str]

    def archive(self) -> bytes:
        """Return all that is written into it."""
        return seed.archive(self.files, self.links)

    def digests(self) -> dict[str, str]:
        """Return what each file and link is, to tell later which have changed."""
        return seed.digests(self.files, self.links)
