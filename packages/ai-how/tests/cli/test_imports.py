"""What `--help` must not wait for."""

from __future__ import annotations

import subprocess
import sys

import pytest

_HEAVY = ("ansible", "jinja2", "yaml", "requests")


@pytest.mark.parametrize("command", ("", "plan", "up", "submit", "gpu", "image", "dashboard"))
def test_help_imports_nothing_heavy(command: str) -> None:
    code = (
        "import sys\n"
        "from ai_how.cli.app import app\n"
        "try: app()\n"
        "except SystemExit as end: assert not end.code\n"
        f"found = sorted(set({_HEAVY!r}) & set(sys.modules))\n"
        "assert not found, found"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split(), "--help"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
