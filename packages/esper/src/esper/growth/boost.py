"""A higher learning rate for newborn weights, for a while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from esper.growth.insert import Newborn


@dataclass
class _Boosted:
    newborn: Newborn
    steps_left: int


class NewbornBoost:
    """Multiplies the optimiser's step of newborn entries by `factor`, falling to 1 over `steps`.

    It hooks the optimiser: each step that newborn entries have made is lengthened afterwards, so
    it works with any optimiser and with entries inside a larger parameter. Old entries move
    exactly as without it.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, factor: float, steps: int) -> None:
        self.factor = factor
        self.steps = steps
        self._active: list[_Boosted] = []
        self._before: list[Tensor] = []
        optimizer.register_step_pre_hook(self._remember)
        optimizer.register_step_post_hook(self._lengthen)

    def add(self, newborns: Sequence[Newborn]) -> None:
        """Begin to boost; see `renew` where a parameter that is boosted already was replaced."""
        if self.factor > 1 and self.steps > 0:
            self._active += [_Boosted(newborn, self.steps) for newborn in newborns]

    def clear(self) -> None:
        """Boost nothing any more."""
        self._active = []

    def renew(self, live: set[int]) -> None:
        """Forget parameters that are no longer in the model; `live` holds their `id`s."""
        self._active = [b for b in self._active if id(b.newborn.parameter) in live]

    def state(self, names: dict[int, str]) -> list[dict[str, Any]]:
        """Return what a checkpoint needs; `names` maps a parameter's `id` to its name."""
        return [
            {
                "name": names[id(b.newborn.parameter)],
                "axis": b.newborn.axis,
                "start": b.newborn.start,
                "steps_left": b.steps_left,
            }
            for b in self._active
        ]

    def load(self, state: list[dict[str, Any]], parameters: dict[str, torch.nn.Parameter]) -> None:
        """Take up where `state` was written."""
        self._active = [
            _Boosted(Newborn(parameters[s["name"]], s["axis"], s["start"]), s["steps_left"])
            for s in state
        ]

    def _remember(self, *_: Any) -> None:
        self._before = [_new_part(b.newborn).clone() for b in self._active]

    def _lengthen(self, *_: Any) -> None:
        for boosted, before in zip(self._active, self._before, strict=True):
            extra = (self.factor - 1) * boosted.steps_left / self.steps
            part = _new_part(boosted.newborn)
            part.add_(part - before, alpha=extra)
            boosted.steps_left -= 1
        self._active = [b for b in self._active if b.steps_left > 0]
        self._before = []


def _new_part(newborn: Newborn) -> Tensor:
    value = newborn.parameter.data
    return value.narrow(newborn.axis, newborn.start, value.shape[newborn.axis] - newborn.start)
