"""Clusters of booted nodes for tests, where this machine can boot any."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ai_how.drivers.nspawn.driver import NspawnDriver

Write = Callable[..., Path]
NET = Path("/sys/class/net")


@pytest.fixture
def nspawn(state: Path) -> None:
    """Skip, with the reason, where nodes cannot boot."""
    lacking = NspawnDriver(state / "x").missing()
    if lacking:
        pytest.skip(f"nodes cannot boot here: {'; '.join(lacking)}")


@pytest.fixture
def booted(tmp_path: Path, nspawn: None) -> Write:
    """Return a function that writes a cluster's file: its name, nodes, third octet, more keys."""

    def writer(name: str, count: int, octet: int, more: str = "") -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(
            f"version: 1\nmetadata: {{name: {name}}}\n"
            "global: {driver: nspawn, overcommit: true}\nclusters:\n  hpc:\n"
            f"    network: {{subnet: 10.213.{octet}.0/24, bridge: ahtest{octet}}}\n"
            f"    compute_nodes: {{name: n, count: {count}, memory: 300M, disk: 300M, "
            f"gpus: {{count: 2}}}}\n{more}"
        )
        return path

    return writer


def leavings(root: Path) -> dict[str, set[str]]:
    """Whatever there is of clusters in `root`: processes, mounts, disks, network interfaces."""
    processes = set()
    for path in Path("/proc").iterdir():
        if not path.name.isdigit() or int(path.name) == os.getpid():
            continue
        try:
            words = (path / "cmdline").read_bytes().decode(errors="replace")
            mounts = (path / "mountinfo").read_text()
        except OSError:
            continue  # it ended meanwhile
        if str(root) in words or (str(root) in mounts and path.name != "self"):
            processes.add(f"{path.name} {words}")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    links = {path.name: (path / "ifalias").read_text() for path in NET.iterdir()}
    return {
        "processes": processes,
        "disks": {
            path.read_text()
            for path in Path("/sys/block").glob("loop*/loop/backing_file")
            if str(root) in path.read_text()
        },
        "mounts": {line for line in mounts if str(root) in line},
        "links": {name for name, owner in links.items() if str(root) in owner or _loose(name)},
    }


def _loose(name: str) -> bool:
    """Say whether this is a node's cable whose bridge is gone."""
    return name.startswith("vb-") and not (NET / name / "master").exists()
