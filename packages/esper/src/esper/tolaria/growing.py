"""Growth inside a training: when the controller says so, and what happens to seeds meanwhile."""

from __future__ import annotations

import contextlib
from functools import partial

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from esper.config import Config
from esper.growth.operators import WIDENING, grow, propose
from esper.growth.residual import BlockProposal, ResidualBlock
from esper.kasmina import UnsuitableError, alpha_at
from esper.lifecycle import EMBARGOED, Event, Seed, State
from esper.tamiyo.heuristic import reward, wants_to_grow
from esper.tolaria.choosing import choose, reward_last
from esper.tolaria.data import DataSet
from esper.tolaria.governor import TrainingError
from esper.tolaria.networks import count_parameters
from esper.tolaria.run import Run

_SCORED_ON = 256  # samples of the training set that growth is decided on


def at_work(seed: Seed) -> bool:
    """Say whether a seed is between germination and its end."""
    return seed.state not in EMBARGOED | {State.DORMANT, State.FOSSILIZED}


def decide(run: Run, config: Config, data: DataSet) -> None:
    """After an epoch: grow, if the controller wants to and there is something to grow."""
    losses = [epoch["train_loss"] for epoch in run.history["epochs"][run.since :]]
    if not wants_to_grow(config.growth, run.epoch, losses):
        return
    with FlopCounterMode(display=False) as counter:
        done = (
            _widen(run, config, data) if config.growth.kind == "widen" else _sow(run, config, data)
        )
    run.flops += counter.get_total_flops()
    if done:
        run.grown += 1
        run.since = len(run.history["epochs"])


def _batch(run: Run, data: DataSet) -> tuple[torch.Tensor, torch.Tensor]:
    chosen = torch.randperm(len(data.train), generator=run.generator)[:_SCORED_ON]
    return data.train.x[chosen], data.train.y[chosen]


def _widen(run: Run, config: Config, data: DataSet) -> bool:
    """Widen every layer by its share of what is left to the final widths."""
    growth = config.growth
    if run.grown >= growth.events:
        return False
    share = growth.events - run.grown
    host = run.model.host
    operator = WIDENING[growth.operator]()
    finals = dict(zip(run.model.sites, growth.final_widths, strict=True))
    done = False
    host.train()
    for site, final in finals.items():
        missing = final - int(host.get_submodule(site).get_parameter("weight").shape[0])
        count = -(-missing // share)
        while count > 0:  # an operator may know fewer directions than are wanted: then again
            x, y = _batch(run, data)
            loss = partial(_loss, run.model, x, y)
            proposals = propose(host, operator, {site: count})
            widened = grow(host, operator, proposals, loss, run.generator, run.optimizer)
            run.boost.renew({id(p) for p in host.parameters()})
            run.boost.add(widened.newborns)
            run.note(
                "widened",
                site=site,
                operator=operator.name,
                count=widened.count,
                score=widened.score,
            )
            count -= widened.count
            done = True
    return done


def _loss(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return cross_entropy(model(x), y)


def _wanted(run: Run, config: Config) -> tuple[str, ...]:
    """Return the blueprints that may grow."""
    return run.blueprints or (
        ("conv", "bottleneck") if config.network.kind == "cnn" else ("bottleneck",)
    )


def _sow(run: Run, config: Config, data: DataSet) -> bool:
    """Germinate the blueprint with the best score at one dormant site."""
    growth, model = config.growth, run.model
    taken = sum(at_work(s) or s.state is State.FOSSILIZED for s in model.lives())
    if taken >= growth.max_seeds or any(at_work(s) for s in model.lives()):
        return False
    proposals = ResidualBlock().propose(model, growth.width, _wanted(run, config))
    if not proposals:
        return False
    x, y = _batch(run, data)
    model.train()
    proposals, scores = _scored(run, proposals, x, y, run.generator)
    if not proposals:
        return False
    best = choose(run, config, proposals, scores)
    chosen = proposals[best]
    new = model.germinate(
        chosen.site, chosen.blueprint, width=chosen.width, generator=run.generator
    )
    run.add_group(chosen.site, new)
    run.note("germinated", site=chosen.site, blueprint=chosen.blueprint, score=scores[best])
    return True


def _scored(
    run: Run,
    proposals: list[BlockProposal],
    x: torch.Tensor,
    y: torch.Tensor,
    generator: torch.Generator,
) -> tuple[list[BlockProposal], list[float]]:
    """Score proposals; those whose blueprint cannot run at their site are left out."""
    operator = ResidualBlock()
    fit, scores = [], []
    for proposal in proposals:
        with contextlib.suppress(UnsuitableError):
            loss = partial(_loss, run.model, x, y)
            scores.append(operator.score(run.model, proposal, loss, generator))
            fit.append(proposal)
    return fit, scores


def check(run: Run, config: Config, data: DataSet) -> None:
    """Before the first step: can any branch grow anywhere? Raises TrainingError if none can."""
    if config.growth.kind != "seeds":
        return
    wanted = _wanted(run, config)
    proposals = ResidualBlock().propose(run.model, config.growth.width, wanted)
    x, y = data.train.x[:2], data.train.y[:2]
    run.model.train()
    if not _scored(run, proposals, x, y, torch.Generator())[0]:
        raise TrainingError(
            f"growth.blueprints: {', '.join(wanted)} cannot grow in a network of kind "
            f"{config.network.kind!r}; name others (`esper blueprints` lists them)"
        )


def advance(run: Run, config: Config, data: DataSet) -> None:
    """After a step: let every seed grow older, and go on when its time has come."""
    growth = config.growth
    durations = {
        State.TRAINING: (growth.training_steps, Event.TRAINED),
        State.GRAFTING: (growth.grafting_steps, Event.GRAFTED),
        State.STABILIZATION: (growth.stabilization_steps, Event.STABILIZED),
        State.FINE_TUNING: (growth.fine_tuning_steps, Event.FOSSILIZE),
    }
    for layer in run.model.layers():
        if layer.seed.state in {State.DORMANT, State.FOSSILIZED}:
            continue
        layer.become(layer.seed.step())
        seed = layer.seed
        if seed.state is State.GRAFTING:
            layer.alpha.fill_(alpha_at(growth.schedule, seed.age, growth.grafting_steps))
        if seed.state in durations and seed.age >= durations[seed.state][0]:
            seed = layer.on(durations[seed.state][1])
            run.note(str(seed.state), site=seed.site, blueprint=seed.blueprint)
        if seed.state is State.EVALUATING:
            _judge(run, config, data, seed)


def _judge(run: Run, config: Config, data: DataSet, seed: Seed) -> None:
    layer = run.model.seed_at(seed.site)
    assert layer.branch is not None  # noqa: S101 - the life cycle's invariant
    losses = []
    run.model.eval()
    for alpha in (0.0, 1.0):
        with torch.no_grad(), run.model.alpha_as(seed.site, alpha):
            out = run.model(data.validation.x)
            losses.append(float(cross_entropy(out, data.validation.y)))
    parameters = count_parameters(layer.branch)
    host = count_parameters(run.model) - parameters
    value = reward(losses[0], losses[1], parameters, host, config.growth.rent)
    verdict = Event.ACCEPT if value > 0 else Event.CULL
    if verdict is Event.CULL:
        run.drop_group(seed.site)
    after = layer.on(verdict, embargo=config.growth.embargo_steps)
    reward_last(run, seed.site, value)
    run.note(
        str(after.state),
        site=seed.site,
        blueprint=seed.blueprint,
        loss_without=losses[0],
        loss_with=losses[1],
        parameters=parameters,
        reward=value,
    )


def fault(run: Run, site: str, seed: Seed, embargo: int) -> None:
    """Roll a seed back that was at work when training diverged; `run` is the restored one."""
    layer = run.model.seed_at(site)
    if layer.seed.state in EMBARGOED:  # it germinated after the snapshot, at the embargo's end
        return
    if layer.seed.state is State.DORMANT:  # it germinated after the snapshot
        layer.on(Event.GERMINATE, blueprint=seed.blueprint)
    if site in run.seed_groups:
        run.drop_group(site)
    layer.on(Event.FAULT, embargo=embargo)
