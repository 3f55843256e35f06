"""GPUs as the kernel shows them in sysfs, and whether they can be passed through to a VM.

No vendor's tool is asked: sysfs is there without a driver, and for a GPU that is bound to
vfio-pci nothing else is. Layout: Documentation/ABI/testing/sysfs-bus-pci of the kernel.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_SYS = Path("/sys")
# PCI base classes (PCI Code and ID Assignment Specification): display controller, processing
# accelerator (AMD's data-centre GPUs), bridge.
_DISPLAY, _ACCELERATOR, _BRIDGE = 0x03, 0x12, 0x06
_VENDORS = {"10de": "NVIDIA", "1002": "AMD", "8086": "Intel"}
# The GPUs that MIG divides, by PCI device id (the PCI ID repository).
_MODELS = {
    "20b0": "a100-40gb",
    "20f1": "a100-40gb",
    "20b2": "a100-80gb",
    "20b5": "a100-80gb",
    "2330": "h100-80gb",
    "2331": "h100-80gb",
    "2335": "h200-141gb",
}


@dataclass(frozen=True)
class Device:
    """A PCI device. `driver` and `iommu_group` are None where it has none."""

    address: str
    vendor: str
    device: str
    pci_class: int
    driver: str | None
    iommu_group: int | None


@dataclass(frozen=True)
class Gpu(Device):
    """A GPU. `model` is set for those that MIG divides; `companions` share its IOMMU group."""

    maker: str
    model: str | None
    numa_node: int | None
    companions: tuple[Device, ...]


def find_gpus(sys: Path = _SYS) -> list[Gpu]:
    """Return the GPUs of a machine in the order of their addresses.

    A GPU is a display controller or processing accelerator of NVIDIA, AMD or Intel; the
    graphics of a server's management controller is none.
    """
    folder = sys / "bus" / "pci" / "devices"
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    devices = [_device(path) for path in paths if (path / "class").exists()]  # not unplugged
    found = []
    for device in devices:
        kind = device.pci_class >> 16
        if kind not in {_DISPLAY, _ACCELERATOR} or device.vendor not in _VENDORS:
            continue
        group = device.iommu_group
        others = [d for d in devices if d.iommu_group == group and d != device]
        found.append(
            Gpu(
                **vars(device),
                maker=_VENDORS[device.vendor],
                model=_MODELS.get(device.device) if device.vendor == "10de" else None,
                numa_node=_numa_node(folder / device.address),
                companions=tuple(others) if group is not None else (),
            )
        )
    return found


def full_address(address: str) -> str:
    """Return a PCI address with its domain, in small letters: ``0000:01:00.0`` for ``01:00.0``."""
    small = address.lower()
    return small if small.count(":") == 2 else f"0000:{small}"


def passthrough_problems(gpu: Gpu, given: Collection[str] = ()) -> list[str]:
    """Return what keeps a GPU from being passed through, each with its remedy.

    Two GPUs of one kind have one vendor and device id, and ``vfio-pci.ids=`` on the kernel's
    command line takes both: the remedy names the address.

    A group of the IOMMU goes to one VM as a whole, its bridges excepted (Documentation/
    driver-api/vfio.rst of the kernel): every other device of it must be in `given` too, or
    be bound to vfio-pci or to nothing.
    """
    if gpu.iommu_group is None:
        return [
            f"{gpu.address} has no IOMMU group; turn VT-d or AMD-Vi on in the firmware, and boot "
            "with intel_iommu=on or amd_iommu=on"
        ]
    found = []
    if gpu.driver != "vfio-pci":
        bound = f"bound to {gpu.driver}" if gpu.driver else "bound to no driver"
        found.append(
            f"{gpu.address} is {bound}; bind it to vfio-pci: "
            f"`driverctl set-override {gpu.address} vfio-pci`"
        )
    for other in gpu.companions:
        if other.pci_class >> 16 == _BRIDGE or other.address in given:
            continue
        if other.driver not in {None, "vfio-pci"}:
            found.append(
                f"{gpu.address} shares IOMMU group {gpu.iommu_group} with {other.address}, which "
                f"{other.driver} drives; give that to the same node too, or bind it to vfio-pci"
            )
    return found


def _device(path: Path) -> Device:
    group = path / "iommu_group"
    driver = path / "driver"
    return Device(
        address=path.name,
        vendor=_hex(path / "vendor"),
        device=_hex(path / "device"),
        pci_class=int((path / "class").read_text(), 16),
        driver=driver.readlink().name if driver.is_symlink() else None,
        iommu_group=int(group.readlink().name) if group.is_symlink() else None,
    )


def _hex(path: Path) -> str:
    return f"{int(path.read_text(), 16):04x}"


def _numa_node(path: Path) -> int | None:
    """Return the NUMA node; the kernel writes -1 where it knows none."""
    file = path / "numa_node"
    node = int(file.read_text()) if file.exists() else -1
    return node if node >= 0 else None
