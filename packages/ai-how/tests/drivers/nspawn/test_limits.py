"""More nodes than the kernel lets watch files are refused before any boots."""

from __future__ import annotations

import pytest

from ai_how.drivers.base import DriverError
from ai_how.drivers.nspawn.limits import refuse_too_many


def test_too_many_are_refused_with_the_command_that_allows_them() -> None:
    with pytest.raises(
        DriverError,
        match=r"17 nodes .* 68 inotify instances, and 100 of 128 .*max_user_instances=256`",
    ):
        refuse_too_many(17, limit=128, used=100)


def test_as_many_as_there_are_is_not_too_many() -> None:
    refuse_too_many(7, limit=128, used=100)
    refuse_too_many(0, limit=128, used=200)


def test_one_more_node_is_no_trouble_here() -> None:
    refuse_too_many(1)
