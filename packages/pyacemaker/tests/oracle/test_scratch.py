"""Scratch folders: watched while a program runs, cleaned after it, bounded when it failed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pyacemaker.oracle.espresso.scratch import (
    Watchdog,
    disk_used,
    drop_old_failures,
    lay_density,
    mark_failed,
    memory_used,
    saved_density,
    tidy,
    unmark,
)
from pyacemaker.process import Finished, run_program


def watched(folder: Path, code: str, **changes: float) -> Finished:
    (folder / "out").mkdir(exist_ok=True)
    limits = {"timeout_s": 20.0, "stall_s": 20.0, "max_memory_GB": 8.0, "max_disk_GB": 8.0}
    watchdog = Watchdog(folder, folder / "pw.out", **(limits | changes))
    return run_program(
        [sys.executable, "-u", "-c", code],
        cwd=folder,
        stdout=folder / "pw.out",
        timeout_s=watchdog.timeout_s,
        watch=watchdog,
    )


def test_a_program_that_writes_nothing_is_stalled(tmp_path: Path) -> None:
    done = watched(tmp_path, "import time; print('x'); time.sleep(60)", stall_s=0.5)
    assert done.stopped == "stalled"
    assert "stalled" in done.describe()
    assert done.wall_s < 10


def test_a_program_that_writes_is_not(tmp_path: Path) -> None:
    code = "import time\nfor i in range(15): print(i); time.sleep(0.1)"
    done = watched(tmp_path, code, stall_s=1.2)
    assert (done.stopped, done.returncode) == (None, 0)


def test_memory_is_bounded(tmp_path: Path) -> None:
    code = "import time\nx = bytearray(200_000_000)\ntime.sleep(60)"
    assert watched(tmp_path, code, max_memory_GB=0.1).stopped == "memory"
    assert memory_used(os.getsid(0)) > 0


def test_disk_is_bounded(tmp_path: Path) -> None:
    code = (
        "import time\nopen('big', 'wb').write(bytes(30_000_000))\n"
        "while True: print('x'); time.sleep(0.2)"
    )
    assert watched(tmp_path, code, max_disk_GB=0.01).stopped == "disk"


def test_towards_the_end_it_is_asked_to_stop_by_itself(tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "while not os.path.exists('out/pwscf.EXIT'): time.sleep(0.05)\n"
        "print('saved')"
    )
    done = watched(tmp_path, code, timeout_s=4.0)
    assert (done.timed_out, done.returncode) == (False, 0)
    assert "saved" in (tmp_path / "pw.out").read_text()


def folder_with_results(folder: Path, size: int = 0) -> Path:
    saved = folder / "out" / "pwscf.save"
    saved.mkdir(parents=True)
    for name in ("charge-density.dat", "data-file-schema.xml", "wfc1.dat", "Si.upf"):
        (saved / name).write_bytes(b"1" * max(size, 1))
    (folder / "out" / "pwscf.wfc1").write_bytes(b"1")
    return folder


def test_tidying_keeps_the_result_and_the_density_only_while_it_may_be_wanted(
    tmp_path: Path,
) -> None:
    folder = folder_with_results(tmp_path / "a")
    tidy(folder, keep_density=True)
    kept = {path.name for path in folder.rglob("*") if path.is_file()}
    assert kept == {"charge-density.dat", "data-file-schema.xml"}
    source = saved_density(folder)
    assert source is not None
    lay_density(source, tmp_path / "b")
    laid = {path.name for path in (tmp_path / "b").rglob("*") if path.is_file()}
    assert laid == {"charge-density.dat"}  # and no result of another run
    tidy(folder, keep_density=False)
    assert saved_density(folder) is None


def test_the_oldest_failures_go_first_and_nothing_else_ever(tmp_path: Path) -> None:
    for number in range(4):
        folder = folder_with_results(tmp_path / f"failed_{number}", 100_000)
        mark_failed(folder, "Si2: walltime")
        os.utime(folder / "FAILED", (number, number))
    folder_with_results(tmp_path / "labelled", 1_000_000)
    retried = tmp_path / "failed_1"
    unmark(retried)
    each = disk_used(tmp_path / "failed_0")
    assert each == pytest.approx(4e-4, rel=0.2)
    dropped = drop_old_failures(tmp_path, 2.2 * each)
    assert [path.name for path in dropped] == ["failed_0"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "failed_1", "failed_2", "failed_3", "labelled",
    }  # fmt: skip
    assert drop_old_failures(tmp_path, 0.0, spare=tmp_path / "failed_3") == [tmp_path / "failed_2"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(1_000_000))
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "link").symlink_to(tmp_path / "big")
    assert disk_used(inner) < 1e-4
