"""Guests switched off: at once as by a power cut, or shut down from within."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ai_how.drivers.base import DriverError
from ai_how.drivers.daemons import end, lives
from ai_how.drivers.libvirt.domain import cable_name, domain_name
from ai_how.drivers.libvirt.guests import guests_of
from ai_how.drivers.libvirt.remote import said_in
from ai_how.drivers.libvirt.virsh import virsh
from ai_how.drivers.nspawn.network import until_unplugged

_AT_ONCE = 8
_ASKED_S, _OFF_S = 30.0, 120.0  # until a guest has heard of it, and until it has ended


def cut_power(folder: Path, names: Collection[str]) -> None:
    """End nodes of the cluster in `folder` at once, whether libvirt knows of them or not."""
    running = {name: pid for name, pid in guests_of(folder).items() if name in names}
    for name in running:
        with contextlib.suppress(DriverError):
            virsh("destroy", domain_name(folder, name))
    end(running.values(), at_once=True)
    for name in names:
        until_unplugged(cable_name(folder, name))


def shut_down(folder: Path, names: Collection[str]) -> None:
    """Shut nodes down from within, and cut the power of those that have not ended in time."""
    running = {name: pid for name, pid in guests_of(folder).items() if name in names}

    def ask(name: str) -> None:
        with contextlib.suppress(DriverError):
            said_in(folder, name, ["systemctl", "poweroff"], limit_s=_ASKED_S)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(ask, running))
    until = time.monotonic() + _OFF_S
    while any(map(lives, running.values())) and time.monotonic() < until:
        time.sleep(0.2)
    cut_power(folder, names)
