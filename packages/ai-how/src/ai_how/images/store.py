"""The cache of root trees: which there are, whether they are whole, and away with them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ai_how.files import write_whole
from ai_how.images.recipe import ImageError, Recipe, UnknownImageError

_RECORD = "image.json"
_KEY = re.compile(r"[0-9a-f]{3,64}")


@dataclass(frozen=True)
class Image:
    """A root tree that is there.

    Attributes
    ----------
    key
        The hash of its recipe.
    distribution, suite, architecture
        As ``debian``, ``bookworm``, ``x86_64``.
    packages
        Its packages with their versions.
    built
        When, in UTC (ISO 8601).
    wall_s, size_MiB
        How long that took, and its size.
    digest
        Of names, sizes and times of all its files; a tree that was changed has another.
    """

    key: str
    distribution: str
    suite: str
    architecture: str
    packages: dict[str, str]
    built: str
    wall_s: float
    size_MiB: int
    digest: str

    @property
    def tree(self) -> Path:
        """Where its files are."""
        return folder_of(self.key) / "tree"


def cache_dir() -> Path:
    """Return the folder of all images: `AI_HOW_CACHE`, or ai-how in the user's cache folder."""
    if named := os.environ.get("AI_HOW_CACHE"):
        return Path(named).expanduser().absolute() / "images"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ai-how" / "images"


def folder_of(key: str) -> Path:
    """Return the folder of an image, which need not exist."""
    return cache_dir() / key


def find(wanted: Recipe) -> Image | None:
    """Return the image of a recipe, or None if it was never built."""
    return read_record(wanted.key)


def read_record(key: str) -> Image | None:
    """Return an image by its key, or None where there is none or its record is damaged."""
    try:
        data = json.loads((folder_of(key) / _RECORD).read_text(encoding="utf-8"))
        return Image(**data)
    except (OSError, ValueError, TypeError):
        return None


def write_record(image: Image) -> None:
    """Write what is known of an image; with this the image is there."""
    write_whole(folder_of(image.key) / _RECORD, json.dumps(asdict(image), indent=1) + "\n")


def images() -> list[Image]:
    """Return the images that are there, the newest first."""
    root = cache_dir()
    keys = [path.parent.name for path in root.glob(f"*/{_RECORD}")] if root.is_dir() else []
    found = [image for key in keys if (image := read_record(key)) is not None]
    return sorted(found, key=lambda image: image.built, reverse=True)


def damage(image: Image) -> str | None:
    """Say what is wrong with an image's tree, or None if it is as it was built.

    Looks at each file's name, size and time of change, not at its content: some tenths of a
    second for 20,000 files.
    """
    if not image.tree.is_dir():
        return f"its tree {image.tree} is gone"
    if digest_of(image.tree)[0] != image.digest:
        return f"files in {image.tree} were changed, added or removed since it was built"
    return None


def digest_of(tree: Path) -> tuple[str, int]:
    """Return the digest of a tree and its size in bytes."""
    total, lines = 0, []
    for path, status in _entries(str(tree)):
        total += status.st_blocks * 512
        row = (path[len(str(tree)) :], status.st_mode, status.st_uid, status.st_gid)
        folder = status.st_mode & 0o170000 == 0o040000
        lines.append(f"{row}" if folder else f"{row} {status.st_size} {status.st_mtime_ns}")
    text = "\n".join(sorted(lines)).encode(errors="surrogateescape")
    return hashlib.sha256(text).hexdigest(), total


def _entries(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as found:
        for entry in found:
            yield entry.path, entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(entry.path)


def in_use(tree: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> bool:
    """Say whether a node stands on a tree now, or a virtual machine on a file below it."""
    words = (line.partition(" - ")[2] for line in mountinfo.read_text().splitlines())
    return any(f"lowerdir={tree}," in f"{word}," for word in words) or _booted_from(tree)


def _booted_from(folder: Path) -> bool:
    """Say whether the kernel of a virtual machine was read from a folder (qemu's -kernel)."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            told = path.read_bytes().split(b"\0")
            if b"-kernel" in told[:-1]:
                kernel = told[told.index(b"-kernel") + 1]
                if kernel.startswith(os.fsencode(folder) + b"/"):
                    return True
    return False


def remove(key: str) -> None:
    """Remove an image. Raises ImageError where there is none, or where a node stands on it."""
    folder = folder_of(key)
    if not _KEY.fullmatch(key) or not folder.is_dir():
        there = ", ".join(image.key for image in images()) or "none"
        raise UnknownImageError(f"there is no image {key!r}; there are: {there}")
    if in_use(folder / "tree") or in_use(folder):
        raise ImageError(f"nodes stand on the image {key}; `ai-how down` their clusters first")
    discard(folder)


def discard(folder: Path) -> None:
    """Remove an image's folder; its record goes first, so that no half of it is taken for whole."""
    (folder / _RECORD).unlink(missing_ok=True)
    shutil.rmtree(folder)
