"""Telemetry: what the sites of a model do in one step, looked at now and then.

Each figure is measured on the step's own batch: no second pass is made, and between samples a
model carries no hook for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from esper.kasmina.blueprints import site_shape
from esper.kasmina.model import MorphableModel

Figures = dict[str, float]


@contextlib.contextmanager
def watching(model: MorphableModel) -> Iterator[dict[str, Figures]]:
    """Look at every site through one forward and backward pass; figures are there at the end.

    `rms`: root mean square of what the site puts out, its branch included. `dead`: share of its
    features that are nowhere in the batch above zero, so that a ReLU behind them passes nothing.
    `gradient`: norm of the gradient of the site's own weights, relative to that of the weights.
    A site that did not run has no figures, one without a gradient no `gradient`. Of several
    forward passes the first counts (a shadow pass is none of the model's own).
    """
    found: dict[str, Figures] = {site: {} for site in model.sites}
    handles = [
        model.host.get_submodule(site).register_forward_hook(partial(_look, figures))
        for site, figures in found.items()
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
    for site, figures in found.items():
        gradient = _gradient(model.host.get_submodule(site))
        if figures and gradient is not None:
            figures["gradient"] = gradient


@torch.no_grad()
def _look(figures: Figures, host: nn.Module, inputs: Any, output: Any) -> None:
    if figures:
        return
    h: Tensor = (output[0] if isinstance(output, tuple) else output).detach()
    rows = h.movedim(site_shape(host).axis, -1).flatten(0, -2)
    figures["rms"] = float(rows.float().square().mean().sqrt())
    figures["dead"] = float((rows.amax(0) <= 0).float().mean())


@torch.no_grad()
def _gradient(host: nn.Module) -> float | None:
    pairs = [(p, p.grad) for p in host.parameters() if p.grad is not None]
    weights = sum(float(p.square().sum()) for p, _ in pairs)
    if not pairs or weights == 0:
        return None
    return float((sum(float(g.square().sum()) for _, g in pairs) / weights) ** 0.5)


def mean_of(samples: list[dict[str, Figures]]) -> dict[str, Figures]:
    """Return the mean of every figure of every site over the samples that have it."""
    found: dict[str, dict[str, list[float]]] = {}
    for sample in samples:
        for site, figures in sample.items():
            for name, value in figures.items():
                found.setdefault(site, {}).setdefault(name, []).append(value)
    return {
        site: {name: sum(values) / len(values) for name, values in figures.items()}
        for site, figures in found.items()
    }
