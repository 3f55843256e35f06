"""Model strings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rootstock.root.errors import RootError, SourceError, UnknownModelError
from rootstock.root.layout import Layout
from rootstock.root.manifest import Failure, ModelRecord, changed_manifest
from rootstock.root.resolve import resolve_cluster, resolve_model, resolve_source

Pretend = Callable[..., Path]


def test_the_environment_and_its_argument(layout: Layout, pretend_built: Pretend) -> None:
    folder = pretend_built("chgnet_env")
    plain = resolve_model(layout.folder, "chgnet")
    assert (plain.environment, plain.argument) == ("chgnet_env", "")
    assert plain.python == folder / "bin" / "python"
    assert plain.source == folder / "chgnet_env.py"
    assert plain.variables["HF_HOME"] == str(layout.cache / "huggingface")
    assert plain.variables["HF_HUB_OFFLINE"] == "1"
    assert plain.variables["PYTHONPATH"] == ""
    named = resolve_model(layout.folder, "chgnet-0.3.0")
    assert (named.environment, named.argument) == ("chgnet_env", "0.3.0")


def test_the_longest_name_wins(layout: Layout, pretend_built: Pretend) -> None:
    for name in ("mace_env", "mace-mp_env"):
        pretend_built(name)
    for model, environment, argument in (
        ("mace-medium", "mace_env", "medium"),
        ("mace-mp", "mace-mp_env", ""),
        ("mace-mp-0", "mace-mp_env", "0"),
        ("mace-mpa-0", "mace_env", "mpa-0"),
    ):
        found = resolve_model(layout.folder, model)
        assert (found.environment, found.argument) == (environment, argument)


def test_an_alias(layout: Layout, pretend_built: Pretend) -> None:
    pretend_built("fairchem_env", aliases=("uma",))
    found = resolve_model(layout.folder, "uma-s-1p1")
    assert (found.environment, found.argument) == ("fairchem_env", "s-1p1")


def test_a_file_of_weights(
    layout: Layout, pretend_built: Pretend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_built("mace_env", facts='weights = "download"')
    weights = tmp_path / "weights.pt"
    with pytest.raises(UnknownModelError, match=r"weights\.pt is not there"):
        resolve_model(layout.folder, f"mace-{weights}")
    weights.touch()
    assert resolve_model(layout.folder, f"mace-{weights}").argument == str(weights)
    monkeypatch.chdir(tmp_path)
    assert resolve_model(layout.folder, "mace-./weights.pt").argument == str(weights)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_model(layout.folder, "mace-~/weights.pt").argument == str(weights)


def test_registered_weights_are_found_where_the_root_lies_now(
    layout: Layout, pretend_built: Pretend, tmp_path: Path
) -> None:
    pretend_built("mace_env", facts='weights = "download"')
    with changed_manifest(layout) as manifest:
        manifest.models["mace-mine"] = ModelRecord(
            "mace_env", "mine", path="cache/weights/mace_env/mine-1/weights.pt"
        )
    moved = tmp_path / "elsewhere"
    layout.folder.rename(moved)
    found = resolve_model(moved, "mace-mine")
    assert found.argument == str(moved / "cache/weights/mace_env/mine-1/weights.pt")
    assert found.python.is_relative_to(moved)


def test_weights_that_were_never_fetched(layout: Layout, pretend_built: Pretend) -> None:
    pretend_built("mace_env", facts='weights = "download"\nmodels = ["medium", "large"]')
    with changed_manifest(layout) as manifest:
        manifest.models["mace-medium"] = ModelRecord("mace_env", "medium")
    assert resolve_model(layout.folder, "mace").argument == "medium"
    with pytest.raises(UnknownModelError, match=r"there are: mace-medium.*--models large"):
        resolve_model(layout.folder, "mace-large")
    pretend_built("nequip_env", facts='weights = "file"')
    with pytest.raises(UnknownModelError, match="rootstock register nequip-NAME FILE"):
        resolve_model(layout.folder, "nequip-water")


def test_unknown_models(layout: Layout, pretend_built: Pretend) -> None:
    pretend_built("chgnet_env")
    with pytest.raises(UnknownModelError, match=r"there are: chgnet, emt, lj; did you mean chgnet"):
        resolve_model(layout.folder, "chgnett")
    with pytest.raises(UnknownModelError, match=r"rootstock build mace --root"):
        resolve_model(layout.folder, "mace-medium")
    with pytest.raises(UnknownModelError, match=r"rootstock build fairchem --root"):
        resolve_model(layout.folder, "uma-s-1p1")
    with changed_manifest(layout) as manifest:
        manifest.errors["tblite_env"] = Failure("2026-01-01T00:00:00Z", "no space left")
    (layout.environments / "tblite_env.py").touch()
    with pytest.raises(UnknownModelError, match=r"last build failed: no space left"):
        resolve_model(layout.folder, "tblite")


def test_built_in_models_need_no_root(tmp_path: Path) -> None:
    for name in ("emt", "lj"):
        found = resolve_model(tmp_path / "nowhere", name)
        assert found.environment == "builtin"
        assert found.python == Path(sys.executable)
        assert found.source.name == f"{name}.py"
        assert found.variables == {}


def test_what_is_no_root(tmp_path: Path) -> None:
    with pytest.raises(RootError, match=r"rootstock init --root"):
        resolve_model(tmp_path, "chgnet")
    with pytest.raises(RootError, match=r"no such folder"):
        resolve_model(tmp_path / "nowhere", "chgnet")


def test_a_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "mace.py"
    path.write_text("def setup(model, device, **kwargs): ...\n")
    found = resolve_source(path)
    assert (found.environment, found.argument, found.source) == ("mace", "", path)
    assert found.python == Path(sys.executable)
    path.write_text("def set_up(model, device): ...\n")
    with pytest.raises(SourceError, match="no function setup"):
        resolve_source(path)
    with pytest.raises(SourceError, match="is not there"):
        resolve_source(tmp_path / "nowhere.py")


def test_clusters_by_name() -> None:
    assert resolve_cluster("modal") == Path("/vol/rootstock")
    with pytest.raises(RootError, match="did you mean della"):
        resolve_cluster("dela")
