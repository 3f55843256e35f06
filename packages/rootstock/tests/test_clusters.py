"""Clusters by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from rootstock.clusters import cluster_root, clusters
from rootstock.root.errors import RootError


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "site"))
    for name in ("user", "site"):
        (tmp_path / name / "rootstock").mkdir(parents=True)
    return tmp_path


def test_the_users_file_wins_over_the_sites_and_the_built_in(config: Path) -> None:
    site = config / "site" / "rootstock" / "clusters.yaml"
    user = config / "user" / "rootstock" / "clusters.yaml"
    site.write_text("clusters: {ours: /shared/a, theirs: /shared/b}\n")
    user.write_text("clusters:\n  ours: /home/me/root\n  della: /my/della\n")
    found = clusters()
    assert found["ours"].root == Path("/home/me/root")
    assert found["ours"].source == str(user)
    assert found["theirs"].source == str(site)
    assert found["della"].root == Path("/my/della")
    assert found["modal"].source == "built in"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clusters: [a\n", "is not YAML"),
        ("ours: /shared/a\n", "must hold one key, clusters"),
        ("clusters: {ours: shared}\n", "must be an absolute path"),
        ("clusters: {ours: !!python/object/apply:os.getcwd []}\n", "is not YAML"),
    ],
)
def test_a_wrong_file_is_named(config: Path, text: str, said: str) -> None:
    user = config / "user" / "rootstock" / "clusters.yaml"
    user.write_text(text)
    with pytest.raises(RootError, match=said) as caught:
        cluster_root("ours")
    assert str(user) in str(caught.value)
