"""One look for every figure: the Okabe-Ito colours, thin axes, room to breathe.

Every series differs by colour and by symbol or dash, so that a figure is also read in
grey or by a colour-blind reader.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

INK = "#1c2530"
MUTED = "#5b6673"
RULE = "#c9d0d8"
GRID = "#eceff3"

BLUE = "#0072b2"
VERMILLION = "#d55e00"
GREEN = "#009e73"
ORANGE = "#e69f00"
SKY = "#56b4e9"
PURPLE = "#cc79a7"
GREY = "#8a94a0"
MOST_TICKS = 9
DARK = {VERMILLION: "#a83a00"}  # the same hue where it is small text

SPLIT_LOOK = {
    "train": (SKY, "circle"),
    "validation": (GREEN, "square"),
    "test": (VERMILLION, "diamond"),
}
OTHER_LOOKS = ((PURPLE, "triangle-up"), (ORANGE, "cross"), (GREY, "x"))
_EARLY_TO_LATE = ("#a9c9e4", "#4d93c7", "#08306b")
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def split_look(split: str, index: int = 0) -> tuple[str, str]:
    """Return (colour, symbol) of a split; the splits we know always look the same."""
    return SPLIT_LOOK.get(split, OTHER_LOOKS[index % len(OTHER_LOOKS)])


def early_to_late(amount: int) -> list[str]:
    """Return `amount` colours from light (early) to dark (late)."""
    if amount <= 1:
        return [_EARLY_TO_LATE[-1]] * amount
    positions = [i / (amount - 1) for i in range(amount)]
    return [str(colour) for colour in sample_colorscale(list(_EARLY_TO_LATE), positions)]


def logarithmic(figure: go.Figure, values: Iterable[float]) -> None:
    """Make the y axis logarithmic over `values`, with ticks at 1, 2, 5 or at decades."""
    positive = [value for value in values if value > 0]
    if not positive:
        return
    low, high = math.log10(min(positive)), math.log10(max(positive))
    margin = max(0.06 * (high - low), 0.05)
    low, high = low - margin, high + margin
    decades = range(math.floor(low), math.ceil(high) + 1)
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5), (1, 2, 5), (1,)):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
        if len(ticks) <= MOST_TICKS:
            break
    if not ticks:  # all values lie between two of them
        ticks = sorted({float(f"{value:.3g}") for value in (min(positive), max(positive))})
    ticks = ticks[:: -(-len(ticks) // MOST_TICKS)]
    figure.update_yaxes(
        type="log",
        range=[low, high],
        tickmode="array",
        tickvals=ticks,
        ticktext=[tick_text(tick) for tick in ticks],
    )


def tick_text(value: float) -> str:
    """Return a tick's number: plain where that is short, else a power of ten."""
    if 1e-3 <= value < 1e5:
        return f"{value:.10g}"
    exponent = math.floor(math.log10(value) + 1e-9)
    mantissa = f"{value / 10.0**exponent:.3g}"
    power = f"10<sup>{exponent}</sup>".replace("-", "\u2212")
    return power if mantissa == "1" else f"{mantissa}\u00b7{power}"


def plain(text: str, limit: int = 60) -> str:
    """Return `text` so that Plotly shows it letter for letter (it reads a little HTML)."""
    return escape(text if len(text) <= limit else text[: limit - 1] + "…")


def figure(x_title: str, y_title: str) -> go.Figure:
    """Return an empty figure in the report's look, with titled axes (units included)."""
    title = {"standoff": 8, "font": {"size": 12.5, "color": INK}}
    axis = {
        "showline": True,
        "linecolor": INK,
        "linewidth": 1,
        "mirror": False,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": INK,
        "gridcolor": GRID,
        "zeroline": False,
        "automargin": True,
        "tickfont": {"size": 11.5, "color": INK},
        "exponentformat": "power",
    }
    # All at once: Plotly looks up each property that is set by itself.
    return go.Figure(
        layout={
            "template": {},
            "font": {"family": FONT, "size": 12, "color": INK},
            "paper_bgcolor": "#ffffff",
            "plot_bgcolor": "#ffffff",
            "margin": {"l": 58, "r": 14, "t": 46, "b": 48},
            "hoverlabel": {"font": {"family": FONT, "size": 12}, "bgcolor": "#ffffff"},
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "y": 1.02,
                "yanchor": "bottom",
                "font": {"size": 11.5},
                "bgcolor": "rgba(0,0,0,0)",
            },
            "xaxis": axis | {"title": title | {"text": x_title}},
            "yaxis": axis | {"title": title | {"text": y_title}},
        }
    )
