"""When a campaign gives up before its budget does."""

from __future__ import annotations

import pytest

from pyacemaker.campaign.budget import same_no_gos


def _verdict(*failed: str) -> list[dict[str, object]]:
    names = ("consistency", "eos", "elastic", "phonons", "test_error")
    return [{"name": name, "passed": name not in failed} for name in names]


def test_the_same_no_go_again_and_again_is_noticed() -> None:
    unstable = _verdict("elastic", "phonons")
    assert same_no_gos([_verdict(), *[unstable] * 6]) == ["elastic", "phonons"]


@pytest.mark.parametrize(
    "verdicts",
    [
        [],
        [_verdict("elastic")] * 5,
        [*[_verdict("elastic")] * 5, _verdict()],
        [*[_verdict("elastic")] * 5, _verdict("elastic", "phonons")],
        [_verdict("elastic", "test_error")] * 6,  # more labels may help
        [_verdict("elastic")[:-1]] * 6,  # nothing is known of its errors
    ],
)
def test_what_may_still_be_learnt_is_not_given_up(verdicts: list[list[dict[str, object]]]) -> None:
    assert same_no_gos(verdicts) == []
