"""Samples: from a file or from scikit-learn, never from nowhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from esper.config import DataConfig
from esper.tolaria.data import DataError, batches, load


def write(path: Path, **changed: object) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, object] = {
        "x_train": rng.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8),
        "y_train": rng.integers(0, 4, 40),
        "x_test": rng.integers(0, 256, (10, 6, 5, 3), dtype=np.uint8),
        "y_test": rng.integers(0, 4, 10),
    }
    arrays |= changed
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})  # type: ignore[arg-type]


def test_digits_are_split_without_overlap_and_by_seed() -> None:
    data = load(DataConfig(), Path(), 0)
    assert (len(data.train), len(data.validation), len(data.test)) == (1040, 260, 497)
    assert data.train.x.shape[1:] == (1, 8, 8)
    assert 0 <= float(data.train.x.min()) < float(data.train.x.max()) == 1.0
    again, other = load(DataConfig(), Path(), 0), load(DataConfig(), Path(), 1)
    assert torch.equal(again.test.y, data.test.y)
    assert not torch.equal(other.test.y, data.test.y)


def test_a_file_becomes_channels_first_from_zero_to_one(tmp_path: Path) -> None:
    write(tmp_path / "d.npz")
    data = load(DataConfig(source="d.npz", validation=0.25), tmp_path, 0)
    assert data.train.x.shape == (30, 3, 6, 5)
    assert (len(data.validation), len(data.test), data.classes) == (10, 10, 4)
    assert data.train.x.dtype == torch.float32
    raw = np.load(tmp_path / "d.npz")["x_test"]
    assert float(data.test.x[3, 2, 1, 4]) == pytest.approx(raw[3, 1, 4, 2] / 255)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x_test": None}, "lacks x_test"),
        ({"y_train": np.zeros(39, int)}, "not images and their labels"),
        ({"y_train": np.zeros(40)}, "whole numbers"),
        ({"x_train": np.full((40, 6, 5), np.nan)}, "not finite"),
        ({"x_train": np.array([object()] * 40)}, "cannot be read|can be read"),
        ({"x_train": np.full((40, 6, 5), "a")}, "not numbers"),
        ({"x_test": np.zeros((10, 6, 6, 3), np.uint8)}, "not alike"),
        ({"x_test": np.zeros((10, 6, 5, 3))}, "not alike"),
        ({"x_train": np.zeros((40, 3, 6, 5), np.uint8)}, r"channels first.*np\.moveaxis"),
        ({"y_test": np.full(10, 2**40)}, "number the classes from 0 on"),
        (
            {"x_train": np.full((40, 6, 5, 3), 10**6), "x_test": np.zeros((10, 6, 5, 3), int)},
            "keep them as uint8",
        ),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(
    changed: dict[str, object], message: str, tmp_path: Path
) -> None:
    write(tmp_path / "d.npz", **changed)
    with pytest.raises(DataError, match=message) as caught:
        load(DataConfig(source="d.npz"), tmp_path, 0)
    assert "d.npz" in str(caught.value)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    write(path)
    whole = path.read_bytes()
    turned = whole[:300] + bytes(255 - b for b in whole[300:600]) + whole[600:]
    for content in (whole[: len(whole) // 2], turned, b"", b"PK\x03\x04 and no more"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"d\.npz is not an \.npz file"):
            load(DataConfig(source="d.npz"), tmp_path, 0)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"one\.npy is not an \.npz file"):
        load(DataConfig(source="one.npy"), tmp_path, 0)


def test_whole_numbers_of_a_wide_type_have_the_white_of_a_narrow_one(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 6, 5))
    write(tmp_path / "wide.npz", x_train=images[:40], x_test=images[40:])
    narrow = images.astype(np.uint8)
    write(tmp_path / "narrow.npz", x_train=narrow[:40], x_test=narrow[40:])
    wide, known = (load(DataConfig(source=f"{n}.npz"), tmp_path, 0) for n in ("wide", "narrow"))
    assert torch.equal(wide.train.x, known.train.x)


def test_a_missing_data_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data file .*cifar\.npz"):
        load(DataConfig(source="cifar.npz"), tmp_path, 0)


def test_an_epoch_sees_every_sample_once_in_an_order_of_its_own() -> None:
    first, again, other = (torch.cat(batches(50, 8, 3, epoch)) for epoch in (0, 0, 1))
    assert sorted(first.tolist()) == list(range(50))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert [len(b) for b in batches(50, 8, 3, 0)] == [8] * 6 + [2]
    assert [len(b) for b in batches(49, 8, 3, 0)] == [8] * 5 + [9]  # none is left alone


def test_the_cifar_subset_is_read() -> None:
    shared = next(
        (p / "shared/data" for p in Path(__file__).parents if (p / "shared/data").is_dir()), None
    )
    if shared is None or not (shared / "cifar10-12k.npz").is_file():
        pytest.skip("shared/data/cifar10-12k.npz is not beside this checkout")
    data = load(DataConfig(source=str(shared / "cifar10-12k.npz")), Path(), 0)
    assert data.train.x.shape == (8000, 3, 32, 32)
    assert data.classes == 10
