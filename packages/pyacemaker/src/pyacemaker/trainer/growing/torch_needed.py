"""torch and esper are an optional extra: asked for before work starts, with the remedy."""

from __future__ import annotations

from importlib.util import find_spec

from pyacemaker.trainer.base import TrainerError

REMEDY = "pip install 'pyacemaker[esper]'"


def check_torch() -> None:
    """Raise TrainerError where torch or esper is not installed. Imports neither."""
    missing = [name for name in ("torch", "esper") if find_spec(name) is None]
    if missing:
        raise TrainerError(
            f"trainer.fit: esper needs {' and '.join(missing)}, not installed here: {REMEDY}, "
            "or choose trainer.fit: linear"
        )
