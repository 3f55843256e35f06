"""The training loop, which reads top to bottom."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from esper.config import Config
from esper.files import locked, write_whole
from esper.kasmina.telemetry import mean_of, watching
from esper.lifecycle import State
from esper.oona.base import Bus, BusError
from esper.oona.open import open_bus
from esper.tolaria import growing
from esper.tolaria.choosing import policy_of
from esper.tolaria.data import DataSet, Split, batches, load
from esper.tolaria.governor import TrainingError, diverged
from esper.tolaria.library import prepare, run_name
from esper.tolaria.networks import count_parameters, widths_of
from esper.tolaria.run import Run, begin, capture, restore, save
from esper.tolaria.run import load as load_run
from esper.tolaria.telling import Teller

CHECKPOINT = "checkpoint.pt"
HISTORY = "history.json"

OnStep = Callable[[Run], None]


def train(
    config: Config,
    workdir: Path | None = None,
    *,
    folder: Path | None = None,
    on_step: OnStep | None = None,
    data: DataSet | None = None,
    bus: Bus | None = None,
) -> Run:
    """Train to the end, or go on from the checkpoint in `workdir`, bit for bit.

    `folder` is where a relative data path begins; `on_step` is called after every step; events
    are told on `bus`, by default the configuration's. Without a `workdir` nothing is written.
    Raises DataError and TrainingError, and AlreadyLockedError if another process is at work in
    `workdir`.
    """
    data = data or load(config.data, folder or Path(), config.training.seed)
    if workdir is None:
        return _train(config, None, folder, on_step, data, bus)
    with locked(workdir):
        for torn in workdir.glob(f".{CHECKPOINT}.*"):  # a kill in the middle of a write left it
            torn.unlink()
        return _train(config, workdir, folder, on_step, data, bus)


def _train(
    config: Config,
    workdir: Path | None,
    folder: Path | None,
    on_step: OnStep | None,
    data: DataSet,
    bus: Bus | None,
) -> Run:
    blueprints = prepare(config, workdir)
    policy = policy_of(config, folder or Path(), workdir)
    teller = _teller(config, workdir, bus)
    checkpoint = workdir / CHECKPOINT if workdir else None
    resumed = checkpoint is not None and checkpoint.exists()
    run = load_run(checkpoint, config, data) if checkpoint and resumed else begin(config, data)
    run.blueprints, run.policy = blueprints, policy
    if not resumed:
        growing.check(run, config, data)
    costs: dict[Any, int] = {}
    snapshot = capture(run)

    while run.epoch < config.training.epochs:
        order = batches(
            len(data.train), config.training.batch_size, config.training.seed, run.epoch
        )
        while run.batch < len(order):
            chosen = order[run.batch]
            _set_rate(run, config, (run.epoch + run.batch / len(order)) / config.training.epochs)
            every = config.training.telemetry_steps
            sampled = watching(run.model) if every and run.step % every == 0 else nullcontext()
            with sampled as figures:
                loss = _step(run, data.train.x[chosen], data.train.y[chosen], costs)
            why = _trouble(run, loss, config, last=run.batch + 1 == len(order))
            if why is not None:
                run = _roll_back(run, snapshot, why, config, data)
                run.policy = policy
                break
            run.losses.append(loss)
            if figures is not None:
                run.telemetry.append(figures)
            run.recent = [*run.recent, loss][-config.governor.window :]
            run.step += 1
            run.batch += 1
            growing.advance(run, config, data)
            if _is_kept(run.step, config):
                snapshot = capture(run)
            if checkpoint and run.step % config.training.checkpoint_steps == 0:
                save(checkpoint, run, config)
            if on_step is not None:
                on_step(run)
        else:
            _end_epoch(run, data)
            growing.decide(run, config, data)
            snapshot = capture(run)
            if checkpoint and workdir:
                save(checkpoint, run, config)
                write_history(workdir, run, config, None)
            teller.tell(run.history)

    outcome = result(run, data)
    if workdir:
        write_history(workdir, run, config, outcome)
    run.untold = teller.tell(run.history, outcome, last=True)
    run.bus_failure = teller.failure
    return run


def _is_kept(step: int, config: Config) -> bool:
    """Say whether the state after `step` becomes the snapshot that a rollback brings back.

    Every checkpoint does, whether there is a folder for it or not: a training that goes on from
    it then rolls back to where the undisturbed one would.
    """
    every = (config.governor.snapshot_steps, config.training.checkpoint_steps)
    return any(step % steps == 0 for steps in every)


def _trouble(run: Run, loss: float, config: Config, *, last: bool) -> str | None:
    """Return why the training has to go back after this step (the epoch's `last`?), or None.

    A gradient that is not finite spoils weights while the loss is still sound: such weights must
    not get into a snapshot, a checkpoint or an epoch's figures.
    """
    why = diverged(loss, run.recent, config.governor.factor, config.governor.window)
    if why is None and (last or _is_kept(run.step + 1, config)):
        finite = all(bool(torch.isfinite(p).all()) for p in run.model.parameters())
        why = None if finite else "a weight is not finite"
    return why


def _teller(config: Config, workdir: Path | None, bus: Bus | None) -> Teller:
    try:
        chosen = bus or open_bus(config.bus.url)
    except BusError as error:
        raise TrainingError(f"bus.url: {error}") from None
    name = run_name(config, workdir or Path("training"))
    return Teller(chosen, name, config.training.epochs, workdir)


def _set_rate(run: Run, config: Config, progress: float) -> None:
    """Set the learning rate of the coming step; `progress` goes from 0 to 1 over the training."""
    rate = run.learning_rate
    if config.training.decay == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * progress))
    for group in run.optimizer.param_groups:
        group["lr"] = rate


def _step(run: Run, x: Tensor, y: Tensor, costs: dict[Any, int]) -> float:
    """Make one step of the host, and of seeds that learn beside it; return the host's loss."""
    model = run.model.train()
    learning = [seed.site for seed in model.lives() if seed.state is State.TRAINING]

    def whole() -> float:
        run.optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        for site in learning:
            model.shadow_backward(site, lambda: cross_entropy(model(x), y))
        return float(loss.detach())

    key = (widths_of(model.host), tuple((s.state, s.blueprint) for s in model.lives()), len(y))
    if key in costs:
        value = whole()
    else:  # the first step of an architecture is counted, the others cost the same
        with FlopCounterMode(display=False) as counter:
            value = whole()
        costs[key] = counter.get_total_flops()
    run.flops += costs[key]
    if torch.isfinite(torch.tensor(value)):
        run.optimizer.step()
    return value


def _roll_back(run: Run, snapshot: dict[str, Any], why: str, config: Config, data: DataSet) -> Run:
    """Return the training as it was at the snapshot, without what may have driven it off.

    Seeds that were at work are rolled back and rest; if none was, the learning rate is halved.
    """
    rollbacks = run.rollbacks + 1
    if rollbacks > config.governor.max_rollbacks:
        raise TrainingError(
            f"{why} at step {run.step}, after {run.rollbacks} rollbacks; lower "
            "training.learning_rate, or look at the data"
        )
    at, spent = run.step, run.flops
    guilty = {seed.site: seed for seed in run.model.lives() if growing.at_work(seed)}
    run = restore(config, data, snapshot)
    run.rollbacks, run.flops = rollbacks, spent
    for site, seed in guilty.items():
        growing.fault(run, site, seed, config.growth.embargo_steps)
    if not guilty:
        run.learning_rate /= 2  # the next step takes it
    run.note("rollback", why=why, at_step=at, sites=sorted(guilty), learning_rate=run.learning_rate)
    snapshot.update(capture(run))
    return run


def _end_epoch(run: Run, data: DataSet) -> None:
    loss, accuracy = evaluate(run, data.validation)
    run.epoch += 1
    run.batch = 0
    run.history["epochs"].append(
        {
            "epoch": run.epoch,
            "step": run.step,
            "train_loss": sum(run.losses) / len(run.losses),
            "validation_loss": loss,
            "validation_accuracy": accuracy,
            "parameters": count_parameters(run.model),
            "widths": list(widths_of(run.model.host)),
            "flops": run.flops,
            "sites": mean_of(run.telemetry),
        }
    )
    run.losses, run.telemetry = [], []


@torch.no_grad()
def evaluate(run: Run, split: Split) -> tuple[float, float]:
    """Return (cross entropy in nats per sample, accuracy from 0 to 1)."""
    run.model.eval()
    loss, right = 0.0, 0
    for x, y in zip(torch.split(split.x, 1024), torch.split(split.y, 1024), strict=True):
        out = run.model(x)
        loss += float(cross_entropy(out, y, reduction="sum"))
        right += int((out.argmax(1) == y).sum())
    return loss / len(split), right / len(split)


def result(run: Run, data: DataSet) -> dict[str, Any]:
    """Return the figures of a finished training, with the test samples seen for the first time."""
    loss, accuracy = evaluate(run, data.test)
    return {
        "test_loss": loss,
        "test_accuracy": accuracy,
        "parameters": count_parameters(run.model),
        "widths": list(widths_of(run.model.host)),
        "fossilized": [s.site for s in run.model.lives() if s.state is State.FOSSILIZED],
        "training_flops": run.flops,
        "steps": run.step,
        "rollbacks": run.rollbacks,
    }


def write_history(workdir: Path, run: Run, config: Config, outcome: dict[str, Any] | None) -> None:
    """Write what has been measured so far, whole."""
    text = json.dumps(
        {
            "config": config.model_dump(mode="json"),
            **run.history,
            "seeds": [
                {"site": s.site, "state": str(s.state), "blueprint": s.blueprint, "lives": s.lives}
                for s in run.model.lives()
            ],
            "result": outcome,
        },
        indent=1,
    )
    write_whole(workdir / HISTORY, text + "\n")
