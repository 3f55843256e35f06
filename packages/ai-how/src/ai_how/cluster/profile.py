"""What other programs need to know of a cluster: the section `execution`, the root of rootstock.

Written as text, so that a file of the user's keeps its comments when a section is put into it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ai_how.cluster.state import folder_of
from ai_how.drivers.base import Driver
from ai_how.errors import BadRequestError
from ai_how.files import write_whole
from ai_how.plan.plan import Plan, Queue

_BLOCK_MIN = 60
_DAYS = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")


class ProfileError(BadRequestError):
    """A profile cannot be made or merged; the message says why and what helps."""


@dataclass(frozen=True)
class Profile:
    """How to use a cluster.

    `execution` is the section of that name in a campaign's file, `roots` the entries of
    rootstock's ``clusters.yaml``: name and root.
    """

    cluster: str
    execution: dict[str, Any]
    roots: dict[str, str]

    def execution_text(self) -> str:
        """Return the section as YAML."""
        told = f"# Labels and trajectories run on the cluster {self.cluster}; made by ai-how."
        return f"{told}\n{_yaml({'execution': self.execution})}"

    def roots_text(self) -> str:
        """Return rootstock's entry as YAML."""
        return _yaml({"clusters": self.roots})


def make_profile(
    plan: Plan,
    driver: Driver,
    shared: Path,
    partition: str | None = None,
    labels_per_node: int | None = None,
) -> Profile:
    """Return the profile of a cluster; `shared` is the folder that all its nodes see.

    A block is one node, for as many nodes as the partition has; a label takes one core.
    Raises ProfileError for an unknown partition.
    """
    queue = _queue(plan, partition)
    nodes = [node for node in plan.compute if node.name in queue.nodes]
    cores = min(node.cpu for node in nodes)
    limit = _minutes(queue.max_time)
    execution: dict[str, Any] = {
        "kind": "slurm",
        "partition": queue.name,
        "walltime_min": _BLOCK_MIN if limit is None else max(1, min(limit, _BLOCK_MIN)),
        "blocks": len(nodes),
        "cores_per_node": cores,
        "labels_per_node": labels_per_node or cores,
        "address": _address_of_this_machine(plan),
    }
    if conf := driver.environment().get("SLURM_CONF"):
        execution["slurm_conf"] = conf
    return Profile(plan.name, execution, {plan.name: str(shared / "rootstock")})


def shared_folder(plan: Plan) -> Path:
    """Return the folder of this machine that all nodes of a cluster see, by the same name."""
    return Path(plan.shared) if plan.shared else folder_of(plan.name) / "shared"


def python_folders() -> list[Path]:
    """Return the folders of the Python that runs this, as far as they are not of the system."""
    system = [Path(name) for name in ("/usr", "/bin", "/lib")]
    found = {Path(sys.prefix), Path(sys.base_prefix)}
    return sorted(p for p in found if not any(p.is_relative_to(folder) for folder in system))


def unseen(plan: Plan, folders: Sequence[Path], shared: Path) -> list[Path]:
    """Return which folders some compute node does not see: nodes that boot have their own files."""
    if plan.driver == "process":
        return []
    found = []
    for folder in folders:
        for node in plan.compute:
            seen = [shared, *[Path(target) for _, target, _ in node.mounts]]
            if not any(folder.is_relative_to(place) for place in seen):
                found.append(folder)
                break
    return found


def merge_section(path: Path, key: str, section: str) -> None:
    """Put the section `key` into a YAML file, in place of one of that name; the rest stays.

    Raises ProfileError where the file cannot be read or would not be YAML any more.
    """
    old = _read(path)
    lines = old.splitlines(keepends=True)
    begin = next((i for i, line in enumerate(lines) if re.match(rf"{key}\s*:", line)), None)
    if begin is None:
        head = old if not old or old.endswith("\n") else f"{old}\n"
        text = f"{head}{section}"
    else:
        end = _end_of_block(lines, begin)
        if begin and lines[begin - 1].rstrip().endswith("made by ai-how."):
            begin -= 1
        text = "".join([*lines[:begin], section, *lines[end:]])
    _write_checked(path, text, old, key)


def merge_roots(path: Path, roots: dict[str, str]) -> None:
    """Put clusters and their roots into rootstock's ``clusters.yaml``; the others stay."""
    old = _read(path)
    found = yaml.safe_load(old) if old.strip() else {}
    if not isinstance(found, dict) or not isinstance(found.get("clusters", {}), dict):
        raise ProfileError(f"{path}: expected the key clusters with names and their roots")
    merge_section(path, "clusters", _yaml({"clusters": {**found.get("clusters", {}), **roots}}))


def _queue(plan: Plan, name: str | None) -> Queue:
    for queue in plan.partitions:
        if (queue.default if name is None else queue.name == name) and queue.nodes:
            return queue
    names = ", ".join(queue.name for queue in plan.partitions)
    raise ProfileError(f"{plan.name!r} has no partition {name!r} with nodes; there are {names}")


def _address_of_this_machine(plan: Plan) -> str:
    """Return the address at which nodes reach the program that submits."""
    if plan.driver == "process":
        return "127.0.0.1"
    return next(net.gateway for net in plan.networks if net.cluster == "hpc")


def _minutes(limit: str) -> int | None:
    """Return SLURM's time limit in whole minutes; None for UNLIMITED."""
    if limit == "UNLIMITED":
        return None
    match = _DAYS.fullmatch(limit)
    if match is None:
        raise ProfileError(f"{limit!r} is no time limit of SLURM")
    days, first, second, third = match.groups()
    if days is not None:  # days-hours[:minutes[:seconds]]
        return (24 * int(days) + int(first)) * 60 + int(second or 0)
    if third is not None:  # hours:minutes:seconds
        return 60 * int(first) + int(second)
    return int(first)  # minutes[:seconds]


def _end_of_block(lines: Sequence[str], begin: int) -> int:
    """Return the line after a section: the next key, with the comments that stand before it."""
    end = begin + 1
    for index in range(begin + 1, len(lines)):
        if lines[index].startswith((" ", "\t", "-")):
            end = index + 1
        elif lines[index].strip() and not lines[index].startswith("#"):
            break
    return end


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: cannot be read ({error})") from None


def _write_checked(path: Path, text: str, old: str, key: str) -> None:
    """Write a file if all but `key` still reads as before."""
    by_hand = f"{path}: {key} cannot be put in without changing the rest; do it by hand"
    try:
        was = yaml.safe_load(old) or {}
    except yaml.YAMLError as error:
        raise ProfileError(f"{path}: is not YAML ({' '.join(str(error).split())})") from None
    try:
        now = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ProfileError(by_hand) from None
    if not isinstance(was, dict) or {k: v for k, v in now.items() if k != key} != {
        k: v for k, v in was.items() if k != key
    }:
        raise ProfileError(by_hand)
    try:
        write_whole(path, text)
    except OSError as error:
        raise ProfileError(f"{path}: cannot be written ({error.strerror})") from None


def _yaml(data: dict[str, Any]) -> str:
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=False, allow_unicode=True)
