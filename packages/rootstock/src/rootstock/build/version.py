"""One version of an environment: a relocatable virtual environment that holds rootstock itself.

A virtual environment names its interpreter twice by an absolute path: the link `bin/python`
and the key `home` of `pyvenv.cfg`. The link is made relative and the key removed: Python
then finds its standard library from where the link leads, and `site` finds the packages from
where the link lies (the smoke test checks both).
"""

from __future__ import annotations

import os
import secrets
import shutil
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import rootstock
from rootstock.build.indexes import find_uv, install_variables
from rootstock.build.interpreter import Interpreter
from rootstock.build.programs import Log, Say, run
from rootstock.build.requirements import Platform, backend_options
from rootstock.root.files import remove_tree, sha256_of_tree, write_whole
from rootstock.root.layout import Layout
from rootstock.root.manifest import read_record

INSTALL_LIMIT_S = 3600.0
_VENV_LIMIT_S = 300.0
_DISTRIBUTION = "pyacemaker-rootstock"


def package_folder() -> Path:
    """Return the folder of the rootstock that is running."""
    return Path(next(iter(rootstock.__path__)))


def package_version() -> str:
    """Return its version."""
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


def package_sha256() -> str:
    """Return one checksum over its Python files."""
    return sha256_of_tree(package_folder(), "*.py")


def new_version_folder(layout: Layout, environment: str) -> Path:
    """Return a folder that is not there yet, for a version made now."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    return layout.versions / f"{environment}-{stamp}-{secrets.token_hex(3)}"


def make_version(
    folder: Path,
    layout: Layout,
    interpreter: Interpreter,
    lock_file: Path,
    platform_: Platform,
    log: Log,
    say: Say,
) -> None:
    """Make the environment of a lock file in `folder`. Raises BuildError."""
    uv, variables = find_uv(), install_variables()
    run(
        "making the environment",
        [uv, "venv", "--quiet", "--no-project", "--relocatable", "--no-python-downloads",
         "--python", interpreter.python, folder],
        log=log, timeout_s=_VENV_LIMIT_S, env=variables, cwd=layout.folder,
    )  # fmt: skip
    _make_relocatable(folder, interpreter)
    say(f"installing {lock_file.name} into {folder.name}")
    run(
        "installing the packages",
        [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python",
         # A root stands alone: its files are no hard links into a user's cache.
         "--link-mode", os.environ.get("UV_LINK_MODE", "copy"),
         "--no-deps", "--require-hashes", *backend_options(platform_), "-r", lock_file],
        log=log, timeout_s=INSTALL_LIMIT_S, env=variables, cwd=layout.folder, say=say,
    )  # fmt: skip
    install_rootstock(folder, layout, log)


def install_rootstock(folder: Path, layout: Layout, log: Log) -> None:
    """Copy the running rootstock into an environment; nothing is fetched for it."""
    packages = next(iter((folder / "lib").glob("python3.*/site-packages")))
    target = packages / "rootstock"
    remove_tree(target)
    shutil.copytree(package_folder(), target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    name = f"{_DISTRIBUTION.replace('-', '_')}-{package_version()}.dist-info"
    information = packages / name
    write_whole(
        information / "METADATA",
        f"Metadata-Version: 2.1\nName: {_DISTRIBUTION}\nVersion: {package_version()}\n",
    )
    write_whole(information / "INSTALLER", "rootstock\n")
    write_whole(information / "RECORD", "")
    run(
        "compiling rootstock",
        [folder / "bin" / "python", "-m", "compileall", "-q", target],
        log=log, timeout_s=_VENV_LIMIT_S, env=install_variables(), cwd=layout.folder,
    )  # fmt: skip


def sweep(layout: Layout, environment: str, keep: int = 1) -> list[str]:
    """Remove what killed builds left, and old versions but `keep`; return their names.

    The version in use always stays, and by default the one before it, which processes that
    are running may still load from.
    """
    current = layout.current(environment)
    whole: list[Path] = []
    broken: list[Path] = []
    for folder in sorted(layout.versions.glob(f"{environment}-2*")):
        if folder != current:
            (whole if read_record(folder) else broken).append(folder)
    gone = broken + (whole[: len(whole) - keep] if keep else whole)
    for folder in gone:
        remove_tree(folder)
    return [folder.name for folder in gone]


def _make_relocatable(folder: Path, interpreter: Interpreter) -> None:
    link = folder / "bin" / "python"
    link.unlink()
    link.symlink_to(os.path.relpath(interpreter.python, link.parent))
    configuration = folder / "pyvenv.cfg"
    lines = configuration.read_text().splitlines(keepends=True)
    write_whole(
        configuration, "".join(line for line in lines if line.split("=")[0].strip() != "home")
    )
