"""From report data to one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.utils import PlotlyJSONEncoder

from pyacemaker.files import write_whole
from pyacemaker.report import comparison, formatting, summary, walks
from pyacemaker.report.comparison import Compared
from pyacemaker.report.data import ReportData
from pyacemaker.report.elasticity import elastic_tables
from pyacemaker.report.panels import SECTIONS, Panel, panels
from pyacemaker.report.usage import ase_snippet, lammps_snippet


def render(data: ReportData) -> str:
    """Return the report as one HTML document.

    The same data give the same text, byte for byte. Everything from `data` is escaped, and
    the page forbids itself every load from outside and every script but its own.
    """
    drawn = panels(data)
    checks = summary.latest_checks(data.checks)
    symbol, verdict, meaning = summary.VERDICTS[data.decision]
    splits, generators = summary.generator_rows(data.labels)
    return _page(
        "report.html.j2",
        drawn,
        data=data,
        panels=_by_section(drawn),
        symbol=symbol,
        verdict=verdict,
        meaning=meaning,
        reason=summary.reason(data),
        key_numbers=summary.key_number_rows(data),
        errors=summary.error_rows(data),
        md=summary.md_rows(data.md),
        md_temperatures=sorted({T for row in data.cycles for T in row.md}),
        short_method=summary.short_method(data),
        judged_otherwise=summary.judged_otherwise(data),
        md_sentence=summary.md_sentence(data.md),
        md_end=summary.md_end(data.md),
        kmc_walks=walks.walk_rows(data),
        kmc_processes=walks.process_rows(data),
        kmc_barriers=[row.told for row in walks.barrier_rows(data)],
        kmc_sentence=walks.kmc_sentence(data),
        checks=checks,
        elastic=[table for check in checks if (table := elastic_tables(check))],
        splits=splits,
        generators=generators,
        trouble=summary.trouble_rows(data.labels),
        trouble_sentence=summary.trouble_sentence(data.labels, data.reference_method),
        ase_snippet=ase_snippet(data),
        lammps_snippet=lammps_snippet(data),
    )


def render_comparison(compared: Compared) -> str:
    """Return the comparison of two campaigns as one HTML document, as `render` does."""
    curves = comparison.curves(compared)
    return _page(
        "comparison.html.j2",
        curves,
        names=compared.names,
        campaigns=compared.campaigns,
        notes=compared.notes,
        verdicts=summary.VERDICTS,
        curves=curves,
        numbers=comparison.number_rows(compared),
        crossed=comparison.crossed_rows(compared),
        checks=comparison.check_rows(compared),
        settings=comparison.setting_rows(compared),
    )


def _page(template: str, drawn: list[Panel], **content: Any) -> str:
    """Render a page that extends page.html.j2, with its figures and the script that draws them."""
    library, script = _packaged("static/plotly-basic.min.js"), _packaged("templates/report.js")
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(_packaged("templates/report.css")),  # noqa: S704 - our own file
            plotly=Markup(library),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            script_hashes=[_csp_hash(library), _csp_hash(script)],
            figures=_figures_json(drawn),
            figure_numbers={panel.key: index for index, panel in enumerate(drawn, start=1)},
            **content,
        )
    )


def write_report(data: ReportData, path: Path) -> None:
    """Render `data` and write it to `path`, whole (a reader never sees half a report)."""
    write_whole(path, render(data))


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("pyacemaker.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": formatting.number,
        "count": formatting.count,
        "duration": formatting.duration,
        "plural": formatting.plural,
        "check_name": summary.check_name,
        "sentence": lambda text: text[:1].upper() + text[1:],
        "check_numbers": summary.check_numbers,
        "prose": formatting.prose,
        "setting": _setting,
    }
    return made


@cache
def _packaged(name: str) -> str:
    return files("pyacemaker.report").joinpath(name).read_text(encoding="utf-8")


def _csp_hash(script: str) -> str:
    """Return the source expression that allows exactly this inline script."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"


def _by_section(drawn: list[Panel]) -> dict[str, list[Panel]]:
    sections: dict[str, list[Panel]] = {name: [] for name in SECTIONS}
    for panel in drawn:
        sections[panel.section].append(panel)
    return sections


def _figures_json(drawn: list[Panel]) -> Markup:
    """Return the figures as JSON that cannot end the script element it stands in."""
    plain = {panel.key: panel.figure.to_plotly_json() for panel in drawn}
    text = json.dumps(plain, cls=PlotlyJSONEncoder, sort_keys=True, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - nothing is left in it that HTML reads


def _setting(value: Any) -> str:
    """Return a setting's value as people write it: a number, a word, or short JSON."""
    if value is None:
        return formatting.MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list) and all(isinstance(v, str | int | float) for v in value):
        return ", ".join(_setting(v) for v in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
