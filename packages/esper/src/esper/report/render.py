"""From a training's history to one HTML file that needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from esper.files import write_whole

_COLOURS = {"train_loss": "#0072B2", "validation_loss": "#D55E00"}

_TELEMETRY = {  # the heading, and the axis
    "rms": ("Size of what each site puts out", "root mean square"),
    "dead": ("Share of a site's features that are nowhere above zero", "share"),
    "gradient": ("Gradient of a site's weights, relative to the weights", "gradient / weights"),
}
_PLOT = {"displaylogo": False, "displayModeBar": False, "responsive": True}


class ReportError(ValueError):
    """There is nothing to report on; the message names the file."""


def write_report(workdir: Path) -> Path:
    """Write `workdir`/report.html from its history.json and return its path.

    Raises ReportError if there is no history, or none that can be read.
    """
    source = workdir / "history.json"
    try:
        history = json.loads(source.read_text(encoding="utf-8"))
        page = render(history, workdir.name)
    except OSError as error:
        raise ReportError(f"there is no training in {workdir} ({error.strerror})") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ReportError(f"{source} is not a training's history ({error!r})") from None
    write_whole(workdir / "report.html", page)
    return workdir / "report.html"


def render(history: dict[str, Any], name: str) -> str:
    """Return the report as an HTML document; everything from `history` is escaped."""
    environment = Environment(
        loader=PackageLoader("esper.report"), autoescape=True, undefined=StrictUndefined
    )
    figures = [
        ("Loss", _losses(history)),
        ("Accuracy on the validation samples", _accuracy(history)),
        ("Parameters", _parameters(history)),
        ("Cost", _cost(history)),
        *(
            (title, _sites(history, key, axis))
            for key, (title, axis) in _TELEMETRY.items()
            if any(key in figures for e in history["epochs"] for figures in _of_sites(e))
        ),
    ]
    return environment.get_template("report.html.j2").render(
        name=name,
        result=history["result"],
        events=[
            {
                "epoch": e["epoch"],
                "step": e["step"],
                "kind": e["kind"],
                "site": e.get("site", ""),
                "details": ", ".join(
                    f"{key} {_shown(value)}"
                    for key, value in e.items()
                    if key not in {"epoch", "step", "kind", "site"}
                ),
            }
            for e in history["events"]
        ],
        seeds=history["seeds"],
        config=json.dumps(history["config"], indent=1),
        plotly=Markup(get_plotlyjs()),  # noqa: S704 - the library itself
        figures=[(title, _drawn(figure)) for title, figure in figures],
    )


def _drawn(figure: go.Figure) -> Markup:
    html = figure.to_html(full_html=False, include_plotlyjs=False, config=_PLOT)
    return Markup(html)  # noqa: S704 - plotly escapes what it is given


def _figure(history: dict[str, Any], y: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        template="plotly_white",
        height=300,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        margin={"l": 60, "r": 20, "t": 40, "b": 45},
        xaxis_title="epoch",
        yaxis_title=y,
    )
    for event in history["events"]:
        if event["kind"] in {"widened", "germinated", "fossilized", "culled", "rollback"}:
            figure.add_vline(x=event["epoch"], line={"color": "#999999", "width": 1, "dash": "dot"})
    return figure


def _line(figure: go.Figure, history: dict[str, Any], key: str, colour: str, name: str) -> None:
    epochs = history["epochs"]
    figure.add_scatter(
        x=[e["epoch"] for e in epochs],
        y=[e[key] for e in epochs],
        mode="lines",
        name=name,
        line={"color": colour, "width": 2},
    )


def _losses(history: dict[str, Any]) -> go.Figure:
    figure = _figure(history, "cross entropy (nats)")
    for key, colour in _COLOURS.items():
        _line(figure, history, key, colour, key.removesuffix("_loss"))
    figure.update_yaxes(type="log")
    return figure


def _accuracy(history: dict[str, Any]) -> go.Figure:
    figure = _figure(history, "accuracy")
    _line(figure, history, "validation_accuracy", "#009E73", "validation")
    return figure


def _parameters(history: dict[str, Any]) -> go.Figure:
    figure = _figure(history, "parameters")
    _line(figure, history, "parameters", "#56B4E9", "parameters")
    figure.update_traces(line_shape="hv")
    return figure


def _cost(history: dict[str, Any]) -> go.Figure:
    figure = _figure(history, "training FLOPs so far")
    _line(figure, history, "flops", "#CC79A7", "FLOPs")
    return figure


def _of_sites(epoch: dict[str, Any]) -> list[dict[str, float]]:
    return list(epoch.get("sites", {}).values())


def _sites(history: dict[str, Any], key: str, y: str) -> go.Figure:
    figure = _figure(history, y)
    names = sorted({site for e in history["epochs"] for site in e.get("sites", {})})
    for site in names:
        rows = [(e["epoch"], e["sites"][site]) for e in history["epochs"] if site in e["sites"]]
        figure.add_scatter(
            x=[epoch for epoch, _ in rows],
            y=[figures.get(key) for _, figures in rows],
            mode="lines",
            name=site,
        )
    return figure


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
