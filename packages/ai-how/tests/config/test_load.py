"""Every mistake a user can make in the file comes back with its line, its key and a remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ai_how.config.load import ConfigError, load_cluster, parse_cluster
from ai_how.config.sizes import format_mib, parse_mib
from ai_how.config.template import template_text, write_template

HEAD = "version: 1\nmetadata: {name: lab}\n"
NODES = "clusters:\n  hpc:\n    compute_nodes: {count: 2}\n"


def errors(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_cluster(text, "c.yaml")
    lines = str(caught.value).splitlines()
    assert all(re.match(r"c\.yaml:\d+: ", line) for line in lines), lines
    return lines


def test_smallest_file(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(HEAD + NODES)
    file = load_cluster(path)
    (group,) = file.clusters.hpc.compute_nodes
    assert (group.name, group.count, group.memory) == ("node", 2, 1024)
    assert file.origin is not None
    assert file.origin.line_of(("clusters", "hpc", "compute_nodes", 0, "cpu")) == 5


def test_a_list_of_groups_and_nodes() -> None:
    text = HEAD + (
        "clusters:\n  hpc:\n    compute_nodes:\n"
        "      - {name: fat, memory: 4G, ip: 10.77.0.50}\n      - {name: thin, count: 3}\n"
    )
    fat, thin = parse_cluster(text).clusters.hpc.compute_nodes
    assert (fat.count, fat.memory, fat.ip, thin.count) == (None, 4096, "10.77.0.50", 3)


def test_all_mistakes_at_once_in_the_order_of_lines() -> None:
    found = errors(
        "version: 2\nmetadata: {name: Lab}\nglobal: {driver: docker}\nclusters:\n  hpc:\n"
        "    network: {subnet: 10.0.0.1/24}\n    compute_nodes:\n      count: 0\n      vcpus: 2\n"
        "      memory: lots\n    slurm: {defualt: x, partitions: [{name: a, max_time: soon}]}\n"
    )
    assert [int(line.split(":")[1]) for line in found] == [1, 2, 3, 6, 8, 9, 10, 11, 11]
    assert found[2] == (
        "c.yaml:3: key 'global.driver': must be one of auto, nspawn, libvirt, process, not 'docker'"
    )
    assert "you mean 10.0.0.0/24" in found[3]
    assert "compute_nodes.vcpus': unknown key; did you mean 'cpu'?" in found[5]
    assert "did you mean 'default'?" in found[7]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is empty; `ai-how init` writes an example"),
        ("- 1\n", "expected `key: value` lines"),
        (HEAD, "key 'clusters': is required"),
        (NODES + "metadata: {name: a}\n", "key 'version': is required; write `version: 1`"),
        (HEAD + "clusters: {hpc: {}}\n", "hpc.compute_nodes': is required; write `compute_nodes:"),
        (HEAD + "clusters: {hpc: {compute_nodes: []}}\n", "is empty; give at least 1"),
        (HEAD + NODES + "version: 1\n", "is given twice (first on line 1); keep one"),
        (HEAD + NODES.replace("2", "'2'"), "must be a whole number, not '2'; write 2 without"),
        (HEAD + NODES.replace("2", "2, ip: 10.77.0.300"), "is no IPv4 address; write it like"),
        (HEAD + NODES.replace("2", "2, pcie_passthrough: [gpu0]"), "is no PCI address; `lspci -D`"),
        (HEAD + NODES.replace("2", "2, gpus: {}"), "gpus.count': is required; say how many"),
        (HEAD + NODES + "    slurm: {default: x}\n", "default 'x' is no partition; there are main"),
        (HEAD + NODES + "    storage: {shared: data}\n", "must be an absolute path"),
        (HEAD + NODES + "    storage: {shared: /a b}\n", "holds a blank"),
        (HEAD + NODES + "    network: {bridge: a-very-long-bridge}\n", "is no interface name"),
        (HEAD + NODES + "    network: {subnet: 10.0.0.0/30}\n", "has no room for a cluster"),
        (HEAD + "subnet: 10.0.0.0/24\n" + NODES, "unknown key here; 'clusters.hpc.network.subnet'"),
        (HEAD + "global: {driver: proces}\n" + NODES, "did you mean 'process'?"),
    ],
)
def test_mistakes(text: str, expected: str) -> None:
    assert expected in "\n".join(errors(text))


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file; `ai-how init` writes one"):
        load_cluster(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        load_cluster(tmp_path)


@pytest.mark.parametrize(
    ("given", "mib"), [("2G", 2048), ("512M", 512), ("1.5 GiB", 1536), (700, 700), ("1T", 1048576)]
)
def test_amounts(given: object, mib: int) -> None:
    assert parse_mib(given) == mib
    assert parse_mib(format_mib(mib)) == mib


@pytest.mark.parametrize("given", ["2 giga", "-1G", "", True, None, [1], "1K"])
def test_what_is_no_amount(given: object) -> None:
    with pytest.raises(ValueError, match="must be an amount such as 2G"):
        parse_mib(given)


def test_the_template_is_valid_also_with_every_comment_removed(tmp_path: Path) -> None:
    plain = parse_cluster(template_text("lab", 3))
    assert plain.clusters.hpc.compute_nodes[0].count == 3
    shown = re.sub(r"(?m)^( *)# (?=(?:  )*[a-z_]+:|  *- )", r"\1", template_text("lab"))
    assert "\n    network:\n      subnet:" in shown
    full = parse_cluster(shown)
    assert full.clusters.hpc.storage.shared == "/srv/shared"
    assert full.clusters.hpc.compute_nodes[0].mounts[0].read_only


def test_the_template_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="exists already; use --force"):
        write_template(path, "lab")
    assert path.read_text() == "mine"
    with pytest.raises(ConfigError, match="is no name"):
        write_template(tmp_path / "no.yaml", "My Lab")
    assert not (tmp_path / "no.yaml").exists()
    assert load_cluster(write_template(path, "lab", force=True)).metadata.name == "lab"
