"""Ahead-of-time compiled inference for a network that has finished growing (AOTInductor).

A compiled package holds machine code, so it is made on the machine that runs it, kept in a
folder that only its user can write, and never taken from a library or from another machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from esper.files import write_whole
from esper.tezzeret.forge import instruction_set, torch_version
from esper.tezzeret.module import KernelError

PACKAGE = "inference.pt2"
_NOTE = "inference.json"


def compiler() -> str | None:
    """Return the C++ compiler that AOTInductor will call, None if there is none."""
    wanted = os.environ.get("CXX", "g++")
    return shutil.which(wanted)


def compile_inference(network: nn.Module, x: Tensor, folder: Path) -> Path:
    """Compile a network's forward pass with a dynamic batch into `folder`/inference.pt2.

    `x` is an example batch of at least two samples. What was compiled is compared with the
    network itself, at two batch sizes, before it counts.

    Raises KernelError if there is no C++ compiler, compiling fails, or the outputs differ.
    """
    if compiler() is None:
        raise KernelError(
            "AOTInductor needs a C++ compiler, and there is no g++ on the PATH; install g++, name "
            "another with CXX, or use the network as it is"
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    network.eval()
    target, draft = folder / PACKAGE, folder / ".draft.pt2"
    with torch.no_grad():
        try:
            exported = torch.export.export(
                network, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=2**20)},)
            )
            torch._inductor.aoti_compile_and_package(exported, package_path=str(draft))
            run = torch._inductor.aoti_load_package(str(draft))
        except Exception as error:  # the compiler, and torch, raise whatever they stumble over
            reason = str(error).strip().splitlines() or [type(error).__name__]
            draft.unlink(missing_ok=True)
            raise KernelError(f"AOTInductor could not compile the network: {reason[0]}") from None
        for some in (x[:1], x):
            eager = network(some)
            worst = float((run(some) - eager).abs().max() / eager.abs().max().clamp_min(1e-12))
            if not worst <= 1e-4:
                draft.unlink(missing_ok=True)
                raise KernelError(f"the compiled network differs by {worst:.3g}; it was not kept")
    content = draft.read_bytes()
    draft.unlink()
    write_whole(target, content)
    target.chmod(0o600)
    note = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "torch": torch_version(),
        "isa": instruction_set(),
    }
    write_whole(folder / _NOTE, json.dumps(note, indent=1) + "\n")
    return target


def load_inference(folder: Path) -> Callable[[Tensor], Tensor]:
    """Load what `compile_inference` left in `folder`.

    Raises KernelError if it was made by another torch or for another processor, has changed
    since, or could have been written by somebody else.
    """
    package = folder / PACKAGE
    try:
        note = json.loads((folder / _NOTE).read_text())
        for path in (folder, package):
            found = path.stat()
            if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise KernelError(f"{path} can be written by others; machine code is not loaded")
        content = package.read_bytes()
        made, here = (note["torch"], note["isa"]), (torch_version(), instruction_set())
        same = note["sha256"] == hashlib.sha256(content).hexdigest()
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, KernelError):
            raise
        raise KernelError(f"{folder} holds no compiled network ({error})") from None
    if made != here:
        raise KernelError(f"{package} is for torch {made[0]} on {made[1]}; compile it anew here")
    if not same:
        raise KernelError(f"{package} is damaged; compile it anew")
    run: Callable[[Tensor], Tensor] = torch._inductor.aoti_load_package(str(package))
    return run
