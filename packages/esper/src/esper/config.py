"""A training's configuration: YAML, checked before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

_Positive = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(gt=0, lt=1)]


class ConfigError(ValueError):
    """A configuration that is refused: one line for each problem, `FILE: key 'KEY': what`."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataConfig(_Section):
    """Where the samples come from.

    `source`: `digits` (1797 images of 8 x 8, which scikit-learn ships), or an .npz file, relative
    to the configuration, with `x_train`, `y_train`, `x_test` and `y_test`; images are
    (n, height, width[, channels]), whole numbers are divided by the largest their type holds.
    `validation` is the part of the training samples kept aside for decisions.
    """

    source: str = "digits"
    validation: _Share = 0.2


class NetworkConfig(_Section):
    """The network at the start.

    `mlp`: Linear layers of `widths` hidden units with ReLU. `cnn`: 3 x 3 convolutions of `widths`
    channels with ReLU, every one but the first halving the image by max pooling before it, then
    global average pooling and a Linear head.
    """

    kind: Literal["mlp", "cnn"] = "mlp"
    widths: Annotated[tuple[_Positive, ...], Field(min_length=1)] = (16, 16)


class TrainingConfig(_Section):
    """How long and how fast; Adam on the cross entropy."""

    epochs: _Positive = 40
    batch_size: _Positive = 64
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    seed: Annotated[int, Field(ge=0)] = 0
    checkpoint_steps: _Positive = 200


class GrowthConfig(_Section):
    """How the network may grow.

    `kind`: `none`, `seeds` (residual branches with a life cycle) or `widen` (neurons).
    `trigger`: `plateau` (the training loss stands still over `plateau_epochs`, to a relative
    `plateau_tolerance`) or `epochs` (at `at_epochs`).
    For `widen`: `operator`, and the `final_widths` reached in `events` equal parts; with `random`
    all is chosen by chance.
    For `seeds`: `width` of a branch, at most `max_seeds`; steps spent in each state; `schedule` of
    alpha; a seed stays if its contribution to the validation loss is above `rent` (loss per
    parameter added, relative to the host's). `chooser`: by gradient, or by chance.
    """

    kind: Literal["none", "seeds", "widen"] = "none"
    trigger: Literal["plateau", "epochs"] = "plateau"
    plateau_epochs: _Positive = 3
    plateau_tolerance: Annotated[float, Field(ge=0)] = 0.02
    at_epochs: tuple[_Positive, ...] = ()
    operator: Literal["net2wider", "gradmax", "firefly", "tiny", "pursuit", "random"] = "gradmax"
    final_widths: tuple[_Positive, ...] = ()
    events: _Positive = 2
    newborn_boost: Annotated[float, Field(ge=1)] = 1.0
    newborn_steps: Annotated[int, Field(ge=0)] = 50
    width: _Positive = 16
    max_seeds: _Positive = 2
    training_steps: _Positive = 60
    grafting_steps: _Positive = 60
    stabilization_steps: _Positive = 30
    fine_tuning_steps: _Positive = 60
    embargo_steps: Annotated[int, Field(ge=0)] = 200
    schedule: Literal["linear", "cosine", "sigmoid"] = "cosine"
    rent: Annotated[float, Field(ge=0)] = 0.01
    chooser: Literal["gradient", "random"] = "gradient"

    @model_validator(mode="after")
    def _complete(self) -> GrowthConfig:
        if self.kind == "widen" and not self.final_widths:
            raise ValueError("'widen' needs final_widths, such as [32, 32]")
        if self.kind != "none" and self.trigger == "epochs" and not self.at_epochs:
            raise ValueError("the trigger 'epochs' needs at_epochs, such as [5, 10]")
        return self


class GovernorConfig(_Section):
    """When training counts as diverged: a loss not finite, or `factor` times the median of the
    last `window`. Then the last snapshot comes back; after `max_rollbacks` training fails.
    """  # noqa: D205

    factor: Annotated[float, Field(gt=1)] = 20.0
    window: _Positive = 50
    snapshot_steps: _Positive = 50
    max_rollbacks: Annotated[int, Field(ge=0)] = 5


class Config(_Section):
    """The whole of a training."""

    data: DataConfig = DataConfig()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    growth: GrowthConfig = GrowthConfig()
    governor: GovernorConfig = GovernorConfig()

    @model_validator(mode="after")
    def _widths_grow(self) -> Config:
        if self.growth.kind == "widen":
            start, end = self.network.widths, self.growth.final_widths
            if len(start) != len(end) or any(b < a for a, b in zip(start, end, strict=True)):
                raise ValueError(
                    f"growth.final_widths {list(end)} must be as many as network.widths "
                    f"{list(start)}, and none smaller"
                )
            if self.growth.operator in ("tiny", "pursuit") and self.network.kind == "cnn":
                raise ValueError(
                    f"growth.operator {self.growth.operator!r} grows between Linear layers only "
                    "(mlp)"
                )
        return self


def load_config(path: Path) -> Config:
    """Read a YAML file. Raises ConfigError, one line for each problem."""
    try:
        value: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: not YAML ({getattr(error, 'problem', error)})") from None
    return parse_config(value, str(path))


def parse_config(value: Any, file: str = "<config>") -> Config:
    """Check plain values; `file` is named in messages. Raises ConfigError."""
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise ConfigError(f"{file}: expected `key: value` lines, such as data: {{source: digits}}")
    try:
        return Config.model_validate(_lists_to_tuples(value))
    except ValidationError as error:
        lines = []
        for item in error.errors(include_url=False):
            key = ".".join(str(part) for part in item["loc"])
            if item["type"] == "extra_forbidden":
                what = f"unknown key; valid here: {', '.join(_siblings(item['loc']))}"
            else:
                what = str(item["msg"]).removeprefix("Value error, ")
                if item["type"] != "value_error":
                    what += f", not {item['input']!r}"
            lines.append(f"{file}: key '{key}': {what}" if key else f"{file}: {what}")
        raise ConfigError("\n".join(lines)) from None


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Config
    for part in location[:-1]:
        field = model.model_fields[str(part)].annotation
        assert isinstance(field, type)  # noqa: S101
        model = field
    return sorted(model.model_fields)


def _lists_to_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists_to_tuples(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return tuple(_lists_to_tuples(inner) for inner in value)
    return value
