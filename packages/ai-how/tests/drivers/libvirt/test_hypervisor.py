"""A machine that libvirt defines, starts and ends, and nothing of it that stays.

It boots nothing (its disk is empty), so that this takes seconds where guests are emulated.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from ai_how.drivers.daemons import commands
from ai_how.drivers.libvirt import virsh
from ai_how.drivers.libvirt.domain import Guest, cable_name, domain_name, domain_xml
from ai_how.drivers.libvirt.driver import LibvirtDriver
from ai_how.drivers.libvirt.guests import age_s, guests_of
from ai_how.drivers.libvirt.record import Record, write_record
from ai_how.drivers.nspawn.network import make_bridge
from ai_how.plan.nodes import Net

from .conftest import leavings

pytestmark = pytest.mark.real


def bootless(guest: Guest) -> str:
    """The definition of a guest without what would have to be there to boot it."""
    top = Xml.fromstring(domain_xml(guest))
    system = top.find("os")
    assert system is not None
    for tag in ("kernel", "initrd", "cmdline"):
        system.remove(system.find(tag))  # type: ignore[arg-type]
    devices = top.find("devices")
    assert devices is not None
    for device in devices.findall("hostdev"):
        devices.remove(device)
    return Xml.tostring(top, encoding="unicode")


def test_a_guest_is_defined_started_and_gone(
    guest: Callable[..., Guest], libvirt: None, tmp_path: Path
) -> None:
    before = leavings()
    wanted = guest()
    folder = wanted.folder
    (folder / "nodes" / "n01").mkdir(parents=True)
    create = ["qemu-img", "create", "-q", "-f", "qcow2", str(wanted.root), "64M"]
    subprocess.run(create, check=True)
    for raw in (wanted.seed, wanted.data):
        assert raw is not None
        raw.write_bytes(b"\0" * 2**20)
    shared = tmp_path / "a & b"
    shared.mkdir()
    xml = bootless(wanted).replace("/srv/a &amp; b", str(shared).replace("&", "&amp;"))
    xml = xml.replace("aihow0", "ahtest51")
    driver = LibvirtDriver(folder)
    write_record(folder, Record("none", "ahtest51", "n01", "qemu"))
    try:
        make_bridge(Net("hpc", "10.213.51.0/24", "ahtest51", "10.213.51.1", ()), f"ai-how {folder}")
        virsh.define(xml, folder / "domain.xml")
        name = domain_name(folder, "n01")
        assert name in virsh.domains()
        virsh.virsh("start", name)
        assert list(guests_of(folder)) == ["n01"]
        assert list(driver.running()) == ["controller"]
        assert Path("/sys/class/net", cable_name(folder, "n01"), "master").exists()

        # libvirtd is killed: the guest lives, it is told, and whoever asks next starts it again
        own = [pid for pid, words in commands() if "/run/ai-how-libvirt/libvirtd.pid" in words]
        for pid in own:
            os.kill(pid, signal.SIGKILL)
        if own:
            while virsh.server_runs():
                time.sleep(0.05)
            assert "libvirtd does not run; `ai-how up` starts it" in driver.faults()
        assert list(guests_of(folder)) == ["n01"]
        assert virsh.virsh("domstate", name).strip() == "running"

        # a guest is killed: it is seen, and `stop` of one that is off is no mistake
        os.kill(guests_of(folder)["n01"], signal.SIGKILL)
        virsh.start_domain(name)  # whether libvirt has seen that it died, or not yet
        assert age_s(guests_of(folder)["n01"]) < 30
        os.kill(guests_of(folder)["n01"], signal.SIGKILL)
        until = time.monotonic() + 10
        while guests_of(folder):
            assert time.monotonic() < until
            time.sleep(0.05)
        assert "n01 is off; `ai-how up` starts it" in driver.faults()
        driver.stop(["n01"])
        virsh.virsh("start", name)
    finally:
        driver.destroy()
    assert leavings() == before
    driver.destroy()  # once more is no mistake


def test_what_libvirt_refuses_is_said(libvirt: None, tmp_path: Path) -> None:
    try:
        with pytest.raises(
            virsh.DriverError, match="virsh start: failed to get domain 'none-such'"
        ):
            virsh.virsh("start", "none-such")
        with pytest.raises(virsh.DriverError, match="virsh define: "):
            virsh.define("<domain/>", tmp_path / "domain.xml")
        assert not (tmp_path / "domain.xml").exists()
    finally:
        virsh.end_own_libvirt()
