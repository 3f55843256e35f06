"""Arguments of sbatch."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_how.slurm.commands import says_where


def test_the_folder_of_a_job_is_read_off_options_and_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plain.sh").write_text("#!/bin/sh\n#SBATCH --nodes=2\ncd /tmp  # not --chdir=/x\n")
    Path("short.sh").write_text("#!/bin/sh\n#SBATCH -N 2 -D /scratch\n")
    Path("long.sh").write_text("#!/bin/sh\n#SBATCH --chdir=/scratch\n")
    assert not says_where(["--nodes=2", "plain.sh", "/gone"])
    assert not says_where(["--wrap=ls"])
    for words in (["short.sh"], ["--mem=1", "long.sh"], ["-D", "/a", "plain.sh"], ["--chdir=/a"]):
        assert says_where(words), words
