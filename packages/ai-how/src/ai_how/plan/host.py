"""What this machine has."""

from __future__ import annotations

import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from ai_how.gpu.sysfs import Gpu, find_gpus

_PROC, _SYS = Path("/proc"), Path("/sys")


@dataclass(frozen=True)
class Host:
    """A machine that holds clusters.

    Attributes
    ----------
    hostname
        Its short name.
    cores
        Logical processors this process may run on.
    memory_MiB
        Its memory.
    interfaces
        Names of its network interfaces.
    routes
        Subnets it reaches directly, each with its interface; the default route is left out.
    pci
        Addresses of its PCI devices, or None where sysfs shows none.
    gpus
        Its GPUs.
    """

    hostname: str
    cores: int
    memory_MiB: int
    interfaces: frozenset[str]
    routes: tuple[tuple[ipaddress.IPv4Network, str], ...]
    pci: frozenset[str] | None
    gpus: tuple[Gpu, ...] = ()


def this_host(proc: Path = _PROC, sys: Path = _SYS) -> Host:
    """Return what this machine has, read from /proc and /sys."""
    net = sys / "class" / "net"
    devices = sys / "bus" / "pci" / "devices"
    return Host(
        hostname=socket.gethostname().partition(".")[0],
        cores=len(os.sched_getaffinity(0)),
        memory_MiB=_memory_in_mib(proc / "meminfo"),
        interfaces=frozenset(path.name for path in net.iterdir()) if net.is_dir() else frozenset(),
        routes=_routes(proc / "net" / "route"),
        pci=frozenset(path.name for path in devices.iterdir()) if devices.is_dir() else None,
        gpus=tuple(find_gpus(sys)),
    )


def _memory_in_mib(meminfo: Path) -> int:
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    raise ValueError(f"{meminfo} names no MemTotal")


def _routes(table: Path) -> tuple[tuple[ipaddress.IPv4Network, str], ...]:
    """Read the kernel's routing table: hexadecimal, little-endian (proc_net_route(5))."""
    found = []
    for line in table.read_text().splitlines()[1:] if table.exists() else ():
        name, destination, *_, mask = line.split()[:8]
        address = ipaddress.IPv4Address(bytes.fromhex(destination)[::-1])
        prefix = ipaddress.IPv4Address(bytes.fromhex(mask)[::-1])
        network = ipaddress.IPv4Network(f"{address}/{prefix}", strict=False)
        if network.prefixlen:
            found.append((network, name))
    return tuple(found)
