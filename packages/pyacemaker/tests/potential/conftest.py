"""Small fits to EMT, made once a session."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from pyacemaker.trainer.base import FitResult
from pyacemaker.trainer.pacemaker import LinearTrainer
from pyacemaker.trainer.settings import TrainerSettings


@pytest.fixture(scope="session")
def emt():
    path = Path(__file__).parents[1] / "trainer" / "emt_labels.py"
    spec = importlib.util.spec_from_file_location("emt_labels", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def copper_sets(emt):
    return emt.rattled(["Cu"], 16, seed=1), emt.rattled(["Cu"], 12, seed=2)


@pytest.fixture(scope="session")
def copper(emt, copper_sets, tmp_path_factory) -> FitResult:
    settings = TrainerSettings(functions_per_element=60)
    return LinearTrainer(settings).fit(
        *copper_sets,
        emt.reference_energies(["Cu"]),
        tmp_path_factory.mktemp("copper") / "potential",
        np.random.default_rng(0),
    )


@pytest.fixture(scope="session")
def alloy_sets(emt):
    pure = [*emt.rattled(["Cu"], 8, seed=3), *emt.rattled(["Au"], 8, seed=4)]
    return [*pure, *emt.rattled(["Cu", "Au"], 24, seed=5)], emt.rattled(["Cu", "Au"], 12, seed=6)


@pytest.fixture(scope="session")
def alloy(emt, alloy_sets, tmp_path_factory) -> FitResult:
    settings = TrainerSettings(functions_per_element=40)
    return LinearTrainer(settings).fit(
        *alloy_sets,
        emt.reference_energies(["Cu", "Au"]),
        tmp_path_factory.mktemp("alloy") / "potential",
        np.random.default_rng(0),
    )
