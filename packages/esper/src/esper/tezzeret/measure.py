"""What a branch costs here: latency and memory, measured, never estimated."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn


class Cost(BaseModel):
    """Measured on `device` with `threads` threads, at one activation of shape `shape`.

    Latencies are medians in microseconds: of g(h) alone, and of it with its backward pass.
    `parameter_bytes` and `saved_bytes` (kept from the forward pass for the backward one) are
    counted on the tensors themselves.
    """

    model_config = ConfigDict(frozen=True)

    device: str
    threads: int
    shape: tuple[int, ...]
    forward_us: float
    forward_backward_us: float
    parameters: int
    parameter_bytes: int
    saved_bytes: int


def measure(module: nn.Module, h: Tensor, repeats: int = 15) -> Cost:
    """Measure a branch at the activation `h`."""
    module.train()
    h = h.detach().requires_grad_()
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    own = {p.untyped_storage().data_ptr() for p in module.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = module(h)
    kept = sum(size for pointer, size in saved.items() if pointer not in own)
    del out

    def forward() -> None:
        with torch.no_grad():
            module(h)

    def both() -> None:
        torch.autograd.grad(module(h).square().sum(), [h, *module.parameters()])

    return Cost(
        device=str(h.device),
        threads=torch.get_num_threads(),
        shape=tuple(h.shape),
        forward_us=median_us(forward, repeats),
        forward_backward_us=median_us(both, repeats),
        parameters=sum(p.numel() for p in module.parameters()),
        parameter_bytes=sum(p.numel() * p.element_size() for p in module.parameters()),
        saved_bytes=kept,
    )


def median_us(call: Callable[[], object], repeats: int) -> float:
    """Return the median time of `call` in microseconds, after three calls unmeasured."""
    for _ in range(3):
        call()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - begun) / 1e3)
    return statistics.median(times)
