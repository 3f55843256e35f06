"""A state folder of its own for every test, and a cluster that leaves nothing behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ai_how.cluster.lifecycle import destroy, made
from ai_how.cluster.state import known_clusters
from ai_how.slurm.commands import ask

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch")


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short folder, for sockets are made in it; whatever a test makes there is destroyed."""
    root = Path(tempfile.mkdtemp(prefix="ah-", dir="/tmp"))
    monkeypatch.setenv("AI_HOW_STATE", str(root / "s"))
    try:
        yield root / "s"
    finally:
        for name in known_clusters():
            destroy(name)
        shutil.rmtree(root)


@pytest.fixture
def slurm() -> None:
    """Skip where SLURM is not installed."""
    lacking = [name for name in PROGRAMS if not shutil.which(name, path="/usr/sbin:/usr/bin")]
    if lacking:
        pytest.skip(f"not installed here: {', '.join(lacking)}")


@pytest.fixture
def write(tmp_path: Path, state: Path, slurm: None) -> Callable[[str, int], Path]:
    """Return a function that writes the file of a cluster of `count` nodes with two GPUs each."""

    def writer(name: str, count: int) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(
            f"version: 1\nmetadata: {{name: {name}}}\n"
            "global: {driver: process, overcommit: true}\nclusters:\n  hpc:\n"
            f"    compute_nodes: {{name: n, count: {count}, memory: 500M, "
            "gpus: {count: 2, type: a100_3g.20gb}}\n"
        )
        return path

    return writer


@pytest.fixture
def small(write: Callable[[str, int], Path]) -> Path:
    """Two nodes with two emulated GPUs each."""
    return write("small", 2)


@pytest.fixture
def run_job() -> Callable[[str, Sequence[str]], str]:
    """Return a function that runs a command of SLURM on a cluster and returns what it printed."""

    def runner(cluster: str, command: Sequence[str]) -> str:
        _, _, driver = made(cluster)
        return ask(command, driver.environment(), limit_s=60)

    return runner
