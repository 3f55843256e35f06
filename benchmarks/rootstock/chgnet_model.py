"""CHGNet, whose weights come with its package, for the environment that runs it."""

from typing import Any


def setup(model: str, device: str, **kwargs: Any) -> Any:
    """Return the calculator of the default model."""
    from chgnet.model.dynamics import CHGNetCalculator

    return CHGNetCalculator(use_device=device, **kwargs)
