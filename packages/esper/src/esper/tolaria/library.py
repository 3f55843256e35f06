"""Blueprints from the library into a training, and what grew of them back into it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esper.config import Config
from esper.files import write_whole
from esper.kasmina import MorphableModel
from esper.kasmina.blueprints import BLUEPRINTS, site_shape
from esper.lifecycle import State
from esper.tezzeret.builtin import BUILTIN
from esper.tezzeret.forge import Target
from esper.tezzeret.ir import Blueprint, blueprint_id, parse_blueprint
from esper.tezzeret.module import factory, weights_to_bytes
from esper.tolaria.governor import TrainingError
from esper.tolaria.run import Run

if TYPE_CHECKING:
    from esper.urza.library import Library

FROZEN = "blueprints.json"


def run_name(config: Config, workdir: Path) -> str:
    """Return the name of a training, the same whenever it goes on."""
    text = config.model_dump_json() + str(workdir.resolve())
    return f"{workdir.resolve().name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def prepare(config: Config, workdir: Path | None) -> tuple[str, ...]:
    """Make what `growth.blueprints` names known to Kasmina; returns the names it has there.

    Blueprints of the library are frozen in `workdir`/blueprints.json when the training begins,
    so that it goes on with the very same ones, whether the library is there or not. Kasmina knows
    them as `NAME@ID`. Raises TrainingError.
    """
    wanted = [name for name in config.growth.blueprints if name not in BLUEPRINTS or "@" in name]
    if not wanted:
        return config.growth.blueprints
    path = workdir / FROZEN if workdir else None
    if path is not None and path.exists():
        found = _thaw(path)
    else:
        found = {name: _look_up(config, name) for name in wanted}
        if path is not None:
            text = json.dumps({n: b.model_dump(mode="json") for n, b in found.items()}, indent=1)
            write_whole(path, text + "\n")
    for blueprint in found.values():
        BLUEPRINTS[known_as(blueprint)] = factory(blueprint)
    return tuple(
        known_as(found[name]) if name in found else name for name in config.growth.blueprints
    )


def known_as(blueprint: Blueprint) -> str:
    """Return a blueprint's name in Kasmina, which no other blueprint has."""
    return f"{blueprint.name}@{blueprint_id(blueprint)[:12]}"


def _thaw(path: Path) -> dict[str, Blueprint]:
    try:
        value = json.loads(path.read_text())
        return {name: parse_blueprint(ir, f"{path}: {name}") for name, ir in value.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise TrainingError(f"{path} is damaged ({error}); the training cannot go on") from None


def _look_up(config: Config, name: str) -> Blueprint:
    if name in BUILTIN:
        return BUILTIN[name]
    from esper.urza.library import LibraryError

    try:
        return open_library(config).blueprint(name).ir
    except LibraryError as error:
        raise TrainingError(
            f"growth.blueprints: {error}; built in: {', '.join([*BLUEPRINTS, *BUILTIN])}"
        ) from None


def open_library(config: Config) -> Library:
    """Open the library of a training. Raises LibraryError."""
    from esper.urza.library import Library

    return Library.open(config.library.url or None, config.library.store or None)


def deposit(run: Run, config: Config, name: str, library: Library | None = None) -> int:
    """Put every fossil that grew of a blueprint into the library; returns how many there were.

    Can be repeated: the same graft is there once. The kernel is made, checked and measured, if
    the library has none. Raises LibraryError.
    """
    fossils = [s for s in run.model.lives() if s.state is State.FOSSILIZED]
    frozen = {known_as(b): b for b in _blueprints(run.blueprints)}
    grown = [s for s in fossils if s.blueprint in frozen]
    if not grown:
        return 0
    library = library or open_library(config)
    for seed in grown:
        layer = run.model.seed_at(seed.site)
        assert layer.branch is not None and seed.blueprint is not None  # noqa: S101
        target = target_at(run.model, seed.site, layer.width)
        kernel = library.get_or_forge(frozen[seed.blueprint], target)
        library.add_graft(
            kernel.id,
            name,
            seed.site,
            weights_to_bytes(layer.branch),
            contribution=_contribution(run.history["events"], seed.site),
        )
    return len(grown)


def target_at(model: MorphableModel, site: str, width: int) -> Target:
    """Return the forge's target for a site of a model."""
    return Target.at(site_shape(model.host.get_submodule(site)), width)


def _blueprints(names: Sequence[str]) -> list[Blueprint]:
    made = [BLUEPRINTS[name] for name in names if "@" in name]
    return [maker.args[0] for maker in made if isinstance(maker, functools.partial)]


def _contribution(events: Sequence[dict[str, Any]], site: str) -> float | None:
    for event in reversed(events):
        if event.get("site") == site and "loss_with" in event:
            return float(event["loss_without"]) - float(event["loss_with"])
    return None
