"""Training to the end of its epochs; killed, it goes on to the same bits.

Adam trains the blocks, while the linear part is solved anew by least squares a few times on the
way: left to Adam as well, the ill-conditioned linear weights undo more than the blocks gain
(measured on copper: 19 meV/angstrom before, 20 after; solved anew, 6.7).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from pyacemaker.files import write_whole
from pyacemaker.trainer.base import TrainerError
from pyacemaker.trainer.growing.batches import Batch, predict, squares
from pyacemaker.trainer.growing.network import GrowingNetworks

_CHECKPOINT_EVERY_S = 20.0
_GRADIENT_NORM = 10.0
_BETAS = (0.9, 0.98)
_EPSILON = 1e-8
_SOLVES = 6  # of the linear part in a training


@dataclass
class Curves:
    """Force error (eV/angstrom) after each epoch; the first is before any.

    It is the RMSE of components, each counting as it does in the loss: dimers and pressed pairs,
    of which validation has none, would else be all of the training error, and the two sides could
    not be compared.
    `validation` is empty where there is no validation set. `best_epoch` is the one that is kept.
    """

    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best_epoch: int = 0


@dataclass(frozen=True)
class Schedule:
    """`epochs` passes; Adam's step falls as a cosine from `learning_rate` to nothing."""

    epochs: int
    learning_rate: float

    def rate(self, epoch: float) -> float:
        """Return the step at a moment counted in epochs."""
        return 0.5 * self.learning_rate * (1.0 + math.cos(math.pi * epoch / self.epochs))

    def solves_after(self, epoch: int) -> bool:
        """Say whether the linear part is solved anew after an epoch (from 1)."""
        return epoch % max(1, self.epochs // _SOLVES) == 0 or epoch == self.epochs


def train(
    model: GrowingNetworks,
    batches: Sequence[Batch],
    validation: Sequence[Batch],
    schedule: Schedule,
    rng: np.random.Generator,
    solve: Callable[[], object],
    checkpoint: Path | None = None,
    *,
    key: str = "",
    every_s: float = _CHECKPOINT_EVERY_S,
) -> Curves:
    """Train `model` in place; it ends with the weights that were best on `validation`.

    Without a validation set: on the training set. `solve` puts the best linear part beside the
    blocks as they are. A `checkpoint` file is written whole at most
    every `every_s` seconds, and gone on from if its `key` and architecture are these. Raises
    TrainerError where the loss is not finite.
    """
    adam = Adam({n: p for n, p in model.named_parameters() if not n.endswith(".linear")})
    best = {name: p.detach().clone() for name, p in model.named_parameters()}
    curves, score, epoch = Curves(), math.inf, 0
    state = _read(checkpoint, key, best) if checkpoint is not None else None
    if state is not None:
        tensors, told = state
        _restore(model, adam, best, tensors)
        adam.steps = told["steps"]
        curves, score, epoch = Curves(**told["curves"]), told["score"], told["epoch"]
        rng.bit_generator.state = told["rng"]
    else:
        (on_train, on_validation), score = _errors(model, batches, validation)
        curves = Curves([on_train], [on_validation] if validation else [])
    written = time.monotonic()
    while epoch < schedule.epochs:
        order = rng.permutation(len(batches))
        for place, index in enumerate(order):
            rate = schedule.rate(epoch + place / len(order))
            _step(model, batches[int(index)], adam, rate)
        epoch += 1
        if schedule.solves_after(epoch):
            solve()
        (on_train, on_validation), now = _errors(model, batches, validation)
        curves.train.append(on_train)
        if validation:
            curves.validation.append(on_validation)
        if not math.isfinite(now):
            raise TrainerError(
                f"the networks' loss is not finite after epoch {epoch}; lower "
                "trainer.esper_learning_rate, or look for a broken label"
            )
        if now < score:
            score, curves.best_epoch = now, epoch
            best = {name: p.detach().clone() for name, p in model.named_parameters()}
        if checkpoint is not None and time.monotonic() - written >= every_s:
            _write(checkpoint, key, model, adam, best, rng, (curves, score, epoch))
            written = time.monotonic()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(best[name])
    return curves


class Adam:
    """Kingma and Ba, Adam, ICLR 2015 (arXiv:1412.6980), algorithm 1.

    torch's own brings torch's compiler along on its first use, which takes longer to import than
    a fit to train.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self.parameters = dict(parameters)
        self.mean = {name: torch.zeros_like(p) for name, p in parameters.items()}
        self.square = {name: torch.zeros_like(p) for name, p in parameters.items()}
        self.steps = 0

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Go one step along the gradients that the parameters hold."""
        self.steps += 1
        one, two = (1.0 - beta**self.steps for beta in _BETAS)
        for name, parameter in self.parameters.items():
            if parameter.grad is None:
                continue
            mean, square = self.mean[name], self.square[name]
            mean.lerp_(parameter.grad, 1.0 - _BETAS[0])
            square.lerp_(parameter.grad.square(), 1.0 - _BETAS[1])
            parameter.addcdiv_(mean, (square / two).sqrt().add_(_EPSILON), value=-rate / one)


def _step(model: GrowingNetworks, batch: Batch, adam: Adam, rate: float) -> None:
    model.zero_grad(set_to_none=True)
    loss = squares(batch, predict(model, batch, train=True)) / batch.rows
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(list(adam.parameters.values()), _GRADIENT_NORM)
    adam.step(rate)


def _errors(
    model: GrowingNetworks, batches: Sequence[Batch], validation: Sequence[Batch]
) -> tuple[tuple[float, float], float]:
    """Return force RMSEs on both sides, and the loss that decides what is kept."""
    found = []
    for side in (batches, validation):
        wrong, components, loss, rows = 0.0, 0.0, 0.0, 0
        for batch in side:
            predicted = predict(model, batch, train=False)
            residual = (predicted.forces - batch.forces).detach() * batch.counts[:, None]
            wrong += float(residual.square().sum())
            components += 3 * float(batch.counts.square().sum())
            loss += float(squares(batch, predicted).detach())
            rows += batch.rows
        found.append((math.sqrt(wrong / components if components else 0.0), loss / max(rows, 1)))
    (train_error, train_loss), (validation_error, validation_loss) = found
    return (train_error, validation_error), validation_loss if validation else train_loss


def _write(
    path: Path,
    key: str,
    model: GrowingNetworks,
    adam: Adam,
    best: Mapping[str, Tensor],
    rng: np.random.Generator,
    progress: tuple[Curves, float, int],
) -> None:
    curves, score, epoch = progress
    tensors: dict[str, Any] = {}
    for name, parameter in model.named_parameters():
        tensors[f"now.{name}"] = parameter.detach().numpy()
        tensors[f"best.{name}"] = best[name].numpy()
        if name in adam.parameters:
            tensors[f"mean.{name}"] = adam.mean[name].numpy()
            tensors[f"square.{name}"] = adam.square[name].numpy()
    told = {
        "key": key,
        "curves": vars(curves),
        "score": score,
        "epoch": epoch,
        "steps": adam.steps,
        "rng": rng.bit_generator.state,
    }
    write_whole(path, save(tensors, metadata={"training": json.dumps(told)}))


def _read(
    path: Path, key: str, shapes: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return a checkpoint of this very training, or None; a damaged one is no checkpoint."""
    try:
        with safe_open(path, framework="pt") as stream:
            told = json.loads((stream.metadata() or {})["training"])
            if told["key"] != key:
                return None
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    same = all(
        f"now.{name}" in tensors and tensors[f"now.{name}"].shape == value.shape
        for name, value in shapes.items()
    )
    return (tensors, told) if same else None


@torch.no_grad()
def _restore(
    model: GrowingNetworks, adam: Adam, best: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(tensors[f"now.{name}"])
        best[name].copy_(tensors[f"best.{name}"])
        if name in adam.parameters:
            adam.mean[name].copy_(tensors[f"mean.{name}"])
            adam.square[name].copy_(tensors[f"square.{name}"])
