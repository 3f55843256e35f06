"""Files written whole, and locks that die with their holder."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from pyacemaker.files import (
    AlreadyLockedError,
    cache_dir,
    is_locked,
    locked,
    sha256_of,
    write_whole,
)


def test_write_whole_replaces_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_whole(path, "one")
    write_whole(path, b"two")
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_write_whole_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")
    with pytest.raises(TypeError):
        write_whole(path, 3)  # type: ignore[arg-type]
    assert path.read_text() == "old"


def _rewrite(path: Path) -> None:
    number = 0
    while True:
        write_whole(path, str(number % 10) * 200_000)
        number += 1


def test_a_kill_in_the_middle_never_leaves_a_part(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for delay in (0.05, 0.08, 0.13):
        writer = multiprocessing.get_context("fork").Process(target=_rewrite, args=(path,))
        writer.start()
        while not path.exists():
            time.sleep(0.01)
        time.sleep(delay)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        text = path.read_text()
        assert len(text) == 200_000
        assert len(set(text)) == 1


def test_checksum_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-4's own example
    wanted = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "abc") == wanted


def test_a_lock_refuses_a_second_process_and_dies_with_the_first(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = textwrap.dedent(
        f"""
        import time
        from pathlib import Path
        from pyacemaker.files import locked
        with locked(Path({str(lock)!r}), wait=False):
            print("held", flush=True)
            time.sleep(60)
        """
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == "held\n"
    assert is_locked(lock)
    with pytest.raises(AlreadyLockedError, match=str(holder.pid)), locked(lock, wait=False):
        pass
    holder.kill()
    holder.wait()
    assert not is_locked(lock)
    with locked(lock, wait=False):
        assert is_locked(lock)
    assert not is_locked(tmp_path / "never made")


def test_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("PYACEMAKER_CACHE", raising=False)
    assert cache_dir() == tmp_path / "pyacemaker"
    monkeypatch.setenv("PYACEMAKER_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
