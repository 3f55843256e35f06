"""Everything that a training is at one moment, and its way into a checkpoint and back."""

from __future__ import annotations

import copy
import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from esper.config import Config
from esper.files import write_whole
from esper.growth.boost import NewbornBoost
from esper.kasmina import MorphableModel, wrap
from esper.kasmina.blueprints import build
from esper.kasmina.telemetry import Figures
from esper.lifecycle import WITH_BRANCH, Seed, State
from esper.tamiyo.policy import Policy
from esper.tolaria.data import DataError, DataSet
from esper.tolaria.governor import TrainingError
from esper.tolaria.networks import build_network, widths_of

_FORMAT = 3


@dataclass
class Run:
    """The state of a training between two steps.

    `epoch` and `batch` are the position in the data (the batch that comes next); `losses` the
    training losses of this epoch, `telemetry` its samples; `recent` the losses the governor looks
    at; `grown` counts growth events; `since` is the number of epochs that were finished at the
    last one; `blueprints` what may grow, as Kasmina knows it; `policy` chooses, where one was
    learnt; `untold` counts the messages that the bus did not take.
    """

    model: MorphableModel
    optimizer: torch.optim.Optimizer
    boost: NewbornBoost
    generator: torch.Generator
    seed_groups: list[str] = field(default_factory=list)
    blueprints: tuple[str, ...] = ()
    epoch: int = 0
    batch: int = 0
    step: int = 0
    flops: int = 0
    grown: int = 0
    since: int = 0
    rollbacks: int = 0
    learning_rate: float = 0.0
    losses: list[float] = field(default_factory=list)
    telemetry: list[dict[str, Figures]] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)
    policy: Policy | None = None
    untold: int = 0
    bus_failure: str | None = None
    history: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"epochs": [], "events": [], "decisions": []}
    )

    def note(self, kind: str, **what: Any) -> None:
        """Write an event down."""
        self.history["events"].append(
            {"step": self.step, "epoch": self.epoch, "kind": kind, **what}
        )

    def add_group(self, site: str, parameters: list[nn.Parameter]) -> None:
        """Let the optimiser train a seed's branch."""
        self.optimizer.add_param_group({"params": parameters, "lr": self.learning_rate})
        self.seed_groups.append(site)

    def drop_group(self, site: str) -> None:
        """Take a seed's branch, and its moments, out of the optimiser."""
        index = 1 + self.seed_groups.index(site)
        for parameter in self.optimizer.param_groups[index]["params"]:
            self.optimizer.state.pop(parameter, None)
        del self.optimizer.param_groups[index]
        self.seed_groups.remove(site)


_PLAIN = (
    "blueprints",
    "epoch",
    "batch",
    "step",
    "flops",
    "grown",
    "since",
    "rollbacks",
    "learning_rate",
    "losses",
    "telemetry",
    "recent",
    "history",
)


def begin(config: Config, data: DataSet) -> Run:
    """Return a training that has not made a step. Raises DataError for images too small."""
    size, halved = min(data.train.x.shape[-2:]), len(config.network.widths) - 1
    if config.network.kind == "cnn" and size < 2**halved:
        raise DataError(
            f"images of {size} pixels are too small for network.widths with {halved + 1} "
            f"layers, which halve them {halved} times"
        )
    generator = torch.Generator().manual_seed(config.training.seed)
    torch.manual_seed(config.training.seed)
    return _assemble(config, data, generator, None, config.training.learning_rate)


def _assemble(
    config: Config,
    data: DataSet,
    generator: torch.Generator,
    widths: list[int] | None,
    learning_rate: float,
) -> Run:
    host = build_network(
        config.network, tuple(data.train.x.shape[1:]), data.classes, generator, widths
    )
    sites = [name for name, _ in host.named_children() if name.startswith("hidden")]
    model = wrap(host, sites)
    optimizer = torch.optim.Adam(list(host.parameters()), lr=learning_rate)
    boost = NewbornBoost(optimizer, config.growth.newborn_boost, config.growth.newborn_steps)
    return Run(model, optimizer, boost, generator, learning_rate=learning_rate)


def capture(run: Run) -> dict[str, Any]:
    """Return a copy of everything, as plain values and tensors."""
    names = {id(p): name for name, p in run.model.named_parameters()}
    return copy.deepcopy(
        {
            "format": _FORMAT,
            "widths": list(widths_of(run.model.host)),
            "seeds": [
                {**asdict(layer.seed), "state": str(layer.seed.state), "width": layer.width}
                for layer in run.model.layers()
            ],
            "seed_groups": run.seed_groups,
            "model": run.model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "boost": run.boost.state(names),
            "generator": run.generator.get_state(),
            "torch_rng": torch.get_rng_state(),
            **{name: getattr(run, name) for name in _PLAIN},
        }
    )


def restore(config: Config, data: DataSet, state: dict[str, Any]) -> Run:
    """Return the training that `capture` wrote down; `state` is not changed."""
    state = copy.deepcopy(state)
    throwaway = torch.Generator().manual_seed(0)  # every weight is loaded over
    run = _assemble(config, data, throwaway, state["widths"], state["learning_rate"])
    for saved in state["seeds"]:
        width = saved.pop("width")
        seed = Seed(**{**saved, "state": State(saved["state"])})
        layer = run.model.seed_at(seed.site)
        if seed.state in WITH_BRANCH:
            assert seed.blueprint is not None  # noqa: S101 - the life cycle's invariant
            host = run.model.host.get_submodule(seed.site)
            layer.attach(build(seed.blueprint, host, width, throwaway), width)
        layer.become(seed)
    for site in state["seed_groups"]:
        branch = run.model.seed_at(site).branch
        assert branch is not None  # noqa: S101
        run.add_group(site, list(branch.parameters()))
    run.model.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.boost.load(state["boost"], dict(run.model.named_parameters()))
    run.generator.set_state(state["generator"])
    torch.set_rng_state(state["torch_rng"])
    for name in _PLAIN:
        setattr(run, name, state[name])
    return run


def save(path: Path, run: Run, config: Config) -> None:
    """Write a checkpoint whole; a kill at any moment leaves the one before."""
    stream = io.BytesIO()
    torch.save({"config": config.model_dump_json(), **capture(run)}, stream)
    write_whole(path, stream.getvalue())


def load(path: Path, config: Config, data: DataSet) -> Run:
    """Read a checkpoint: tensors and plain values only, no code (weights_only).

    Raises TrainingError if it is damaged, or of another configuration.
    """
    try:
        state = torch.load(path, weights_only=True)
        known = state.pop("config")
        same_format = state["format"] == _FORMAT
    except Exception as error:  # torch raises whatever it stumbles over
        reason = str(error).strip().splitlines()
        raise TrainingError(
            f"{path} cannot be read ({reason[0] if reason else type(error).__name__}); "
            "remove it to begin anew"
        ) from None
    if not same_format:
        raise TrainingError(f"{path} is of another version of esper; remove it to begin anew")
    if known != config.model_dump_json():
        raise TrainingError(
            f"{path} belongs to another configuration; name another --workdir, or remove it"
        )
    return restore(config, data, state)
