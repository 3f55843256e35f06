"""What a node's root tree is made of. Two recipes that differ have different keys."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ai_how.errors import AiHowError

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
_OS_RELEASE = Path("/etc/os-release")
_FAMILIES = frozenset({"debian", "ubuntu"})


class ImageError(AiHowError):
    """An image cannot be made, found or removed; the message says why and what helps."""


@dataclass(frozen=True)
class Recipe:
    """A root tree. `suite` is the release's code name, such as ``bookworm``."""

    distribution: str
    suite: str
    architecture: str
    packages: tuple[str, ...]

    @property
    def key(self) -> str:
        """What the tree is cached by: it changes with anything that the tree is made from."""
        parts = [self.distribution, self.suite, self.architecture, *self.packages, customisation()]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def recipe(extra: Sequence[str] = (), os_release: Path = _OS_RELEASE) -> Recipe:
    """Return the recipe for nodes of this machine's own release, with `extra` packages.

    Raises ImageError where this machine is neither Debian nor derived from it.
    """
    told = read_os_release(os_release)
    family = told.get("ID", "") if told.get("ID") in _FAMILIES else ""
    suite = told.get("VERSION_CODENAME", "")
    if not family or not suite:
        raise ImageError(
            f"this machine is {told.get('PRETTY_NAME', 'of an unknown kind')}, and nodes are made "
            "of its own packages on Debian or Ubuntu alone; use `driver: process`"
        )
    packages = tuple(sorted({*PACKAGES, *extra}))
    return Recipe(family, suite, platform.machine(), packages)


def customisation() -> str:
    """Return the script that runs in a new tree."""
    return resources.files("ai_how.images").joinpath("customise.sh").read_text()


def read_os_release(path: Path = _OS_RELEASE) -> dict[str, str]:
    """Return the keys of os-release(5); empty where there is none."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {key: value.strip("\"'") for key, _, value in pairs}
