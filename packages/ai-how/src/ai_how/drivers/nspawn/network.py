"""A bridge of this machine for a cluster's nodes. Nothing else of its network is touched."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from ai_how.drivers.base import DriverError
from ai_how.plan.nodes import Net

_SYS = Path("/sys/class/net")
_GONE_S = 5.0


def make_bridge(net: Net, owner: str) -> None:
    """Make a bridge with the first address of its subnet; one that is there is left as it is.

    `owner` is noted in the bridge's alias, which `ip link` shows.
    """
    length = net.subnet.partition("/")[2]
    if not (_SYS / net.bridge).exists():
        _ip("link", "add", "name", net.bridge, "type", "bridge", "stp_state", "0")
    _ip("link", "set", "dev", net.bridge, "alias", owner)
    _ip("address", "replace", f"{net.gateway}/{length}", "dev", net.bridge)
    _ip("link", "set", "dev", net.bridge, "up")


def remove_bridge(name: str, owner: str) -> None:
    """Remove a bridge if it is there and `owner`'s."""
    if not (_SYS / name / "bridge").is_dir():
        return
    alias = (_SYS / name / "ifalias").read_text().strip()
    if alias not in {"", owner}:
        raise DriverError(f"the bridge {name} says it belongs to {alias}; it is left as it is")
    _ip("link", "delete", "dev", name)


def until_unplugged(interface: str) -> None:
    """Wait until a network cable that went with its node is gone from this machine too."""
    until = time.monotonic() + _GONE_S
    while (_SYS / interface).exists():
        if time.monotonic() > until:
            _ip("link", "delete", "dev", interface)
            return
        time.sleep(0.02)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        raise DriverError(f"ip {' '.join(words)}: {done.stderr.strip()}")
