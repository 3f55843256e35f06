"""Wrapping changes nothing, a graft changes nothing at first, and nothing is there twice."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from models import SHAPES, batch, make
from torch import nn
from torch.nn.functional import cross_entropy

import esper
from esper.kasmina import BLUEPRINTS, UnsuitableError
from esper.lifecycle import Event, State

KINDS = list(SHAPES)
SITES = [
    ("mlp", "0", "bottleneck"),
    ("mlp_with_norms", "1", "bottleneck"),
    ("cnn", "0", "conv"),
    ("cnn", "0", "bottleneck"),
    ("cnn", "1", "conv"),
    ("cnn", "3", "conv"),
    ("attention", "attend", "attention"),
    ("attention", "attend", "bottleneck"),
    ("attention", "norm", "attention"),
    ("attention", "norm", "bottleneck"),
]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [True, False])
def test_a_dormant_model_is_the_host_bit_for_bit(kind: str, training: bool) -> None:
    plain, x = make(kind).train(training), batch(kind)[0]
    keys = list(plain.state_dict())
    wrapped = esper.wrap(make(kind)).train(training)
    torch.manual_seed(2)
    expected = plain(x)
    torch.manual_seed(2)
    assert torch.equal(wrapped(x), expected)
    assert list(wrapped.host.state_dict()) == keys
    assert sum(p.numel() for p in wrapped.parameters()) == sum(
        p.numel() for p in plain.parameters()
    )


def test_the_host_is_the_module_itself_and_comes_back_unhooked() -> None:
    host = make("cnn")
    wrapped = esper.wrap(host, sites=["0", "3"])
    assert wrapped.host is host
    assert esper.unwrap(wrapped) is host
    assert not any(module._forward_hooks for module in host.modules())


@pytest.mark.parametrize(("kind", "site", "blueprint"), SITES)
def test_a_graft_preserves_the_function_and_then_learns(
    kind: str, site: str, blueprint: str
) -> None:
    model = esper.wrap(make(kind), sites=[site]).eval()
    x, y = batch(kind)
    before = model(x)
    new = model.germinate(site, blueprint, width=4, generator=generator())
    layer = model.seed_at(site)
    layer.on(Event.TRAINED)
    assert torch.equal(model(x), before)  # GRAFTING, alpha = 0
    layer.on(Event.GRAFTED)
    assert (model(x) - before).abs().max() <= 1e-6  # alpha = 1, the last layer is zero
    cross_entropy(model(x), y).backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in new)
    with torch.no_grad():
        for p in new:
            if p.grad is not None:
                p.sub_(p.grad, alpha=0.5)
    assert (model(x) - before).abs().max() > 1e-5


def test_the_host_gradient_is_not_cut_by_a_graft() -> None:
    """Autograd through y = h + alpha g(h) against central differences, in float64."""
    model = esper.wrap(make("mlp").double(), sites=["0"])
    model.germinate("0", "bottleneck", width=4, generator=generator())
    layer = model.seed_at("0")
    layer.on(Event.TRAINED)
    layer.alpha.fill_(0.37)
    assert layer.branch is not None
    with torch.no_grad():
        for p in layer.branch.parameters():
            p.normal_(generator=generator())
    x, y = batch("mlp")
    x = x.double()
    weight = model.host.get_parameter("0.weight")
    cross_entropy(model(x), y).backward()
    assert weight.grad is not None
    step = 1e-6
    for i, j in ((0, 0), (3, 2), (7, 5)):
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[i, j] += sign * step
                losses.append(float(cross_entropy(model(x), y)))
                weight[i, j] -= sign * step
        assert float(weight.grad[i, j]) == pytest.approx(
            (losses[0] - losses[1]) / (2 * step), rel=1e-5, abs=1e-9
        )


def trajectory(kind: str, site: str | None, blueprint: str = "bottleneck") -> tuple[Any, float]:
    """Train the host for 15 steps, with a seed learning beside it or not."""
    model = esper.wrap(make(kind), sites=[site] if site else None)
    host_optimizer = torch.optim.Adam(model.host.parameters(), lr=1e-2)
    torch.manual_seed(11)
    seed_optimizer = None
    if site:
        new = model.germinate(site, blueprint, width=4, generator=generator())
        seed_optimizer = torch.optim.Adam(new, lr=1e-2)
    x, y = batch(kind)
    gain = 0.0
    for _ in range(15):
        host_optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        if site and seed_optimizer:
            seed_optimizer.zero_grad()
            shadow = model.shadow_backward(site, lambda: cross_entropy(model(x), y))
            gain = float(loss.detach()) - shadow
            seed_optimizer.step()
        host_optimizer.step()
    return copy.deepcopy(model.host.state_dict()), gain


@pytest.mark.parametrize(
    ("kind", "site", "blueprint"),
    [
        ("mlp", "0", "bottleneck"),
        ("mlp_with_norms", "0", "bottleneck"),  # dropout and running statistics
        ("cnn", "3", "conv"),
        ("attention", "attend", "attention"),
    ],
)
def test_a_learning_seed_leaves_the_host_bit_for_bit_alone(
    kind: str, site: str, blueprint: str
) -> None:
    without, _ = trajectory(kind, None)
    beside, _ = trajectory(kind, site, blueprint)
    assert without.keys() == beside.keys()
    for key, value in without.items():
        assert torch.equal(value, beside[key]), key


def test_a_learning_seed_lowers_the_true_loss() -> None:
    assert trajectory("mlp", "0")[1] > 1e-3


def test_the_shadow_gradient_is_that_of_the_true_loss() -> None:
    model = esper.wrap(make("mlp").double(), sites=["2"])
    model.germinate("2", "bottleneck", width=4, generator=generator())
    x, y = batch("mlp")
    x = x.double()
    model.shadow_backward("2", lambda: cross_entropy(model(x), y))
    assert all(p.grad is None for p in model.host.parameters())
    layer = model.seed_at("2")
    assert layer.branch is not None
    bias = layer.branch.get_parameter("leave.bias")
    assert bias.grad is not None
    # by hand: the host's layers, with h + bias at the site (g is its bias as the rest is zero)
    h = model.host.get_submodule("2")(torch.relu(model.host.get_submodule("0")(x))).detach()
    for k in range(8):
        losses = []
        for sign in (1, -1):
            moved = h.clone()
            moved[:, k] += sign * 1e-6
            out = model.host.get_submodule("4")(torch.tanh(moved))
            losses.append(float(cross_entropy(out, y)))
        assert float(bias.grad[k]) == pytest.approx((losses[0] - losses[1]) / 2e-6, abs=1e-8)


def test_culling_puts_the_site_back_and_leaves_no_parameter() -> None:
    model = esper.wrap(make("mlp"), sites=["0"])
    x = batch("mlp")[0]
    before, keys = model(x), list(model.state_dict())
    model.germinate("0", "bottleneck", width=4, generator=generator())
    layer = model.seed_at("0")
    for event in (Event.TRAINED, Event.GRAFTED):
        layer.on(event)
    layer.on(Event.CULL, embargo=3)
    assert torch.equal(model(x), before)
    assert list(model.state_dict()) == keys
    assert layer.seed.state is State.CULLED


def fossil(model: esper.MorphableModel, site: str) -> esper.KasminaLayer:
    model.germinate(site, "bottleneck", width=4, generator=generator())
    layer = model.seed_at(site)
    for event in (Event.TRAINED, Event.GRAFTED, Event.STABILIZED, Event.ACCEPT, Event.FOSSILIZE):
        layer.on(event)
    assert layer.branch is not None
    with torch.no_grad():
        for p in layer.branch.parameters():
            p.normal_(generator=generator())
    return layer


def test_unwrap_keeps_what_has_been_grafted() -> None:
    model = esper.wrap(make("mlp"), sites=["0", "2"]).eval()
    model.germinate("2", "bottleneck", width=4, generator=generator())
    fossil(model, "0")
    x = batch("mlp")[0]
    expected = model(x)
    plain = esper.unwrap(model)
    assert torch.equal(plain(x), expected)
    assert not isinstance(plain, esper.MorphableModel)
    assert not any(key.startswith("2.branch") for key in plain.state_dict())  # seed 2 only learnt


def test_no_tensor_is_there_twice_and_a_copy_is_whole() -> None:
    model = esper.wrap(make("cnn"), sites=["0", "3"])
    model.germinate("3", "conv", width=4, generator=generator())
    model.seed_at("3").on(Event.TRAINED)
    model.seed_at("3").on(Event.GRAFTED)
    places = [value.data_ptr() for value in model.state_dict().values() if value.numel()]
    assert len(set(places)) == len(places)
    twin = copy.deepcopy(model)
    x = batch("cnn")[0]
    with torch.no_grad():
        for p in model.seed_at("3").branch.parameters():  # type: ignore[union-attr]
            p.normal_(generator=generator())
    assert (model.eval()(x) - twin.eval()(x)).abs().max() > 1e-3  # the copy has its own seeds
    fresh = esper.wrap(make("cnn", seed=9), sites=["0", "3"])
    fresh.germinate("3", "conv", width=4, generator=generator())
    fresh.seed_at("3").on(Event.TRAINED)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh.eval()(x), model.eval()(x))


def test_a_transformer_layer_takes_its_seeds_into_account_in_eval() -> None:
    torch.manual_seed(0)
    host = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = esper.wrap(host, sites=["linear1", "self_attn"]).eval()
    x = torch.randn(2, 5, 8)
    with torch.inference_mode():
        before = model(x)
    for site in model.sites:
        model.germinate(site, "bottleneck", width=4, generator=generator())
        layer = model.seed_at(site)
        layer.on(Event.TRAINED)
        layer.on(Event.GRAFTED)
        assert layer.branch is not None
        with torch.no_grad():
            layer.branch.get_parameter("leave.bias").normal_(generator=generator())
        with torch.inference_mode():
            after = model(x)
        assert (after - before).abs().max() > 1e-3
        before = after


@pytest.mark.parametrize("site", ["layers.0.linear1", "layers.0.self_attn", "layers.0.norm2"])
def test_an_unwrapped_transformer_computes_what_it_did(site: str) -> None:
    """In eval mode PyTorch looks at the weights of a layer's parts, and would run on without us."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = esper.wrap(nn.TransformerEncoder(layer, 2), [site]).eval()
    grown = fossil(model, site)
    x, padding = torch.randn(2, 5, 8), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    with torch.inference_mode():
        expected = [model(x), model(x, src_key_padding_mask=padding)]
        plain = copy.deepcopy(esper.unwrap(model))
        found = [plain(x), plain(x, src_key_padding_mask=padding)]
    assert grown.branch is not None
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_module_that_the_host_has_twice_is_unwrapped_in_both_places() -> None:
    layer = nn.Linear(6, 6)
    model = esper.wrap(nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(6, 3)), ["0"])
    fossil(model, "0")
    x = batch("mlp")[0]
    expected = model(x)
    plain = esper.unwrap(model)
    assert torch.equal(plain(x), expected)
    assert plain.get_submodule("2").out_features == 6  # what it lacks itself is the base's


def test_refusals_say_what_and_where() -> None:
    with pytest.raises(UnsuitableError, match="no module 'fc'"):
        esper.wrap(make("mlp"), sites=["fc"])
    with pytest.raises(UnsuitableError, match="grow at a ReLU"):
        esper.wrap(make("mlp"), sites=["1"])
    with pytest.raises(UnsuitableError, match="twice"):
        esper.wrap(make("mlp"), sites=["0", "0"])
    with pytest.raises(UnsuitableError, match="no module that can hold"):
        esper.wrap(nn.Sequential(nn.ReLU()))
    model = esper.wrap(make("mlp"), sites=["0"])
    with pytest.raises(UnsuitableError, match="already"):
        esper.wrap(model)
    with pytest.raises(UnsuitableError, match=r"'conv' needs a Conv2d"):
        model.germinate("0", "conv", width=4, generator=generator())
    assert model.seed_at("0").seed.state is State.CANCELLED
    with pytest.raises(KeyError, match="sites: 0"):
        model.seed_at("9")
    with pytest.raises(ValueError, match="release it then"):
        model.germinate("0", "bottleneck", width=4, generator=generator())
    with pytest.raises(UnsuitableError, match="name the attention 'attend'"):
        esper.wrap(make("attention"), sites=["attend.out_proj"])
    model.seed_at("0").on(Event.RELEASE)
    model.germinate("0", "bottleneck", width=4, generator=generator())
    with pytest.raises(RuntimeError, match="did not run in `loss`"):
        model.shadow_backward("0", lambda: make("mlp")(batch("mlp")[0]).sum())
    assert set(BLUEPRINTS) == {"bottleneck", "conv", "attention"}


def test_germination_draws_from_its_own_generator_only() -> None:
    model = esper.wrap(make("mlp"), sites=["0"])
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = model.germinate("0", "bottleneck", width=4, generator=generator())
    assert torch.equal(torch.rand(2), expected)
    other = esper.wrap(make("mlp"), sites=["0"])
    again = other.germinate("0", "bottleneck", width=4, generator=generator())
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
