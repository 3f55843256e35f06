"""kill -9 at random moments: what comes out is what an undisturbed walk gives."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ase import Atoms

Slab = Callable[..., Atoms]
PROGRAM = [sys.executable, "-c", "from pyacemaker.cli import main; main()", "kmc"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
_KILLS = 2


def _command(structure: Path, workdir: Path) -> list[str]:
    options = ["--calculator", "ase.calculators.emt.EMT", "--workdir", str(workdir), "--json"]
    options += ["--events", "2", "--confidence", "0.5", "--max-barrier", "0.8"]
    options += ["--prefactor", "5"]
    return [*PROGRAM, str(structure), *options]


def _result(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(
        command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    del found["table"]
    return found


def test_kill_9_changes_nothing(slab: Slab, tmp_path: Path) -> None:
    structure = tmp_path / "slab.traj"
    slab("Cu", (2, 2, 3)).write(structure)
    chance = random.Random(5)
    killed = _command(structure, tmp_path / "killed")
    kills = 0
    while kills < _KILLS:
        process = subprocess.Popen(
            killed, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
        assert process.stderr is not None
        for _ in range(chance.randint(1, 4)):  # so many searches or hops
            process.stderr.readline()
        time.sleep(chance.uniform(0, 0.3))
        over = process.poll() is not None
        process.kill()
        process.communicate()
        if over:
            break
        kills += 1
    assert kills
    undisturbed = _result(_command(structure, tmp_path / "undisturbed"))
    assert _result(killed) == undisturbed
    assert undisturbed["hops_done"] == 2
    assert json.loads((tmp_path / "killed" / "kmc.json").read_text())["status"] == "completed"
