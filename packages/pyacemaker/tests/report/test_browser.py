"""The page in a real browser."""

import re
import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest

from pyacemaker.report import ReportData
from pyacemaker.report.render import render, write_report

BROWSER = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here: install the package chromium"),
]


def browse(html: Path, profile: Path, *options: str) -> tuple[str, str]:
    """Return what the browser printed: (standard output, the page's console)."""
    done = subprocess.run(
        [
            str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={profile}", "--virtual-time-budget=10000",
            "--enable-logging=stderr", *options, html.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def test_all_plots_are_drawn_without_a_complaint(campaign: ReportData, tmp_path: Path) -> None:
    html = tmp_path / "report.html"
    write_report(campaign, html)
    dom, console = browse(html, tmp_path / "profile", "--dump-dom")
    assert console == ""
    assert re.search(r'<html[^>]* data-plots-drawn="14"[^>]* data-plots-failed="0"', dom)
    assert dom.count('class="main-svg"') >= 14
    assert campaign.reason in dom
    assert ">Certified<" in dom


def test_names_like_html_stay_harmless_in_the_browser(evil: ReportData, tmp_path: Path) -> None:
    html = tmp_path / "evil.html"
    write_report(evil, html)
    dom, console = browse(html, tmp_path / "profile", "--dump-dom")
    assert console == ""
    assert 'data-plots-failed="0"' in dom
    assert "<img" not in dom


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("which", ["campaign", "evil"])
def test_the_page_never_scrolls_sideways(
    which: str, width: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    page = re.sub("<meta http-equiv[^>]*>", "", render(request.getfixturevalue(which)))
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<!DOCTYPE html><iframe style="width:{width}px;height:900px;border:0" '
        f'srcdoc="{escape(page)}" onload="document.title = \'overflow \' + '
        'Math.max(0, this.contentDocument.documentElement.scrollWidth - this.clientWidth)">'
        "</iframe>"
    )
    dom, _ = browse(frame, tmp_path / "profile", "--window-size=1400,1000", "--dump-dom")
    assert "<title>overflow 0</title>" in dom


def test_prints_to_a_few_pages(campaign: ReportData, tmp_path: Path) -> None:
    html, paper = tmp_path / "report.html", tmp_path / "report.pdf"
    write_report(campaign, html)
    browse(html, tmp_path / "profile", f"--print-to-pdf={paper}", "--no-pdf-header-footer")
    pages = len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes()))
    assert 5 <= pages <= 14
