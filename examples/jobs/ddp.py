"""Fit y = sin(x) by a small network, each process with its own half of the data (torchrun, gloo).

Every process ends with the same weights, bit for bit: DDP averages the gradients.
"""

from __future__ import annotations

import os

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

STEPS = 200


def main() -> None:
    """Train, compare the weights of all processes, and say how it went."""
    distributed.init_process_group("gloo")
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    torch.manual_seed(1)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    x = torch.linspace(-3, 3, 256)[rank::ranks].unsqueeze(1)
    y = torch.sin(x)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    own = torch.cat([p.detach().flatten() for p in model.parameters()])
    everybody = [torch.empty_like(own) for _ in range(ranks)]
    distributed.all_gather(everybody, own)
    equal = all(torch.equal(own, other) for other in everybody)
    node = os.environ.get("SLURMD_NODENAME", "this machine")
    print(f"rank {rank} of {ranks} on {node}: loss {loss.item():.4f}", flush=True)
    distributed.barrier()
    if rank == 0:
        print(f"weights {'equal' if equal else 'DIFFER'} on {ranks} processes", flush=True)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
