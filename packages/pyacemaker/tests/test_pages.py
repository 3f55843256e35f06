"""What README and docs/ show is there: links, anchors, files, commands and their options."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

ROOT = Path(__file__).parents[3]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "packages").glob("*/README.md")),
]
APPS = {
    "pyacemaker": "pyacemaker.cli.app",
    "rootstock": "rootstock.cli.app",
    "ai-how": "ai_how.cli.app",
    "esper": "esper.cli",
}
_ELSEWHERE = ("examples/akmc-pt",)  # in EON's own sources


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and mkdocs.yml make them."""
    text = re.sub(r"(?s)```.*?```", "", page.read_text())
    titles = re.findall(r"(?m)^#+ (.*?)\s*$", text)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_local_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), f"{target}: {sorted(anchors(there))}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_of_the_repository_that_is_named_is_there(page: Path) -> None:
    text = page.read_text()
    for found in re.findall(r"(?<![\w/.-])((?:examples|benchmarks|packages|docs)/[\w./-]+)", text):
        path = found.rstrip(".")
        if not path.startswith(_ELSEWHERE):
            assert (page.parent / path).exists() or (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_that_is_shown_is_python(page: Path) -> None:
    for block in re.findall(r"(?s)```python\n(.*?)```", page.read_text()):
        compile(block, name_of(page), "exec")


def shown(page: Path) -> Iterator[list[str]]:
    """Yield the commands of a page, as words: from blocks, indented or fenced, and from `code`."""
    text = page.read_text()
    fenced = re.findall(r"(?ms)^```(\w*)\n(.*?)^```", text)
    prose = re.sub(r"(?ms)^```.*?^```", "", text)
    lines = [line for kind, block in fenced if kind in ("", "sh") for line in block.splitlines()]
    lines += re.findall(r"(?m)^    (\S.*)$", prose)
    lines += re.findall(r"`([^`\n]+)`", prose)
    for line in lines:
        for part in re.split(r"&&|;|\||\$\(", line.rstrip("\\")):
            try:
                words = shlex.split(part.strip().removesuffix(')"'), comments=True)
            except ValueError:
                continue  # output with an apostrophe, not a command
            if words:
                yield words


def runs(page: Path) -> Iterator[list[str]]:
    """Yield those of the four programs; a name alone (`esper`) is none."""
    for words in shown(page):
        if words[0] in APPS and len(words) > 1:
            yield words


@pytest.fixture(scope="module")
def commands() -> dict[str, Any]:
    return {n: get_command(importlib.import_module(module).app) for n, module in APPS.items()}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_and_option_that_is_shown_exists(
    page: Path, commands: dict[str, Any]
) -> None:
    for words in runs(page):
        command, rest = commands[words[0]], words[1:]
        while rest and rest[0] in getattr(command, "commands", {}):
            command, rest = command.commands[rest[0]], rest[1:]
        if hasattr(command, "commands"):  # one whose subcommand is missing, or is left out
            assert not rest or rest[0].startswith("-"), f"{' '.join(words)}: no such command"
        if command.context_settings.get("ignore_unknown_options"):
            continue
        known = {"--help", "-h"}
        for option in command.params:
            known |= {*option.opts, *option.secondary_opts}
        for word in rest:
            if re.match(r"--?[a-zA-Z]", word):
                assert word.split("=")[0] in known, f"{' '.join(words)}: {word}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_module_and_target_that_is_run_exists(page: Path) -> None:
    targets = re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text())
    for words in shown(page):
        if words[:2] == ["python", "-m"] and words[2].startswith("benchmarks."):
            module = ROOT.joinpath(*words[2].split("."))
            assert module.with_suffix(".py").exists(), " ".join(words)
        if words[0] == "make" and len(words) == 2:
            assert words[1] in targets, " ".join(words)
