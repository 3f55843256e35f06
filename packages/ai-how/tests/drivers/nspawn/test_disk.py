"""Disks of nodes: of their own size, mended, grown, and never thrown away with what is on them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_how.drivers.nspawn.disk import (
    free_mib,
    host_faults,
    is_full,
    loops_work,
    mount_disk,
    set_aside,
    trim,
)
from ai_how.drivers.nspawn.mounts import mounts_below, unmount_below

pytestmark = pytest.mark.real


def quiet(_: str) -> None:
    pass


@pytest.fixture
def folder(tmp_path: Path, nspawn: None) -> Iterator[Path]:
    """The folder of a node that has no disk yet."""
    if not loops_work():
        pytest.skip("no loop devices here: nodes have no disk of their own")
    node = tmp_path / "n01"
    try:
        yield node
    finally:
        unmount_below(node)


def fill(place: Path) -> None:
    """Write zeros until there is no space."""
    with pytest.raises(OSError) as caught, place.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(1 << 20))
    assert caught.value.errno == errno.ENOSPC


def test_a_disk_has_its_size_and_takes_what_is_on_it(folder: Path) -> None:
    place = mount_disk(folder, 100, quiet)
    image = folder / "disk.img"
    assert 60 < (free_mib(place) or 0) < 100
    assert image.stat().st_blocks * 512 < 10 << 20
    fill(place / "big")
    assert is_full(place)
    (place / "big").unlink()
    assert mount_disk(folder, 100, quiet) == place  # as it is
    unmount_below(folder)
    mount_disk(folder, 200, quiet)
    assert (free_mib(place) or 0) > 150
    assert mounts_below(folder) == [place]


def test_a_damaged_disk_is_kept_and_made_anew(folder: Path) -> None:
    place = mount_disk(folder, 100, quiet)
    unmount_below(folder)
    with (folder / "disk.img").open("r+b") as stream:
        stream.write(os.urandom(80 << 20))
    told: list[str] = []
    mount_disk(folder, 100, told.append)
    assert "n01: its disk is damaged; it is kept as" in told[0]
    assert (folder / "disk.kept.img").exists()
    assert not is_full(place)


def test_what_a_node_can_do_without_goes_and_all_else_stays(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for name in ("var/tmp/a/b", "var/log/slurm", "var/cache/apt", "home/user"):
        (root / name).mkdir(parents=True)
    (root / "var/tmp/a/b/core").touch()
    (root / "var/log/slurm/slurmd.log").touch()
    (root / "home/user/thesis").touch()
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    (root / "var/crash").symlink_to(elsewhere)
    (root / "var/log/link").symlink_to(elsewhere)
    trim(root)
    left = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    assert left == [
        *["home", "home/user", "home/user/thesis", "var", "var/cache", "var/crash", "var/log"],
        *["var/log/slurm", "var/tmp"],
    ]
    assert (elsewhere / "precious").exists()


def test_a_full_disk_of_this_machine_is_told(folder: Path) -> None:
    place = mount_disk(folder, 100, quiet)
    assert host_faults(place) == []
    fill(place / "big")
    assert host_faults(place)[0].startswith("this machine's own disk is full (")


def test_what_is_mounted_is_not_set_aside(folder: Path) -> None:
    mount_disk(folder, 100, quiet)
    with pytest.raises(Exception, match="is mounted"):
        set_aside(folder)
