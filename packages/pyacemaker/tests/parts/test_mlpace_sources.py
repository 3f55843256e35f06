"""Archives: from the user's own indexes and mirrors, checked, unpacked without surprises."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from pyacemaker.parts import sources
from pyacemaker.parts.sources import (
    Archive,
    PartError,
    apt_sites,
    extract,
    fetch_debian_source,
    fetch_package,
    index_settings,
    unpacked,
)


def _tar(path: Path, members: dict[str, bytes], extra: list[tarfile.TarInfo] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra or []:
            tar.addfile(info)
    return path


def _archive(path: Path, *members: str) -> Archive:
    return Archive(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), members)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PYACEMAKER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PYACEMAKER_ARCHIVES", raising=False)


@pytest.fixture
def no_settings(monkeypatch, tmp_path):
    """No pip or uv settings but those a test makes."""
    for name in (
        *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST"),
        *("PIP_CERT", "PIP_CONFIG_FILE", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX"),
        *("UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_CONFIG_FILE"),
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "xdg"))
    monkeypatch.setattr(sources, "_SYSTEM_PIP", tmp_path / "no-pip.conf")
    monkeypatch.setattr(sources, "_SYSTEM_UV", tmp_path / "no-uv.toml")
    monkeypatch.setattr(sources.sys, "prefix", str(tmp_path / "prefix"))
    return tmp_path


def test_only_wanted_members_and_once(tmp_path):
    path = _tar(tmp_path / "a.tar.gz", {"top/src/a.h": b"a", "top/srcs": b"no", "top/b": b"b"})
    calls = []

    def fetch(folder: Path) -> Path:
        calls.append(folder)
        return path

    archive = _archive(path, "src")
    folder = unpacked(archive, fetch, lambda _: None)
    assert [p.relative_to(folder).as_posix() for p in folder.rglob("*")] == ["src", "src/a.h"]
    assert unpacked(archive, fetch, lambda _: None) == folder
    assert len(calls) == 1


def test_a_named_folder_of_archives_comes_first(tmp_path, monkeypatch):
    (tmp_path / "archives").mkdir()
    path = _tar(tmp_path / "archives" / "a.tar.gz", {"top/a": b"a"})
    monkeypatch.setenv("PYACEMAKER_ARCHIVES", str(tmp_path / "archives"))

    def fetch(folder: Path) -> Path:
        raise AssertionError("no network is needed")

    assert (unpacked(_archive(path, "a"), fetch, lambda _: None) / "a").read_bytes() == b"a"


def test_another_file_of_that_name_is_refused(tmp_path):
    path = _tar(tmp_path / "a.tar.gz", {"top/a": b"a"})
    wanted = Archive("a.tar.gz", "0" * 64, ("a",))
    with pytest.raises(PartError, match="not the pinned 0000"):
        unpacked(wanted, lambda _: path, lambda _: None)
    assert not list((tmp_path / "cache" / "sources").iterdir())


def _escape(kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo("top/src/evil")
    info.type = kind
    info.linkname = target
    return info


def test_nothing_leaves_the_folder(tmp_path):
    up = _tar(tmp_path / "up.tar.gz", {"top/src/../../../evil": b"x", "top/src/a": b"a"})
    with pytest.raises(PartError, match="cannot be unpacked"):
        extract(up, ["src"], tmp_path / "out" / "deep")
    assert not list(tmp_path.rglob("evil"))
    links = [_escape(tarfile.SYMTYPE, "/etc/passwd"), _escape(tarfile.CHRTYPE, "")]
    linked = _tar(tmp_path / "link.tar.gz", {"top/src/a": b"a"}, links)
    extract(linked, ["src"], tmp_path / "linked")
    assert [p.name for p in (tmp_path / "linked" / "src").iterdir()] == ["a"]


def test_damaged_and_incomplete_archives(tmp_path):
    path = _tar(tmp_path / "a.tar.gz", {"top/a": b"a" * 10_000})
    with pytest.raises(PartError, match="holds no b, c"):
        extract(path, ["a", "b", "c"], tmp_path / "one")
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(PartError, match="cannot be unpacked"):
        extract(cut, ["a"], tmp_path / "two")
    cut.write_bytes(b"this is no archive")
    with pytest.raises(PartError, match="cannot be unpacked"):
        extract(cut, ["a"], tmp_path / "three")


def test_without_settings_nothing_is_configured(no_settings):
    assert index_settings() == sources.IndexSettings()


def test_environment_wins_over_files(no_settings, monkeypatch):
    (no_settings / "config" / "pip").mkdir(parents=True)
    (no_settings / "config" / "pip" / "pip.conf").write_text(
        "[global]\nindex-url = https://file.invalid/simple\ncert = /c.pem\n"
        "extra-index-url = https://two.invalid/simple\n  https://three.invalid/simple\n"
        "trusted-host = two.invalid\n"
    )
    found = index_settings()
    assert found.index_urls == (
        "https://file.invalid/simple",
        "https://two.invalid/simple",
        "https://three.invalid/simple",
    )
    assert found.certificate == "/c.pem"
    assert found.trusted_hosts == ("two.invalid",)
    monkeypatch.setenv("PIP_INDEX_URL", "https://env.invalid/simple")
    assert index_settings().index_urls[0] == "https://env.invalid/simple"


def test_uv_settings(no_settings, monkeypatch):
    (no_settings / "config" / "uv").mkdir(parents=True)
    (no_settings / "config" / "uv" / "uv.toml").write_text(
        '[[index]]\nname = "own"\nurl = "https://own.invalid/simple"\ndefault = true\n'
        '[[index]]\nurl = "https://more.invalid/simple"\n'
    )
    assert index_settings().index_urls == (
        "https://own.invalid/simple",
        "https://more.invalid/simple",
    )
    monkeypatch.setenv("UV_INDEX", "named=https://env.invalid/simple?a=b")
    assert "https://env.invalid/simple?a=b" in index_settings().index_urls
    monkeypatch.setenv("UV_FIND_LINKS", f"{no_settings},https://l.invalid/x")
    assert index_settings().find_links == (str(no_settings), "https://l.invalid/x")


def test_sdist_from_a_folder_of_links(no_settings, monkeypatch, tmp_path):
    links = tmp_path / "links"
    links.mkdir()
    content = {"thing-1.0rc1/PKG-INFO": b"Metadata-Version: 2.1\nName: thing\nVersion: 1.0rc1\n"}
    _tar(links / "thing-1.0rc1.tar.gz", content)
    (tmp_path / "index" / "thing").mkdir(parents=True)
    (tmp_path / "index" / "thing" / "index.html").write_text("<html></html>")
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "index").as_uri())
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    (tmp_path / "into").mkdir()
    got = fetch_package("thing==1.0rc1", "thing-1.0rc1.tar.gz", tmp_path / "into", lambda _: None)
    assert got.read_bytes() == (links / "thing-1.0rc1.tar.gz").read_bytes()
    with pytest.raises(PartError, match=r"no configured package index has thing-2\.0"):
        fetch_package("thing==2.0", "thing-2.0.tar.gz", tmp_path / "into", lambda _: None)


def test_a_wheel_of_any_python_and_what_is_wanted_of_it(no_settings, monkeypatch, tmp_path):
    links = tmp_path / "links"
    links.mkdir()
    name = "thing-1.0-cp27-cp27mu-linux_mips.whl"
    with zipfile.ZipFile(links / name, "w") as made:
        made.writestr("thing/a.so", "a")
        made.writestr("thing/b.so", "b")
        made.writestr("thing-1.0.dist-info/METADATA", "Name: thing\nVersion: 1.0\n")
    (tmp_path / "index" / "thing").mkdir(parents=True)
    (tmp_path / "index" / "thing" / "index.html").write_text("<html></html>")
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "index").as_uri())
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    archive = _archive(links / name, "thing/a.so")
    folder = unpacked(
        archive, lambda into: fetch_package("thing==1.0", name, into, print), lambda _: None
    )
    assert [p.name for p in folder.rglob("*") if p.is_file()] == ["a.so"]
    with pytest.raises(PartError, match=r"holds no thing/c\.so"):
        extract(links / name, ("thing/c.so",), tmp_path / "c")
    (links / name).write_bytes(b"no archive")
    with pytest.raises(PartError, match="cannot be unpacked"):
        extract(links / name, ("thing/a.so",), tmp_path / "d")


def test_an_unreachable_index_is_one_line(no_settings, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(PartError, match="PYACEMAKER_ARCHIVES") as caught:
        fetch_package("thing==1.0", "thing-1.0.tar.gz", tmp_path, lambda _: None)
    assert "\n" not in str(caught.value)


@pytest.mark.real
@pytest.mark.skipif(not apt_sites(), reason="this machine has no apt")
def test_apt_mirror_without_the_file(monkeypatch, tmp_path):
    """The mirror is a folder of this machine, so that nothing is asked of a real one."""
    pool = tmp_path / "mirror/pool/main/t/thing"
    pool.mkdir(parents=True)
    path = _tar(pool / "thing.tar.gz", {"top/a": b"a"})
    monkeypatch.setattr(sources, "apt_sites", lambda: ((tmp_path / "mirror").as_uri(),))
    tmp_path.chmod(0o755)
    archive = _archive(path, "a")
    into = tmp_path / "into"
    into.mkdir()
    got = fetch_debian_source("t/thing", path.name, archive.sha256, into, lambda _: None)
    assert got.read_bytes() == path.read_bytes()
    with pytest.raises(PartError, match=r"gave other\.tar\.gz.*PYACEMAKER_LAMMPS_SRC"):
        fetch_debian_source("t/thing", "other.tar.gz", archive.sha256, into, lambda _: None)
