"""A node's definition is one that libvirt takes, and its names are its own."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from ai_how.drivers.libvirt.domain import (
    Guest,
    cable_name,
    domain_name,
    domain_xml,
    mac_address,
    node_of,
)

Describe = Callable[..., Guest]


@pytest.mark.real
@pytest.mark.parametrize("kind", ["qemu", "kvm"])
def test_libvirt_takes_the_definition(guest: Describe, tmp_path: Path, kind: str) -> None:
    """By libvirt's own schema, and its test driver, which needs no daemon and keeps nothing."""
    if shutil.which("virsh") is None:
        pytest.skip("virsh is not installed here")
    wanted = guest("n01", kind)
    bare = dataclasses.replace(wanted, data=None, shares=(), devices=())
    for number, one in enumerate((wanted, bare)):
        path = tmp_path / f"{number}.xml"
        # the test driver has no kvm: what it says of that is not looked at here
        path.write_text(domain_xml(one).replace("type='kvm'", "type='qemu'"))
        done = subprocess.run(
            ["virsh", "-c", "test:///default", "define", "--validate", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        path.write_text(domain_xml(one).replace("<vcpu", "<vcpus").replace("</vcpu", "</vcpus"))
        done = subprocess.run(
            ["virsh", "-c", "test:///default", "define", "--validate", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0  # so the schema was looked at


def test_cores_memory_and_disks_are_those_of_the_file(guest: Describe) -> None:
    top = Xml.fromstring(domain_xml(guest()))
    assert (top.findtext("vcpu"), top.findtext("memory")) == ("2", "512")
    assert top.find("memory").get("unit") == "MiB"  # type: ignore[union-attr]
    disks = top.findall("devices/disk")
    assert [d.find("source").get("file") for d in disks] == [  # type: ignore[union-attr]
        str(guest().root),
        str(guest().seed),
        str(guest().data),
    ]
    assert [d.findtext("serial") for d in disks] == [None, "ai-how-seed", "ai-how-data"]
    assert [d.find("readonly") is not None for d in disks] == [False, True, False]
    share = top.find("devices/filesystem")
    assert share is not None
    assert share.find("source").get("dir") == "/srv/a & b"  # type: ignore[union-attr]


def test_devices_are_passed_through_by_vfio(guest: Describe) -> None:
    found = Xml.fromstring(domain_xml(guest())).findall("devices/hostdev")
    assert [(d.get("type"), d.get("managed")) for d in found] == [("pci", "yes")] * 2
    assert [d.find("driver").get("name") for d in found] == ["vfio", "vfio"]  # type: ignore[union-attr]
    addresses = [d.find("source/address").attrib for d in found]  # type: ignore[union-attr]
    assert addresses == [
        {"domain": "0x0000", "bus": "0x3b", "slot": "0x00", "function": "0x0"},
        {"domain": "0x0001", "bus": "0x01", "slot": "0x00", "function": "0x1"},
    ]


def test_emulated_and_accelerated_guests_differ(guest: Describe) -> None:
    kvm = Xml.fromstring(domain_xml(guest("n01", "kvm")))
    tcg = Xml.fromstring(domain_xml(guest("n01", "qemu")))
    assert (kvm.get("type"), tcg.get("type")) == ("kvm", "qemu")
    modes = [top.find("cpu").get("mode") for top in (kvm, tcg)]  # type: ignore[union-attr]
    assert modes == ["host-passthrough", "maximum"]
    assert kvm.find("features/tcg") is None


def test_names_are_told_apart_and_found_again() -> None:
    one, other = Path("/a/lab"), Path("/b/lab")
    assert node_of(one, domain_name(one, "n01")) == "n01"
    assert node_of(other, domain_name(one, "n01")) is None
    assert node_of(one, "lab-n01") is None
    assert node_of(Path("/a/la"), domain_name(one, "n01")) is None
    long = "a-name-of-forty-characters-which-is-long"
    cables = {cable_name(f, n) for f in (one, other) for n in ("n01", "n02", long)}
    assert len(cables) == 6
    assert all(len(name) <= 15 for name in cables)
    macs = {mac_address(f, n) for f in (one, other) for n in ("n01", "n02", long)}
    assert len(macs) == 6
    assert all(mac.startswith("52:54:00:") for mac in macs)
