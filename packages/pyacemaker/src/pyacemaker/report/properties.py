"""Figures of the physical checks: the equation of state and the phonon bands.

Each takes a check's result and returns (figure, short description, caption), or None
where that check holds nothing to draw.
"""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from pyacemaker.report import style
from pyacemaker.report.data import CheckEntry
from pyacemaker.report.series import floats, pick, unit_of

Drawn = tuple[go.Figure, str, str] | None


def equation_of_state(check: CheckEntry) -> Drawn:
    """Draw energy against volume: the points, the fitted curve, the reference's points if any.

    Every curve is drawn from its own lowest energy, so that only shapes are compared.
    """
    volumes = pick(check.series, "volume", without=("fit", "scan", "ref", "dft", "ratio"))
    energies = pick(check.series, "energ", without=("fit", "scan", "ref", "dft"))
    if volumes is None or energies is None or len(volumes[1]) != len(energies[1]):
        return None  # a trajectory's, whose samples do not belong together
    points = _finite(volumes[1], energies[1])
    if not points:
        return None
    zero = min(energy for _, energy in points)
    unit = "meV/atom" if "atom" in energies[0] else "meV"
    figure = style.figure(
        f"volume ({unit_of(volumes[0], 'Å³')})", f"energy above the lowest ({unit})"
    )
    fit_y = pick(check.series, "energ", "fit")
    if fit_y is not None:
        fit_x = pick(check.series, "volume", "fit") or volumes
        curve = _finite(fit_x[1], fit_y[1])
        _add(figure, curve, zero, "fit", mode="lines", line={"color": style.INK, "width": 1.4})
    _add(figure, points, zero, "potential", mode="markers", marker={"color": style.BLUE, "size": 8})
    for word in ("dft", "ref"):
        other_x, other_y = pick(check.series, "volume", word), pick(check.series, "energ", word)
        if other_x is None or other_y is None:
            continue
        if other := _finite(other_x[1], other_y[1]):
            look = {"color": style.VERMILLION, "size": 8, "symbol": "diamond-open"}
            lowest = min(energy for _, energy in other)
            _add(figure, other, lowest, "reference", mode="markers", marker=look)
            break
    figure.update_layout(showlegend=True)
    return (
        figure,
        "Energy against volume",
        "Energy against volume, with the fitted equation of state.",
    )


def _finite(x: list[Any], y: list[Any]) -> list[tuple[float, float]]:
    pairs = zip(floats(x), floats(y), strict=False)
    return [(a, b) for a, b in pairs if a is not None and b is not None]


def _add(
    figure: go.Figure, points: list[tuple[float, float]], zero: float, name: str, **look: Any
) -> None:
    figure.add_scatter(
        x=[x for x, _ in points],
        y=[1000 * (y - zero) for _, y in points],
        name=name,
        hovertemplate="V %{x:.4g}, E %{y:.3f} meV",
        **look,
    )


def phonon_bands(check: CheckEntry) -> Drawn:
    """Draw phonon frequencies along the path; imaginary ones lie below zero, shaded."""
    frequencies = pick(check.series, "freq")
    if frequencies is None:
        return None
    distances = pick(check.series, "dist", without=("label",))
    segments = _segments(distances[1] if distances else [], frequencies[1])
    if not segments:
        return None
    figure = style.figure("wave vector", f"frequency ({unit_of(frequencies[0], 'THz')})")
    lowest = 0.0
    for x, bands in segments:
        for band in bands:
            lowest = min([lowest, *(value for value in band if value is not None)])
            figure.add_scatter(
                x=x,
                y=band,
                mode="lines",
                line={"color": style.BLUE, "width": 1.6},
                showlegend=False,
                hovertemplate="%{y:.3f} THz<extra></extra>",
            )
    figure.add_hline(y=0, line={"color": style.INK, "width": 1})
    if lowest < 0:
        figure.add_hrect(
            y0=1.15 * lowest, y1=0, fillcolor=style.VERMILLION, opacity=0.09, line_width=0
        )
    ends = [value for x, _ in segments for value in x if value is not None]
    _name_points(figure, check, [x[0] for x, _ in segments] + [segments[-1][0][-1]])
    figure.update_xaxes(range=[min(ends), max(ends)], showgrid=False, ticks="", tickangle=0)
    caption = "Phonon bands along the high-symmetry path; imaginary modes would lie below zero."
    return figure, "Phonon band structure", caption


def reliability(check: CheckEntry) -> Drawn:
    """Draw the true force error of held-out atoms against their extrapolation grade."""
    found = check.series.get("uncertainty")
    if not isinstance(found, dict) or not found.get("bins"):
        return None
    bins = found["bins"]
    figure = style.figure("extrapolation grade γ", "force error (eV/Å)")
    for key, name, colour in (
        ("error_rms_eV_per_A", "RMS", style.BLUE),
        ("error_p90_eV_per_A", "nine in ten below", style.VERMILLION),
        ("predicted_rms_eV_per_A", "RMS, as the fit predicts it", style.GREEN),
    ):
        known = [b for b in bins if b.get(key) is not None]
        if not known:
            continue
        points = _finite([b["gamma"] for b in known], [b[key] for b in known])
        figure.add_scatter(
            x=[x for x, _ in points],
            y=[y for _, y in points],
            mode="lines+markers",
            name=name,
            line={"color": colour, "width": 1.4},
            marker={"color": colour, "size": 8},
            hovertemplate="γ %{x:.3g}, %{y:.3g} eV/Å",
        )
    style.logarithmic(figure, (float(y) for trace in figure.data for y in trace.y))
    figure.update_layout(showlegend=True)
    return figure, "True force error against the extrapolation grade", _coverage(found)


def _coverage(found: dict[str, Any]) -> str:
    """Return in words how far gamma tells large errors."""
    text = f"Held-out atoms ({found['atoms']}) by their γ, in bins of as many atoms each."
    rank = found.get("rank_correlation")
    if rank is not None:
        text += f" Rank correlation of γ with the error: {rank:.2f}."
    for item in found.get("thresholds", []):
        if item["gamma"] == 2.0 and item["missed"] is not None:
            text += (
                f" At γ below 2 lie {100 * (1 - item['flagged']):.0f} % of the atoms, of which "
                f"{100 * item['missed']:.2g} % have an error above "
                f"{found['limit_eV_per_A']:g} eV/Å."
            )
    held = {round(item["expected"], 3): item["found"] for item in found.get("spread", [])}
    if {0.683, 0.955} <= held.keys():
        text += (
            f" The predicted spread holds {100 * held[0.683]:.0f} % of the force components within "
            f"one standard deviation (68 % expected) and {100 * held[0.955]:.0f} % within two "
            "(95 % expected)."
        )
    return text


def _segments(distances: list[Any], values: list[Any]) -> list[tuple[list[Any], list[list[Any]]]]:
    """Return (distances, bands) for each stretch of the path, bands as rows.

    Understands phonopy's own shape (segment, point, band), one stretch (point, band) and
    bands as rows (band, point); the number of distances tells the last two apart.
    """
    if not isinstance(values[0], list) or not values[0]:
        return []
    if isinstance(values[0][0], list):
        made: list[tuple[list[Any], list[list[Any]]]] = []
        for index, part in enumerate(values):
            along = distances[index] if index < len(distances) else None
            made += _segments(along if isinstance(along, list) else [], part)
        return made
    points = len(distances) if distances else len(values)
    rows = values if len(values) != points and len(values[0]) == points else _transposed(values)
    length = min(points, *(len(row) for row in rows))
    x = floats(distances[:length]) if distances else [float(i) for i in range(length)]
    return [(x, [floats(row[:length]) for row in rows])]


def _transposed(values: list[list[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*values, strict=False)]


def _name_points(figure: go.Figure, check: CheckEntry, corners: list[float | None]) -> None:
    """Write the names of the high-symmetry points under the axis, with a line at each."""
    names = pick(check.series, "label", without=("pos", "dist"))
    places = pick(check.series, "label", "pos") or pick(check.series, "label", "dist")
    places = places or pick(check.series, "position") or pick(check.series, "tick")
    positions = floats(places[1]) if places else corners
    if names is None:
        texts = ["" for _ in positions]
    else:
        texts = [style.plain(_symbol(str(name)), 12) for name in names[1]]
    pairs = [(p, t) for p, t in zip(positions, texts, strict=False) if p is not None]
    figure.update_xaxes(tickvals=[p for p, _ in pairs], ticktext=[t for _, t in pairs])
    for position, _ in pairs:
        figure.add_vline(x=position, line={"color": style.RULE, "width": 1})


def _symbol(name: str) -> str:
    """Return a point's name as it is printed: phonopy and seekpath write Gamma in LaTeX."""
    name = name.replace("$", "").replace("\\mathrm", "").replace("{", "").replace("}", "")
    for written in ("\\Gamma", "GAMMA", "Gamma"):
        name = name.replace(written, "Γ")
    return "Γ" if name == "G" else name.replace("_", "")
