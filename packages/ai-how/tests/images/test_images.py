"""Images are cached by what is in them, and a damaged one is never booted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ai_how.images import build, store
from ai_how.images.recipe import ImageError, Recipe, recipe

DEBIAN = 'ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian GNU/Linux 12"\n'


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> store.Image:
    """A small tree with a record."""
    monkeypatch.setenv("AI_HOW_CACHE", str(tmp_path))
    tree = store.folder_of("abc") / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/passwd").write_text("root:x:0:0\n")
    (tree / "bin").symlink_to("usr/bin")
    digest, size = store.digest_of(tree)
    image = store.Image(
        "abc", "debian", "bookworm", "x86_64", {}, "2026-01-01", 1.0, size // 2**20, digest
    )
    store.write_record(image)
    return image


def test_the_key_follows_the_packages(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text(DEBIAN)
    plain = recipe((), release)
    assert plain.key == recipe((), release).key
    assert plain.key != recipe(["openmpi-bin"], release).key
    assert "slurmd" in plain.packages
    assert plain.suite == "bookworm"


def test_another_distribution_is_refused_with_a_remedy(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text('ID=fedora\nPRETTY_NAME="Fedora 40"\n')
    with pytest.raises(ImageError, match=r"Fedora 40, .* Debian or Ubuntu alone; .*process"):
        recipe((), release)


@pytest.mark.parametrize("harm", ["change", "add", "remove", "mode"])
def test_a_tree_that_was_changed_is_told(made: store.Image, harm: str) -> None:
    assert store.damage(made) is None
    passwd = made.tree / "etc/passwd"
    if harm == "change":
        passwd.write_text("root:x:1:1\n")
    elif harm == "add":
        (made.tree / "etc/new").touch()
    elif harm == "remove":
        passwd.unlink()
    else:
        passwd.chmod(0o600)
    assert "were changed, added or removed" in str(store.damage(made))


def test_reading_a_tree_does_not_change_its_digest(made: store.Image) -> None:
    os.utime(made.tree / "etc")
    (made.tree / "etc/passwd").read_text()
    assert store.damage(made) is None


def test_list_and_remove(made: store.Image) -> None:
    assert [image.key for image in store.images()] == ["abc"]
    with pytest.raises(ImageError, match="no image 'abd'; there are: abc"):
        store.remove("abd")
    for outside in ("..", "../..", "/", ""):
        with pytest.raises(ImageError):
            store.remove(outside)
    store.remove("abc")
    assert store.images() == []
    assert not made.tree.exists()


def test_a_record_without_a_tree_is_damage_and_half_a_build_is_no_image(
    made: store.Image, tmp_path: Path
) -> None:
    made.tree.rename(tmp_path / "elsewhere")
    assert "is gone" in str(store.damage(made))
    (store.folder_of("abc") / "image.json").write_text("{")
    assert store.read_record("abc") is None


def test_an_image_that_nodes_stand_on_is_in_use(made: store.Image, tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"40 1 0:30 / /x/root rw - overlay ai-how rw,lowerdir={made.tree},upperdir=/x/u\n"
    )
    assert store.in_use(made.tree, mounts)
    assert not store.in_use(made.tree / "etc", mounts)


def test_a_release_without_a_source_is_told() -> None:
    with pytest.raises(ImageError, match="no package source for nosuchsuite"):
        build.package_sources("nosuchsuite") and build.package_sources("x")


def test_the_recipe_is_plain_data() -> None:
    assert (
        Recipe("debian", "bookworm", "x86_64", ("a",)).key
        != Recipe("ubuntu", "bookworm", "x86_64", ("a",)).key
    )
