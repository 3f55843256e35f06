"""What to explore next, and why: rules on plain data, without a campaign round them.

The stated temperatures are the goal of a campaign and are always run first. Once they hold,
the policy asks what else the material will meet in use: swaps and other compositions in an
alloy, a ramp beyond the hottest temperature, pressure, strain, vacancies, surfaces. It goes by
the material, by what has halted or failed so far, and by the labels that are left.

Everything is deterministic: the same history gives the same decision, so a campaign that is
resumed explores what an undisturbed one would have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["swap", "composition", "ramp", "pressure", "strain", "vacancy", "surface"]
MaterialKind = Literal["metal", "alloy", "insulator"]

GAP_OF_AN_INSULATOR_EV = 0.1
"""Below, thermal smearing at MD temperatures closes a gap: explored like a metal."""

_ORDER: dict[MaterialKind, tuple[Kind, ...]] = {
    "alloy": ("swap", "composition", "ramp", "vacancy", "strain", "pressure", "surface"),
    "metal": ("ramp", "vacancy", "strain", "pressure", "surface"),
    "insulator": ("strain", "pressure", "ramp", "vacancy"),
}
_WHY: dict[Kind, str] = {
    "swap": "which atom sits where is an alloy's slowest coordinate, MD does not change it",
    "composition": "an alloy is used at other compositions and orders than its reference",
    "ramp": "heated past the hottest stated temperature, a crystal shows how it gives way",
    "pressure": "other volumes than those of thermal expansion are met under load",
    "strain": "bonds that are sheared, not only shaken",
    "vacancy": "atoms move by vacancies: undercoordinated neighbours at temperature",
    "surface": "half of the neighbours missing, as at every surface and crack",
}
_MATERIAL_WHY: dict[MaterialKind, str] = {
    "alloy": "an alloy of metals: order and composition first, then heat and defects",
    "metal": "a metal: heat and defects first; close packing forgives strain",
    "insulator": "an insulator: directed or ionic bonds, strain and pressure before heat; no "
    "surfaces, which may be polar",
}
# Gates of physics that ask for an exploration when they have failed.
_AFTER_GATE: dict[str, Kind] = {"elastic": "strain", "phonons": "strain", "eos": "pressure"}

MOST_HALTS = 2
"""An exploration that halted so often is left: what it meets is beyond what labels mend soon."""

ROOM = {True: 0.4, False: 0.3}
"""Share of the labels that may be spent when an exploration beyond the goal begins, for a cheap
oracle and for DFT: the rest is for what it finds, and for the last test."""


@dataclass(frozen=True)
class Material:
    """What the rules ask of a material. `gap_eV` is None where no oracle has told it."""

    kind: MaterialKind
    elements: tuple[str, ...]
    why: str
    gap_eV: float | None = None


@dataclass(frozen=True)
class Past:
    """An exploration that has been run: `status` as in `dynamics.base.MDResult`."""

    iteration: int
    kind: str
    temperature_K: float
    status: str


@dataclass(frozen=True)
class Situation:
    """What is known when the policy is asked.

    `runs` are all of the goal's and the policy's so far, oldest first; `failed_gates` the
    names of gates that ever refused a potential; `labels_spent` of `labels_budget`; `cheap`
    is true where a label costs milliseconds.
    """

    temperatures_K: tuple[float, ...]
    runs: tuple[Past, ...]
    failed_gates: frozenset[str]
    labels_spent: int
    labels_budget: int
    cheap: bool
    at_once: int = 2


@dataclass(frozen=True)
class Exploration:
    """One thing to explore: `temperature_K` from and to; NPT where `npt`, else NVT."""

    kind: Kind
    temperature_K: tuple[float, float]
    npt: bool
    reason: str


@dataclass(frozen=True)
class Decision:
    """What was decided and why, in words; `explorations` may be empty."""

    what: str
    why: str
    explorations: tuple[Exploration, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def material_of(
    elements: Sequence[str], *, metallic: bool, all_metals: bool, gap_eV: float | None = None
) -> Material:
    """Return the kind of material; a gap the oracle told goes before the guess `metallic`."""
    conducts = metallic if gap_eV is None else gap_eV < GAP_OF_AN_INSULATOR_EV
    kind: MaterialKind = "metal"
    if not conducts:
        kind = "insulator"
    elif len(elements) > 1 and all_metals:
        kind = "alloy"
    told = "" if gap_eV is None else f" (gap {gap_eV:.2f} eV by the oracle)"
    return Material(kind, tuple(elements), _MATERIAL_WHY[kind] + told, gap_eV)


def decide(material: Material, now: Situation) -> Decision:
    """Return what to explore beyond the goal, which holds."""
    share = now.labels_spent / max(1, now.labels_budget)
    if share > ROOM[now.cheap]:
        return Decision(
            "nothing beyond the goal",
            f"{now.labels_spent} of {now.labels_budget} labels are spent, more than "
            f"{100 * ROOM[now.cheap]:.0f} %: the rest is for the last test",
        )
    halts: dict[str, int] = dict.fromkeys(_ORDER[material.kind], 0)
    held: set[str] = set()
    for run in now.runs:
        if run.kind not in halts:
            continue
        if run.status == "completed":
            held.add(run.kind)
        else:
            held.discard(run.kind)
            halts[run.kind] += 1
    left = [k for k in _ORDER[material.kind] if k not in held and halts[k] < MOST_HALTS]
    if not left:
        given_up = [k for k in _ORDER[material.kind] if k not in held]
        words = (
            f"; {', '.join(given_up)} halted {MOST_HALTS} times and are left" if given_up else ""
        )
        return Decision("nothing more beyond the goal", f"{', '.join(sorted(held))} hold{words}")
    urgent = _urgent(now)
    ranked = sorted(left, key=lambda k: (-halts[k], k not in urgent, left.index(k)))
    chosen = tuple(
        _made(kind, now, urgent.get(kind) or ("it halted before" if halts[kind] else ""))
        for kind in ranked[: now.at_once]
    )
    return Decision(
        f"explore {', '.join(e.kind for e in chosen)}",
        f"{material.why}; {now.labels_spent} of {now.labels_budget} labels are spent",
        chosen,
    )


def _urgent(now: Situation) -> dict[Kind, str]:
    """Return what past failures and halts ask for, with the reason."""
    found: dict[Kind, str] = {}
    for gate in sorted(now.failed_gates):
        if (kind := _AFTER_GATE.get(gate.partition(" (")[0])) is not None:
            found.setdefault(kind, f"the gate {gate} failed before")
    goal = [run for run in now.runs if run.kind == "equilibrium" and run.status != "completed"]
    if goal:
        hottest = max(now.temperatures_K)
        at_hottest = sum(run.temperature_K >= hottest for run in goal)
        if at_hottest * 2 > len(goal):
            found.setdefault(
                "ramp", f"{at_hottest} of {len(goal)} halts of the goal were at {hottest:g} K"
            )
    return found


def _made(kind: Kind, now: Situation, because: str) -> Exploration:
    low, middle, high = (
        now.temperatures_K[0],
        now.temperatures_K[len(now.temperatures_K) // 2],
        now.temperatures_K[-1],
    )
    span = {
        "swap": (high, high),
        "composition": (middle, middle),
        "ramp": (high, 1.2 * high),
        "pressure": (middle, middle),
        "strain": (middle, middle),
        "vacancy": (middle, middle),
        "surface": (low, low),
    }[kind]
    # a held strain, a slab's vacuum and swaps on a lattice want a fixed cell
    npt = kind not in {"strain", "surface", "swap"}
    return Exploration(kind, span, npt, _WHY[kind] + (f"; {because}" if because else ""))
