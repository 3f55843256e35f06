"""One owner for each GPU, whatever asks, and whoever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ai_how.cli.app import app
from ai_how.cluster.lifecycle import claims, destroy, up
from ai_how.config.load import parse_cluster
from ai_how.gpu.owners import GpuError, allocate, check_gpus, owners, release
from ai_how.gpu.sysfs import find_gpus
from ai_how.plan.host import this_host
from ai_how.plan.plan import make_plan

runner = CliRunner(env={"COLUMNS": "100", "TERM": "dumb"})
ONE, TWO = "0000:17:00.0", "0000:65:00.0"
# address: vendor, device, class, driver, IOMMU group: an H100 and its bridge, bound to vfio-pci;
# an RTX 3090 and its sound, used by the host
MACHINE = {
    "0000:16:00.0": ("0x8086", "0x347a", "0x060400", "pcieport", 40),
    ONE: ("0x10de", "0x2330", "0x030200", "vfio-pci", 40),
    TWO: ("0x10de", "0x2204", "0x030000", "nvidia", 41),
    "0000:65:00.1": ("0x10de", "0x1aef", "0x040300", "snd_hda_intel", 41),
}


@pytest.fixture
def sys_tree(tmp_path: Path) -> Path:
    root = tmp_path / "sys"
    for address, (vendor, device, kind, driver, group) in MACHINE.items():
        folder = root / "bus" / "pci" / "devices" / address
        folder.mkdir(parents=True)
        for name, text in (("vendor", vendor), ("device", device), ("class", kind)):
            (folder / name).write_text(f"{text}\n")
        for name, target in (
            ("driver", f"bus/pci/drivers/{driver}"),
            ("iommu_group", f"kernel/iommu_groups/{group}"),
        ):
            (root / target).mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(root / target)
    return root


def test_one_owner(state: Path) -> None:
    first = allocate([ONE, TWO], "lab")
    assert [owner.address for owner in first] == [ONE, TWO]
    assert allocate([TWO], "lab") == [first[1]]  # again: the same, since the same time
    with pytest.raises(GpuError, match=f"{TWO} belongs to the cluster 'lab' since 20"):
        allocate(["0000:03:00.0", TWO], "other")
    assert set(owners()) == {ONE, TWO}  # all or none
    with pytest.raises(GpuError, match="belongs to the cluster 'lab'"):
        release([ONE], "other")
    assert [owner.address for owner in release([ONE])] == [ONE]
    with pytest.raises(GpuError, match="belongs to no cluster"):
        release([ONE])
    assert [owner.cluster for owner in allocate([ONE], "other")] == ["other"]
    release(cluster="lab")
    assert set(owners()) == {ONE}
    release(cluster="other")
    assert not state.exists()


def test_of_many_that_ask_at_once_one_gets_it(state: Path) -> None:
    def ask(number: int) -> bool:
        try:
            allocate([ONE], f"c{number}")
        except GpuError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(24))) == 1


def test_it_outlives_whoever_took_it(state: Path) -> None:
    script = (
        "import os, signal; from ai_how.gpu.owners import allocate; "
        f"allocate(['{ONE}'], 'lab'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert owners()[ONE].cluster == "lab"
    assert len(allocate([TWO], "lab")) == 1  # and its lock is free


def test_a_damaged_file_is_named(state: Path) -> None:
    allocate([ONE], "lab")
    (state / "gpus.json").write_text('{"version": 1, "own')
    with pytest.raises(GpuError, match=r"gpus\.json: damaged .*remove it"):
        allocate([TWO], "lab")


def test_what_cannot_be_passed_through(sys_tree: Path) -> None:
    gpus = find_gpus(sys_tree)
    assert check_gpus([ONE], gpus) == []  # its bridge stays with the host
    bound, shared = check_gpus([TWO], gpus)
    assert "bound to nvidia; bind it to vfio-pci" in bound
    assert "0000:65:00.1, which snd_hda_intel drives" in shared
    assert check_gpus([TWO, "0000:65:00.1"], gpus) == [bound]
    (unknown,) = check_gpus(["0000:99:00.0"], gpus)
    assert f"is no GPU of this machine; there are: {ONE}, {TWO}" in unknown


def test_the_command_line(state: Path, sys_tree: Path) -> None:
    def gpu(*words: str) -> tuple[int, str]:
        done = runner.invoke(app, ["gpu", *words])
        return done.exit_code, done.output

    tree = ["--sys", str(sys_tree)]
    assert gpu("allocate", "17:00.0", "--cluster", "lab", *tree)[0] == 0
    code, said = gpu("allocate", ONE, "-c", "other", *tree)
    assert (code, "belongs to the cluster 'lab'" in said) == (1, True)
    code, said = gpu("allocate", TWO, "-c", "lab", *tree)
    assert (code, "bound to nvidia" in said) == (1, True)
    assert gpu("allocate", TWO, "-c", "lab", "--force", *tree)[0] == 0
    rows = json.loads(gpu("list", "--json", *tree)[1])
    assert [(row["address"], row["owner"]) for row in rows] == [(ONE, "lab"), (TWO, "lab")]
    assert rows[0]["passthrough_problems"] == []
    assert (
        "NVIDIA h100-80gb [10de:2330]  driver vfio-pci  group 40  owner lab"
        in gpu("list", *tree)[1]
    )
    assert gpu("release", ONE, "--json")[0] == 0
    assert gpu("release")[0] == 2
    assert gpu("release", "--cluster", "lab")[1] == f"{TWO}: free, was lab's\n"
    assert not state.exists()


def test_a_plan_knows_owners_and_what_cannot_be_passed_through(state: Path, sys_tree: Path) -> None:
    allocate([ONE], "other")
    assert [(claim.cluster, claim.pci) for claim in claims("lab")] == [("other", (ONE,))]
    assert claims("other") == []
    host = this_host(sys=sys_tree)
    assert [gpu.address for gpu in host.gpus] == [ONE, TWO]
    text = (
        "version: 1\nmetadata: {name: lab}\nclusters: {hpc: {compute_nodes: "
        f"{{memory: 1M, pcie_passthrough: ['{ONE}']}}}}}}\n"
    )
    plan = make_plan(parse_cluster(text), host, claims("lab"))
    assert any("belongs to the cluster 'other'" in f.message for f in plan.conflicts)


@pytest.mark.real
def test_destroy_takes_back_what_was_given(small: Path, state: Path) -> None:
    up(str(small), lambda _: None)
    allocate([ONE], "small")
    allocate([TWO], "other")
    destroy("small")
    assert set(owners()) == {TWO}
    release(cluster="other")


@pytest.mark.real
def test_slurmctld_accepts_mig_instances_and_gives_each_kind(
    state: Path, slurm: None, tmp_path: Path, run_job: Callable[..., str]
) -> None:
    done = runner.invoke(
        app,
        ["gpu", "plan", "-m", "h100-80gb", "3g.40gb", "1g.20gb", "1g.10gb", "1g.10gb", "--json"],
    )
    kinds = [word.split(":")[1:] for word in json.loads(done.output)["gres"].split(",")]
    assert kinds == [["h100_3g.40gb", "1"], ["h100_1g.20gb", "1"], ["h100_1g.10gb", "2"]]
    gpus = ", ".join(f"{{type: {kind}, count: {count}}}" for kind, count in kinds)
    path = tmp_path / "mig.yaml"
    path.write_text(
        "version: 1\nmetadata: {name: mig}\nglobal: {driver: process, overcommit: true}\n"
        f"clusters: {{hpc: {{compute_nodes: {{name: g, memory: 500M, gpus: [{gpus}]}}}}}}\n"
    )
    found = up(str(path), lambda _: None)
    assert found.nodes[1].gpus == "4 h100_3g.40gb, h100_1g.20gb, h100_1g.10gb (emulated)"
    said = run_job("mig", ["scontrol", "show", "node", "g", "-o"])
    assert "Gres=gpu:h100_3g.40gb:1,gpu:h100_1g.20gb:1,gpu:h100_1g.10gb:2" in said
    job = ["srun", "--gres=gpu:h100_1g.10gb:2", "--mem=1", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES"]
    assert run_job("mig", job).split() == ["2,3"]
