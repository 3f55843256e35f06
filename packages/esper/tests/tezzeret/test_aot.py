"""Compiled inference: right, loaded only where it was made, and told where it cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from esper.tezzeret.aot import CODE, compile_inference, load_inference
from esper.tezzeret.module import KernelError


@pytest.mark.real
def test_a_network_is_compiled_and_loaded_only_if_it_is_the_one_made_here(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 3))
    folder = tmp_path / "compiled"
    assert compile_inference(network, torch.randn(4, 6), folder) == folder / CODE
    assert sorted(path.name for path in folder.iterdir()) == [CODE, "inference.json"]
    run = load_inference(folder)
    for batch in (1, 9):
        x = torch.randn(batch, 6)
        torch.testing.assert_close(run(x), network(x), rtol=1e-4, atol=1e-5)
    opened, folder = folder, tmp_path / "copy"  # what is loaded must not be written to
    shutil.copytree(opened, folder)
    folder.chmod(0o777)
    with pytest.raises(KernelError, match="written by others"):
        load_inference(folder)
    folder.chmod(0o700)
    note = folder / "inference.json"
    kept = note.read_text()
    note.write_text(json.dumps({**json.loads(kept), "torch": "1.0"}))
    with pytest.raises(KernelError, match=r"is for torch 1\.0"):
        load_inference(folder)
    note.write_text(kept)
    (library,) = (folder / CODE).rglob("*.so")
    content = library.read_bytes()
    for spoilt in (content[:-1] + b"x", b"", content + b"x"):
        library.write_bytes(spoilt)
        with pytest.raises(KernelError, match="is damaged"):
            load_inference(folder)
    library.write_bytes(content)
    library.chmod(0o666)
    with pytest.raises(KernelError, match="written by others"):
        load_inference(folder)
    library.chmod(0o600)
    (library.parent / "another.so").write_bytes(content)
    with pytest.raises(KernelError, match="is damaged"):
        load_inference(folder)


def test_without_a_compiler_the_remedy_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    with pytest.raises(KernelError, match=r"needs a C\+\+ compiler.*install g\+\+"):
        compile_inference(nn.Linear(2, 2), torch.randn(2, 2), tmp_path / "x")
    with pytest.raises(KernelError, match="holds no compiled network"):
        load_inference(tmp_path / "x")
