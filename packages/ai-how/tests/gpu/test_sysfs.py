"""GPUs read from trees laid out as the kernel lays out /sys/bus/pci."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_how.gpu.sysfs import Gpu, find_gpus, passthrough_problems

# address: vendor, device, class, driver, IOMMU group, NUMA node
WORKSTATION = {
    "0000:00:01.0": ("0x8086", "0x4c01", "0x060400", "pcieport", 1, -1),
    "0000:01:00.0": ("0x10de", "0x2204", "0x030000", "nvidia", 1, -1),
    "0000:01:00.1": ("0x10de", "0x1aef", "0x040300", "snd_hda_intel", 1, -1),
    "0000:02:00.0": ("0x144d", "0xa80a", "0x010802", "nvme", 2, -1),
}
SERVER = {
    "0000:03:00.0": ("0x1a03", "0x2000", "0x030000", "ast", 10, 0),
    "0000:17:00.0": ("0x10de", "0x2330", "0x030200", "vfio-pci", 40, 0),
    "0000:65:00.0": ("0x1002", "0x740f", "0x120000", None, 41, 1),
    "0000:ca:00.0": ("0x10de", "0x20b5", "0x030200", "nvidia", None, 1),
}


def tree(root: Path, devices: dict[str, tuple[str, str, str, str | None, int | None, int]]) -> Path:
    for address, (vendor, device, kind, driver, group, numa) in devices.items():
        real = root / "devices" / "pci0000:00" / address
        real.mkdir(parents=True)
        for name, text in (("vendor", vendor), ("device", device), ("class", kind)):
            (real / name).write_text(f"{text}\n")
        (real / "numa_node").write_text(f"{numa}\n")
        for name, target in (
            ("driver", driver and f"bus/pci/drivers/{driver}"),
            ("iommu_group", None if group is None else f"kernel/iommu_groups/{group}"),
        ):
            if target:
                (root / target).mkdir(parents=True, exist_ok=True)
                (real / name).symlink_to(root / target)
        link = root / "bus" / "pci" / "devices" / address
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(real)
    return root


@pytest.fixture
def workstation(tmp_path: Path) -> Gpu:
    (gpu,) = find_gpus(tree(tmp_path, WORKSTATION))
    return gpu


def test_a_workstation(workstation: Gpu) -> None:
    assert (workstation.address, workstation.maker) == ("0000:01:00.0", "NVIDIA")
    assert (workstation.driver, workstation.iommu_group) == ("nvidia", 1)
    assert workstation.numa_node is None
    assert [d.address for d in workstation.companions] == ["0000:00:01.0", "0000:01:00.1"]


def test_what_keeps_it_from_passthrough(workstation: Gpu) -> None:
    bound, shared = passthrough_problems(workstation)
    assert "bound to nvidia; bind it to vfio-pci: `driverctl set-override 0000:01:00.0" in bound
    assert "IOMMU group 1 with 0000:01:00.1, which snd_hda_intel drives" in shared
    assert passthrough_problems(workstation, {"0000:01:00.1"}) == [bound]


def test_a_server(tmp_path: Path) -> None:
    h100, mi210, a100 = find_gpus(tree(tmp_path, SERVER))
    assert (h100.model, a100.model, mi210.model) == ("h100-80gb", "a100-80gb", None)
    assert (mi210.maker, mi210.numa_node) == ("AMD", 1)
    assert passthrough_problems(h100) == []
    assert "bound to no driver" in passthrough_problems(mi210)[0]
    assert "has no IOMMU group; turn VT-d" in passthrough_problems(a100)[0]


def test_a_machine_without_pci(tmp_path: Path) -> None:
    assert find_gpus(tmp_path) == []
