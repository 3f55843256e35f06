"""What a guest is to be: one archive, the same each time, on a disk that keeps its file."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from ai_how.drivers.libvirt import seed
from ai_how.drivers.nspawn.root import NodeFile

FILES = {
    "/etc/hostname": NodeFile(b"n01\n"),
    "/etc/munge/munge.key": NodeFile(b"\0" * 128, 0o400, (105, 111)),
}
LINKS = {"/etc/systemd/system/multi-user.target.wants/ssh.service": "/lib/systemd/ssh.service"}


def test_an_archive_holds_owners_modes_and_links() -> None:
    data = seed.archive(FILES, LINKS)
    assert data == seed.archive(dict(reversed(FILES.items())), LINKS)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {entry.name: entry for entry in tar}
        key = found["etc/munge/munge.key"]
        assert (key.mode, key.uid, key.gid, key.size) == (0o400, 105, 111, 128)
        link = found["etc/systemd/system/multi-user.target.wants/ssh.service"]
        assert (link.issym(), link.linkname) == (True, "/lib/systemd/ssh.service")
        assert tar.extractfile("etc/hostname").read() == b"n01\n"  # type: ignore[union-attr]


def test_a_disk_is_written_in_place_and_only_where_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "seed.img"
    seed.write_disk(path, b"x" * (2**20 + 1))
    first = path.stat()
    assert (first.st_size, first.st_mode & 0o777) == (2 * 2**20, 0o600)
    seed.write_disk(path, b"x" * (2**20 + 1))
    assert path.stat().st_mtime_ns == first.st_mtime_ns
    seed.write_disk(path, b"y")
    assert (path.stat().st_ino, path.stat().st_size) == (first.st_ino, 2**20)
    assert path.read_bytes().rstrip(b"\0") == b"y"


def test_a_change_of_content_mode_or_owner_is_seen() -> None:
    old = seed.digests(FILES, LINKS)
    for other in (NodeFile(b"n02\n"), NodeFile(b"n01\n", 0o600), NodeFile(b"n01\n", owner=(1, 1))):
        new = seed.digests({**FILES, "/etc/hostname": other}, LINKS)
        assert {path for path in new if new[path] != old[path]} == {"/etc/hostname"}
    assert seed.only(FILES, ["/etc/hostname", "/none"]) == {"/etc/hostname": NodeFile(b"n01\n")}
