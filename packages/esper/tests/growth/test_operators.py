"""Each operator against what defines it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

import esper
from esper.growth import tiny
from esper.growth.boost import NewbornBoost
from esper.growth.firefly import Firefly, moments
from esper.growth.gradmax import GradMax, cross_moment
from esper.growth.insert import insert
from esper.growth.junction import Junction, junctions
from esper.growth.operators import WIDENING, grow, propose
from esper.growth.pursuit import Pursuit
from esper.growth.residual import ResidualBlock
from esper.growth.statistics import collect
from esper.lifecycle import State


def generator(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mlp(activation: type[nn.Module] = nn.ReLU, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(6, 5), activation(), nn.Linear(5, 7), activation(), nn.Linear(7, 4)
    )


def cnn(norm: bool = False, kernel: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4) if norm else nn.Identity(),
        nn.ReLU(),
        nn.Conv2d(4, 5, kernel, padding=kernel // 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(180, 3),
    )


def data(model: nn.Module, n: int = 32) -> tuple[Tensor, Tensor]:
    shape = (2, 6, 6) if any(isinstance(m, nn.Conv2d) for m in model.modules()) else (6,)
    x = torch.randn(n, *shape, generator=generator(1))
    return x, torch.randint(3, (n,), generator=generator(2))


def loss_of(model: nn.Module) -> Callable[[], Tensor]:
    x, y = data(model)
    x = x.to(next(model.parameters()).dtype)
    return lambda: cross_entropy(model(x), y)


CASES = (
    [("mlp", name) for name in WIDENING]
    + [("cnn", name) for name in WIDENING if name not in ("tiny", "pursuit")]
    + [("norm", "net2wider"), ("norm", "random")]
)
MODELS = {"mlp": mlp, "cnn": cnn, "norm": lambda: cnn(norm=True)}


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_growth_preserves_what_it_claims_to(kind: str, name: str) -> None:
    model = MODELS[kind]()
    loss = loss_of(model)
    model.train(kind == "norm")
    if kind == "norm":
        for _ in range(3):
            loss()
    model.eval()
    x = data(model)[0]
    before = model(x)
    operator = WIDENING[name]()
    junction = junctions(model)[0]
    done = grow(model, operator, propose(model, operator, {junction.first: 3}), loss, generator())
    after = model(x)
    assert done.score >= 0
    first = model.get_submodule(junction.first)
    assert first.weight.shape[0] == {"mlp": 8}.get(kind, 7)
    change = float((after - before).abs().max().detach())
    if operator.preserves_function:
        assert change <= 1e-6
    else:
        assert 0 < change < 0.1
    model.train()
    loss().backward()
    assert all(n.parameter.grad is not None for n in done.newborns)
    assert (
        sum(float(n.parameter.grad.narrow(n.axis, n.start, 3).abs().sum()) for n in done.newborns)
        > 0
    )  # type: ignore[union-attr]


def test_junctions_are_found_and_only_true_ones() -> None:
    assert junctions(mlp()) == [Junction("0", "2", ("1",)), Junction("2", "4", ("3",))]
    assert junctions(cnn(norm=True)) == [
        Junction("0", "3", ("1", "2")),
        Junction("3", "6", ("4", "5")),  # behind Flatten, all pixels of a channel
    ]
    grouped = nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1, groups=2))
    assert junctions(grouped) == []
    act, layer = nn.ReLU(), nn.Linear(5, 5)
    same_act = nn.Sequential(nn.Linear(6, 5), act, nn.Linear(5, 7), act, nn.Linear(7, 4))
    assert junctions(same_act)[1] == Junction("2", "4", ("3",))
    assert junctions(nn.Sequential(nn.Linear(6, 5), layer, act, layer)) == []
    tied = mlp()
    tied.decoder = nn.Linear(6, 5)  # in no Sequential, but with the first layer's weight
    tied.decoder.weight = tied[0].weight
    assert [j.first for j in junctions(tied)] == ["2"]
    norms = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.BatchNorm1d(5), nn.Linear(5, 2))
    assert junctions(norms) == []


def test_gradmax_is_the_optimum_of_its_problem() -> None:
    """No fan-out of the same norm gives the new fan-in a larger gradient; autograd judges."""
    model = mlp()
    loss = loss_of(model)
    junction = junctions(model)[0]
    statistics = collect(model, junction, loss)

    def gradient_norm(fan_out: Tensor) -> float:
        trial = copy.deepcopy(model)
        neurons = GradMax().init(trial[0], trial[2], statistics, 2, generator())
        neurons = type(neurons)(neurons.fan_in, neurons.bias, fan_out)
        insert(trial, junction, neurons)
        loss_of(trial)().backward()
        return float(trial[0].weight.grad[5:].norm())

    best = GradMax().init(model[0], model[2], statistics, 2, generator()).fan_out
    reached = gradient_norm(best)
    scale = float(best.norm()) / 2**0.5
    predicted = GradMax().score(statistics, 2, generator()) * scale
    assert reached == pytest.approx(predicted, rel=1e-4)
    for trial in range(50):
        q = torch.linalg.qr(torch.randn(7, 2, generator=generator(trial)))[0]
        assert gradient_norm(q * scale) <= reached * (1 + 1e-5)


@pytest.mark.parametrize("pool", [nn.Identity(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)])
def test_gradmax_of_a_pointwise_convolution_is_the_gradient_itself(pool: nn.Module) -> None:
    model = cnn(kernel=1)
    model[1] = pool
    model[6] = nn.LazyLinear(3)
    loss_of(model)()
    loss = loss_of(model)
    junction = junctions(model)[0]
    statistics = collect(model, junction, loss)
    neurons = GradMax().init(model[0], model[3], statistics, 2, generator())
    predicted = neurons.fan_out[:, :, 0, 0].T @ cross_moment(statistics)
    insert(model, junction, neurons)
    loss().backward()
    assert torch.allclose(model[0].weight.grad[4:].flatten(1), predicted, atol=1e-6)


def test_tiny_solves_its_least_squares_problem() -> None:
    """Against the optimum of reduced-rank regression by another route, and random trials."""
    model = mlp(nn.Tanh).double()
    statistics = collect(model, junctions(model)[0], loss_of(model))
    rank = 2
    fan_in, fan_out, sizes = tiny.solve(statistics, rank)
    wanted = tiny.bottleneck(statistics)
    inputs = torch.cat([statistics.inputs, torch.ones(32, 1, dtype=torch.float64)], 1)
    n = len(inputs)

    def error(change: Tensor) -> float:
        return float((wanted - change).square().sum() / n)

    reached = error(inputs @ fan_in.T @ fan_out)
    assert reached == pytest.approx(
        float(wanted.square().sum() / n - sizes.square().sum()), rel=1e-9
    )
    # reduced-rank regression: the best fit of rank r is the full fit, cut by its own SVD
    q = torch.linalg.qr(inputs)[0]
    u, s, v = torch.linalg.svd(q @ q.T @ wanted, full_matrices=False)
    assert reached == pytest.approx(error(u[:, :rank] * s[:rank] @ v[:rank]), rel=1e-9)
    # what is left cannot be reached by the existing weights
    hidden = torch.cat([statistics.hidden, torch.ones(n, 1, dtype=torch.float64)], 1)
    assert (hidden.T @ wanted).abs().max() < 1e-12


def test_tiny_lowers_the_loss_as_predicted() -> None:
    """Where the second layer is solved, d loss / d gamma = -score (finite difference)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    x = torch.randn(64, 6, generator=generator(1)).double()
    y = torch.sin(2 * x[:, :2]) + x[:, 2:4]
    with torch.no_grad():
        hidden = torch.cat([torch.tanh(model[0](x)), torch.ones(64, 1).double()], 1)
        solved = torch.linalg.lstsq(hidden, y).solution
        model[2].weight.copy_(solved[:3].T)
        model[2].bias.copy_(solved[3])

    def loss() -> Tensor:
        return mse_loss(model(x), y)

    before = float(loss().detach())
    junction = junctions(model)[0]
    statistics = collect(model, junction, loss)
    gamma = 1e-7
    operator = tiny.Tiny(gamma)
    predicted = operator.score(statistics, 2, generator())
    insert(model, junction, operator.init(model[0], model[2], statistics, 2, generator()))
    assert (before - float(loss().detach())) / gamma == pytest.approx(predicted, rel=1e-3)


@pytest.mark.parametrize("make", [lambda: mlp(nn.Tanh), cnn])
def test_firefly_lowers_the_loss_as_predicted(make: Callable[[], nn.Sequential]) -> None:
    model = make().double()
    loss = loss_of(model)
    before = float(loss().detach())
    junction = junctions(model)[0]
    statistics = collect(model, junction, loss)
    operator = Firefly(epsilon=1e-6)
    predicted = operator.score(statistics, 2, generator())
    first, second = model.get_submodule(junction.first), model.get_submodule(junction.second)
    neurons = operator.init(first, second, statistics, 2, generator())
    insert(model, junction, neurons)
    assert (before - float(loss().detach())) / 1e-6 == pytest.approx(predicted, rel=1e-3)
    # gradient ascent found better fan-ins than its random starts
    start = torch.randn(64, *neurons.fan_in.shape[1:], generator=generator(3)).double()
    norm = neurons.fan_in[0].norm() / start.flatten(1).norm(dim=1)
    start = start * norm.reshape(-1, *[1] * (start.dim() - 1))
    typical = moments(statistics, start).norm(dim=1).median()
    assert predicted / 2 > typical


def test_net2wider_copies_learn_differently() -> None:
    model = mlp()
    loss = loss_of(model)
    operator = WIDENING["net2wider"]()
    grow(model, operator, propose(model, operator, {"0": 5}), loss, generator())
    loss().backward()
    gradient = model[0].weight.grad
    distances = torch.cdist(gradient, gradient) + torch.eye(10)
    active = gradient.norm(dim=1) > 0
    assert distances[active][:, active].min() > 1e-6


@pytest.mark.parametrize("name", ["net2wider", "random", "firefly"])
def test_channels_before_a_flatten_take_all_their_pixels_along(name: str) -> None:
    model = cnn()
    loss = loss_of(model)
    before = model(data(model)[0]).detach()
    operator = WIDENING[name](epsilon=1e-7) if name == "firefly" else WIDENING[name]()
    done = grow(model, operator, propose(model, operator, {"3": 2}), loss, generator())
    assert done.count == 2
    assert (model[3].out_channels, model[6].in_features) == (7, 7 * 36)
    assert torch.allclose(model(data(model)[0]), before, atol=1e-5)


@pytest.mark.parametrize("name", ["gradmax", "tiny", "pursuit"])
def test_operators_that_cannot_grow_before_a_flatten_say_so(name: str) -> None:
    model = cnn()
    operator = WIDENING[name]()
    proposals = propose(model, operator, {"3": 2})
    with pytest.raises(ValueError, match=r"Conv2d|Linear"):
        grow(model, operator, proposals, loss_of(model), generator())
    assert model[3].out_channels == 5


def test_every_operator_refuses_what_it_cannot_do() -> None:
    for name in ("gradmax", "firefly", "tiny"):
        model = cnn(norm=True)
        operator = WIDENING[name]()
        with pytest.raises(ValueError, match="normalis"):
            grow(model, operator, propose(model, operator, {"0": 1}), loss_of(model), generator())
    model = mlp()
    operator = WIDENING["gradmax"]()
    done = grow(model, operator, propose(model, operator, {"0": 9}), loss_of(model), generator())
    assert done.count < 9  # the second layer has seven outputs, hence seven directions
    assert model[0].out_features == 5 + done.count
    with pytest.raises(ValueError, match="no junction"):
        grow(model, operator, [], loss_of(model), generator())


@pytest.mark.parametrize("name", ["net2wider", "random", "firefly"])
def test_channels_grow_before_a_flatten(name: str) -> None:
    model, operator = cnn(), WIDENING[name]()
    loss, x = loss_of(model), data(model)[0]
    before = model(x)
    grow(model, operator, propose(model, operator, {"3": 2}), loss, generator())
    assert (model[3].out_channels, model[6].in_features) == (7, 7 * 36)
    change = float((model(x) - before).abs().max().detach())
    assert change <= 1e-6 if operator.preserves_function else 0 < change < 0.1
    loss().backward()
    assert model[3].weight.grad is not None


@pytest.mark.parametrize(
    ("activation", "bias", "message"),
    [
        (nn.Sigmoid, True, "0 at 0"),  # sigmoid(0) = 0.5 would be added
        (nn.Softplus, True, "0 at 0"),
        (nn.ReLU, False, "needs a bias"),  # no slope at 0: dead for ever
    ],
)
def test_gradmax_refuses_neurons_that_are_not_silent_or_dead(
    activation: type[nn.Module], bias: bool, message: str
) -> None:
    model = nn.Sequential(nn.Linear(6, 5, bias=bias), activation(), nn.Linear(5, 4))
    operator = GradMax()
    with pytest.raises(ValueError, match=message):
        grow(model, operator, propose(model, operator, {"0": 2}), loss_of(model), generator())


@pytest.mark.parametrize("name", ["tiny", "pursuit"])
def test_without_a_bias_none_is_reckoned_with(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Tanh(), nn.Linear(5, 4))
    statistics = collect(model, junctions(model)[0], loss_of(model))
    neurons = WIDENING[name]().init(model[0], model[2], statistics, 2, generator())
    assert float(neurons.bias.abs().max()) == pytest.approx(0, abs=1e-9)


def test_what_cannot_grow_is_refused_before_anything_changes() -> None:
    model, operator = mlp(), WIDENING["random"]()
    loss, x = loss_of(model), data(model)[0]
    before = model(x)
    proposals = propose(model, operator, {"0": 2})
    half = torch.optim.SGD(model[2].parameters(), lr=0.1)
    with pytest.raises(ValueError, match="does not hold every parameter"):
        grow(model, operator, proposals, loss, generator(), half)
    wrapped = esper.wrap(model, ["0"])
    wrapped.germinate("0", "bottleneck", width=2, generator=generator())
    with pytest.raises(ValueError, match="branch has the old width"):
        grow(model, operator, proposals, loss, generator())
    assert torch.equal(esper.unwrap(wrapped)(x), before)
    for p in model[0].parameters():
        p.requires_grad_(False)
    grow(model, operator, proposals, loss, generator(), half)  # frozen: the optimiser need not
    assert torch.allclose(model(x), before, atol=1e-6)


def test_the_optimiser_keeps_its_memory() -> None:
    model = mlp()
    loss = loss_of(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(4):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    old = {n: copy.deepcopy(optimizer.state[p]) for n, p in model.named_parameters()}
    operator = WIDENING["random"]()
    grow(model, operator, propose(model, operator, {"0": 3}), loss, generator(), optimizer)
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in model.parameters()}
    state = optimizer.state[model[0].weight]
    assert torch.equal(state["exp_avg"][:5], old["0.weight"]["exp_avg"])
    assert torch.equal(state["exp_avg_sq"][:5], old["0.weight"]["exp_avg_sq"])
    assert state["exp_avg"][5:].abs().max() == 0
    assert int(state["step"]) == 4
    out = optimizer.state[model[2].weight]
    assert torch.equal(out["exp_avg"][:, :5], old["2.weight"]["exp_avg"])
    assert torch.equal(optimizer.state[model[4].weight]["exp_avg"], old["4.weight"]["exp_avg"])
    optimizer.zero_grad()
    loss().backward()
    optimizer.step()


def test_growth_leaves_the_old_weights_next_step_alone() -> None:
    """With zero fan-outs, one Adam step moves the old entries as it would without growth."""
    plain = mlp()
    grown = copy.deepcopy(plain)
    optimizers = [torch.optim.Adam(m.parameters(), lr=1e-2) for m in (plain, grown)]

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        loss_of(model)().backward()
        optimizer.step()

    for _ in range(3):
        step(plain, optimizers[0])
        step(grown, optimizers[1])
    operator = WIDENING["random"]()
    proposals = propose(grown, operator, {"0": 3})
    grow(grown, operator, proposals, loss_of(grown), generator(), optimizers[1])
    step(plain, optimizers[0])
    step(grown, optimizers[1])
    assert torch.allclose(grown[0].weight[:5], plain[0].weight, atol=1e-7)
    assert torch.allclose(grown[2].weight[:, :5], plain[2].weight, atol=1e-7)


def test_newborns_are_boosted_and_nothing_else() -> None:
    plain = mlp()
    operator = WIDENING["random"]()
    grow(plain, operator, propose(plain, operator, {"0": 3}), loss_of(plain), generator())
    boosted = mlp()
    optimizer = torch.optim.SGD(boosted.parameters(), lr=0.1)
    boost = NewbornBoost(optimizer, factor=3.0, steps=2)
    done = grow(
        boosted,
        operator,
        propose(boosted, operator, {"0": 3}),
        loss_of(boosted),
        generator(),
        optimizer,
    )
    boost.add(done.newborns)
    reference = torch.optim.SGD(plain.parameters(), lr=0.1)
    start = plain[2].weight.detach().clone()
    for model, opt in ((plain, reference), (boosted, optimizer)):
        loss_of(model)().backward()
        opt.step()
    ordinary = plain[2].weight.detach() - start
    seen = boosted[2].weight.detach() - start
    assert torch.equal(seen[:, :5], ordinary[:, :5])
    assert torch.allclose(seen[:, 5:], 3 * ordinary[:, 5:], atol=1e-7)
    optimizer.step()
    names = {id(p): n for n, p in boosted.named_parameters()}
    assert boost.state(names) == []  # over after two steps


def test_a_residual_block_scores_by_its_gradient_and_leaves_no_trace() -> None:
    model = esper.wrap(mlp(), sites=["0", "2"])
    loss = loss_of(model)
    operator = ResidualBlock()
    proposals = operator.propose(model, width=4, blueprints=("bottleneck", "conv"))
    assert [(p.site, p.blueprint) for p in proposals] == [("0", "bottleneck"), ("2", "bottleneck")]
    before = list(model.state_dict())
    scores = [operator.score(model, p, loss, generator()) for p in proposals]
    assert all(score > 0 for score in scores)
    assert list(model.state_dict()) == before
    assert all(seed.state is State.DORMANT and seed.lives == 0 for seed in model.lives())
    # first order: a step of eta along minus the gradient lowers the shadow loss by eta score^2
    new = model.germinate("0", "bottleneck", width=4, generator=generator())
    first = model.shadow_backward("0", loss)
    with torch.no_grad():
        for p in new:
            if p.grad is not None:
                p.sub_(p.grad, alpha=1e-3)
    second = model.shadow_backward("0", loss)
    assert (first - second) / 1e-3 == pytest.approx(scores[0] ** 2, rel=0.05)


def test_pursuit_explains_more_than_chance_and_repeats_nothing() -> None:
    model = mlp(nn.Tanh).double()
    (first, _) = junctions(model)
    statistics = collect(model, first, loss_of(model))
    missing = tiny.bottleneck(statistics)

    def left(fan_in: Tensor, bias: Tensor) -> float:
        new = statistics.activation(statistics.respond(fan_in, bias))
        known = torch.cat([statistics.hidden, new, torch.ones(len(new), 1).double()], dim=1)
        best = torch.linalg.lstsq(known, missing, driver="gelsd").solution
        return float((missing - known @ best).norm())

    layers = model[int(first.first)], model[int(first.second)]
    chosen = Pursuit(16).init(*layers, statistics, 3, generator())
    assert torch.unique(chosen.fan_in, dim=0).shape[0] == 3
    assert not chosen.fan_out.any()
    chance = []
    for seed in range(40):
        drawn = WIDENING["random"]().init(*layers, statistics, 3, generator(100 + seed))
        chance.append(left(drawn.fan_in, drawn.bias))
    mine = left(chosen.fan_in, chosen.bias)
    assert sum(other < mine for other in chance) <= 2  # greedy is not the optimum
    convolutions = cnn()
    with pytest.raises(ValueError, match="between Linear layers"):
        grow(
            convolutions,
            Pursuit(),
            propose(convolutions, Pursuit(), {"0": 1}),
            loss_of(convolutions),
            generator(),
        )
