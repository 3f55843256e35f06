"""From an empty state folder to a published potential in two programs: the whole way, small.

It is docs/story.md with copper.yaml: what that page says is what is run here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real
STORY = Path(__file__).parents[4] / "examples" / "story"
BIN = Path(sys.executable).parent


def run(*command: object, cwd: Path, limit_s: float = 300) -> str:
    """Run a command as a user would, and return what it printed."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "ROOTSTOCK_ROOT": str(cwd / "root"),
        "PATH": f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, timeout=limit_s,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def test_from_one_yaml_to_a_potential_in_ase_and_lammps(
    state: Path, slurm: None, tmp_path: Path
) -> None:
    for path in STORY.iterdir():
        shutil.copy(path, tmp_path)
    run("ai-how", "up", "cluster.yaml", cwd=tmp_path)
    run("ai-how", "profile", "story", "--output", "copper.yaml", cwd=tmp_path)
    run("rootstock", "init", "--root", "root", cwd=tmp_path)
    said = run("pyacemaker", "run", "copper.yaml", "--workdir", "cu", "--json", cwd=tmp_path)
    last = json.loads(said.splitlines()[-1])
    assert last["ending"] == "converged", last

    run("pyacemaker", "publish", "cu", "--root", "root", cwd=tmp_path)
    relaxed = run(sys.executable, "relax.py", "ace-cu", "Cu", cwd=tmp_path)
    constants = dict(line.split()[:2] for line in relaxed.splitlines())
    assert float(constants["a0"]) == pytest.approx(3.590, abs=0.01)  # EMT's own: 3.5898
    assert float(constants["energy"]) == pytest.approx(-0.007, abs=0.02)  # EMT's own: -0.0070

    run(
        sys.executable, "-m", "rootstock.lammps", "-in", "in.md", "--model", "ace-cu",
        "--species", "Cu", cwd=tmp_path,
    )  # fmt: skip
    rows = thermo((tmp_path / "log.lammps").read_text())
    assert [row["Step"] for row in rows] == [0, 100, 200, 300, 400, 500]
    totals = [row["TotEng"] / 32 for row in rows]
    assert max(totals) - min(totals) < 1e-3  # eV/atom: energy is kept
    assert 150 < rows[-1]["Temp"] < 450
    run("ai-how", "destroy", "cluster.yaml", "--yes", cwd=tmp_path)


def thermo(log: str) -> list[dict[str, float]]:
    """Return the rows of LAMMPS' table of thermodynamic output."""
    lines = log.splitlines()
    head = next(i for i, line in enumerate(lines) if line.split()[:1] == ["Step"])
    names = lines[head].split()
    rows = []
    for line in lines[head + 1 :]:
        if line.startswith("Loop time"):
            break
        words = line.split()
        if len(words) == len(names):
            rows.append(dict(zip(names, map(float, words), strict=True)))
    return rows
