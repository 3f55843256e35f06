from __future__ import annotations

from typing import Any

import pytest

from pyacemaker.oracle.espresso.pw_input import electrons_of
from pyacemaker.oracle.espresso.remedies import REMEDIES, Failure, Remedy, remedied
from pyacemaker.oracle.settings import EspressoSettings

ELECTRONS: dict[str, Any] = electrons_of(EspressoSettings(ecutwfc_Ry=30, ecutrho_Ry=120), 2)


def test_mixing_gets_gentler_each_time_and_then_it_ends() -> None:
    failure, electrons, tried = Failure("not converged", ""), dict(ELECTRONS), []
    betas, steps = [electrons["mixing_beta"]], [electrons["electron_maxstep"]]
    while (again := remedied(failure, electrons, tried)) is not None:
        name, electrons = again
        tried.append(name)
        betas.append(electrons["mixing_beta"])
        steps.append(electrons["electron_maxstep"])
        assert electrons["conv_thr"] == ELECTRONS["conv_thr"]
    assert len(betas) == 3
    assert betas == sorted(betas, reverse=True)
    assert steps == sorted(steps)


def test_a_failed_diagonalisation_gets_another_one() -> None:
    failure = Failure(
        "crash", "", "Error in routine  cdiaghg (159): S matrix not positive definite"
    )
    again = remedied(failure, ELECTRONS, [])
    assert again is not None
    assert again[1]["diagonalization"] == "cg"
    assert remedied(failure, ELECTRONS, [again[0]]) is None


@pytest.mark.parametrize(
    "failure",
    [
        Failure("time limit", ""),
        Failure("signal", ""),
        Failure("bad output", ""),
        Failure("crash", "", "Error in routine check_atoms: atoms #1 and #2 overlap"),
    ],
)
def test_nothing_is_tried_where_nothing_helps(failure: Failure) -> None:
    assert remedied(failure, ELECTRONS, []) is None


@pytest.mark.parametrize("key", ["conv_thr", "degauss", "ecutwfc", "nspin"])
def test_a_remedy_never_changes_the_physics(key: str) -> None:
    cheat = Remedy("cheat", lambda _: True, lambda _: {key: 1.0})
    with pytest.raises(ValueError, match="another label"):
        remedied(Failure("not converged", ""), ELECTRONS, [], [cheat, *REMEDIES])
