"""Telemetry against figures worked out by hand, and without a trace on the model."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from esper import wrap
from esper.kasmina.telemetry import mean_of, watching
from esper.lifecycle import Event


def _batch(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(8, *shape, generator=generator), torch.arange(8) % 3


def test_the_figures_are_those_of_the_step() -> None:
    torch.manual_seed(0)
    host = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    with torch.no_grad():
        host[0].bias[1] = -100.0  # a dead unit
    model, (x, y) = wrap(host), _batch(5)
    with watching(model) as found:
        cross_entropy(model(x), y).backward()
    first = host[0](x)
    assert found["0"]["rms"] == pytest.approx(float(first.square().mean().sqrt()), rel=1e-6)
    assert found["0"]["dead"] == 0.25
    assert found["2"]["dead"] == float((host[2](host[1](first)) <= 0).all(0).float().mean())
    weight, bias = host[2].weight, host[2].bias
    assert weight.grad is not None and bias.grad is not None
    norms = [
        math.sqrt(float(a.square().sum() + b.square().sum()))
        for a, b in ((weight.grad, bias.grad), (weight, bias))
    ]
    assert found["2"]["gradient"] == pytest.approx(norms[0] / norms[1], rel=1e-5)
    assert not any(module._forward_hooks for module in host)


def test_channels_of_images_and_a_shadow_pass_that_does_not_count() -> None:
    torch.manual_seed(0)
    host = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    with torch.no_grad():
        host[0].bias[2] = -100.0
    model, (x, y) = wrap(host), _batch(2, 6, 6)
    branch = model.germinate("0", "conv", width=4, generator=torch.Generator().manual_seed(2))
    nn.init.ones_(branch[-1])
    with watching(model) as found:
        cross_entropy(model(x), y).backward()
        model.shadow_backward("0", lambda: cross_entropy(model(x), y))
    assert found["0"]["dead"] == 0.25
    assert found["0"]["rms"] == pytest.approx(float(host[0](x).square().mean().sqrt()), rel=1e-6)
    layer = model.seed_at("0")
    layer.on(Event.TRAINED)
    layer.alpha.fill_(1.0)
    with watching(model) as grafted:
        model(x)
    assert grafted["0"]["rms"] != found["0"]["rms"], "a branch on the path counts"


def test_hooks_are_gone_after_an_error_and_what_did_not_run_has_no_figures() -> None:
    model = wrap(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), ["0"])
    with pytest.raises(RuntimeError), watching(model) as found:
        model(torch.zeros(1, 3))
    assert not model.host.get_submodule("0")._forward_hooks
    assert found == {"0": {}}


def test_means_are_over_the_samples_that_have_the_figure() -> None:
    samples = [{"a": {"rms": 1.0}}, {"a": {"rms": 3.0, "dead": 0.5}}, {"b": {}}]
    assert mean_of(samples) == {"a": {"rms": 2.0, "dead": 0.5}}
