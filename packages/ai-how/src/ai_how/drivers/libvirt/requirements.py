"""Whether this machine can hold nodes of the driver `libvirt`; each lack with its remedy."""

from __future__ import annotations

import os
import platform
import re
import shutil
from pathlib import Path

from ai_how.drivers.daemons import PROGRAM_PATH
from ai_how.drivers.libvirt.acceleration import EMULATOR
from ai_how.images.recipe import ImageError, recipe

PROGRAMS = {
    "ip": "iproute2",
    "libvirtd": "libvirt-daemon-system",
    "munged": "munge",
    "qemu-img": "qemu-utils",
    EMULATOR: "qemu-system-x86",
    "sinfo": "slurm-client",
    "srun": "slurm-client",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "virsh": "libvirt-clients",
}
_TUN = Path("/dev/net/tun")
_USER_CONF = Path("/etc/libvirt/qemu.conf")


def libvirt_lacks(folder: Path) -> list[str]:
    """Return what this machine lacks for clusters whose state is in `folder`. Touches nothing."""
    found = []
    if os.geteuid() != 0:
        found.append("only root can boot nodes; run it with sudo, or use `driver: process`")
    if platform.machine() != "x86_64":
        found.append(f"guests are x86_64, and this machine is {platform.machine()}")
    try:
        recipe(guest=True)
    except ImageError as error:
        found.append(str(error))
    packages = {
        package: program
        for program, package in PROGRAMS.items()
        if shutil.which(program, path=PROGRAM_PATH) is None
    }
    found += [
        f"{program} is not installed; `apt install {package}`"
        for package, program in packages.items()
    ]
    if "libvirt-daemon-system" not in packages and not _USER_CONF.exists():
        found.append("libvirt is not set up; `apt install libvirt-daemon-system`")
    if not _TUN.exists():
        found.append(f"this machine has no {_TUN}, to plug guests into a bridge; `modprobe tun`")
    if not re.fullmatch(r"[\w./+-]+", str(folder)) or len(str(folder)) > 80:
        found.append(
            f"{folder} is too long, or holds a character that mounts and sockets cannot take; "
            "set AI_HOW_STATE to a plain, shorter folder"
        )
    return found
