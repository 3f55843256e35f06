"""The second output of the recipe: a root tree as a qcow2 disk, with its kernel and initrd.

The disk is one ext4 without a partition table, and the kernel is booted directly
(qemu-system(1): -kernel, -initrd): nothing of a boot loader is needed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ai_how.files import locked, sync_folder, write_whole
from ai_how.images.recipe import ImageError
from ai_how.images.store import Image, cache_dir, folder_of, in_use

Say = Callable[[str], None]

_RECORD = "disk.json"
_FILES = ("disk.qcow2", "vmlinuz", "initrd.img")
_SPARE_MIB = 1024  # what a node may write on the smallest disk
_STEP_MIB = 512
_LIMIT_S = 900.0


@dataclass(frozen=True)
class Disk:
    """A disk that nodes stand on, each with an overlay of its own.

    Attributes
    ----------
    key
        Of the image that it was made from.
    digest
        Of that image's tree: a disk of another tree is made anew.
    size_MiB
        Its size as a node sees it; an overlay is not smaller.
    wall_s
        How long it took to make.
    files
        Size and time of change (ns) of disk, kernel and initrd, by name.
    layer
        Another disk in its place, that was made from it; empty where there is none.
    """

    key: str
    digest: str
    size_MiB: int
    wall_s: float
    files: dict[str, list[int]]
    layer: str = ""

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return disk_folder(self.key)

    @property
    def base(self) -> Path:
        """The qcow2 file."""
        return Path(self.layer) if self.layer else self.folder / _FILES[0]

    @property
    def kernel(self) -> Path:
        """The kernel."""
        return self.folder / _FILES[1]

    @property
    def initrd(self) -> Path:
        """The initrd."""
        return self.folder / _FILES[2]

    @property
    def stamp(self) -> str:
        """What an overlay notes of its base: with another one it is worth nothing."""
        return f"{self.key} {self.files[_FILES[0]]}"


def disk_folder(key: str) -> Path:
    """Return the folder of an image's disk, which need not exist."""
    return folder_of(key) / "disk"


def find_disk(key: str) -> Disk | None:
    """Return the disk of an image, or None where there is none or its record is damaged."""
    try:
        return Disk(**json.loads((disk_folder(key) / _RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def disk_damage(disk: Disk) -> str | None:
    """Say what is wrong with a disk, or None if it is as it was made."""
    for name in _FILES:
        path = disk.folder / name
        if not path.is_file():
            return f"{path} is gone"
        if _seen(path) != disk.files.get(name):
            return f"{path} was changed since it was made"
    return None


def layered(disk: Disk, path: Path) -> Disk:
    """Return a disk that nodes stand on in the place of the image's own, with its kernel.

    Raises ImageError where it is no whole qcow2 disk.
    """
    command = ["qemu-img", "info", "--output=json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise ImageError(f"{path}: {done.stderr.strip().splitlines()[-1]}")
    told = json.loads(done.stdout)
    if told["format"] != "qcow2" or "backing-filename" in told:
        raise ImageError(f"{path} is no whole qcow2 disk; `ai-how image packer` makes one")
    size_mib = told["virtual-size"] // 2**20
    files = {**disk.files, _FILES[0]: _seen(path)}
    return replace(disk, size_MiB=size_mib, files=files, layer=str(path))


def disk_missing() -> list[str]:
    """Return what this machine lacks to make a disk, each with its remedy."""
    programs = {"mke2fs": "e2fsprogs", "qemu-img": "qemu-utils", "setpriv": "util-linux"}
    return [
        f"{program} is not installed; `apt install {package}`"
        for program, package in programs.items()
        if shutil.which(program) is None
    ]


def ensure_disk(image: Image, say: Say) -> Disk:
    """Return the disk of an image; make it if it is not there, is damaged, or of another tree.

    Raises ImageError where it cannot be made, or where nodes run on the one to be replaced.
    """
    with locked(cache_dir() / f".{image.key}-disk.lock"):
        disk = find_disk(image.key)
        if disk is not None:
            wrong = disk_damage(disk)
            if wrong is None and disk.digest == image.digest:
                return disk
            say(f"image {image.key}: {wrong or 'its tree is another'}; its disk is made anew")
        if in_use(disk_folder(image.key)):
            raise ImageError(
                f"nodes run on the disk of {image.key}; `ai-how down` their clusters first"
            )
        if lacking := disk_missing():
            raise ImageError("; ".join(lacking))
        return _make(image, say)


def ext4_command(folder: Path, target: Path, size_mib: int) -> list[str]:
    """Return mke2fs(8) that fills a new file system with what is in a folder, owners and all."""
    return [
        "mke2fs",
        *["-q", "-F", "-t", "ext4", "-m", "0"],
        *["-E", "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"],
        *["-d", str(folder), str(target), f"{size_mib}M"],
    ]


def run_tool(command: Sequence[str], limit_s: float = _LIMIT_S) -> None:
    """Run a program that dies with us. Raises ImageError with its last words."""
    try:
        done = subprocess.run(
            ["setpriv", "--pdeathsig", "KILL", "--", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        raise ImageError(f"{command[0]} did not end within {limit_s:.0f} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise ImageError(f"{command[0]}: {said.splitlines()[-1]}")


def _make(image: Image, say: Say) -> Disk:
    began = time.monotonic()
    folder = disk_folder(image.key)
    new = folder.with_name("disk.new")
    for stale in (folder, new):
        if stale.exists():
            shutil.rmtree(stale)
    new.mkdir(parents=True)
    size_mib = -(-(image.size_MiB + _SPARE_MIB) // _STEP_MIB) * _STEP_MIB
    say(f"image {image.key}: a disk of {size_mib} MiB is made of its tree")
    raw, base = new / "disk.raw", new / _FILES[0]
    run_tool(ext4_command(image.tree, raw, size_mib))
    run_tool(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(base)])
    raw.unlink()
    for name, pattern in ((_FILES[1], "vmlinuz-*"), (_FILES[2], "initrd.img-*")):
        shutil.copyfile(_newest(image.tree / "boot", pattern), new / name)
    files = {name: _seen(new / name) for name in _FILES}
    disk = Disk(image.key, image.digest, size_mib, round(time.monotonic() - began, 1), files)
    write_whole(new / _RECORD, json.dumps(asdict(disk), indent=1) + "\n")
    new.rename(folder)
    sync_folder(folder.parent)
    used = base_mib(disk)
    say(f"disk of image {image.key} made: {used} MiB in {disk.wall_s:.0f} s")
    return disk


def base_mib(disk: Disk) -> int:
    """Return what the disk takes on this machine, in MiB."""
    return disk.base.stat().st_blocks * 512 // 2**20


def _newest(boot: Path, pattern: str) -> Path:
    found = sorted(boot.glob(pattern), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ImageError(f"there is no {pattern} in {boot}; has the image a kernel?")
    return found[-1]


def _seen(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
