"""A node takes jobs when slurmctld says so and its slurmd is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ai_how.config.load import parse_cluster
from ai_how.drivers.base import DriverError
from ai_how.drivers.ready import until_ready
from ai_how.plan.host import this_host
from ai_how.plan.plan import make_plan

PLAN = make_plan(
    parse_cluster(
        "version: 1\nmetadata: {name: lab}\n"
        "clusters: {hpc: {compute_nodes: {name: n, count: 1}}}\n",
        "lab.yaml",
    ),
    this_host(),
    driver="process",
)


def test_a_node_that_boots_is_waited_for(tmp_path: Path) -> None:
    # what slurmctld holds of a node for seconds after it has lost its power
    name = PLAN.compute[0].name
    program = tmp_path / "sinfo"
    program.write_text(f"#!/bin/sh\necho '{name}|idle|none'\n")
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin"}
    answers = iter((False, False, True))
    until_ready(PLAN, (), environment, print, tmp_path, begun=lambda _: next(answers))
    assert next(answers, None) is None
    with pytest.raises(DriverError, match=f"slurmd of {name} has not begun"):
        until_ready(PLAN, (), environment, print, tmp_path, begun=lambda _: False, limit_s=0.3)
