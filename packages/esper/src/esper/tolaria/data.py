"""Samples from a local file, or those that scikit-learn ships. Never from noise."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from esper.config import DataConfig

_MANY_CLASSES = 10_000


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
        kept = _kept(config, len(rest))
        train, validation, test_part = (
            Split(x[part], y[part]) for part in (rest[kept:], rest[:kept], test)
        )
        return DataSet(train, validation, test_part, classes=10)
    x, y, x_test, y_test = _from_file(folder / Path(config.source).expanduser())
    order = torch.from_numpy(rng.permutation(len(y)))
    kept = _kept(config, len(y))
    classes = int(max(int(y.max()), int(y_test.max()))) + 1
    return DataSet(
        Split(x[order[kept:]], y[order[kept:]]),
        Split(x[order[:kept]], y[order[:kept]]),
        Split(x_test, y_test),
        classes,
    )


def _kept(config: DataConfig, samples: int) -> int:
    """Return how many of the training samples are for validation."""
    kept = round(config.validation * samples)
    if not 0 < kept < samples:
        raise DataError(
            f"{config.source}: {samples} training samples are too few to keep "
            f"{config.validation:g} of them for validation (data.validation)"
        )
    return kept


def _from_file(path: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if not path.is_file():
        raise DataError(
            f"there is no data file {path}; give data.source an .npz file with x_train, y_train, "
            "x_test and y_test, or `digits`"
        )
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            missing = {"x_train", "y_train", "x_test", "y_test"} - set(archive.files)
            if missing:
                raise DataError(f"{path} lacks {', '.join(sorted(missing))}")
            found = {name: archive[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    except DataError:
        raise
    except (OSError, ValueError, EOFError, TypeError, AttributeError, BadZipFile, zlib.error) as e:
        raise DataError(f"{path} is not an .npz file that can be read ({e})") from None
    for part in ("train", "test"):
        _check(path, part, found[f"x_{part}"], found[f"y_{part}"])
    classes = int(max(found["y_train"].max(), found["y_test"].max())) + 1
    if classes > max(_MANY_CLASSES, len(found["y_train"])):
        raise DataError(f"{path}: labels go up to {classes - 1}; number the classes from 0 on")
    largest = max(_largest(path, found[f"x_{part}"]) for part in ("train", "test"))
    tensors = []
    for part in ("train", "test"):
        images = found[f"x_{part}"].astype(np.float32) / np.float32(largest)
        if not np.isfinite(images).all():
            raise DataError(f"{path}: x_{part} holds values that are not finite")
        images = images[..., None] if images.ndim == 3 else images
        tensors += [
            torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1))),
            torch.from_numpy(found[f"y_{part}"].astype(np.int64)),
        ]
    kinds = [(found[name].shape[1:], str(found[name].dtype)) for name in ("x_train", "x_test")]
    if kinds[0] != kinds[1]:
        told = " and ".join(f"{shape} of {dtype}" for shape, dtype in kinds)
        raise DataError(f"{path}: the images of x_train and x_test are not alike: {told}")
    return tensors[0], tensors[1], tensors[2], tensors[3]


def _check(path: Path, part: str, x: NDArray[Any], y: NDArray[Any]) -> None:
    if x.ndim not in {3, 4} or y.shape != (len(x),) or x.size == 0:
        raise DataError(
            f"{path}: x_{part} {x.shape} and y_{part} {y.shape} are not images and their labels"
        )
    if x.dtype.kind not in "biuf":
        raise DataError(f"{path}: x_{part} holds {x.dtype}, not numbers")
    if x.ndim == 4 and x.shape[1] in {1, 3} and x.shape[3] not in {1, 3}:
        raise DataError(
            f"{path}: x_{part} {x.shape} has its channels first; they belong last: "
            "np.moveaxis(x, 1, -1)"
        )
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
        raise DataError(f"{path}: y_{part} must hold whole numbers from 0 on")


def _largest(path: Path, x: NDArray[Any]) -> int:
    """Return what white is: the largest number of the type, of 8 or 16 bits where it is wider."""
    if x.dtype.kind not in "iu":
        return 1
    white = int(np.iinfo(x.dtype).max)
    if x.dtype.itemsize <= 2:
        return white
    seen = int(x.max())
    if seen > 65535:
        raise DataError(
            f"{path}: images of {x.dtype} go up to {seen}; keep them as uint8 or float32"
        )
    return 255 if seen <= 255 else 65535


def batches(size: int, batch_size: int, seed: int, epoch: int) -> list[Tensor]:
    """Return the index batches of an epoch: a permutation that depends on nothing else.

    A sample that is left alone joins the batch before it: BatchNorm cannot learn from one.
    """
    order = torch.from_numpy(np.random.default_rng([seed, 1, epoch]).permutation(size))
    found = list(torch.split(order, batch_size))
    if len(found) > 1 and len(found[-1]) == 1 < batch_size:
        found[-2:] = [torch.cat(found[-2:])]
    return found
