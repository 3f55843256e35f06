"""Hands out the trainer tests' EMT labels."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def emt():
    path = Path(__file__).parents[1] / "trainer" / "emt_labels.py"
    spec = importlib.util.spec_from_file_location("emt_labels", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
