"""Groups are written out, and whatever stands against a plan is found before it is made."""

from __future__ import annotations

import ipaddress
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ai_how.config.load import ConfigError, parse_cluster
from ai_how.drivers.process import rendered
from ai_how.plan.conflicts import Claim, Draft, findings
from ai_how.plan.host import Host, this_host
from ai_how.plan.nodes import planned_networks, planned_nodes
from ai_how.plan.plan import Plan, make_plan, refuse_conflicts
from ai_how.plan.show import as_markdown, as_text

HOST = Host("box", 8, 16_000, frozenset({"lo", "eth0"}), (), frozenset({"0000:01:00.0"}))


def text_of(hpc: str, more: str = "") -> str:
    return f"version: 1\nmetadata: {{name: lab}}\n{more}clusters:\n  hpc:\n{hpc}"


def plan_of(hpc: str, more: str = "", host: Host = HOST) -> Plan:
    return make_plan(parse_cluster(text_of(hpc, more), "c.yaml"), host, driver="process")


def bridged(text: str, host: Host = HOST, *claims: Claim) -> list[str]:
    """Conflicts as a driver finds them that makes bridges."""
    file = parse_cluster(text)
    draft = Draft(file, "vm", True, planned_nodes(file), planned_networks(file), host, claims)
    return [f"{f.key}: {f.message}" for f in findings(draft) if f.severity == "conflict"]


def test_groups_are_written_out_with_addresses_that_follow() -> None:
    plan = plan_of(
        "    controller: {ip: 10.77.0.3}\n    compute_nodes:\n      - {name: a, count: 2}\n"
        "      - {name: b, count: 12, ip: 10.77.0.20}\n      - {name: login}\n",
        "global: {overcommit: true}\n",
    )
    assert not plan.conflicts
    found = {node.name: node.ip for node in plan.nodes}
    assert found["controller"] == "10.77.0.3"
    assert (found["a01"], found["a02"], found["login"]) == ("10.77.0.2", "10.77.0.4", "10.77.0.5")
    assert (found["b01"], found["b12"]) == ("10.77.0.20", "10.77.0.31")
    assert plan.networks[0].gateway == "10.77.0.1"


def test_auto_is_what_the_machine_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    file = parse_cluster(text_of("    compute_nodes: {name: a}\n"))
    monkeypatch.setattr("ai_how.plan.plan.best_driver", lambda: ("nspawn", []))
    plan = make_plan(file, HOST)
    assert (plan.driver, plan.accounting, plan.findings) == ("nspawn", "slurmdbd", ())
    monkeypatch.setattr("ai_how.plan.plan.best_driver", lambda: ("process", ["no root"]))
    plan = make_plan(file, HOST)
    assert (plan.driver, plan.accounting) == ("process", "text")
    assert [(f.severity, f.key) for f in plan.findings] == [("warning", "global.driver")]
    assert "no root" in plan.findings[0].message
    # a cluster that is there keeps its driver
    assert make_plan(file, HOST, driver="process").findings == ()


@pytest.mark.parametrize(
    ("hpc", "more", "key"),
    [
        ("    slurm: {accounting: slurmdbd}\n", "", "clusters.hpc.slurm.accounting"),
        ("    storage: {backend: seaweedfs}\n", "", "clusters.hpc.storage.backend"),
        ("    services: [rest]\n", "", "clusters.hpc.services"),
        ("", "global: {packages: [openmpi-bin]}\n", "global.packages"),
    ],
)
def test_what_wants_nodes_that_boot_is_refused_of_processes(hpc: str, more: str, key: str) -> None:
    plan = plan_of(f"    compute_nodes: {{name: a}}\n{hpc}", more)
    assert [f.key for f in plan.conflicts] == [key]
    assert "`driver: nspawn`" in plan.conflicts[0].message


def test_containers_take_no_device() -> None:
    text = text_of("    compute_nodes: {name: a, pcie_passthrough: ['01:00.0']}\n")
    plan = make_plan(parse_cluster(text), HOST, driver="nspawn")
    assert "are containers and take no device" in plan.conflicts[0].message


def test_guests_are_told_to_be_slow_and_are_not_too_small() -> None:
    text = text_of(
        "    compute_nodes:\n      - {name: a, memory: 100M}\n      - {name: b, disk: 1G}\n"
        "      - {name: c, gpus: {count: 1}, pcie_passthrough: ['0000:01:00.0']}\n",
        "global: {driver: libvirt}\n",
    )
    plan = make_plan(parse_cluster(text), HOST, emulated="this machine has no /dev/kvm")
    assert (plan.driver, plan.accounting) == ("libvirt", "slurmdbd")
    assert [f.message for f in plan.findings if f.severity == "warning"] == [
        "nodes are emulated, and many times slower than this machine: this machine has no /dev/kvm"
    ]
    assert [(f.key, f.line) for f in plan.conflicts] == [
        ("clusters.hpc.compute_nodes[0].memory", 7),
        ("clusters.hpc.compute_nodes[1].disk", 8),
        ("clusters.hpc.compute_nodes[2].gpus", 9),
    ]
    assert "100M is too little" in plan.conflicts[0].message
    fast = make_plan(parse_cluster(text_of("    compute_nodes: {name: a}\n")), HOST, (), "libvirt")
    assert fast.findings == ()


def test_a_disk_is_for_guests_and_has_to_be_there(tmp_path: Path) -> None:
    text = text_of(
        "    compute_nodes: {name: a}\n", f"global: {{disk: {tmp_path}/d, driver: nspawn}}\n"
    )
    for driver, words in (("nspawn", "take `driver: libvirt`"), ("libvirt", "has no file")):
        plan = make_plan(parse_cluster(text.replace("nspawn", driver)), HOST)
        assert [f.key for f in plan.conflicts] == ["global.disk"]
        assert words in plan.conflicts[0].message
    (tmp_path / "d").touch()
    plan = make_plan(parse_cluster(text.replace("nspawn", "libvirt")), HOST)
    assert (plan.conflicts, plan.disk) == ([], f"{tmp_path}/d")


def test_partitions_name_groups_or_nodes() -> None:
    plan = plan_of(
        "    compute_nodes: [{name: a, count: 2}, {name: b}]\n"
        "    slurm:\n      default: all\n      partitions:\n"
        "        - {name: some, nodes: [a01, b], max_time: 60}\n        - {name: all}\n"
    )
    some, everything = plan.partitions
    assert some.nodes == ("a01", "b")
    assert (some.default, some.max_time, everything.default) == (False, "60", True)
    assert everything.nodes == ("a01", "a02", "b")


@pytest.mark.parametrize(
    ("hpc", "line", "expected"),
    [
        (
            "    controller: {ip: 10.77.0.9}\n    compute_nodes: [{name: a, ip: 10.77.0.9}]\n",
            6,
            "address 10.77.0.9 is used twice, by 'controller' and 'a'",
        ),
        ("    compute_nodes: [{name: a, ip: 10.9.0.9}]\n", 5, "is outside the subnet 10.77.0.0/24"),
        ("    compute_nodes: [{name: a, ip: 10.77.0.1}]\n", 5, "is this machine's address"),
        ("    compute_nodes: [{name: a}, {name: a}]\n", 5, "node 'a' is there already"),
        ("    compute_nodes: [{name: a, cpu: 9}]\n", 5, "9 cores for a node, but this machine has"),
        ("    compute_nodes: {count: 9}\n", 5, "have 9 cores together, but this machine has 8"),
        ("    compute_nodes: {memory: 16G}\n", 5, "16G for a node, but this machine has 15.6G"),
        (
            "    compute_nodes: {count: 8}\n    network: {subnet: 10.77.0.0/29}\n",
            6,
            "has no address left for 'node05'; take a larger one, such as 10.77.0.0/27",
        ),
        (
            "    compute_nodes: {name: a}\n    slurm: {partitions: [{name: q, nodes: [b]}]}\n",
            6,
            "'b' is no compute node and no group; there are a",
        ),
        (
            "    compute_nodes: {name: a, pcie_passthrough: ['01:00.0']}\n",
            5,
            "take no device from it; declare emulated ones with `gpus`",
        ),
        (
            "    compute_nodes: {name: a, mounts: [{source: /a, target: /b}]}\n",
            5,
            "name the same path for both",
        ),
        (
            "    compute_nodes: {name: a, mounts: [{source: /no/a, target: /no/a}]}\n",
            5,
            "this machine has no /no/a; make it, or leave the mount out",
        ),
        (
            "    compute_nodes: {name: a}\n    storage: {shared: /no/folder}\n",
            6,
            "this machine has no folder /no/folder; make it, or leave `shared` out",
        ),
    ],
)
def test_conflicts_have_line_and_remedy(hpc: str, line: int, expected: str) -> None:
    plan = plan_of(hpc)
    found = [f for f in plan.conflicts if expected in f.message]
    assert found, plan.conflicts
    assert found[0].line == line
    with pytest.raises(ConfigError, match=rf"c\.yaml:{line}: key 'clusters\.hpc"):
        refuse_conflicts(plan, "c.yaml")


def test_overcommit_turns_a_lack_of_cores_into_a_warning() -> None:
    plan = plan_of("    compute_nodes: {count: 50}\n", "global: {overcommit: true}\n")
    assert not plan.conflicts
    assert [f.severity for f in plan.findings] == ["warning"] * 2
    assert "50 cores together" in plan.findings[0].message
    assert plan.findings[0].message.endswith("they share what there is (`global.overcommit`)")


def test_bridges_and_subnets_of_this_machine_and_of_others() -> None:
    nodes = "    compute_nodes: {name: a}\n"
    assert not bridged(text_of(nodes))
    taken = replace(HOST, interfaces=frozenset({"aihow0"}))
    assert "has an interface 'aihow0'" in bridged(text_of(nodes), taken)[0]
    routed = replace(HOST, routes=((ipaddress.IPv4Network("10.0.0.0/8"), "eth0"),))
    assert (
        "overlaps 10.0.0.0/8, which this machine reaches by eth0"
        in (bridged(text_of(nodes), routed)[0])
    )
    other = Claim("old", ("10.77.0.0/16",), ("aihow0",))
    found = bridged(text_of(nodes), HOST, other)
    assert [line.split(":")[0].rpartition(".")[2] for line in found] == ["bridge", "subnet"]
    assert all("the cluster 'old'" in line for line in found)


def test_two_clusters_of_a_file_share_no_bridge_and_no_subnet() -> None:
    cloud = (
        "  cloud:\n    network: {subnet: 10.77.0.0/25, bridge: aihow0}\n"
        "    control_plane: {name: cp}\n"
    )
    found = bridged(text_of("    compute_nodes: {name: a}\n") + cloud)
    assert any("bridge 'aihow0' is used twice, by hpc and cloud" in line for line in found)
    assert any("10.77.0.0/25 overlaps 10.77.0.0/24 of hpc" in line for line in found)


def test_a_device_has_one_owner() -> None:
    twice = "    compute_nodes:\n      - {name: a, pcie_passthrough: ['01:00.0']}\n"
    again = twice + "      - {name: b, pcie_passthrough: ['0000:01:00.0']}\n"
    assert not bridged(text_of(twice))
    assert "is given twice, to 'a' and 'b'" in bridged(text_of(again))[0]
    held = bridged(text_of(twice), HOST, Claim("old", pci=("0000:01:00.0",)))
    assert "belongs to the cluster 'old'" in held[0]
    lacking = bridged(text_of(twice), replace(HOST, pci=frozenset()))
    assert "this machine has no device 0000:01:00.0" in lacking[0]


def test_text_markdown_and_json_say_the_same() -> None:
    plan = plan_of("    compute_nodes: {count: 9, memory: 1G, gpus: {count: 2, type: a100}}\n")
    text, markdown, data = as_text(plan), as_markdown(plan), json.loads(json.dumps(plan.as_data()))
    assert len(data["nodes"]) == 10
    assert len(data["conflicts"]) == 1
    for words in ("node09", "2 a100", "9 cores together", "1 conflict to be resolved"):
        assert words in text
        assert words in markdown
    assert "| node01 | compute |" in markdown
    assert "conflict: line 5: key 'clusters.hpc.compute_nodes'" in text


def test_fifty_nodes_are_planned_and_rendered() -> None:
    text = text_of("    compute_nodes: {count: 50}\n", "global: {overcommit: true}\n")
    began = time.monotonic()
    plan = make_plan(parse_cluster(text), HOST)
    files = rendered(plan, Path("/state/lab"))
    print(f"50 nodes planned and rendered in {time.monotonic() - began:.3f} s")
    assert files["slurm.conf"].count("NodeName=") == 50
    assert (
        len(
            {
                line.split("Port=")[1].split()[0]
                for line in files["slurm.conf"].splitlines()
                if line.startswith("NodeName=")
            }
        )
        == 50
    )


def test_this_machine_is_read_from_proc_and_sys(tmp_path: Path) -> None:
    proc, sys = tmp_path / "proc", tmp_path / "sys"
    (proc / "net").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal:       16777216 kB\nMemFree: 1 kB\n")
    (proc / "net" / "route").write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    (sys / "class" / "net" / "eth0").mkdir(parents=True)
    (sys / "bus" / "pci" / "devices" / "0000:01:00.0").mkdir(parents=True)
    host = this_host(proc, sys)
    assert host.memory_MiB == 16384
    assert host.routes == ((ipaddress.IPv4Network("192.168.1.0/24"), "eth0"),)
    assert (host.interfaces, host.pci) == ({"eth0"}, {"0000:01:00.0"})
    assert this_host().memory_MiB > 100
