"""The nearest valid name to a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

_ENOUGH = 0.6
# What other tools call the same thing.
_ALSO_CALLED = {
    "vcpus": "cpu",
    "cores": "cpu",
    "cpus": "cpu",
    "ram": "memory",
    "mem": "memory",
    "memory_mb": "memory",
    "address": "ip",
    "ip_address": "ip",
    "cidr": "subnet",
    "replicas": "count",
    "quantity": "count",
    "queues": "partitions",
    "workers": "compute_nodes",
    "nodes": "compute_nodes",
    "head": "controller",
    "volumes": "mounts",
    "autostart": "auto_start",
    "hostname": "name",
    "gres": "gpus",
    "provider": "driver",
    "backend": "driver",
}


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name most like `name` (case counts little), or None."""
    scored = sorted(((_likeness(name, other), other) for other in valid), reverse=True)
    return scored[0][1] if scored and scored[0][0] >= _ENOUGH else None


def nearest_key(key: str, siblings: Iterable[str], everywhere: Iterable[str]) -> str | None:
    """Return the valid key most like `key`, or None.

    `siblings` are the valid keys where `key` stands; `everywhere` the dotted paths of all
    keys. What other tools call a sibling wins, then a sibling that is spelt alike, then a key
    from elsewhere, as its dotted path.
    """
    beside = list(siblings)
    if (meant := _ALSO_CALLED.get(key.lower())) in beside:
        return meant
    if (close := nearest(key, beside)) is not None:
        return close
    there = [(_likeness(key, path.rpartition(".")[2]), path) for path in everywhere]
    score, path = max(there, key=lambda item: (item[0], -len(item[1])), default=(0.0, ""))
    return path if score >= 0.8 else None


def _likeness(first: str, second: str) -> float:
    """Return 0 (nothing in common) to 1 (equal but for case)."""
    return SequenceMatcher(None, first.lower(), second.lower()).ratio()
