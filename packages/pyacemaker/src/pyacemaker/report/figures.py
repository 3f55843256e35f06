"""Every figure of the report, one function each; all return a Plotly figure.

The functions assume that there is something to draw: `report.panels` decides that.
Only scatter and bar traces are used, because the report embeds Plotly's basic bundle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from pyacemaker.report import style
from pyacemaker.report.data import CycleRow, LabelRow, MDTrace, ParitySet
from pyacemaker.report.thinning import evenly, keep_peaks, pairs, worst_and_even

POINTS_PER_SPLIT = 700
SAMPLES_PER_TRACE = 300
TRACES_PER_FIGURE = 10
GAMMA_FLOOR = 0.01
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Quantity:
    """A quantity with an error: how it is named in the data and how it is drawn.

    `error_scale` turns an error in the data's unit into one in `error_unit`.
    """

    name: str
    unit: str
    error_unit: str
    error_scale: float
    field: str


ENERGY = Quantity("energy", "eV/atom", "meV/atom", 1000.0, "energy_rmse_eV_per_atom")
FORCE = Quantity("force", "eV/Å", "meV/Å", 1000.0, "force_rmse_eV_per_A")
STRESS = Quantity("stress", "GPa", "GPa", 1.0, "stress_rmse_GPa")
QUANTITIES = (ENERGY, FORCE, STRESS)


def in_order(splits: Mapping[str, object]) -> list[str]:
    """Return the names of splits: train, validation, test, then any other by name."""
    return [s for s in SPLITS if s in splits] + sorted(s for s in splits if s not in SPLITS)


def learning_curve(
    cycles: Sequence[CycleRow], quantity: Quantity, target: float | None = None
) -> go.Figure:
    """Draw the RMSE of `quantity` against the number of labels, error axis logarithmic."""
    figure = style.figure("labels", f"{quantity.name} RMSE ({quantity.error_unit})")
    for prefix, name in (("train_", "train"), ("", "test")):
        points = [
            (row.labels, getattr(row, prefix + quantity.field), row.iteration)
            for row in cycles
            if row.labels is not None and getattr(row, prefix + quantity.field)
        ]
        if not points:
            continue
        colour, symbol = style.split_look(name)
        figure.add_scatter(
            x=[labels for labels, _, _ in points],
            y=[value * quantity.error_scale for _, value, _ in points],
            customdata=[iteration for _, _, iteration in points],
            mode="lines+markers",
            name=name,
            line={"color": colour, "width": 2, "dash": "solid" if name == "test" else "dot"},
            marker={"symbol": symbol, "size": 8},
            hovertemplate=f"cycle %{{customdata}}: %{{x}} labels, %{{y:.3g}} {quantity.error_unit}",
        )
    if target is not None and target > 0:
        label = f"target {target * quantity.error_scale:.3g}"
        level(figure, target * quantity.error_scale, label, style.MUTED, "dash", "left")
    _logarithmic(figure)
    return figure


def parity(sets: Mapping[str, ParitySet], quantity: Quantity, method: str = "DFT") -> go.Figure:
    """Draw prediction against reference above, and the error against reference below."""
    method = style.plain(method, 20)
    figure = style.figure(
        f"{method} {quantity.name} ({quantity.unit})", f"potential ({quantity.unit})"
    )
    low, high = np.inf, -np.inf
    for index, split in enumerate(in_order(sets)):
        x, y = parity_pairs(sets[split], quantity)
        if x.size == 0:
            continue
        low, high = min(low, x.min(), y.min()), max(high, x.max(), y.max())
        shown = worst_and_even(x, y, POINTS_PER_SPLIT)
        x, y = x[shown].astype(np.float32), y[shown].astype(np.float32)
        error = ((y - x) * quantity.error_scale).astype(np.float32)
        colour, symbol = style.split_look(split, index)
        marker = {"color": colour, "symbol": symbol, "size": 5, "opacity": 0.7}
        name = style.plain(split)
        for values, axis, unit in ((y, "y", quantity.unit), (error, "y2", quantity.error_unit)):
            figure.add_scatter(
                x=x,
                y=values,
                yaxis=axis,
                mode="markers",
                name=name,
                legendgroup=name,
                showlegend=axis == "y",
                marker=marker,
                hovertemplate=f"{method} %{{x:.4g}} {quantity.unit}<br>%{{y:.4g}} {unit}",
            )
    ends = [float(low), float(high)]
    for axis, line in (("y", ends), ("y2", [0.0, 0.0])):
        figure.add_scatter(
            x=ends,
            y=line,
            yaxis=axis,
            mode="lines",
            line={"color": style.INK, "width": 1},
            hoverinfo="skip",
            showlegend=False,
        )
    lower = figure.layout.yaxis.to_plotly_json()
    lower |= {"domain": [0, 0.25], "anchor": "x", "nticks": 4}
    lower["title"] = lower["title"] | {"text": f"error ({quantity.error_unit})"}
    figure.update_layout(
        yaxis={"domain": [0.33, 1], "anchor": "x", "nticks": 6},
        yaxis2=lower,
        xaxis={"anchor": "y2"},
        showlegend=True,
    )
    return figure


def parity_pairs(
    sets: ParitySet, quantity: Quantity
) -> tuple[
    np.ndarray[tuple[int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.float64]]
]:
    """Return (reference, predicted) of one quantity, finite pairs only."""
    x, y = pairs(
        getattr(sets, f"{quantity.name}_reference"), getattr(sets, f"{quantity.name}_predicted")
    )
    return x, y


def gamma_traces(traces: Sequence[MDTrace]) -> go.Figure:
    """Draw gamma along MD runs of about one temperature, early cycles light, the last dark."""
    figure = style.figure("time (ps)", "largest γ of any atom")
    shown = [traces[i] for i in evenly(len(traces), TRACES_PER_FIGURE)]
    cycles = sorted({trace.iteration for trace in shown})
    colours = dict(zip(cycles, style.early_to_late(len(cycles)), strict=True))
    named: set[int] = set()
    for trace in shown:
        samples = [(t, g, T) for t, g, T in trace.samples if t is not None and g is not None]
        if not samples:
            continue
        gamma = np.array([g for _, g, _ in samples])
        keep = keep_peaks(gamma, SAMPLES_PER_TRACE)
        at = f"{trace.temperature_K:.0f} K" if trace.temperature_K is not None else "MD"
        name, last = str(trace.iteration), trace.iteration == cycles[-1]
        figure.add_scatter(
            x=[samples[i][0] / 1000 for i in keep],
            y=[max(float(gamma[i]), GAMMA_FLOOR) for i in keep],
            customdata=[[float(gamma[i]), samples[i][2]] for i in keep],
            mode="lines" if len(samples) > 1 else "markers",
            name=name,
            legendgroup=name,
            showlegend=trace.iteration not in named,
            line={"color": colours[trace.iteration], "width": 2.2 if last else 1.4},
            hovertemplate=(
                f"cycle {trace.iteration}, {at}: %{{x:.3f}} ps<br>γ %{{customdata[0]:.3g}}, "
                "T %{customdata[1]:.0f} K<extra></extra>"
            ),
        )
        named.add(trace.iteration)
        if trace.status in _ENDS:
            symbol, word = _ENDS[trace.status]
            figure.add_scatter(
                x=[samples[-1][0] / 1000],
                y=[max(float(gamma[-1]), GAMMA_FLOOR)],
                mode="markers",
                legendgroup=name,
                showlegend=False,
                name=word,
                marker={
                    "symbol": symbol,
                    "size": 11,
                    "color": style.VERMILLION,
                    "line": {"width": 2, "color": style.VERMILLION},
                },
                hovertemplate=f"cycle {name}: {word}, γ {gamma[-1]:.3g}<extra></extra>",
            )
    for word, values, colour, dash in (
        ("select", {t.gamma_select for t in traces}, style.MUTED, "dot"),
        ("halt", {t.gamma_halt for t in traces}, style.VERMILLION, "dash"),
    ):
        for value in sorted(v for v in values if v)[:3]:
            level(figure, value, f"{word} {value:g}", colour, dash)
    _logarithmic(figure)
    figure.update_xaxes(rangemode="tozero")
    figure.update_layout(legend_title={"text": "cycle", "font": {"size": 11.5}})
    return figure


_ENDS = {"halted": ("x-thin", "halted"), "failed": ("asterisk", "failed")}


def label_times(labels: Sequence[LabelRow], method: str = "DFT") -> go.Figure:
    """Draw the wall time of every label, against its number of atoms, by generator."""
    figure = style.figure("atoms in the structure", f"{style.plain(method, 20)} time per label (s)")
    by_generator = defaultdict(list)
    for row in labels:
        if row.wall_s and row.n_atoms:
            by_generator[row.generator or "unknown"].append(row)
    looks = _generator_looks(sorted(by_generator))
    for generator in sorted(by_generator):
        rows = by_generator[generator]
        rows = [rows[i] for i in evenly(len(rows), POINTS_PER_SPLIT)]
        colour, symbol = looks[generator]
        figure.add_scatter(
            x=[row.n_atoms for row in rows],
            y=[row.wall_s for row in rows],
            mode="markers",
            name=style.plain(generator, 24),
            marker={"color": colour, "symbol": symbol, "size": 7, "opacity": 0.8},
            hovertemplate=f"{style.plain(generator)}: %{{x}} atoms, %{{y:.3g}} s<extra></extra>",
        )
    _logarithmic(figure)
    figure.update_xaxes(rangemode="tozero", tickformat="d")
    return figure


def time_by_generator(labels: Sequence[LabelRow], method: str = "DFT") -> go.Figure:
    """Draw the total time each generator's labels took, longest on top."""
    seconds: dict[str, float] = defaultdict(float)
    for row in labels:
        seconds[row.generator or "unknown"] += row.wall_s or 0.0
    ranked = sorted(seconds.items(), key=lambda item: (item[1], item[0]))
    unit, scale = ("h", 3600.0) if ranked[-1][1] >= 5400 else ("min", 60.0)
    if ranked[-1][1] < 100:
        unit, scale = "s", 1.0
    figure = style.figure(f"total {style.plain(method, 20)} time ({unit})", "")
    figure.add_bar(
        x=[value / scale for _, value in ranked],
        y=[style.plain(name, 24) for name, _ in ranked],
        orientation="h",
        marker={"color": style.BLUE},
        hovertemplate=f"%{{y}}: %{{x:.3g}} {unit}<extra></extra>",
        showlegend=False,
    )
    figure.update_yaxes(ticks="", type="category", showgrid=False)
    figure.update_layout(bargap=0.4)
    return figure


def provenance(labels: Sequence[LabelRow]) -> go.Figure:
    """Draw how many labels each generator gave to each split (failed structures apart)."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in labels:
        split = "failed" if row.failed else row.split or "unassigned"
        counts[row.generator or "unknown"][split] += 1
    generators = sorted(counts, key=lambda name: (sum(counts[name].values()), name))
    splits = in_order({split: 0 for of in counts.values() for split in of})
    figure = style.figure("structures", "")
    for index, split in enumerate(splits):
        colour = style.GREY if split == "failed" else style.split_look(split, index)[0]
        figure.add_bar(
            x=[counts[name][split] for name in generators],
            y=[style.plain(name, 24) for name in generators],
            text=[str(counts[name][split] or "") for name in generators],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": style.INK},
            orientation="h",
            name=style.plain(split),
            marker={"color": colour, "line": {"color": "#ffffff", "width": 1.5}},
            hovertemplate=f"%{{y}}: %{{x}} {style.plain(split)}<extra></extra>",
        )
    figure.update_yaxes(ticks="", type="category", showgrid=False)
    figure.update_layout(bargap=0.4)
    most = max(sum(of.values()) for of in counts.values())
    figure.update_xaxes(tickformat="d", dtick=1 if most <= 10 else None)
    figure.update_layout(barmode="stack", showlegend=True, legend_traceorder="normal")
    return figure


def _generator_looks(generators: Sequence[str]) -> dict[str, tuple[str, str]]:
    colours = (style.BLUE, style.VERMILLION, style.GREEN, style.ORANGE, style.PURPLE, style.SKY)
    symbols = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
    return {
        name: (colours[i % len(colours)], symbols[i % len(symbols)])
        for i, name in enumerate(generators)
    }


def _logarithmic(figure: go.Figure) -> None:
    style.logarithmic(figure, (float(y) for trace in figure.data for y in trace.y))
    figure.update_layout(showlegend=True)


def level(
    figure: go.Figure, value: float, label: str, colour: str, dash: str, side: str = "right"
) -> None:
    """Draw a horizontal line over the whole width with its name at one side."""
    log = float(np.log10(value))
    figure.add_shape(
        type="line",
        xref="paper",
        x0=0,
        x1=1,
        yref="y",
        y0=value,
        y1=value,
        line={"color": colour, "width": 1.4, "dash": dash},
    )
    figure.add_annotation(
        xref="paper",
        x=0.01 if side == "left" else 1,
        xanchor=side,
        yref="y",
        y=log,
        yanchor="bottom",
        yshift=1,
        bgcolor="rgba(255,255,255,0.8)",
        borderpad=1,
        text=label,
        showarrow=False,
        font={"size": 11, "color": style.DARK.get(colour, colour)},
    )
    # an invisible point keeps the line inside the automatic range
    first = next((trace.x[0] for trace in figure.data if len(trace.x)), 0)
    figure.add_scatter(
        x=[first],
        y=[value],
        mode="markers",
        marker={"opacity": 0},
        showlegend=False,
        hoverinfo="skip",
    )
