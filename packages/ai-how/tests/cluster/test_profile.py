"""What a campaign and rootstock are told of a cluster, and files that keep the rest they say."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from ai_how.cluster.profile import (
    Profile,
    ProfileError,
    _minutes,
    make_profile,
    merge_roots,
    merge_section,
    python_folders,
    unseen,
)
from ai_how.config.load import parse_cluster
from ai_how.plan.host import this_host
from ai_how.plan.plan import make_plan
from pyacemaker.config.load import load_config
from pyacemaker.config.resolve import resolve
from rootstock.clusters import _read as read_roots

TEXT = """\
version: 1
metadata: {name: lab}
global: {driver: process, overcommit: true}
clusters:
  hpc:
    compute_nodes: [{name: a, count: 3, cpu: 4}, {name: b, cpu: 2}]
    slurm:
      partitions: [{name: main, max_time: 30}, {name: fat, nodes: [a], max_time: 2-00}]
"""
CAMPAIGN = """\
# copper
elements: [Cu]
oracle: {code: ase, calculator: ase.calculators.emt.EMT}
execution:
  kind: slurm
  # mine
  blocks: 7

# how many at once here
workers: 2
"""


def profile(partition: str | None = None, labels: int | None = None) -> Profile:
    driver = SimpleNamespace(environment=lambda: {"SLURM_CONF": "/s/lab/etc/slurm.conf"})
    plan = make_plan(parse_cluster(TEXT), this_host())
    return make_profile(plan, driver, Path("/s/lab/shared"), partition, labels)  # type: ignore[arg-type]


def test_a_profile() -> None:
    assert profile().execution == {
        "kind": "slurm",
        "partition": "main",
        "walltime_min": 30,
        "blocks": 4,
        "cores_per_node": 2,  # what every node of the partition has
        "labels_per_node": 2,
        "address": "127.0.0.1",
        "slurm_conf": "/s/lab/etc/slurm.conf",
    }
    fat = profile("fat", 1).execution
    assert (fat["blocks"], fat["cores_per_node"], fat["labels_per_node"]) == (3, 4, 1)
    assert fat["walltime_min"] == 60
    with pytest.raises(ProfileError, match="no partition 'nix' with nodes; there are main, fat"):
        profile("nix")


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [
        ("UNLIMITED", None),
        ("90", 90),
        ("90:30", 90),
        ("1:30:59", 90),
        ("2-00", 2880),
        ("1-12:30", 2190),
        ("1-00:00:30", 1440),
    ],
)
def test_time_limits_of_slurm(limit: str, minutes: int | None) -> None:
    assert _minutes(limit) == minutes


def test_a_campaign_keeps_all_else_and_pyacemaker_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "cu.yaml"
    path.write_text(CAMPAIGN)
    for _ in range(2):  # again: the same
        merge_section(path, "execution", profile().execution_text())
        text = path.read_text()
        assert text.startswith("# copper\nelements: [Cu]\n")
        assert text.endswith("\n\n# how many at once here\nworkers: 2\n")
        assert text.count("made by ai-how") == 1
    settings = resolve(load_config(path)).settings.execution
    assert (settings.kind, settings.blocks, settings.address) == ("slurm", 4, "127.0.0.1")
    new = tmp_path / "new.yaml"
    merge_section(new, "execution", profile().execution_text())
    assert yaml.safe_load(new.read_text()) == {"execution": profile().execution}


def test_rootstock_takes_its_entry(tmp_path: Path) -> None:
    path = tmp_path / "clusters.yaml"
    path.write_text("clusters: {della: /scratch/rootstock}\n")
    merge_roots(path, profile().roots)
    assert read_roots(path) == {
        "della": Path("/scratch/rootstock"),
        "lab": Path("/s/lab/shared/rootstock"),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [("- a\n", "cannot be put in"), ("a: [\n", "is not YAML"), ("{a: 1}\n", "cannot be put in")],
)
def test_a_file_that_cannot_take_it_stays_as_it_is(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=words):
        merge_section(path, "execution", profile().execution_text())
    assert path.read_text() == text


def test_what_nodes_that_boot_do_not_see() -> None:
    mounts = "mounts: [{source: /srv/py, target: /srv/py}]"
    text = TEXT.replace("cpu: 4}", f"cpu: 4, {mounts}}}").replace("process", "nspawn")
    plan = make_plan(parse_cluster(text), this_host())
    folders = [Path("/srv/py/.venv"), Path("/s/lab/shared/x"), Path("/home/me")]
    # node b has no mounts
    assert unseen(plan, folders, Path("/s/lab/shared")) == [folders[0], folders[2]]
    both = text.replace("{name: b, cpu: 2}", f"{{name: b, cpu: 2, {mounts}}}")
    plan = make_plan(parse_cluster(both), this_host())
    assert unseen(plan, folders, Path("/s/lab/shared")) == [folders[2]]
    assert unseen(make_plan(parse_cluster(TEXT), this_host()), folders, Path("/s")) == []


def test_the_folders_of_this_python_hold_it() -> None:
    assert any(Path(sys.executable).is_relative_to(folder) for folder in python_folders())
