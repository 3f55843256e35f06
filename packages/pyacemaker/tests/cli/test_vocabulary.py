"""The four command lines speak alike: the same words, letters and exit codes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

APPS = {
    "pyacemaker": "pyacemaker.cli.app",
    "rootstock": "rootstock.cli.app",
    "ai-how": "ai_how.cli.app",
    "esper": "esper.cli",
}
LETTERS = {
    "--root": "-r",
    "--quiet": "-q",
    "--workdir": "-w",
    "--output": "-o",
    "--yes": "-y",
    "--element": "-e",
    "--json": None,
    "--force": None,
    "--replace": None,
}
# What runs for minutes tells how far it is, and can be told not to.
LONG = {
    "pyacemaker": ("run", "converge", "kmc", "build-eon"),
    "rootstock": ("build", "register"),
    "ai-how": ("up", "start", "configure", "image build"),
    "esper": ("train",),
}


def app_of(name: str) -> Any:
    return importlib.import_module(APPS[name]).app


def commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        here = f"{path} {name}".strip()
        yield here, inner
        yield from commands(inner, here)


@pytest.mark.parametrize("name", APPS)
def test_an_option_has_the_same_letter_everywhere(name: str) -> None:
    for path, command in commands(get_command(app_of(name))):
        for option in command.params:
            for word, letter in LETTERS.items():
                if word in option.opts:
                    known = [o for o in option.opts if not o.startswith("--")]
                    assert known == ([letter] if letter else []), f"{name} {path} {word}"


@pytest.mark.parametrize("name", APPS)
def test_what_takes_long_can_be_told_to_be_quiet(name: str) -> None:
    found = dict(commands(get_command(app_of(name))))
    for path in LONG[name]:
        assert any("--quiet" in option.opts for option in found[path].params), path


@pytest.mark.parametrize("name", APPS)
def test_help_tells_the_exit_codes_and_nothing_has_colour_in_a_pipe(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS"):
        monkeypatch.delenv(variable, raising=False)
    runner = CliRunner()
    for word in ("-h", "--help"):
        shown = runner.invoke(app_of(name), [word])
        assert shown.exit_code == 0
        text = " ".join(shown.output.split())
        assert "Exit codes: 0" in text
        for code in ("2 bad usage", "130 interrupted"):
            assert code in text
        assert "\x1b" not in shown.output
    assert runner.invoke(app_of(name), ["--version"]).stdout.startswith(f"{name} ")
    refused = runner.invoke(app_of(name), ["no-such-command"])
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert "\x1b" not in refused.stderr
