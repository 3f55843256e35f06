"""Under torch.compile, autocast and DDP."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from models import batch, make
from torch.nn.functional import cross_entropy

import esper
from esper.lifecycle import Event

HAS_COMPILER = (
    shutil.which("g++") is not None and (Path(sysconfig.get_path("include")) / "Python.h").exists()
)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def compiled_follows_the_seed(backend: str) -> None:
    torch.compiler.reset()
    model = esper.wrap(make("mlp"), sites=["0", "2"])
    fast = torch.compile(model, backend=backend, fullgraph=True)
    x, y = batch("mlp")
    with torch.no_grad():
        before = model(x)
        assert torch.allclose(fast(x), before, atol=1e-5)
    model.germinate("2", "bottleneck", width=4, generator=generator())
    layer = model.seed_at("2")
    with torch.no_grad():
        assert torch.allclose(fast(x), before, atol=1e-5)  # TRAINING: not on the path
    layer.on(Event.TRAINED)
    assert layer.branch is not None
    layer.alpha.fill_(0.25)
    with torch.no_grad():
        for p in layer.branch.parameters():
            p.normal_(generator=generator())
    cross_entropy(fast(x), y).backward()
    compiled = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    cross_entropy(model(x), y).backward()
    assert (model(x) - before).abs().max() > 1e-3
    for name, p in model.named_parameters():
        assert p.grad is not None
        assert torch.allclose(p.grad, compiled[name], atol=1e-5, rtol=1e-4), name


def test_a_compiled_model_follows_its_seeds() -> None:
    compiled_follows_the_seed("aot_eager")


@pytest.mark.parametrize("of_host", [False, True])
def test_a_branch_is_seen_by_what_was_compiled_without_it(of_host: bool) -> None:
    torch.compiler.reset()
    model = esper.wrap(make("mlp"), sites=["2"])
    fast = torch.compile(model.host if of_host else model, backend="aot_eager", fullgraph=True)
    x, _ = batch("mlp")
    fast(x)
    model.germinate("2", "bottleneck", width=4, generator=generator())
    layer = model.seed_at("2")
    layer.on(Event.TRAINED)
    layer.alpha.fill_(0.25)
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_(generator=generator())
    assert torch.allclose(fast(x), model(x), atol=1e-5)
    layer.on(Event.FAULT)
    assert torch.allclose(fast(x), model(x), atol=1e-5)


@pytest.mark.real
@pytest.mark.skipif(not HAS_COMPILER, reason="no g++ or no Python.h on this machine")
def test_a_model_compiled_by_inductor_follows_its_seeds() -> None:
    compiled_follows_the_seed("inductor")


def test_a_new_alpha_is_no_new_compilation() -> None:
    torch.compiler.reset()
    model = esper.wrap(make("mlp"), sites=["0"])
    model.germinate("0", "bottleneck", width=4, generator=generator())
    layer = model.seed_at("0")
    layer.on(Event.TRAINED)
    fast = torch.compile(model, backend="aot_eager", fullgraph=True)
    x = batch("mlp")[0]
    counters = torch._dynamo.utils.counters  # type: ignore[attr-defined]
    counters.clear()
    for step in range(5):
        layer.alpha.fill_(step / 5)
        fast(x)
    assert counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("kind", ["mlp", "cnn", "attention"])
def test_autocast_to_bfloat16(kind: str) -> None:
    model = esper.wrap(make(kind))
    site = model.sites[0]
    x, y = batch(kind)
    model.germinate(site, "bottleneck", width=4, generator=generator())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        before = model(x)
        shadow = model.shadow_backward(site, lambda: cross_entropy(model(x), y))
        model.seed_at(site).on(Event.TRAINED)
        model.seed_at(site).on(Event.GRAFTED)
        after = model(x)
        loss = cross_entropy(after, y)
    assert before.dtype == after.dtype
    assert torch.equal(before, after)  # the last layer is zero: exact in any precision
    assert shadow == pytest.approx(float(loss.detach()), rel=0.02)
    loss.backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


def test_two_processes_by_ddp_train_what_one_would(tmp_path: Path) -> None:
    script = Path(__file__).parent / "ddp_process.py"
    command = [sys.executable, str(script), str(tmp_path)]
    both = [subprocess.Popen([*command, str(rank)]) for rank in (0, 1)]
    try:
        assert [process.wait(timeout=120) for process in both] == [0, 0]
    finally:
        for process in both:
            process.kill()
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first[key], second[key]) for key in first)

    model = esper.wrap(make("mlp"), sites=["0", "2"])
    model.germinate("0", "bottleneck", width=4, generator=generator())
    model.seed_at("0").on(Event.TRAINED)
    model.seed_at("0").alpha.fill_(0.5)
    model.germinate("2", "bottleneck", width=4, generator=generator())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = batch("mlp", size=16)
    for _ in range(4):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        model.shadow_backward("2", lambda: cross_entropy(model(x), y))
        optimizer.step()
    for key, value in model.state_dict().items():
        assert torch.allclose(value, first[key], atol=1e-6), key
