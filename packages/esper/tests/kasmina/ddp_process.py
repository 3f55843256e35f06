"""One of two processes that train one model together: `ddp_process.py FOLDER RANK`."""

from __future__ import annotations

import sys

import torch
from models import batch, make
from torch import distributed
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import esper
from esper.lifecycle import Event


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def one_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    model = esper.wrap(make("mlp"), sites=["0", "2"])
    model.germinate("0", "bottleneck", width=4, generator=generator())
    layer = model.seed_at("0")
    layer.on(Event.TRAINED)
    layer.alpha.fill_(0.5)
    model.germinate("2", "bottleneck", width=4, generator=generator())
    learning = {f"seeds.2.branch.{n}" for n, _ in model.seed_at("2").branch.named_parameters()}  # type: ignore[union-attr]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, learning)
    parallel = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = batch("mlp", size=16)
    mine = slice(rank * 8, rank * 8 + 8)
    for _ in range(4):
        optimizer.zero_grad()
        cross_entropy(parallel(x[mine]), y[mine]).backward()
        model.shadow_backward("2", lambda: cross_entropy(model(x[mine]), y[mine]))
        optimizer.step()
    torch.save(model.state_dict(), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    one_process(int(sys.argv[2]), sys.argv[1])
