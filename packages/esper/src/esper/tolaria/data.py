"""Samples from a local file, or those that scikit-learn ships. Never from noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from esper.config import DataConfig


class DataError(ValueError):
    """A data set that is missing or not what it should be; names the file and the remedy."""


@dataclass(frozen=True)
class Split:
    """Images (n, channels, height, width), float32 in [0, 1], and labels (n,), int64."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class DataSet:
    """Training samples, those kept aside for decisions, and those that no decision ever sees."""

    train: Split
    validation: Split
    test: Split
    classes: int


def load(config: DataConfig, folder: Path, seed: int) -> DataSet:
    """Load and split; `folder` is where a relative path begins. Raises DataError.

    `seed` decides which training samples are kept for validation (for digits, which are for
    testing too: 497 of 1797). A permutation of NumPy's PCG64, the same on every machine.
    """
    rng = np.random.default_rng(seed)
    if config.source == "digits":
        from sklearn.datasets import load_digits  # noqa: PLC0415

        images, labels = load_digits(return_X_y=True)
        x = torch.from_numpy((images / 16.0).astype(np.float32)).reshape(-1, 1, 8, 8)
        y = torch.from_numpy(labels.astype(np.int64))
        order = torch.from_numpy(rng.permutation(len(y)))
        test, rest = order[:497], order[497:]
        kept = round(config.validation * len(rest))
        train, validation, test_part = (
            Split(x[part], y[part]) for part in (rest[kept:], rest[:kept], test)
        )
        return DataSet(train, validation, test_part, classes=10)
    x, y, x_test, y_test = _from_file(folder / Path(config.source).expanduser())
    order = torch.from_numpy(rng.permutation(len(y)))
    kept = round(config.validation * len(y))
    if not 0 < kept < len(y):
        raise DataError(f"{config.source}: {len(y)} training samples are too few to split")
    classes = int(max(int(y.max()), int(y_test.max()))) + 1
    return DataSet(
        Split(x[order[kept:]], y[order[kept:]]),
        Split(x[order[:kept]], y[order[:kept]]),
        Split(x_test, y_test),
        classes,
    )


def _from_file(path: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if not path.is_file():
        raise DataError(
            f"there is no data file {path}; give data.source an .npz file with x_train, y_train, "
            "x_test and y_test, or `digits`"
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = {"x_train", "y_train", "x_test", "y_test"} - set(archive.files)
            if missing:
                raise DataError(f"{path} lacks {', '.join(sorted(missing))}")
            found = {name: archive[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is not an .npz file that can be read ({error})") from None
    tensors = []
    for part in ("train", "test"):
        x, y = found[f"x_{part}"], found[f"y_{part}"]
        if x.ndim not in {3, 4} or y.shape != (len(x),) or len(x) == 0:
            raise DataError(
                f"{path}: x_{part} {x.shape} and y_{part} {y.shape} are not images and their labels"
            )
        if not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
            raise DataError(f"{path}: y_{part} must hold whole numbers from 0 on")
        scale = float(np.iinfo(x.dtype).max) if np.issubdtype(x.dtype, np.integer) else 1.0
        images = x.astype(np.float32) / np.float32(scale)
        if not np.isfinite(images).all():
            raise DataError(f"{path}: x_{part} holds values that are not finite")
        images = images[..., None] if images.ndim == 3 else images
        tensors += [
            torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1))),
            torch.from_numpy(y.astype(np.int64)),
        ]
    return tensors[0], tensors[1], tensors[2], tensors[3]


def batches(size: int, batch_size: int, seed: int, epoch: int) -> list[Tensor]:
    """Return the index batches of an epoch: a permutation that depends on nothing else."""
    order = torch.from_numpy(np.random.default_rng([seed, 1, epoch]).permutation(size))
    return list(torch.split(order, batch_size))
