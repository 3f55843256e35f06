"""What this machine can do, what it lacks, and what a crash left behind."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ai_how.cluster.state import StateError, folder_of, known_clusters, read_state
from ai_how.drivers.daemons import daemons_of
from ai_how.drivers.libvirt.acceleration import acceleration, known_acceleration
from ai_how.drivers.libvirt.driver import LibvirtDriver
from ai_how.drivers.libvirt.guests import guests_of
from ai_how.drivers.nspawn.driver import NspawnDriver
from ai_how.drivers.nspawn.machine import machines_of
from ai_how.drivers.process import ProcessDriver
from ai_how.files import state_dir
from ai_how.images.disk import find_disk
from ai_how.images.store import damage, images


@dataclass(frozen=True)
class Check:
    """One thing looked at; where it did not pass, the message has the remedy.

    What is not `needed` may be missing: a driver, where there is another.
    """

    what: str
    passed: bool
    message: str
    needed: bool = True


def examine() -> list[Check]:
    """Look at this machine and at the clusters of this user. Changes nothing."""
    missing = ProcessDriver(folder_of("x")).missing()
    found = [
        Check("driver process", not missing, "; ".join(missing) or "SLURM and munge are installed")
    ]
    lacking = NspawnDriver(folder_of("x")).missing()
    told = "; ".join(lacking) or "nodes can boot here"
    found.append(Check("driver nspawn", not lacking, told, needed=False))
    found.append(_guests())
    for image in images():
        if wrong := damage(image):
            remedy = f"{wrong}; `ai-how image remove {image.key}`, or `up`, which builds it anew"
            found.append(Check(f"image {image.key}", False, remedy))
    found.append(_state())
    for name in known_clusters():
        try:
            read_state(name)
        except StateError as error:
            found.append(Check(f"cluster {name}", False, str(error)))
    found += _left_behind()
    return found


def _guests() -> Check:
    """Look whether nodes can be virtual machines; with a kernel at hand, whether KVM boots it."""
    lacking = LibvirtDriver(folder_of("x")).missing()
    kernels = [disk.kernel for image in images() if (disk := find_disk(image.key)) is not None]
    told = "; ".join(lacking) or "nodes can be virtual machines here"
    if not lacking:
        speed = acceleration(kernels[0]) if kernels else known_acceleration()
        if speed is None:
            told += "; whether by KVM is tried once there is an image (`ai-how up`)"
        elif speed.kind == "kvm":
            told += ", by KVM"
        else:
            told += f", emulated and slow: {speed.why}"
    return Check("driver libvirt", not lacking, told, needed=False)


def _state() -> Check:
    root = state_dir()
    parent = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(parent, os.W_OK):
        return Check("state", False, f"{parent} cannot be written; set AI_HOW_STATE")
    return Check("state", True, f"kept in {root}")


def _left_behind() -> list[Check]:
    """Look for folders without a state: of a `destroy` that was killed."""
    root, known, found = state_dir(), known_clusters(), []
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if folder.is_dir() and folder.name not in known:
            count = len([*daemons_of(folder), *machines_of(folder), *guests_of(folder)])
            what = f"{folder} has no state, and {count} processes; `ai-how destroy {folder.name}`"
            found.append(Check("left behind", False, what))
    return found
