"""The four command lines speak alike: the same words, letters and exit codes."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
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
    "pyacemaker": (
        "run", "converge", "kmc", "validate", "publish", "build-plugin", "build-eon",
    ),
    "rootstock": ("build", "register", "verify", "benchmark"),
    "ai-how": ("up", "start", "configure", "image build", "image packer"),
    "esper": ("train", "policy gate"),
}  # fmt: skip
# What a script would want to read has --json.
DATA = {
    "pyacemaker": (
        "run", "status", "compare", "validate", "publish", "kmc", "converge", "config show",
        "data ls", "data show", "data import", "data check", "oracle diagnose",
    ),
    "rootstock": ("list", "status", "clusters", "verify", "benchmark"),
    "ai-how": (
        "validate", "plan", "up", "status", "configure", "list", "queue", "profile", "topology",
        "doctor", "gpu list", "gpu allocate", "gpu release", "gpu plan", "image list",
    ),
    "esper": (
        "train", "runs", "forge", "lineage", "policy gate", "policy show", "blueprints",
        "blueprints add", "kernels",
    ),
}  # fmt: skip
# One letter, one word, but for: --element and --elements; what counts (-n); -s and -p.
OTHER_WORDS = {"-e", "-n", "-s", "-p"}
COMMANDS = Path(__file__).parents[4] / "docs" / "commands.md"


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
def test_what_a_script_reads_has_json(name: str) -> None:
    found = dict(commands(get_command(app_of(name))))
    for path in DATA[name]:
        assert any("--json" in option.opts for option in found[path].params), path


def test_a_letter_means_one_word() -> None:
    words: dict[str, set[str]] = {}
    for name in APPS:
        for _, command in commands(get_command(app_of(name))):
            for option in command.params:
                for letter in (o for o in option.opts if len(o) == 2):
                    words.setdefault(letter, set()).add(option.opts[0])
    assert {letter for letter, meant in words.items() if len(meant) > 1} <= OTHER_WORDS


@pytest.mark.parametrize("name", APPS)
def test_help_explains_every_command_argument_and_option(name: str) -> None:
    for path, command in commands(get_command(app_of(name))):
        assert command.help, path
        for parameter in command.params:
            if getattr(parameter, "hidden", False):
                continue
            assert parameter.help, f"{name} {path} {parameter.name}"
            if parameter.param_type_name == "argument":
                shown = parameter.metavar or ""
                assert re.fullmatch(r"[A-Z]+|\[CLUSTER\] NODE \[COMMAND\]", shown), (path, shown)


@pytest.mark.parametrize("name", APPS)
def test_an_unknown_option_is_bad_usage_everywhere(name: str) -> None:
    runner = CliRunner()
    for path, command in commands(get_command(app_of(name))):
        if command.context_settings.get("ignore_unknown_options"):
            continue  # what it does not know is another program's
        done = runner.invoke(app_of(name), [*path.split(), "--no-such-option"])
        assert done.exit_code == 2, path
        assert done.stdout == "", path
        assert "--no-such-option" in done.stderr, path


@pytest.mark.parametrize("name", APPS)
def test_the_page_of_commands_has_each_of_them(name: str) -> None:
    section = COMMANDS.read_text().split(f"## {name}\n")[1].split("\n## ")[0]
    listed = re.findall(r"(?m)^\| `([a-z -]+?)(?: [A-Z\[].*?)?` \|", section)
    there = [p for p, c in commands(get_command(app_of(name))) if not hasattr(c, "commands")]
    groups = [p for p, c in commands(get_command(app_of(name))) if getattr(c, "commands", None)]
    callable_groups = {p for p in groups if p in ("blueprints", "kernels")}
    assert sorted(listed) == sorted({*there, *callable_groups})


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
