"""What the report says of kinetic Monte Carlo: the words of its tables, and its figures."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from pyacemaker.report import CheckEntry, ReportData
from pyacemaker.report.data import KMCProcess, KMCWalk
from pyacemaker.report.render import render, write_report
from pyacemaker.report.walks import barrier_rows, time_line

from .test_browser import BROWSER, browse


def compared(iteration: int, barrier: float, name: str = "barriers") -> CheckEntry:
    row = {
        "state": 0,
        "mechanism": 2,
        "barrier_eV": barrier,
        "oracle_barrier_eV": 0.42,
        "error_eV": barrier - 0.42,
        "force_at_minimum_eV_per_A": 0.05,
        "force_at_saddle_eV_per_A": 0.15,
    }
    passed = abs(barrier - 0.42) < 0.03
    return CheckEntry(name=name, passed=passed, series={"processes": [row]}, iteration=iteration)


@pytest.fixture
def walked() -> ReportData:
    """A campaign that halted, walked over a wrong barrier, learnt, and walked again."""
    process = KMCProcess(
        state=0,
        mechanism=2,
        barrier_eV=0.43,
        reverse_barrier_eV=0.425,
        prefactor_THz=4.5,
        rate_per_s=2.7e5,
        copies=4,
        found=6,
        gamma=0.9,
    )
    halted = KMCWalk(
        iteration=1,
        temperature_K=300,
        engine="akmc",
        status="halted",
        message="gamma 12.5 exceeds 4 after 0 hops, in state 0",
        events=3,
        gamma_trace=[3.1, 12.5],
        gamma_halt=4,
    )
    done = KMCWalk(
        iteration=3,
        temperature_K=300,
        engine="akmc",
        status="completed",
        events=3,
        hops_done=3,
        time_s=3.5e-6,
        states=1,
        confidence=0.9,
        searches={"new": 1, "again": 5},
        processes=[process],
        time_line=[(1e-6, -5.0, 0, 0.43), (2e-6, -5.0, 0, 0.43), (3.5e-6, -5.0, 0, 0.43)],
        gamma_trace=[0.9, 1.1, 2.0],
        gamma_halt=4,
    )
    checks = [
        compared(2, 0.50),
        compared(3, 0.43),
        compared(3, 0.431, "barriers_of_independent_walk"),
    ]
    return ReportData(kmc=[halted, done], checks=checks)


def cells(page: str, caption: str) -> list[list[str]]:
    """Return the text of each row of the table whose caption begins so."""
    table = page[page.index(f"<caption>{caption}") :]
    table = table[: table.index("</table>")]
    rows = re.findall(r"<tr>(.*?)</tr>", table[table.index("<tbody>") :], re.DOTALL)
    return [
        [re.sub("<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        for row in rows
    ]


def test_rates_barriers_and_walks_are_told_in_their_units(walked: ReportData) -> None:
    page = render(walked)
    (process,) = cells(page, "Processes of the last walk")
    assert process == ["0", "0.4300", "0.4250", "4.50", "270000", "4", "6", "0.90"]
    assert cells(page, "Barriers of walks that completed") == [
        ["2", "the walk", "0", "0.500", "0.420", "80", "19.0", "0.15"],
        ["3", "the walk", "0", "0.430", "0.420", "10", "2.4", "0.15"],
        ["3", "independent", "0", "0.431", "0.420", "11", "2.6", "0.15"],
    ]
    halted, done = cells(page, "Every walk")
    assert halted[3] == "0 of 3"
    assert halted[-1] == "gamma 12.5 exceeds 4 after 0 hops, in state 0"
    assert done[3] == "3 of 3"
    assert "3 hops in 3.50" in page


def test_a_long_time_line_that_was_thinned_still_counts_hops(walked: ReportData) -> None:
    line = [(float(number), -5.0, 0, 0.43) for number in range(1, 2501, 3)]  # of 2500 every third
    walk = walked.kmc[1].model_copy(update={"hops_done": 2500, "time_line": line})
    (drawn,) = time_line(walk).data
    assert list(drawn.y[:4]) == [0, 1, 4, 7]
    assert drawn.y[-1] == 2500
    (short,) = time_line(walked.kmc[1]).data
    assert list(short.y) == [0, 1, 2, 3]


def test_without_a_walk_the_section_is_not_there() -> None:
    page = render(ReportData())
    assert 'id="kmc"' not in page
    assert "Kinetic Monte Carlo" not in page


def test_a_barrier_that_is_no_number_is_left_out(walked: ReportData) -> None:
    broken = compared(4, math.nan)
    assert len(barrier_rows(ReportData(checks=[*walked.checks, broken]))) == 3
    assert render(ReportData(kmc=walked.kmc, checks=[broken]))


@pytest.mark.real
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here: install the package chromium")
def test_a_browser_draws_all_four_figures(walked: ReportData, tmp_path: Path) -> None:
    html = tmp_path / "report.html"
    write_report(walked, html)
    dom, console = browse(html, tmp_path / "profile", "--dump-dom")
    assert console == ""
    assert re.search(r'data-plots-drawn="4"[^>]* data-plots-failed="0"', dom)
    for axis in ("rate of one way (1/s)", "hops made", "largest γ met", "barrier (eV)"):
        assert axis in dom
