"""Source archives: found where the user's own tools look, checked, and unpacked safely.

Nothing here names a host. Python archives come from the indexes of the user's pip or uv
configuration (else the tool's own default), Debian's from the mirror that the machine's
apt names. A folder of archives named by `PYACEMAKER_ARCHIVES` is looked at first, so a
machine without network works too. Every archive is checked against a committed SHA-256.
"""

from __future__ import annotations

import configparser
import contextlib
import logging
import os
import re
import shutil
import ssl
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

from pyacemaker.files import cache_dir, sha256_of
from pyacemaker.process import run_program

Say = Callable[[str], None]

_DOWNLOAD_LIMIT_S = 1800.0
_SYSTEM_PIP = Path("/etc/pip.conf")
_SYSTEM_UV = Path("/etc/uv/uv.toml")
_NAME = re.compile(r"^[\w.-]+=(?=\S+://)")  # uv allows NAME=URL


class PartError(RuntimeError):
    """A part that could not be fetched or built; the message says what to do, in one line."""


@dataclass(frozen=True)
class Archive:
    """A pinned archive: its file name, its SHA-256, and the members that are wanted.

    `members` are path prefixes below the one top folder of a tar archive, or in a wheel.
    """

    filename: str
    sha256: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class IndexSettings:
    """Where the user's pip or uv looks for packages."""

    index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    certificate: str | None = None


def unpacked(archive: Archive, fetch: Callable[[Path], Path], say: Say) -> Path:
    """Return the folder in the cache that holds the wanted members of `archive`.

    `fetch(folder)` brings the archive into `folder` when neither the cache nor
    `PYACEMAKER_ARCHIVES` has it. Raises PartError.
    """
    folder = cache_dir().resolve() / "sources" / f"{archive.filename}-{archive.sha256[:12]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    for stale in folder.parent.glob(".fetch-*"):  # of a download that was killed
        if time.time() - stale.stat().st_mtime > _DOWNLOAD_LIMIT_S:
            shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as scratch:
        path = _already_here(archive)
        if path is None:
            path = fetch(Path(scratch))
        found = sha256_of(path)
        if found != archive.sha256:
            raise PartError(
                f"{path.name}: SHA-256 is {found}, not the pinned {archive.sha256}; "
                "the source served another file (a proxy or a changed mirror)"
            )
        say(f"unpacking {archive.filename}")
        target = Path(scratch) / "unpacked"
        extract(path, archive.members, target)
        with contextlib.suppress(OSError):  # another process was faster: same content
            target.rename(folder)
    return folder


def _already_here(archive: Archive) -> Path | None:
    named = os.environ.get("PYACEMAKER_ARCHIVES")
    if not named:
        return None
    path = Path(named).expanduser() / archive.filename
    return path if path.is_file() else None


def extract(archive: Path, members: Iterable[str], target: Path) -> None:
    """Unpack the members under the given prefixes of a tar archive, less its top folder.

    Files and folders alone are taken, and none with a name that leads out of `target`. A wheel
    has no top folder. Raises PartError if a prefix matches nothing or the archive is damaged.
    """
    prefixes = tuple(members)
    missing = set(prefixes)

    def wanted(inner: str) -> bool:
        matched = [p for p in prefixes if inner == p or inner.startswith(f"{p}/")]
        missing.difference_update(matched)
        return bool(matched)

    target.mkdir(parents=True)
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                for name in wheel.namelist():
                    if wanted(name):
                        wheel.extract(name, target)
        else:
            with tarfile.open(archive, "r|*") as tar:
                for member in tar:
                    inner = member.name.removeprefix("./").partition("/")[2]
                    if member.isfile() and wanted(inner):
                        _extract_file(tar, member, inner, target)
    except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError) as error:
        raise PartError(f"{archive.name} cannot be unpacked: {error}") from error
    if missing:
        raise PartError(f"{archive.name} holds no {', '.join(sorted(missing))}")


def _extract_file(tar: tarfile.TarFile, member: tarfile.TarInfo, inner: str, target: Path) -> None:
    """Write one file of an archive; Python has filters for this, from 3.11.4 on."""
    place = PurePosixPath(inner)
    if place.is_absolute() or ".." in place.parts:
        raise tarfile.TarError(f"{member.name} leads out of the folder")
    path = target.joinpath(*place.parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None  # noqa: S101 - it is a regular file
    with content, path.open("wb") as stream:
        shutil.copyfileobj(content, stream)
    path.chmod(0o755 if member.mode & 0o100 else 0o644)


def fetch_package(requirement: str, filename: str, folder: Path, say: Say) -> Path:
    """Download a source distribution, or a wheel of any Python, from the user's package indexes.

    Nothing is built or installed.

    Raises PartError when no index has it or none can be reached.
    """
    from unearth import PackageFinder
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    settings = index_settings()
    default = PackageFinder().sources[0]["url"]  # the library's own default index
    urls = settings.index_urls or (default,)
    wheel = filename.endswith(".whl")
    for chatty in ("httpx2", "httpx", "unearth"):  # python-ace turns INFO on for everybody
        logging.getLogger(chatty).setLevel(logging.WARNING)
    say(f"fetching {filename} from the configured package index")
    try:
        trust = ssl.create_default_context(cafile=settings.certificate)
        with PyPIClient(trusted_hosts=settings.trusted_hosts, verify=trust, timeout=60.0) as client:
            client.auth = MultiDomainBasicAuth(prompting=False, index_urls=urls)
            finder = PackageFinder(
                session=cast(Any, client),
                index_urls=urls,
                find_links=settings.find_links,
                trusted_hosts=settings.trusted_hosts,
                no_binary=() if wheel else [requirement.partition("=")[0]],
                ignore_compatibility=wheel,  # its files are wanted, its Python is not
            )
            for match in finder.find_matches(requirement, allow_prereleases=True):
                if match.link.filename == filename:
                    return Path(finder.download(match.link, folder))
    except Exception as error:  # the client's errors have no common base
        raise PartError(
            f"{filename} could not be fetched ({_one_line(error)}); check the network or put "
            "the file into a folder and name it in PYACEMAKER_ARCHIVES"
        ) from error
    raise PartError(
        f"no configured package index has {filename}; add one that mirrors it, or name a folder "
        "holding the file in PYACEMAKER_ARCHIVES"
    )


def fetch_debian_source(pool: str, filename: str, sha256: str, folder: Path, say: Say) -> Path:
    """Download `filename` of the source pool folder `pool` from the machine's apt mirrors.

    apt's own download helper is used, so its proxies and certificates apply.
    Raises PartError when this machine has no apt, or no mirror has the file.
    """
    helper = Path("/usr/lib/apt/apt-helper")
    remedy = (
        f"name a LAMMPS source tree in PYACEMAKER_LAMMPS_SRC, or put {filename} into a "
        "folder and name it in PYACEMAKER_ARCHIVES"
    )
    sites = apt_sites()
    if not sites or not helper.exists():
        raise PartError(f"this machine has no apt mirror to fetch {filename} from; {remedy}")
    log = folder / "apt-helper.log"
    target = folder / filename
    for site in sites:
        for component in ("main", "universe"):
            say(f"fetching {filename} (130 MB) from the machine's apt mirror")
            finished = run_program(
                [
                    str(helper),
                    "download-file",
                    f"{site}/pool/{component}/{pool}/{filename}",
                    str(target),
                    f"SHA256:{sha256}",
                ],
                cwd=folder,
                stdout=log,
                timeout_s=_DOWNLOAD_LIMIT_S,
            )
            if finished.returncode == 0 and target.is_file():
                return target
    lines = log.read_text(errors="replace").strip().splitlines() or ["no message"]
    raise PartError(f"no apt mirror of this machine gave {filename} ({lines[-1]}); {remedy}")


def apt_sites() -> tuple[str, ...]:
    """Return the base URLs of the archives that apt on this machine uses; () without apt."""
    if shutil.which("apt-get") is None:
        return ()
    try:
        listed = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(SITE)"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ).stdout.split()
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(dict.fromkeys(site.rstrip("/") for site in listed))


def index_settings() -> IndexSettings:
    """Read package indexes as pip and uv would: environment first, then their files."""
    pip = _pip_settings()
    uv = _uv_settings()
    main = (
        os.environ.get("PIP_INDEX_URL")
        or os.environ.get("UV_DEFAULT_INDEX")
        or os.environ.get("UV_INDEX_URL")
        or pip.get("index-url")
        or uv.get("index-url")
    )
    extra: list[str] = []
    for key in ("PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"):
        extra += os.environ.get(key, "").split()
    extra += pip.get("extra-index-url", "").split() + uv.get("extra-index-url", "").split()
    links: list[str] = []
    for key in ("PIP_FIND_LINKS", "UV_FIND_LINKS"):
        links += os.environ.get(key, "").replace(",", " ").split()
    links += pip.get("find-links", "").split() + uv.get("find-links", "").split()
    urls = ([main] if main else []) + [_NAME.sub("", url) for url in extra]
    if extra and not main:
        from unearth import PackageFinder

        urls.insert(0, PackageFinder().sources[0]["url"])
    trusted = os.environ.get("PIP_TRUSTED_HOST", pip.get("trusted-host", "")).split()
    return IndexSettings(
        index_urls=tuple(dict.fromkeys(urls)),
        find_links=tuple(dict.fromkeys(x for x in links if "://" in x or Path(x).exists())),
        trusted_hosts=tuple(trusted),
        certificate=os.environ.get("PIP_CERT") or pip.get("cert"),
    )


def _config_home() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _pip_settings() -> dict[str, str]:
    """Return the [global] and [download] options of pip's files, later files winning."""
    dirs = os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    paths = [Path(d) / "pip" / "pip.conf" for d in dirs.split(":")]
    paths += [
        _SYSTEM_PIP,
        Path.home() / ".pip" / "pip.conf",
        _config_home() / "pip" / "pip.conf",
        Path(sys.prefix) / "pip.conf",
    ]
    if named := os.environ.get("PIP_CONFIG_FILE"):
        paths.append(Path(named))
    options: dict[str, str] = {}
    for path in paths:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path)
        except (OSError, configparser.Error, UnicodeDecodeError):
            continue  # pip itself will complain about it
        for section in ("global", "download"):
            if parser.has_section(section):
                options.update(
                    {key.replace("_", "-"): value for key, value in parser.items(section)}
                )
    return options


def _uv_settings() -> dict[str, str]:
    """Return index-url, extra-index-url and find-links of uv's files, as pip writes them."""
    named = os.environ.get("UV_CONFIG_FILE")
    paths = [Path(named)] if named else [_SYSTEM_UV, _config_home() / "uv/uv.toml"]
    options: dict[str, str] = {}
    for path in paths:
        try:
            table: dict[str, Any] = tomllib.loads(path.read_text())
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
            continue
        pip_table: dict[str, Any] = table.get("pip", {})
        extra: list[str] = []
        for index in table.get("index", []):
            if index.get("default"):
                options["index-url"] = index["url"]
            else:
                extra.append(index["url"])
        for source in (table, pip_table):
            if "index-url" in source:
                options["index-url"] = source["index-url"]
            extra += source.get("extra-index-url", [])
            if "find-links" in source:
                options["find-links"] = " ".join(source["find-links"])
        if extra:
            options["extra-index-url"] = " ".join(extra)
    return options


def _one_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
