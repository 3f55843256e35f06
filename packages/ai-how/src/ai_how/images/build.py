"""A root tree built by mmdebstrap, from the package sources of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ai_how.files import locked
from ai_how.images.recipe import ImageError, Recipe
from ai_how.images.store import (
    Image,
    cache_dir,
    damage,
    digest_of,
    discard,
    find,
    folder_of,
    in_use,
    write_record,
)

Say = Callable[[str], None]

_LIMIT_S = 1200.0
_POCKETS = ("", "-updates", "-security")
_OPTIONS = (
    "--mode=root",
    "--variant=apt",
    "--format=directory",
    "--quiet",
    '--aptopt=APT::Install-Recommends "false"',
    '--aptopt=Acquire::Retries "3"',
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    # 200 MB of time zones for a page of Prometheus; what it reads of them stays
    "--dpkgopt=path-exclude=/usr/share/javascript/moment-timezone/*",
    "--dpkgopt=path-include=/usr/share/javascript/moment-timezone/*.min.js",
    "--dpkgopt=force-unsafe-io",
)


def missing() -> list[str]:
    """Return what this machine lacks to build an image, each with its remedy."""
    found = [] if os.geteuid() == 0 else ["only root can build an image"]
    for program, package in (("mmdebstrap", "mmdebstrap"), ("unshare", "util-linux")):
        if shutil.which(program) is None:
            found.append(f"{program} is not installed; `apt install {package}`")
    return found


def ensure(wanted: Recipe, say: Say, *, anew: bool = False) -> Image:
    """Return the image of a recipe; build it if it is not there, is damaged, or `anew`.

    Raises ImageError where it cannot be built.
    """
    folder = folder_of(wanted.key)
    with locked(cache_dir() / f".{wanted.key}.lock"):
        image = find(wanted)
        if image is not None and not anew:
            if (wrong := damage(image)) is None:
                return image
            say(f"image {wanted.key}: {wrong}; it is built anew")
        if in_use(folder / "tree") or in_use(folder):
            raise ImageError(
                f"nodes stand on the image {wanted.key}; `ai-how down` their clusters first"
            )
        if lacking := missing():
            raise ImageError("; ".join(lacking))
        if folder.exists():
            discard(folder)
        return _build(wanted, folder, say)


def package_sources(suite: str) -> list[str]:
    """Return the lines of sources.list(5) for a release, as this machine's own apt has them."""
    form = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)|$(TRUSTED)"
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", form, "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    wanted = {f"{name}{pocket}" for name in (suite, "stable") for pocket in _POCKETS}
    lines = []
    for line in done.stdout.splitlines():
        uri, release, component, signed_by, _ = line.split("|")
        if release not in wanted:
            continue
        options = f"[signed-by={signed_by}] " if signed_by.startswith("/") else ""
        lines.append(f"deb {options}{uri} {release} {component}")
    if not lines:
        raise ImageError(
            f"apt on this machine has no package source for {suite}; "
            "see /etc/apt/sources.list.d and run `apt-get update`"
        )
    return lines


def _build(wanted: Recipe, folder: Path, say: Say) -> Image:
    """Build into `folder`; the image's record is written last, and only then it is there."""
    began = time.monotonic()
    folder.mkdir(parents=True)
    work = folder / "work"
    work.mkdir()
    script, sources = work / "customise.sh", work / "sources.list"
    script.write_text("\n".join(wanted.scripts))
    sources.write_text("\n".join(package_sources(wanted.suite)) + "\n")
    tree, log = folder / "tree", folder / "build.log"
    say(f"image {wanted.key}: {len(wanted.packages)} packages of {wanted.suite} and what they need")
    hook = f'cp {script} "$1/customise.sh" && chroot "$1" /bin/sh /customise.sh'
    command = [
        *_alone(),
        "mmdebstrap",
        *_OPTIONS,
        *_proxies(),
        f"--include={','.join(wanted.packages)}",
        f"--customize-hook={hook}",
        '--customize-hook=rm "$1/customise.sh"',
        wanted.suite,
        str(tree),
        str(sources),
    ]
    _run(command, log, say)
    shutil.rmtree(work)
    digest, size = digest_of(tree)
    image = Image(
        key=wanted.key,
        distribution=wanted.distribution,
        suite=wanted.suite,
        architecture=wanted.architecture,
        packages=_versions(tree, wanted),
        built=datetime.now(UTC).isoformat(timespec="seconds"),
        wall_s=round(time.monotonic() - began, 1),
        size_MiB=size // 2**20,
        digest=digest,
    )
    os.sync()
    write_record(image)
    say(f"image {image.key} built: {image.size_MiB} MiB in {image.wall_s:.0f} s")
    return image


def _alone() -> list[str]:
    """Return what makes a builder die with us, with all it started and all it mounted."""
    return [
        *["setpriv", "--pdeathsig", "KILL", "--"],
        # slave: what is unmounted on this machine meanwhile is unmounted here too
        *["unshare", "--mount", "--propagation=slave", "--pid", "--fork", "--kill-child"],
        *["--mount-proc", "--"],
    ]


def _run(command: list[str], log: Path, say: Say) -> None:
    """Run the builder; what it is at is told, all it says goes to the file `log`."""
    until, told = time.monotonic() + _LIMIT_S, 0.0
    with log.open("wb") as stream:
        builder = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        )
        try:
            began = time.monotonic()
            while builder.poll() is None:
                if time.monotonic() > until:
                    raise ImageError(f"the image was not built within {_LIMIT_S:.0f} s; see {log}")
                if time.monotonic() - began - told >= 15:
                    told = time.monotonic() - began
                    say(f"image: building for {told:.0f} s")
                time.sleep(0.1)
        finally:
            if builder.poll() is None:
                builder.kill()
                builder.wait()
    if builder.returncode:
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in said if line.startswith(("E:", "error:"))] or said
        last = errors[-1] if errors else f"exit status {builder.returncode}"
        raise ImageError(f"the image cannot be built: {last}; see {log}")


def _proxies() -> list[str]:
    """Return apt's proxy settings of this machine, as options of mmdebstrap."""
    done = subprocess.run(
        ["apt-config", "dump", "Acquire::http::Proxy", "Acquire::https::Proxy"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return [f"--aptopt={line.rstrip(';')}" for line in done.stdout.splitlines() if '"' in line]


def _versions(tree: Path, wanted: Recipe) -> dict[str, str]:
    """Read dpkg's own status file."""
    found: dict[str, str] = {}
    name = ""
    for line in (tree / "var/lib/dpkg/status").read_text(errors="replace").splitlines():
        if line.startswith("Package: "):
            name = line.removeprefix("Package: ")
        elif line.startswith("Version: ") and name in wanted.packages:
            found[name] = line.removeprefix("Version: ")
    return found
