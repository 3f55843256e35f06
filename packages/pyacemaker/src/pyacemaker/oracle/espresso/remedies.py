"""What is tried when an SCF fails: a table, in the order in which it is tried.

A remedy changes how the density is found, never what is computed: cutoffs, k-points,
smearing, spins and the threshold of convergence stay as they are (`remedied` refuses
anything else), so a label is the same whichever attempt gave it. A full healer, with more
rules and a memory over structures, takes the place of this table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pyacemaker.oracle.espresso.pw_input import Value

Kind = Literal["not converged", "time limit", "signal", "crash", "bad output"]

_ALLOWED = frozenset(
    {"mixing_beta", "mixing_mode", "mixing_ndim", "electron_maxstep", "diagonalization"}
)


@dataclass(frozen=True)
class Failure:
    """Why an attempt gave no label. `said` is the code's own message, if it had one."""

    kind: Kind
    message: str
    said: str = ""


@dataclass(frozen=True)
class Remedy:
    """A rule: its name, the failures it is for, and the new values of &ELECTRONS."""

    name: str
    recognises: Callable[[Failure], bool]
    changes: Callable[[Mapping[str, Value]], Mapping[str, Value]]


def _not_converged(failure: Failure) -> bool:
    return failure.kind == "not converged"


def _diagonalisation_failed(failure: Failure) -> bool:
    signs = (
        "cholesky",
        "too many bands are not converged",
        "s matrix not positive definite",
        "eigenvectors failed to converge",
        "diaghg",
        "cegterg",
        "regterg",
    )
    return failure.kind == "crash" and any(sign in failure.said.lower() for sign in signs)


def _gentler(factor: float, mode: str) -> Callable[[Mapping[str, Value]], Mapping[str, Value]]:
    def changes(electrons: Mapping[str, Value]) -> Mapping[str, Value]:
        return {
            "mixing_beta": float(electrons["mixing_beta"]) * factor,
            "mixing_mode": mode,
            "mixing_ndim": 12,
            "electron_maxstep": 2 * int(electrons["electron_maxstep"]),
        }

    return changes


REMEDIES: tuple[Remedy, ...] = (
    Remedy(
        "conjugate gradients instead of Davidson",
        _diagonalisation_failed,
        lambda _: {"diagonalization": "cg"},
    ),
    Remedy("gentler mixing (0.4 of it, longer memory)", _not_converged, _gentler(0.4, "plain")),
    Remedy(
        "still gentler mixing, screened by the local density (local-TF)",
        _not_converged,
        _gentler(0.4, "local-TF"),
    ),
)


def remedied(
    failure: Failure,
    electrons: Mapping[str, Value],
    tried: Sequence[str],
    table: Sequence[Remedy] = REMEDIES,
) -> tuple[str, dict[str, Value]] | None:
    """Return the first untried remedy for `failure` and the &ELECTRONS it makes, or None."""
    for remedy in table:
        if remedy.name in tried or not remedy.recognises(failure):
            continue
        changes = remedy.changes(electrons)
        if not changes.keys() <= _ALLOWED:
            raise ValueError(
                f"the remedy {remedy.name!r} would change {sorted(changes.keys() - _ALLOWED)}: "
                "that is another label"
            )
        return remedy.name, {**electrons, **changes}
    return None
