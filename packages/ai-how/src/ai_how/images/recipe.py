"""What a node's root tree is made of. Two recipes that differ have different keys."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ai_how.errors import AiHowError, BadRequestError

# Every role of every node, for the tree is one: a controller and a compute node differ in what
# is started. Small Debian packages that a playbook would otherwise have to download.
PACKAGES = (
    "ca-certificates",
    "charliecloud-runtime",
    "dbus",
    "fuse3",
    "iproute2",
    "iputils-ping",
    "kmod",
    "libpam-systemd",
    "libpmix2",
    "mariadb-server",
    "munge",
    "openssh-client",
    "openssh-server",
    "procps",
    "prometheus",
    "prometheus-node-exporter",
    "python3",
    "python3-apt",
    "slurm-client",
    "slurmctld",
    "slurmd",
    "slurm-wlm-jwt-plugin",
    "slurmdbd",
    "slurmrestd",
    "squashfuse",
    "systemd",
    "systemd-sysv",
)
# What a node needs besides where it has a kernel of its own. The cloud kernels have virtio, and
# no driver of real hardware: they boot sooner.
GUEST_PACKAGES = ("e2fsprogs", "initramfs-tools", "udev")
_KERNELS = {
    ("debian", "x86_64"): "linux-image-cloud-amd64",
    ("ubuntu", "x86_64"): "linux-image-virtual",
}
_OS_RELEASE = Path("/etc/os-release")
_FAMILIES = frozenset({"debian", "ubuntu"})


class ImageError(AiHowError):
    """An image cannot be made or removed; the message says why and what helps."""


class UnknownImageError(ImageError, BadRequestError):
    """There is no image of that key."""


@dataclass(frozen=True)
class Recipe:
    """A root tree. `suite` is the release's code name, such as ``bookworm``.

    `kernel` is the package of the kernel that its nodes boot; empty where they use this machine's.
    """

    distribution: str
    suite: str
    architecture: str
    packages: tuple[str, ...]
    kernel: str = ""

    @property
    def key(self) -> str:
        """What the tree is cached by: it changes with anything that the tree is made from."""
        parts = [self.distribution, self.suite, self.architecture, *self.packages, *self.scripts]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    @property
    def scripts(self) -> tuple[str, ...]:
        """The scripts that run in a new tree, one after the other."""
        return (_script("customise.sh"), *([_script("guest.sh")] if self.kernel else []))


def recipe(
    extra: Sequence[str] = (), os_release: Path = _OS_RELEASE, *, guest: bool = False
) -> Recipe:
    """Return the recipe for nodes of this machine's own release, with `extra` packages.

    With `guest` they have a kernel of their own. Raises ImageError where this machine is neither
    Debian nor derived from it, or none of its kernels is known to do.
    """
    told = read_os_release(os_release)
    family = told.get("ID", "") if told.get("ID") in _FAMILIES else ""
    suite = told.get("VERSION_CODENAME", "")
    if not family or not suite:
        raise ImageError(
            f"this machine is {told.get('PRETTY_NAME', 'of an unknown kind')}, and nodes are made "
            "of its own packages on Debian or Ubuntu alone; use `driver: process`"
        )
    machine = platform.machine()
    if not guest:
        return Recipe(family, suite, machine, tuple(sorted({*PACKAGES, *extra})))
    kernel = _KERNELS.get((family, machine))
    if kernel is None:
        raise ImageError(f"no kernel for virtual machines is known for {family} on {machine}")
    packages = {*PACKAGES, *GUEST_PACKAGES, kernel, *extra}
    return Recipe(family, suite, machine, tuple(sorted(packages)), kernel)


def _script(name: str) -> str:
    return resources.files("ai_how.images").joinpath(name).read_text()


def read_os_release(path: Path = _OS_RELEASE) -> dict[str, str]:
    """Return the keys of os-release(5); empty where there is none."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {key: value.strip("\"'") for key, _, value in pairs}
