"""Artifacts by their sha256, on disk or in any S3, through fsspec."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any, Protocol

import fsspec  # type: ignore[import-untyped]

from esper.files import write_whole


class StoreError(OSError):
    """An artifact that is missing or damaged, or a store that cannot be reached."""


class Store(Protocol):
    """Where bytes lie; a key is the sha256 of its bytes, so a write can be repeated."""

    def put(self, content: bytes) -> str:
        """Keep `content` and return its sha256."""
        ...

    def get(self, sha256: str) -> bytes:
        """Return the bytes, compared with their sha256. Raises StoreError."""
        ...


def open_store(url: str, **options: Any) -> Store:
    """Open `s3://bucket/prefix`, any other URL that fsspec knows, or a folder.

    An S3 that is not Amazon's is named by AWS_ENDPOINT_URL, its keys by AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY, as everywhere.
    """
    if "://" not in url or url.startswith("file://"):
        return FolderStore(Path(url.removeprefix("file://")).expanduser())
    return RemoteStore(url, **options)


def _path(sha256: str) -> str:
    if len(sha256) != 64 or not all(c in "0123456789abcdef" for c in sha256):
        raise StoreError(f"{sha256!r} is no sha256")
    return f"{sha256[:2]}/{sha256}"


def _checked(content: bytes, sha256: str, where: str) -> bytes:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StoreError(f"{where} is damaged: its bytes are not those that were stored")
    return content


class FolderStore:
    """A folder, written whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes) -> str:
        """Keep `content`; what lies there damaged is written anew."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.folder / _path(sha256)
        with contextlib.suppress(OSError):
            if path.read_bytes() == content:
                return sha256
        try:
            write_whole(path, content)
        except OSError as error:
            raise StoreError(f"{path} cannot be written ({error.strerror})") from None
        return sha256

    def get(self, sha256: str) -> bytes:
        """Return the bytes, compared with their sha256."""
        path = self.folder / _path(sha256)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise StoreError(f"there is no artifact {path}") from None
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror})") from None
        return _checked(content, sha256, str(path))


class RemoteStore:
    """Any filesystem of fsspec; S3 by obstore."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url.rstrip("/")
        scheme = url.split("://", maxsplit=1)[0]
        if scheme == "s3":
            options = {**_s3_options(), **options}
        try:
            self.files, self.root = fsspec.core.url_to_fs(self.url, **options)
        except (ImportError, ValueError) as error:
            raise StoreError(f"{url}: {error}") from None

    def put(self, content: bytes) -> str:
        """Keep `content`; an object appears whole or not at all."""
        sha256 = hashlib.sha256(content).hexdigest()
        try:
            self.files.pipe_file(f"{self.root}/{_path(sha256)}", content)
        except Exception as error:  # each filesystem has exceptions of its own
            raise StoreError(f"{self.url} cannot be written ({_first_line(error)})") from None
        return sha256

    def get(self, sha256: str) -> bytes:
        """Return the bytes, compared with their sha256."""
        where = f"{self.root}/{_path(sha256)}"
        try:
            content: bytes = self.files.cat_file(where)
        except FileNotFoundError:
            raise StoreError(f"there is no artifact {self.url}/{_path(sha256)}") from None
        except Exception as error:  # each filesystem has exceptions of its own
            raise StoreError(f"{self.url} cannot be read ({_first_line(error)})") from None
        return _checked(content, sha256, where)


def _s3_options() -> dict[str, Any]:
    try:
        from obstore.fsspec import register
    except ImportError:
        raise StoreError("S3 needs `pip install pyacemaker-esper[services]`") from None
    register("s3")
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    config: dict[str, Any] = {"region": os.environ.get("AWS_REGION", "us-east-1")}
    if endpoint:
        config["endpoint"] = endpoint
    return {
        "config": config,
        "client_options": {
            "timeout": "30s",
            "connect_timeout": "5s",
            **({"allow_http": True} if (endpoint or "").startswith("http://") else {}),
        },
        "retry_config": {"max_retries": 3},
    }


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
