"""A layer over the disk of an image, made by Packer: what a script does in a running guest.

The disk is booted as a node's is, by its own kernel and with a seed, so that Packer's qemu builder
needs no boot loader, no installer and nothing from elsewhere. What comes out is a whole disk
(`use_backing_file` of Packer 1.6 loses the backing file's name), for `global.disk` of a cluster.
"""

from __future__ import annotations

import json
from pathlib import Path

from ai_how.drivers.base import DriverError
from ai_how.drivers.libvirt import seed
from ai_how.drivers.libvirt.acceleration import Acceleration
from ai_how.drivers.libvirt.domain import COMMAND_LINE, SEED_SERIAL
from ai_how.drivers.nspawn.keys import ssh_key
from ai_how.drivers.nspawn.root import NodeFile
from ai_how.files import write_whole
from ai_how.images.disk import Disk

TEMPLATE, SCRIPT, RESULT = "layer.json", "layer.sh", "result/disk.qcow2"
_NETWORK = "[Match]\nName=eth0\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n"
_SCRIPT = """\
#!/bin/sh
# Runs as root in the guest. It has the network that qemu gives its user.
set -eu
echo "nothing is done yet; see $0"
"""
# What the layer was made with is not what a node is: `up` writes its own.
_CLEAN = "rm -rf /root/.ssh /etc/ssh/ssh_host_* /etc/systemd/network/80-ai-how.network"


def write_layer(disk: Disk, folder: Path, speed: Acceleration) -> None:
    """Write a folder for `packer build layer.json`; a script that is there is kept.

    Raises DriverError where the folder holds a result already.
    """
    if (folder / RESULT).exists():
        raise DriverError(f"{folder / RESULT} is there already; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    user, host = ssh_key(folder / "key"), ssh_key(folder / "host_key")
    files = {
        "/etc/hostname": NodeFile(b"layer\n"),
        "/etc/fstab": NodeFile(b"/dev/vda / ext4 rw 0 0\n"),
        "/etc/systemd/network/80-ai-how.network": NodeFile(_NETWORK.encode()),
        "/etc/ssh/ssh_host_ed25519_key": NodeFile(host.read_bytes(), 0o600),
        "/root/.ssh/authorized_keys": NodeFile(user.with_suffix(".pub").read_bytes(), 0o600),
    }
    wants = "/etc/systemd/system/multi-user.target.wants/ssh.service"
    content = seed.archive(files, {wants: "/lib/systemd/system/ssh.service"})
    seed.write_disk(folder / "seed.img", content)
    if not (folder / SCRIPT).exists():
        write_whole(folder / SCRIPT, _SCRIPT)
    text = json.dumps(template(disk, folder.absolute(), speed), indent=1) + "\n"
    write_whole(folder / TEMPLATE, text)


def template(disk: Disk, folder: Path, speed: Acceleration) -> dict[str, object]:
    """Return a template of Packer (JSON, as 1.6 and later read it)."""
    seed_disk = f"file={folder}/seed.img,if=none,id=seed,format=raw,readonly=on"
    builder = {
        "type": "qemu",
        "accelerator": "kvm" if speed.kind == "kvm" else "tcg",
        "machine_type": "q35",
        "cpus": 2,
        "memory": 1024,
        "headless": True,
        "disk_image": True,
        "skip_resize_disk": True,
        "iso_url": f"file://{disk.base}",
        "iso_checksum": "none",
        "format": "qcow2",
        "output_directory": str((folder / RESULT).parent),
        "vm_name": Path(RESULT).name,
        "communicator": "ssh",
        "ssh_username": "root",
        "ssh_private_key_file": str(folder / "key"),
        "ssh_timeout": "20m",
        "boot_wait": "1s",
        "shutdown_command": f"{_CLEAN}; sync; systemctl poweroff",
        "shutdown_timeout": "10m",
        "qemuargs": [
            ["-kernel", str(disk.kernel)],
            ["-initrd", str(disk.initrd)],
            ["-append", COMMAND_LINE],
            ["-cpu", "host" if speed.kind == "kvm" else "max,la57=off"],
            ["-serial", f"file:{folder}/console.log"],
            # devices have their names in this order: vda, vdb
            ["-drive", "file={{ .OutputDir }}/{{ .Name }},if=none,id=root,format=qcow2"],
            ["-device", "virtio-blk-pci,drive=root"],
            ["-drive", seed_disk],
            ["-device", f"virtio-blk-pci,drive=seed,serial={SEED_SERIAL}"],
            ["-device", "virtio-net,netdev=user.0"],
        ],
    }
    provisioner = {"type": "shell", "script": str(folder / SCRIPT)}
    return {"builders": [builder], "provisioners": [provisioner]}
