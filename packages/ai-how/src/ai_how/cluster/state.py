"""What is known of a cluster across commands, crashes and reboots: one folder, one JSON file.

The folder is locked by the kernel while a command changes the cluster; the state is written
before anything is made, so that whatever a kill -9 leaves can be found and removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ai_how.errors import AiHowError, BadRequestError
from ai_how.files import state_dir, sync_folder, write_whole

_VERSION = 1


class StateError(AiHowError):
    """The state of a cluster is missing, damaged or in use."""


class UnknownNameError(StateError, BadRequestError):
    """There is no cluster, or no node, of that name."""


class DamagedStateError(StateError):
    """The state cannot be read; it can be written anew, and what it told of can be removed."""


@dataclass
class ClusterState:
    """A cluster that was made, or begun.

    Attributes
    ----------
    name, driver
        As in its file.
    source
        Where its file was, for messages.
    text
        The file itself; the cluster is remade from this after a reboot.
    wanted
        ``up`` or ``down``.
    off
        Nodes that the user stopped.
    verified
        The first job: its nodes, and its time in seconds; None before it ran.
    """

    name: str
    driver: str
    source: str
    text: str
    wanted: str = "up"
    off: list[str] = field(default_factory=list)
    verified: dict[str, Any] | None = None
    version: int = _VERSION


def folder_of(name: str) -> Path:
    """Return the folder of a cluster, which need not exist."""
    return state_dir() / name


def known_clusters() -> list[str]:
    """Return the names of the clusters of this user, sorted."""
    root = state_dir()
    if not root.is_dir():
        return []
    return sorted(path.parent.name for path in root.glob("*/state.json"))


def read_state(name: str) -> ClusterState | None:
    """Return the state of a cluster, or None if it was never made. Raises StateError."""
    path = folder_of(name) / "state.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != _VERSION:
            raise StateError(
                f"{path}: written by another version of ai-how (format {data['version']}); "
                "use that one to destroy the cluster"
            )
        return ClusterState(**data)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise StateError(f"{path}: cannot be read; is the cluster another user's?") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedStateError(
            f"{path}: damaged ({error}); `ai-how up` with the cluster's YAML writes it anew"
        ) from None


def write_state(state: ClusterState) -> None:
    """Write the state of a cluster, whole."""
    write_whole(folder_of(state.name) / "state.json", json.dumps(asdict(state), indent=1) + "\n")


@contextlib.contextmanager
def changing(name: str) -> Iterator[Path]:
    """Hold a cluster's folder, made if missing, against every other command.

    Raises StateError if another command is changing the cluster. An empty folder is removed
    at the end, and the root of all folders with the last one.
    """
    folder = folder_of(name)
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # removed by another command between the two calls
        except OSError as error:
            raise StateError(f"{folder}: {error.strerror}; set AI_HOW_STATE") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise StateError(f"another command is changing {name!r}; try again later") from None
        with contextlib.suppress(FileNotFoundError):
            if os.stat(folder).st_ino == os.fstat(descriptor).st_ino:  # noqa: PTH116
                break
        os.close(descriptor)
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()
            folder.parent.rmdir()
        os.close(descriptor)


def forget(folder: Path) -> None:
    """Remove a cluster's folder; its state goes last, so that an interrupt can be resumed."""
    for path in folder.iterdir():
        if path.name != "state.json":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (folder / "state.json").unlink(missing_ok=True)
    sync_folder(folder)
