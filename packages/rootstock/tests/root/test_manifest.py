"""The manifest."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rootstock.build.verify import writable
from rootstock.root.create import create_root
from rootstock.root.errors import RootError
from rootstock.root.files import AlreadyLockedError, locked
from rootstock.root.layout import Layout
from rootstock.root.manifest import (
    Failure,
    ModelRecord,
    Verification,
    changed_manifest,
    read_manifest,
)


def test_what_is_written_is_read(layout: Layout) -> None:
    verification = Verification("t", "v", "Cu4", -1.5, 1e-6, None, 1.0, 0.1)
    model = ModelRecord("x_env", "a", weights={"cache/w": "0" * 64}, verified={"cpu": verification})
    model.last_error = Failure("t", "said")
    with changed_manifest(layout) as manifest:
        manifest.models["x-a"] = model
    assert read_manifest(layout).models == {"x-a": model}


def test_a_swap_that_the_manifest_missed_is_seen(
    layout: Layout, pretend_built: Callable[..., Path]
) -> None:
    folder = pretend_built("x_env")
    data = json.loads(layout.manifest.read_text())
    data["environments"] = {}
    layout.manifest.write_text(json.dumps(data))
    assert read_manifest(layout).environments["x_env"].version == folder.name
    (layout.envs / "x_env").unlink()
    assert read_manifest(layout).environments == {}


def test_a_lost_manifest_is_made_anew_from_the_records(
    layout: Layout, pretend_built: Callable[..., Path]
) -> None:
    pretend_built("x_env")
    layout.manifest.unlink()
    again, new = create_root(layout.folder)
    assert new
    assert list(read_manifest(again).environments) == ["x_env"]


@pytest.mark.parametrize("text", ["", "[]", '{"format": "other"}', '{"format": "rootstock-root"}'])
def test_what_is_no_manifest(layout: Layout, text: str) -> None:
    layout.manifest.write_text(text)
    with pytest.raises(RootError, match="is not a rootstock manifest"):
        read_manifest(layout)


def test_changes_at_once_are_all_kept(layout: Layout) -> None:
    def change(n: int) -> None:
        with changed_manifest(layout) as manifest:
            manifest.models[f"x-{n}"] = ModelRecord("x_env", str(n))

    threads = [threading.Thread(target=change, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_manifest(layout).models) == 12


def test_a_held_lock_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        locked(path),
        pytest.raises(AlreadyLockedError, match="is held by process"),
        locked(path, wait=False),
    ):
        pass


def test_a_folder_of_something_else_is_no_place_for_a_root(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RootError, match="holds something else"):
        create_root(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_many_may_ask_at_once_whether_the_root_can_be_written_to(layout: Layout) -> None:
    problems: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(200):
                writable(layout)
        except RootError as error:
            problems.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert list(layout.locks.iterdir()) == []
