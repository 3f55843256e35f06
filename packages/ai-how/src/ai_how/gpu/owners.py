"""Who owns which GPU: one owner each, across all clusters, kept on disk.

The file is ``gpus.json`` beside the clusters' folders, written whole, and changed under a lock
on the folder that the kernel frees when its holder dies. It is there only while something is
owned.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ai_how.errors import AiHowError
from ai_how.files import state_dir, sync_folder, write_whole
from ai_how.gpu.sysfs import Gpu, passthrough_problems

_FILE = "gpus.json"
_VERSION = 1


class GpuError(AiHowError):
    """A GPU cannot be given or taken back; the message says why and what helps."""


@dataclass(frozen=True)
class Owner:
    """Who has a GPU, or another PCI device, and since when (ISO 8601, UTC)."""

    address: str
    cluster: str
    since: str


def owners() -> dict[str, Owner]:
    """Return the owner of each owned device by its PCI address. Raises GpuError."""
    path = state_dir() / _FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != _VERSION:
            raise GpuError(f"{path}: written by another version of ai-how ({data['version']})")
        return {row["address"]: Owner(**row) for row in data["owners"]}
    except FileNotFoundError:
        return {}
    except PermissionError:
        raise GpuError(f"{path}: cannot be read; is it another user's?") from None
    except (ValueError, KeyError, TypeError) as error:
        raise GpuError(
            f"{path}: damaged ({error}); remove it, then `ai-how up` every cluster that has GPUs"
        ) from None


def allocate(addresses: Sequence[str], cluster: str) -> list[Owner]:
    """Give devices to a cluster, all or none; what it has already it keeps.

    Raises GpuError where another cluster has one of them.
    """
    with _changing() as have:
        for address in addresses:
            if (owner := have.get(address)) is not None and owner.cluster != cluster:
                raise GpuError(
                    f"{address} belongs to the cluster {owner.cluster!r} since {owner.since}; "
                    f"`ai-how gpu release {address}` takes it back"
                )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        for address in addresses:
            have.setdefault(address, Owner(address, cluster, now))
        return [have[address] for address in addresses]


def release(addresses: Sequence[str] = (), cluster: str | None = None) -> list[Owner]:
    """Take devices back: those named, or without names all of a cluster; return which it were.

    Raises GpuError where a device that is named has no owner, or another one than `cluster`.
    """
    if not addresses and not (state_dir() / _FILE).exists():
        return []
    with _changing() as have:
        for address in addresses:
            owner = have.get(address)
            if owner is None:
                raise GpuError(f"{address} belongs to no cluster; `ai-how gpu list` shows owners")
            if cluster is not None and owner.cluster != cluster:
                raise GpuError(f"{address} belongs to the cluster {owner.cluster!r}")
        gone = addresses or [a for a, owner in have.items() if owner.cluster == cluster]
        return [have.pop(address) for address in gone]


def check_gpus(addresses: Sequence[str], gpus: Sequence[Gpu]) -> list[str]:
    """Return what keeps devices of this machine from being given, each with its remedy."""
    known = {gpu.address: gpu for gpu in gpus}
    beside = {d.address for a in addresses if a in known for d in known[a].companions}
    found = []
    for address in addresses:
        if address in beside and address not in known:  # its sound, or its USB
            continue
        if address not in known:
            have = ", ".join(known) or "none"
            found.append(f"{address} is no GPU of this machine; there are: {have}")
            continue
        found += passthrough_problems(known[address], addresses)
    return found


@contextlib.contextmanager
def _changing() -> Iterator[dict[str, Owner]]:
    """Hold the folder against every other change; write what is there at the end."""
    root = state_dir()
    while True:
        try:
            root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # removed with its last cluster between the two calls
        except OSError as error:
            raise GpuError(f"{root}: {error.strerror}; set AI_HOW_STATE") from None
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if root.stat().st_ino == os.fstat(descriptor).st_ino:
                break
        os.close(descriptor)
    try:
        before = owners()
        have = dict(before)
        yield have
        if have != before:
            _write(root, have)
    finally:
        with contextlib.suppress(OSError):
            root.rmdir()  # if nothing is in it
        os.close(descriptor)


def _write(root: Path, have: dict[str, Owner]) -> None:
    path = root / _FILE
    if have:
        rows = [asdict(have[address]) for address in sorted(have)]
        write_whole(path, json.dumps({"version": _VERSION, "owners": rows}, indent=1) + "\n")
    else:
        path.unlink(missing_ok=True)
        sync_folder(root)
