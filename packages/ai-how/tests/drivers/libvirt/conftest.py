"""Virtual machines for tests, where this machine has what they need."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ai_how.drivers.libvirt.acceleration import known_acceleration
from ai_how.drivers.libvirt.domain import Guest, Share
from ai_how.drivers.libvirt.driver import LibvirtDriver

OPT_IN = "AI_HOW_TEST_GUESTS"


@pytest.fixture
def libvirt(state: Path) -> None:
    """Skip, with the reason, where no virtual machine can be made."""
    lacking = LibvirtDriver(state / "x").missing()
    if lacking:
        pytest.skip(f"no virtual machines here: {'; '.join(lacking)}")


@pytest.fixture
def boots(libvirt: None) -> None:
    """Skip where guests would take minutes to boot, unless that was asked for."""
    speed = known_acceleration()
    if os.environ.get(OPT_IN) != "1" and (speed is None or speed.kind == "qemu"):
        pytest.skip(f"guests are emulated and boot for minutes; {OPT_IN}=1 does it all the same")


@pytest.fixture
def guest(tmp_path: Path) -> Callable[[str], Guest]:
    """Return a function that describes a guest of a cluster in `tmp_path`, with all it may have."""

    def describe(node: str = "n01", kind: str = "qemu") -> Guest:
        folder = tmp_path / "lab"
        return Guest(
            node=node,
            folder=folder,
            kind=kind,
            cores=2,
            memory_MiB=512,
            kernel=tmp_path / "vmlinuz",
            initrd=tmp_path / "initrd.img",
            root=tmp_path / "root.qcow2",
            seed=tmp_path / "seed.img",
            data=tmp_path / "controller.img",
            bridge="aihow0",
            console=tmp_path / "console.log",
            shares=[Share("/srv/a & b", "/data", True, "mount0")],
            devices=["0000:3b:00.0", "0001:01:00.1"],
        )

    return describe


def leavings() -> dict[str, set[str]]:
    """Whatever there is of guests on this machine: processes, interfaces, domains, files."""
    processes = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it ended meanwhile
        name = Path(words[0]).name
        # of qemu libvirt's guests alone: a probe of KVM may run at the same time
        if name in {"libvirtd", "virtlogd", "virtiofsd"} or (
            name == "qemu-system-x86_64" and "-name" in words
        ):
            processes.add(" ".join(words[:3]))
    shown = subprocess.run(
        ["ip", "-o", "link"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    links = {line.split()[1].partition("@")[0].rstrip(":") for line in shown}
    places = ("/etc/libvirt/qemu", "/run/libvirt/qemu", "/var/log/libvirt/qemu", "/run")
    files = {str(path) for place in places for path in Path(place).glob("*") if path.exists()}
    kept = {"/run/libvirt"}  # libvirt's own, as a package leaves it
    return {
        "processes": processes,
        "links": {name for name in links if name.startswith(("vl-", "ahtest5"))},
        "files": {
            name
            for name in files
            if name not in kept and any(w in name for w in ("lab-", "guests-", "ai-how"))
        },
    }
