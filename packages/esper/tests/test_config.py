"""Configurations: what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from esper.config import Config, ConfigError, load_config, parse_config


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("")
    assert load_config(tmp_path / "c.yaml") == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "trainin: {}",
            r"c\.yaml:1: key 'trainin': unknown key; valid here: bus, .*did you mean 'training'",
        ),
        ("training: {epoch: 3}", r"key 'training\.epoch': unknown key; .*epochs"),
        ("training: {epochs: 0}", r"'training\.epochs': .*greater than or equal to 1, not 0"),
        ("training: {epochs: '3'}", r"'training\.epochs': .*integer, not '3'"),
        ("growth: {kind: widen}", "key 'growth': 'widen' needs final_widths"),
        ("growth: {kind: seeds, trigger: epochs}", "needs at_epochs"),
        ("growth: {kind: widen, final_widths: [8, 8]}", "none smaller"),
        ("- 1", "expected `key: value` lines"),
        ("a: [1", r"c\.yaml:1: not YAML"),
        ("a: !!python/object/apply:os.getcwd []", "not YAML"),
    ],
)
def test_a_mistake_is_told_with_file_key_and_remedy(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_tiny_and_convolutions_do_not_go_together() -> None:
    growth = {"kind": "widen", "operator": "tiny", "final_widths": [16, 32]}
    with pytest.raises(ConfigError, match="between Linear layers only"):
        parse_config({"network": {"kind": "cnn"}, "growth": growth})
