"""Which figures a report has at this moment, and what the reader shall see in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from pyacemaker.report import figures, properties, walks
from pyacemaker.report.data import CheckEntry, MDTrace, ReportData
from pyacemaker.report.formatting import count, duration, number, plural
from pyacemaker.report.summary import labelled, latest_checks, short_method
from pyacemaker.report.thinning import errors

MOST_GAMMA_FIGURES = 6
SECTIONS = ("learning", "accuracy", "dynamics", "kmc", "physics", "effort", "provenance")


@dataclass(frozen=True)
class Panel:
    """A figure with its name in the page and its caption; `alt` is its shortest description.

    `shape` is how much room it takes: `third`, `half` or `wide`.
    """

    key: str
    section: str
    figure: go.Figure
    alt: str
    caption: str
    shape: str = "third"


def panels(data: ReportData) -> list[Panel]:
    """Return every figure there is something to draw for, in the order of the page."""
    return [
        *_learning(data),
        *_parity(data),
        *_gamma(data),
        *_walks(data),
        *_checks(latest_checks(data.checks)),
        *_effort(data),
        *_provenance(data),
    ]


def _learning(data: ReportData) -> list[Panel]:
    made = []
    for quantity in figures.QUANTITIES:
        points = [
            (row.labels, getattr(row, quantity.field))
            for row in data.cycles
            if row.labels is not None and getattr(row, quantity.field)
        ]
        trained = any(getattr(r, "train_" + quantity.field) and r.labels for r in data.cycles)
        if not points and not trained:
            continue
        target = getattr(data.targets, quantity.field)
        unit, scale = quantity.error_unit, quantity.error_scale
        caption = f"{quantity.name.capitalize()} error against the number of labels."
        if len(points) > 1:
            (first, before), (last, after) = points[0], points[-1]
            word = "fell" if after < before else "went"
            caption += (
                f" The test error {word} from {number(before * scale)} to {number(after * scale)} "
                f"{unit} between {first} and {last} labels"
            )
            caption += f"; the target is {number(target * scale)} {unit}." if target else "."
        elif points:
            caption += f" One point so far: {number(points[0][1] * scale)} {unit}."
        made.append(
            Panel(
                f"learning-{quantity.name}",
                "learning",
                figures.learning_curve(data.cycles, quantity, target),
                f"Learning curve of the {quantity.name} error",
                caption,
            )
        )
    return made


def _parity(data: ReportData) -> list[Panel]:
    made = []
    for quantity in figures.QUANTITIES:
        values = {s: figures.parity_pairs(data.parity[s], quantity) for s in data.parity}
        total = sum(x.size for x, _ in values.values())
        if total == 0:
            continue
        caption = (
            f"{quantity.name.capitalize()} by the potential against {data.reference_method}; "
            "on the line they agree, and below is the difference."
        )
        split = "test" if "test" in values and values["test"][0].size else ""
        if split:
            rmse, _, largest = errors(*values[split])
            caption += (
                f" Test RMSE {number((rmse or 0) * quantity.error_scale)}, "
                f"largest {number((largest or 0) * quantity.error_scale)} {quantity.error_unit}."
            )
        drawn = sum(min(x.size, figures.POINTS_PER_SPLIT) for x, _ in values.values())
        if drawn < total:
            caption += (
                f" {count(drawn)} of {count(total)} points are drawn, the largest errors always;"
                " the numbers are of all."
            )
        made.append(
            Panel(
                f"parity-{quantity.name}",
                "accuracy",
                figures.parity(data.parity, quantity, short_method(data)),
                f"Parity plot of the {quantity.name}",
                caption,
            )
        )
    return made


def _gamma(data: ReportData) -> list[Panel]:
    made = []
    for index, (title, traces) in enumerate(by_temperature(data.md)):
        halted = [trace for trace in traces if trace.status == "halted"]
        last = traces[-1]
        caption = f"Extrapolation grade γ along MD at {title}: {plural(len(traces), 'run')}, "
        caption += f"{len(halted)} halted (crosses). The last (cycle {last.iteration}) "
        caption += f"{last.status or 'is not finished'}."
        if len(traces) > figures.TRACES_PER_FIGURE:
            caption += f" {figures.TRACES_PER_FIGURE} runs are drawn, the first and the last too."
        made.append(
            Panel(
                f"gamma-{index}",
                "dynamics",
                figures.gamma_traces(traces),
                f"Extrapolation grade along molecular dynamics at {title}",
                caption,
            )
        )
    return made


def _walks(data: ReportData) -> list[Panel]:
    made: list[Panel] = []
    walk = walks.last_walk(data)
    if walk is not None:
        at = f"{number(walk.temperature_K)} K"
        made.append(
            Panel(
                "kmc-rates",
                "kmc",
                walks.rates(walk),
                "Rates of the processes against their barriers",
                f"Rate of every mechanism at {at} against its barrier, by harmonic "
                f"transition-state theory with the potential of cycle {walk.iteration}.",
            )
        )
    if walk is not None and walk.time_line:
        made.append(
            Panel(
                "kmc-time-line",
                "kmc",
                walks.time_line(walk),
                "Hops against the clock of kinetic Monte Carlo",
                f"The time line: {plural(walk.hops_done, 'hop')} in {number(walk.time_s)} s.",
            )
        )
    compared = walks.barrier_rows(data)
    if compared:
        made.append(
            Panel(
                "kmc-barriers",
                "kmc",
                walks.barriers(compared),
                "Barriers by the potential and by the oracle",
                "Barriers of the processes that matter, by the potential of each cycle and by the "
                "oracle at the same structures: what is off is learnt from.",
            )
        )
    watched = [one for one in data.kmc if one.gamma_trace]
    if watched:
        made.append(
            Panel(
                "kmc-gamma",
                "kmc",
                walks.gamma_of_searches(watched),
                "Extrapolation grade in every saddle search",
                "The largest γ met in each saddle search; a search that crosses the line halts "
                "the walk, and what it met is labelled.",
            )
        )
    return made


def by_temperature(traces: Sequence[MDTrace]) -> list[tuple[str, list[MDTrace]]]:
    """Group MD runs that have samples into at most six temperatures, or ranges of them."""
    in_time = sorted(traces, key=lambda trace: (trace.iteration, trace.temperature_K or 0))
    drawn = [
        trace
        for trace in in_time
        if any(t is not None and g is not None for t, g, _ in trace.samples)
    ]
    known = sorted({round(t.temperature_K) for t in drawn if t.temperature_K is not None})
    step = -(-len(known) // MOST_GAMMA_FIGURES) if known else 1
    ranges = [
        (part[0], part[-1]) for part in (known[i : i + step] for i in range(0, len(known), step))
    ]
    groups = []
    for low, high in ranges:
        of = [
            t
            for t in drawn
            if t.temperature_K is not None and low <= round(t.temperature_K) <= high
        ]
        groups.append((f"{low} K" if low == high else f"{low} to {high} K", of))
    if unknown := [trace for trace in drawn if trace.temperature_K is None]:
        groups.append(("an unstated temperature", unknown))
    return groups


def _checks(checks: Sequence[CheckEntry]) -> list[Panel]:
    made: list[Panel] = []
    for check in checks:
        for key, draw in (
            ("eos", properties.equation_of_state),
            ("phonons", properties.phonon_bands),
            ("reliability", properties.reliability),
        ):
            if drawn := draw(check):
                figure, alt, caption = drawn
                if check.passed is not None and key != "reliability":
                    caption += " The check passed." if check.passed else " The check failed."
                made.append(Panel(f"{key}-{len(made)}", "physics", figure, alt, caption, "half"))
    return made


def _effort(data: ReportData) -> list[Panel]:
    made: list[Panel] = []
    timed = [row for row in data.labels if row.wall_s]
    if any(row.n_atoms for row in timed):
        slowest = max(timed, key=lambda row: row.wall_s or 0)
        made.append(
            Panel(
                "label-times",
                "effort",
                figures.label_times(timed, short_method(data)),
                "Time of each label against its number of atoms",
                f"Each point is one structure. The slowest took {duration(slowest.wall_s)} "
                f"({slowest.n_atoms if slowest.n_atoms is not None else '?'} atoms, "
                f"{slowest.generator or 'unknown generator'}).",
                "half",
            )
        )
    if timed:
        total = sum(row.wall_s or 0 for row in timed)
        made.append(
            Panel(
                "time-by-generator",
                "effort",
                figures.time_by_generator(timed, short_method(data)),
                f"Total {short_method(data)} time by generator",
                f"Where {duration(total)} of {short_method(data)} time went.",
                "half",
            )
        )
    return made


def _provenance(data: ReportData) -> list[Panel]:
    if not data.labels:
        return []
    good = labelled(data)
    generators = {row.generator or "unknown" for row in data.labels}
    return [
        Panel(
            "provenance",
            "provenance",
            figures.provenance(data.labels),
            "Structures by generator and split",
            f"{plural(len(good), 'label')} from {plural(len(generators), 'generator')}. "
            "Structures of one group never stand on both sides of a split.",
            "wide",
        )
    ]
