"""Figures and rows of kinetic Monte Carlo: rates against barriers, the time line, gamma."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from pyacemaker.report import style
from pyacemaker.report.data import KMCWalk, ReportData
from pyacemaker.report.formatting import MISSING, fixed, number, plural

MOST_ROWS = 40
_MOST_SEARCHES = 600
_LEAST_GAMMA = 0.01


def rates(walk: KMCWalk) -> go.Figure:
    """Draw the rate of every mechanism against its barrier, rate axis logarithmic."""
    rows = [row for row in walk.processes if row.barrier_eV is not None and row.rate_per_s]
    figure = style.figure("barrier (eV)", "rate of one way (1/s)")
    figure.add_scatter(
        x=[row.barrier_eV for row in rows],
        y=[row.rate_per_s for row in rows],
        customdata=[[row.state, row.prefactor_THz, row.copies] for row in rows],
        mode="markers",
        marker={"color": style.BLUE, "size": 9},
        showlegend=False,
        hovertemplate=(
            "state %{customdata[0]}: %{x:.3f} eV, %{y:.3g} 1/s<br>prefactor "
            "%{customdata[1]:.3g} THz, %{customdata[2]} ways<extra></extra>"
        ),
    )
    style.logarithmic(figure, (float(row.rate_per_s or 0) for row in rows))
    return figure


def time_line(walk: KMCWalk) -> go.Figure:
    """Draw how many hops were made against the walk's clock.

    A long time line is thinned: of `every` hops it holds the first.
    """
    hops = [hop for hop in walk.time_line if hop[0] is not None]
    times: list[float] = [0.0, *(float(hop[0] or 0.0) for hop in hops)]
    every = -(-walk.hops_done // len(hops)) if hops else 1
    figure = style.figure("time on the clock (s)", "hops made")
    figure.add_scatter(
        x=times,
        y=[0, *(1 + every * index for index in range(len(hops)))],
        customdata=[[hop[2], hop[3]] for hop in hops] + [[None, None]],
        mode="lines+markers" if len(hops) <= 60 else "lines",
        line={"color": style.BLUE, "width": 1.8, "shape": "hv"},
        marker={"size": 5},
        showlegend=False,
        hovertemplate=(
            "%{x:.3g} s: hop %{y}<br>then out of state %{customdata[0]} over "
            "%{customdata[1]:.3f} eV<extra></extra>"
        ),
    )
    return figure


def barriers(rows: Sequence[BarrierRow]) -> go.Figure:
    """Draw every barrier that was compared, by the potential and by the oracle, cycle by cycle."""
    figure = style.figure("cycle", "barrier (eV)")
    for name, key, colour, symbol in (
        ("oracle", "oracle_eV", style.VERMILLION, "circle-open"),
        ("potential", "barrier_eV", style.BLUE, "circle"),
    ):
        figure.add_scatter(
            x=[row.iteration for row in rows],
            y=[getattr(row, key) for row in rows],
            customdata=[[row.state, row.mechanism] for row in rows],
            mode="markers",
            name=name,
            marker={"color": colour, "size": 11 if "open" in symbol else 6, "symbol": symbol},
            hovertemplate=(
                "cycle %{x}, state %{customdata[0]}: %{y:.3f} eV by the "
                f"{name}<extra></extra>"
            ),
        )
    figure.update_xaxes(dtick=1)
    figure.update_layout(showlegend=True)
    return figure


def gamma_of_searches(walks: Sequence[KMCWalk]) -> go.Figure:
    """Draw the largest gamma met in each saddle search of each walk, with the halt line."""
    figure = style.figure("saddle search", "largest γ met")
    colours = style.early_to_late(len(walks))
    every: list[float] = []
    for walk, colour in zip(walks, colours, strict=True):
        found = [value for value in walk.gamma_trace if value is not None][-_MOST_SEARCHES:]
        shown = [max(value, _LEAST_GAMMA) for value in found]
        every += shown
        figure.add_scatter(
            x=list(range(1, len(shown) + 1)),
            y=shown,
            mode="markers",
            name=f"cycle {walk.iteration}",
            marker={"color": colour, "size": 6},
        )
    halts = sorted({walk.gamma_halt for walk in walks if walk.gamma_halt})
    for halt in halts:
        every.append(halt)
        figure.add_hline(
            y=halt,
            line={"color": style.VERMILLION, "dash": "dash", "width": 1.4},
            annotation_text=f"halt {halt:g}",
        )
    style.logarithmic(figure, every)
    figure.update_layout(showlegend=True)
    return figure


def walk_rows(data: ReportData) -> list[dict[str, object]]:
    """Return a row of text for every walk."""
    return [
        {
            "iteration": walk.iteration,
            "temperature": number(walk.temperature_K),
            "engine": walk.engine,
            "hops": f"{walk.hops_done} of {walk.events}",
            "time": number(walk.time_s),
            "states": walk.states,
            "searches": sum(walk.searches.values()),
            "confidence": number(walk.confidence, 2),
            "status": walk.status,
            "message": walk.message,
        }
        for walk in data.kmc
    ]


def process_rows(data: ReportData) -> list[dict[str, object]]:
    """Return a row of text for every mechanism of the last walk that has some."""
    last = last_walk(data)
    return [
        {
            "state": row.state,
            "barrier": number(row.barrier_eV, 4),
            "reverse": number(row.reverse_barrier_eV, 4),
            "prefactor": number(row.prefactor_THz),
            "rate": number(row.rate_per_s),
            "copies": row.copies,
            "found": row.found,
            "gamma": number(row.gamma, 2),
        }
        for row in (last.processes[:MOST_ROWS] if last else [])
    ]


@dataclass(frozen=True)
class BarrierRow:
    """A barrier by the potential of a cycle and by the oracle (eV), and the oracle's forces.

    `force_eV_per_A` is the largest the oracle finds at the potential's saddle point. `walk` says
    which walk found it.
    """

    iteration: int
    walk: str
    state: int
    mechanism: int
    barrier_eV: float
    oracle_eV: float
    force_eV_per_A: float

    @property
    def told(self) -> dict[str, object]:
        """Return it as the text of a row."""
        error = self.barrier_eV - self.oracle_eV
        return {
            "iteration": self.iteration,
            "walk": self.walk,
            "state": self.state,
            "barrier": fixed(self.barrier_eV, 3),
            "oracle": fixed(self.oracle_eV, 3),
            "error": fixed(1000 * error, 0),
            "percent": fixed(100 * error / self.oracle_eV, 1) if self.oracle_eV > 0 else MISSING,
            "force": fixed(self.force_eV_per_A, 2),
        }


def barrier_rows(data: ReportData) -> list[BarrierRow]:
    """Return every barrier that was put to the oracle, cycle by cycle, the lowest first."""
    walks = {"barriers": "the walk", "barriers_of_independent_walk": "independent"}
    numbers = ("barrier_eV", "oracle_barrier_eV", "force_at_saddle_eV_per_A")
    return [
        BarrierRow(
            check.iteration or 0,
            walks[check.name],
            int(row["state"]),
            int(row["mechanism"]),
            *(float(row[name]) for name in numbers),
        )
        for check in data.checks
        if check.name in walks
        for row in check.series.get("processes") or ()
        if all(row.get(name) is not None for name in numbers)
    ]


def last_walk(data: ReportData) -> KMCWalk | None:
    """Return the newest walk that knows a process, of one cycle the longest."""
    known = [walk for walk in data.kmc if walk.processes]
    if not known:
        return None
    newest = max(walk.iteration for walk in known)
    return max((w for w in known if w.iteration == newest), key=lambda walk: walk.hops_done)


def kmc_sentence(data: ReportData) -> str:
    """Say what the last walk came to."""
    walk = last_walk(data)
    if walk is None:
        return ""
    return (
        f"The last walk (cycle {walk.iteration}, {number(walk.temperature_K)} K) "
        f"{walk.status or 'is not finished'} after {plural(walk.hops_done, 'hop')} in "
        f"{number(walk.time_s)} s on its clock: {plural(walk.states, 'state')}, "
        f"{plural(len(walk.processes), 'mechanism')}, each state known at a confidence of at "
        f"least {number(walk.confidence, 2)}."
    )
