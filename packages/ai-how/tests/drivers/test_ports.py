"""Two clusters that are made at the same moment do not get the same ports."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-c", "from ai_how.cli import main; main()"]


@pytest.mark.real
def test_two_of_one_name_made_at_once(small: Path) -> None:
    homes = [Path(tempfile.mkdtemp(prefix="ah-", dir="/tmp")) for _ in range(2)]
    environments = [{**os.environ, "AI_HOW_STATE": str(home / "s")} for home in homes]
    try:
        making = [
            subprocess.Popen(
                [*PROGRAM, "up", str(small)], env=environment, stdout=subprocess.DEVNULL
            )
            for environment in environments
        ]
        assert [process.wait(180) for process in making] == [0, 0]
        bases = [json.loads(next(h.rglob("ports.json")).read_text())["base"] for h in homes]
        assert bases[0] != bases[1]
    finally:
        for environment, home in zip(environments, homes, strict=True):
            command = [*PROGRAM, "destroy", str(small), "--yes"]
            subprocess.run(command, env=environment, check=False, timeout=120)
            shutil.rmtree(home)
