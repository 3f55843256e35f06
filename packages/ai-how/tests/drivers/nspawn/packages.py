"""Debian packages of names that no mirror of Debian's main part has, or no image: to check roles.

They have the files that a role expects of the real ones, and do nothing.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = "/srv/packages"
SOURCE = f"deb [trusted=yes] file:{FOLDER} ./"

_UNIT = (
    "[Service]\nExecStart=/bin/true\nRemainAfterExit=true\n[Install]\nWantedBy=multi-user.target\n"
)
_SCRIPT = "#!/bin/sh\n"
BEEGFS = ("beegfs-mgmtd", "beegfs-meta", "beegfs-storage", "beegfs-helperd", "beegfs-client")


@dataclass(frozen=True)
class Package:
    """What is in a package: names of units, names of programs, paths of other files."""

    units: Sequence[str] = ()
    programs: Sequence[str] = ()
    files: Sequence[str] = ()


PACKAGES = {
    "glusterfs-client": Package(programs=["gluster"]),
    "glusterfs-server": Package(units=["glusterd"]),
    "nfs-common": Package(),
    "nfs-kernel-server": Package(units=["nfs-kernel-server"], programs=["exportfs"]),
    "containerd": Package(units=["containerd"], files=["/etc/containerd/config.toml"]),
    "containernetworking-plugins": Package(),
    "conntrack": Package(),
    "iptables": Package(),
    "socat": Package(),
    "linux-headers-amd64": Package(),
    "nvidia-driver": Package(),
    "nvidia-smi": Package(programs=["nvidia-smi"]),
    "datacenter-gpu-manager-exporter": Package(units=["dcgm-exporter"]),
    "beegfs-utils": Package(),
    **{name: Package(units=[name], files=[f"/etc/beegfs/{name}.conf"]) for name in BEEGFS},
}


def write_source(folder: Path, scratch: Path) -> None:
    """Write a source of these packages that apt reads without a network into `folder`."""
    folder.mkdir(parents=True)
    index = []
    for name, package in PACKAGES.items():
        tree = scratch / name
        for unit in package.units:
            _write(tree / f"lib/systemd/system/{unit}.service", _UNIT)
        for program in package.programs:
            _write(tree / f"usr/sbin/{program}", _SCRIPT).chmod(0o755)
        for file in package.files:
            _write(tree / file.lstrip("/"), "# as it comes\n")
        control = (
            f"Package: {name}\nVersion: 9:1\nArchitecture: all\nMaintainer: nobody <n@localhost>\n"
            "Description: nothing\n"
        )
        _write(tree / "DEBIAN/control", control)
        built = folder / f"{name}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, built],
            check=True,
            capture_output=True,
        )
        digest = hashlib.sha256(built.read_bytes()).hexdigest()
        size = built.stat().st_size
        index.append(f"{control}Filename: ./{built.name}\nSize: {size}\nSHA256: {digest}\n")
    (folder / "Packages").write_text("\n".join(index))


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
