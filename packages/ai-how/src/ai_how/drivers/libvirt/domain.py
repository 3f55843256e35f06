"""A node as a libvirt domain. Elements are those of libvirt's "Domain XML format"."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as Xml

NAMESPACE = "urn:ai-how:node"
SEED_SERIAL, DATA_SERIAL = "ai-how-seed", "ai-how-data"  # at most 20 characters
EMULATOR_PATH = "/usr/bin/qemu-system-x86_64"
# Network interfaces are called as in the days of old: eth0. What is written to the console goes
# to a file. What protects a kernel from its users costs most where each instruction is emulated.
# A kernel that finds no disk within its half minute, on a very busy machine, tries again (panic).
COMMAND_LINE = "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 mitigations=off panic=10"

Xml.register_namespace("ai-how", NAMESPACE)


@dataclass(frozen=True)
class Share:
    """A folder of this machine in a guest, by virtiofs; the guest knows it by its `tag`."""

    source: str
    target: str
    read_only: bool
    tag: str


@dataclass(frozen=True)
class Guest:
    """What a node is as a virtual machine.

    Attributes
    ----------
    node, folder
        The node's name and its cluster's folder: they make its name in libvirt.
    kind
        ``kvm``, or ``qemu`` where it is emulated.
    cores, memory_MiB
        What it has.
    kernel, initrd
        Booted directly.
    root, seed, data
        Its disks: an overlay, what it is to be (read only), and what lasts (or None).
    bridge
        The bridge of this machine that its network card is plugged into.
    console
        File that its serial console is written to.
    shares
        Folders of this machine.
    devices
        PCI addresses of devices that are passed through.
    """

    node: str
    folder: Path
    kind: str
    cores: int
    memory_MiB: int
    kernel: Path
    initrd: Path
    root: Path
    seed: Path
    data: Path | None
    bridge: str
    console: Path
    shares: Sequence[Share] = field(default=())
    devices: Sequence[str] = field(default=())


def domain_name(folder: Path, node: str) -> str:
    """Return a node's name in libvirt: no two nodes of this machine have the same."""
    return f"{folder.name}-{node}-{_digest(str(folder))[:7]}"


def node_of(folder: Path, domain: str) -> str | None:
    """Return the node that a domain is, or None where it is not one of the cluster in `folder`."""
    before, after = domain_name(folder, "\0").split("\0")
    if domain.startswith(before) and domain.endswith(after):
        return domain[len(before) : -len(after)]
    return None


def cable_name(folder: Path, node: str) -> str:
    """Return the name of a node's network cable on this machine, 15 characters at most."""
    return f"vl-{node[:4].strip('-')}-{_digest(f'{folder}/{node}')[:7]}"


def mac_address(folder: Path, node: str) -> str:
    """Return the address of a node's network card, in the range that is qemu's."""
    digits = _digest(f"{folder}/{node}")
    return f"52:54:00:{digits[:2]}:{digits[2:4]}:{digits[4:6]}"


def domain_xml(guest: Guest) -> str:
    """Return the definition of a domain."""
    top = Xml.Element("domain", type=guest.kind)
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"ai-how:{guest.folder}/{guest.node}")
    _put(top, "name", domain_name(guest.folder, guest.node))
    _put(top, "uuid", str(identity))
    _put(top, "title", f"{guest.node} of the ai-how cluster {guest.folder.name}")
    node = _put(_put(top, "metadata"), f"{{{NAMESPACE}}}node")
    node.set("cluster", guest.folder.name)
    node.set("name", guest.node)
    _put(top, "memory", str(guest.memory_MiB), unit="MiB")
    if guest.shares:  # virtiofsd reads and writes the guest's memory
        backing = _put(top, "memoryBacking")
        _put(backing, "source", type="memfd")
        _put(backing, "access", mode="shared")
    _put(top, "vcpu", str(guest.cores), placement="static")
    system = _put(top, "os")
    _put(system, "type", "hvm", arch="x86_64", machine="q35")
    _put(system, "kernel", str(guest.kernel))
    _put(system, "initrd", str(guest.initrd))
    _put(system, "cmdline", COMMAND_LINE)
    features = _put(top, "features")
    _put(features, "acpi")
    _put(features, "apic")
    if guest.kind == "qemu":
        _put(_put(features, "tcg"), "tb-cache", "256", unit="MiB")
    _processor(top, guest.kind)
    _put(top, "clock", offset="utc")
    for event, action in (("poweroff", "destroy"), ("reboot", "restart"), ("crash", "destroy")):
        _put(top, f"on_{event}", action)
    _devices(_put(top, "devices"), guest)
    # The files are root's own and stay so; libvirt would give them to another user.
    label = _put(top, "seclabel", type="static", model="dac", relabel="no")
    _put(label, "label", "+0:+0")
    Xml.indent(top)
    return Xml.tostring(top, encoding="unicode") + "\n"


def _processor(top: Xml.Element, kind: str) -> None:
    if kind == "kvm":
        _put(top, "cpu", mode="host-passthrough")
        return
    processor = _put(top, "cpu", mode="maximum")
    # a fifth level of page tables is one more look-up for each address that is emulated
    _put(processor, "feature", policy="disable", name="la57")


def _devices(devices: Xml.Element, guest: Guest) -> None:
    _put(devices, "emulator", EMULATOR_PATH)
    _disk(devices, "vda", guest.root, "qcow2")
    _disk(devices, "vdb", guest.seed, "raw", serial=SEED_SERIAL, read_only=True)
    if guest.data is not None:
        _disk(devices, "vdc", guest.data, "raw", serial=DATA_SERIAL)
    _put(devices, "controller", type="usb", model="none")
    for share in guest.shares:
        folder = _put(devices, "filesystem", type="mount", accessmode="passthrough")
        _put(folder, "driver", type="virtiofs")
        _put(folder, "source", dir=share.source)
        _put(folder, "target", dir=share.tag)
    card = _put(devices, "interface", type="bridge")
    _put(card, "mac", address=mac_address(guest.folder, guest.node))
    _put(card, "source", bridge=guest.bridge)
    _put(card, "target", dev=cable_name(guest.folder, guest.node))
    _put(card, "model", type="virtio")
    for kind in ("serial", "console"):
        port = _put(devices, kind, type="file")
        _put(port, "source", path=str(guest.console), append="on")
        _put(port, "target", port="0", **({"type": "serial"} if kind == "console" else {}))
    for address in guest.devices:
        _passed_through(devices, address)
    _put(devices, "memballoon", model="none")
    _put(_put(devices, "rng", model="virtio"), "backend", "/dev/urandom", model="random")


def _disk(
    devices: Xml.Element,
    name: str,
    path: Path,
    form: str,
    *,
    serial: str = "",
    read_only: bool = False,
) -> None:
    disk = _put(devices, "disk", type="file", device="disk")
    driver = _put(disk, "driver", name="qemu", type=form)
    if not read_only:
        driver.set("discard", "unmap")
    _put(disk, "source", file=str(path))
    _put(disk, "target", dev=name, bus="virtio")
    if read_only:
        _put(disk, "readonly")
    if serial:
        _put(disk, "serial", serial)


def _passed_through(devices: Xml.Element, address: str) -> None:
    """Give a PCI device to a domain; libvirt binds it to vfio-pci and back (managed)."""
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    device = _put(devices, "hostdev", mode="subsystem", type="pci", managed="yes")
    _put(device, "driver", name="vfio")
    _put(
        _put(device, "source"),
        "address",
        domain=f"0x{domain}",
        bus=f"0x{bus}",
        slot=f"0x{slot}",
        function=f"0x{function}",
    )


def _put(above: Xml.Element, tag: str, text: str | None = None, **attributes: str) -> Xml.Element:
    element = Xml.SubElement(above, tag, attributes)
    element.text = text
    return element


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
