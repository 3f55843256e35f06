"""What is connected to what, as text, data and diagrams."""

from __future__ import annotations

from ai_how.config.load import parse_cluster
from ai_how.plan.host import Host
from ai_how.plan.plan import make_plan
from ai_how.plan.topology import (
    topology_data,
    topology_markdown,
    topology_mermaid,
    topology_text,
)

TEXT = """\
version: 1
metadata: {name: lab}
global: {driver: process}
clusters:
  hpc:
    compute_nodes: [{name: a, count: 2, gpus: {count: 2, type: a100}}, {name: b-1}]
    slurm: {partitions: [{name: main}, {name: gpu, nodes: [a]}]}
  cloud:
    control_plane: {name: k}
"""
HOST = Host("box", 8, 16384, frozenset(), (), None)
DATA = topology_data(make_plan(parse_cluster(TEXT), HOST), {"a01": "idle"})


def test_data() -> None:
    loopback, cloud = DATA["networks"]
    assert (loopback["bridge"], cloud["bridge"]) == ("lo", "aihow1")
    assert [node["name"] for node in loopback["nodes"]] == ["controller", "a01", "a02", "b-1"]
    assert loopback["nodes"][1] == {
        "name": "a01",
        "role": "compute",
        "cluster": "hpc",
        "address": "127.0.0.1",
        "cpu": 1,
        "memory_MiB": 1024,
        "gpus": "2 a100",
        "partitions": ["main", "gpu"],
        "state": "idle",
    }
    assert cloud["nodes"][0]["address"] == "10.78.0.2"
    assert DATA["partitions"][1] == {"name": "gpu", "default": False, "nodes": ["a01", "a02"]}


def test_text() -> None:
    text = topology_text(DATA)
    assert text.splitlines()[0] == "box  8 cores, 16.0G"
    assert "|  |- a01  127.0.0.1  compute  1 core  1G  2 a100  idle" in text
    assert "   `- k  10.78.0.2  control-plane  1 core  1G" in text
    assert "partition main (default): a01, a02, b-1" in text


def test_diagrams() -> None:
    chart = topology_mermaid(DATA)
    assert chart.startswith("graph TD\n")
    assert 'net0 --- hpc_b_1["b-1<br/>compute<br/>1 core, 1G"]' in chart
    assert "part1 -.- hpc_a02" in chart
    # every node that is linked is drawn
    drawn = {line.split("[")[0].split()[-1] for line in chart.splitlines() if '["' in line}
    for line in chart.splitlines():
        if " -.- " in line:
            assert line.split(" -.- ")[1] in drawn
    page = topology_markdown(DATA)
    assert f"```mermaid\n{chart}```" in page
    assert "| a01 | compute | loopback | 127.0.0.1 | 1 | 1G | 2 a100 | idle |" in page
