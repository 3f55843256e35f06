"""Kasmina, the execution: seeds in a model, their branches, and the fading-in of grafts."""

from esper.kasmina.blueprints import BLUEPRINTS, UnsuitableError
from esper.kasmina.layer import KasminaLayer
from esper.kasmina.model import Grafted, MorphableModel, unwrap, wrap
from esper.kasmina.schedule import alpha_at

__all__ = [
    "BLUEPRINTS",
    "Grafted",
    "KasminaLayer",
    "MorphableModel",
    "UnsuitableError",
    "alpha_at",
    "unwrap",
    "wrap",
]
