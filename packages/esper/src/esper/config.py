"""A training's configuration: YAML, checked before anything starts."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

_Positive = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(gt=0, lt=1)]


KeyPath = tuple[int | str, ...]


class ConfigError(ValueError):
    """A configuration that is refused: one line for each problem, `FILE:LINE: key 'KEY': what`."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DataConfig(_Section):
    """Where the samples come from.

    `source`: `digits` (1797 images of 8 x 8, which scikit-learn ships), or an .npz file, relative
    to the configuration, with `x_train`, `y_train`, `x_test` and `y_test`; images are
    (n, height, width[, channels]), whole numbers are divided by the largest their type holds (of
    8 or 16 bits, whichever is enough, where it is wider).
    `validation` is the part of the training samples kept aside for decisions.
    """

    source: str = "digits"
    validation: _Share = 0.2


class NetworkConfig(_Section):
    """The network at the start.

    `mlp`: Linear layers of `widths` hidden units with ReLU. `cnn`: 3 x 3 convolutions of `widths`
    channels with ReLU, every one but the first halving the image by max pooling before it, then
    global average pooling and a Linear head. `norm`: `batch` normalises what every hidden layer
    puts out, before its activation; only `random` and `net2wider` widen through it.
    """

    kind: Literal["mlp", "cnn"] = "mlp"
    norm: Literal["none", "batch"] = "none"
    widths: Annotated[tuple[_Positive, ...], Field(min_length=1)] = (16, 16)


class TrainingConfig(_Section):
    """How long and how fast; Adam on the cross entropy.

    `decay`: `cosine` lets the learning rate fall to nothing over the epochs, whatever grows
    meanwhile; `none` keeps it. Every `telemetry_steps` steps (0: never) the sites are looked at.
    """

    epochs: _Positive = 40
    batch_size: _Positive = 64
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    decay: Literal["none", "cosine"] = "none"
    seed: Annotated[int, Field(ge=0)] = 0
    checkpoint_steps: _Positive = 200
    telemetry_steps: Annotated[int, Field(ge=0)] = 50


class GrowthConfig(_Section):
    """How the network may grow.

    `kind`: `none`, `seeds` (residual branches with a life cycle) or `widen` (neurons).
    `trigger`: `plateau` (the training loss stands still over `plateau_epochs`, to a relative
    `plateau_tolerance`) or `epochs` (at `at_epochs`).
    For `widen`: `operator`, and the `final_widths` reached in `events` equal parts; with `random`
    all is chosen by chance.
    For `seeds`: `width` of a branch, at most `max_seeds`; steps spent in each state; `schedule` of
    alpha; a seed stays if its contribution to the validation loss is above `rent` (loss per
    parameter added, relative to the host's). `chooser`: by gradient, by chance, or by a
    learnt `policy` (a file of `esper policy learn`), which must have passed its gate unless
    `unproven` is true.
    `blueprints` are what may grow: esper's own, or those of the library by name or id; by default
    those that fit the network.
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
    chooser: Literal["gradient", "random", "policy"] = "gradient"
    policy: str = ""
    unproven: bool = False
    blueprints: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> GrowthConfig:
        if self.kind == "widen" and not self.final_widths:
            raise ValueError("'widen' needs final_widths, such as [32, 32]")
        if self.kind != "none" and self.trigger == "epochs" and not self.at_epochs:
            raise ValueError("the trigger 'epochs' needs at_epochs, such as [5, 10]")
        if self.chooser == "policy" and not self.policy:
            raise ValueError("the chooser 'policy' needs policy, a file of `esper policy learn`")
        return self


class GovernorConfig(_Section):
    """When training counts as diverged: a loss not finite, or `factor` times the median of the
    last `window`. Then the last snapshot comes back; after `max_rollbacks` training fails.
    """  # noqa: D205

    factor: Annotated[float, Field(gt=1)] = 20.0
    window: _Positive = 50
    snapshot_steps: _Positive = 50
    max_rollbacks: Annotated[int, Field(ge=0)] = 5


class LibraryConfig(_Section):
    """Where blueprints come from and grafts go to: Urza.

    `url`: a file of SQLite or postgresql://...; `store`: a folder or s3://bucket/prefix. By default
    $ESPER_LIBRARY and $ESPER_STORE, else a file of this user. It is opened only if
    `growth.blueprints` names something that Kasmina does not have built in.
    """

    url: str = ""
    store: str = ""


class BusConfig(_Section):
    """Where events are told: Oona. `memory:` stays inside the process; or redis://HOST:PORT."""

    url: str = "memory:"


class Config(_Section):
    """The whole of a training."""

    data: DataConfig = DataConfig()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    growth: GrowthConfig = GrowthConfig()
    governor: GovernorConfig = GovernorConfig()
    library: LibraryConfig = LibraryConfig()
    bus: BusConfig = BusConfig()

    @model_validator(mode="after")
    def _batches_have_a_spread(self) -> Config:
        if self.network.norm == "batch" and self.training.batch_size == 1:
            raise ValueError(
                "network.norm 'batch' needs a training.batch_size of 2 at least, not 1"
            )
        return self

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
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[KeyPath, int] = {}
        if root is not None:
            _note_lines(root, (), lines, str(path))
        value: Any = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: not YAML ({getattr(error, 'problem', error)})") from None
    return parse_config(value, str(path), lines)


def _note_lines(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], file: str) -> None:
    """Note the line (from 1) of every key. Raises ConfigError for a key that is there twice."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            line = key.start_mark.line + 1
            if here in lines:
                raise ConfigError(f"{file}:{line}: key '{_dotted(here)}': is there twice")
            lines[here] = line
            _note_lines(value, here, lines, file)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*path, index)] = value.start_mark.line + 1
            _note_lines(value, (*path, index), lines, file)


def parse_config(
    value: Any, file: str = "<config>", lines: Mapping[KeyPath, int] | None = None
) -> Config:
    """Check plain values; `file` and the `lines` of keys are named in messages.

    Raises ConfigError.
    """
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise ConfigError(f"{file}: expected `key: value` lines, such as data: {{source: digits}}")
    try:
        return Config.model_validate(_lists_to_tuples(value))
    except ValidationError as error:
        told = []
        for item in error.errors(include_url=False):
            path = item["loc"]
            key = _dotted(path)
            line = _line_of(path, lines or {})
            where = f"{file}:{line}" if line else file
            if item["type"] == "extra_forbidden":
                what = _unknown(path)
            else:
                what = str(item["msg"]).removeprefix("Value error, ")
                if item["type"] != "value_error":
                    what += f", not {item['input']!r}" + _meant(item)
            told.append(f"{where}: key '{key}': {what}" if key else f"{where}: {what}")
        raise ConfigError("\n".join(told)) from None


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path)


def _line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int:
    """Return the line of a key, or of the section it should be in; 0 where there is none."""
    return next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), 0)


def _unknown(path: KeyPath) -> str:
    siblings = _siblings(path)
    near = difflib.get_close_matches(str(path[-1]), siblings, n=1)
    hint = f"; did you mean '{_dotted((*path[:-1], near[0]))}'?" if near else ""
    if not near:
        elsewhere = [
            f"{section}.{key}"
            for section, field in Config.model_fields.items()
            if isinstance(model := field.annotation, type) and issubclass(model, BaseModel)
            for key in model.model_fields
            if key == str(path[-1])
        ]
        hint = f"; did you mean '{elsewhere[0]}'?" if elsewhere else ""
    return f"unknown key; valid here: {', '.join(siblings)}{hint}"


def _meant(item: Any) -> str:
    if item["type"] != "literal_error" or not isinstance(item["input"], str):
        return ""
    choices = str(item["ctx"]["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
    near = difflib.get_close_matches(item["input"], choices, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _siblings(location: KeyPath) -> list[str]:
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
