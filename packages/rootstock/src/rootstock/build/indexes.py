"""uv, told to look where the user's pip looks."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from rootstock.root.errors import BuildError
from rootstock.root.variables import FOREIGN

_PIP_LIMIT_S = 60.0
_LINE = re.compile(r"^(?P<section>[^.=]+)\.(?P<key>[^=]+)=(?P<value>.*)$")
# Later sections win, as in pip: files' [global], then the command's own, then PIP_*.
_SECTIONS = ("global", "download", "install", ":env:")


def find_uv() -> str:
    """Return the path of uv. Raises BuildError where there is none."""
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise BuildError(
            "there is no uv to make an environment with; install it: "
            f"{sys.executable} -m pip install uv"
        )
    return found


def uv_version() -> str:
    """Return the version of uv, or ``unknown``."""
    try:
        done = subprocess.run(
            [find_uv(), "--version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    words = done.stdout.split()
    return words[1] if len(words) > 1 else "unknown"


def uv_variables() -> dict[str, str]:
    """Return the whole environment of uv: the user's own, and pip's settings where uv has none."""
    own = {key: value for key, value in os.environ.items() if key not in FOREIGN}
    own["UV_NO_PROGRESS"] = "1"
    pip = pip_settings()
    wanted: dict[str, str] = {}
    if "index-url" in pip and not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & own.keys():
        wanted["UV_DEFAULT_INDEX"] = pip["index-url"]
    if "extra-index-url" in pip and not {"UV_INDEX", "UV_EXTRA_INDEX_URL"} & own.keys():
        wanted["UV_INDEX"] = " ".join(pip["extra-index-url"].split())
        wanted["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # all of them, as pip does
    if "find-links" in pip:
        wanted["UV_FIND_LINKS"] = ",".join(pip["find-links"].split())
    if "constraint" in pip:
        wanted["UV_CONSTRAINT"] = " ".join(pip["constraint"].split())
    if "trusted-host" in pip:
        wanted["UV_INSECURE_HOST"] = " ".join(pip["trusted-host"].split())
    if "cert" in pip:
        wanted["SSL_CERT_FILE"] = pip["cert"]
    if "no-index" in pip and pip["no-index"].lower() in ("1", "true", "yes", "on"):
        wanted["UV_NO_INDEX"] = "1"
    return wanted | own


def install_variables() -> dict[str, str]:
    """Return uv's environment for installing a lock, which is already within all constraints."""
    dropped = ("UV_CONSTRAINT", "UV_BUILD_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE")
    return {key: value for key, value in uv_variables().items() if key not in dropped}


def pip_settings() -> dict[str, str]:
    """Return pip's settings by their long names, as pip itself reports them; {} without pip."""
    for command in ([sys.executable, "-m", "pip"], ["pip3"], ["pip"]):
        try:
            done = subprocess.run(
                [*command, "config", "list"],
                capture_output=True,
                text=True,
                timeout=_PIP_LIMIT_S,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return parse_pip_settings(done.stdout)
    return {}


def parse_pip_settings(listed: str) -> dict[str, str]:
    """Return the settings in what ``pip config list`` prints."""
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in listed.splitlines():
        match = _LINE.match(line.strip())
        if match is None or match["section"] not in found:
            continue
        try:
            value = str(ast.literal_eval(match["value"]))
        except (ValueError, SyntaxError):
            value = match["value"]
        found[match["section"]][match["key"].strip()] = value
    settings: dict[str, str] = {}
    for section in _SECTIONS:
        settings.update(found[section])
    return settings


def local_cpu_torch(variables: dict[str, str]) -> list[str]:
    """Return the versions (``2.13.0+cpu``) of torch's CPU build in folders of wheels at hand."""
    versions = set()
    for link in variables.get("UV_FIND_LINKS", "").replace(",", " ").split():
        folder = Path(link.removeprefix("file://"))
        if folder.is_dir():
            names = (re.match(r"torch-([^-]+\+cpu)-", path.name) for path in folder.iterdir())
            versions |= {match[1] for match in names if match}
    return sorted(versions)
