"""What `--help`, and a campaign before it knows its next step, must not wait for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_HEAVY = (
    "ase",
    "numpy",
    "pandas",
    "parsl",
    "phonopy",
    "plotly",
    "pyace",
    "scipy",
    "spglib",
    "yaml",
)
_COMMANDS = (
    "init",
    "run",
    "status",
    "report",
    "compare",
    "publish",
    "validate",
    "converge",
    "kmc",
    "serve",
    "build-plugin",
    "build-eon",
    "config",
    "config show",
    "data",
    "data import",
    "oracle",
)


@pytest.fixture(scope="module")
def imported() -> dict[str, list[str]]:
    """Which heavy modules are there after `--help` of each command, and after a look at status."""
    code = (
        "import contextlib, io, json, sys\n"
        "from pyacemaker.cli.app import app\n"
        "found = {}\n"
        f"for line in [*{_COMMANDS!r}, '']:\n"
        "    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "        app([*line.split(), '--help'])\n"
        f"    found[line] = [name for name in {_HEAVY!r} if name in sys.modules]\n"
        "with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    app(['status', '/no/such/folder'])\n"
        "found['status /no/such/folder'] = "
        f"[name for name in {_HEAVY[2:]!r} if name in sys.modules]\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("command", [*_COMMANDS, "", "status /no/such/folder"])
def test_help_and_status_do_not_import_the_physics(
    imported: dict[str, list[str]], command: str
) -> None:
    assert imported[command] == []


def test_a_campaign_starts_without_the_parts_it_may_not_need() -> None:
    heavy = ["ase.io", "pandas", "parsl", "phonopy", "plotly", "pyace", "pymatgen", "scipy"]
    code = (
        "import json, sys\n"
        "import pyacemaker.cli.running\n"
        f"print(json.dumps([name for name in {heavy!r} if name in sys.modules]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    assert json.loads(done.stdout) == []
