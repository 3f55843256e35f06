import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pyacemaker.report import (
    CheckEntry,
    CycleRow,
    Event,
    LabelRow,
    MDTrace,
    ParitySet,
    ReportData,
    SettingRow,
)
from pyacemaker.report.render import render, write_report

NAN = float("nan")


class Page(HTMLParser):
    """The text, the tags and the contents of scripts of a page."""

    VOID = frozenset({"meta", "br", "img", "link", "hr", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            name = self.tags[-1][1].get("id") or f"{self.open[-1]}-{len(self.scripts)}"
            self.scripts[name] = self.scripts.get(name, "") + data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def figures(self) -> dict[str, Any]:
        return json.loads(self.scripts["report-figures"])


STATES: dict[str, ReportData] = {
    "nothing at all": ReportData(),
    "labels only": ReportData(
        labels=[LabelRow(key="a", generator="rattle", wall_s=3.0, n_atoms=2)]
    ),
    "one cycle, no numbers": ReportData(cycles=[CycleRow(iteration=1)]),
    "one cycle": ReportData(
        cycles=[CycleRow(iteration=1, labels=12, energy_rmse_eV_per_atom=0.02, md={300: "halted"})]
    ),
    "errors of zero": ReportData(
        cycles=[CycleRow(iteration=1, labels=0, energy_rmse_eV_per_atom=0.0, wall_s=0.0)],
        parity={"test": ParitySet(energy_reference=[1.0], energy_predicted=[1.0])},
        labels=[LabelRow(key="a", wall_s=0.0)],
    ),
    "not numbers": ReportData(
        numbers={"B0_GPa": NAN, "odd_thing": None},
        references={"DFT": {"B0_GPa": NAN, "C11_GPa": 0.0}},
        cycles=[CycleRow(iteration=1, labels=3, energy_rmse_eV_per_atom=NAN, wall_s=NAN)],
        parity={
            "test": ParitySet(energy_reference=[NAN, 1.0], energy_predicted=[1.0, NAN]),
            "train": ParitySet(force_reference=[NAN], force_predicted=[]),
        },
        md=[MDTrace(iteration=1, temperature_K=NAN, samples=[(NAN, NAN, NAN), (0.0, 1.0, NAN)])],
        checks=[
            CheckEntry(
                name="eos",
                passed=False,
                numbers={"B0_GPa": NAN},
                series={"volumes_A3": [1.0, NAN, 3.0], "energies_eV": [NAN, 1.0, 2.0]},
            )
        ],
        labels=[LabelRow(key="x", wall_s=NAN, n_atoms=4)],
    ),
    "empty parts": ReportData(
        parity={"test": ParitySet()},
        md=[MDTrace(iteration=1, status="failed", message="lost atoms")],
        checks=[CheckEntry(name="phonons"), CheckEntry(name="mine", passed=True)],
        labels=[LabelRow(key="")],
        settings=[SettingRow(key="x")],
        events=[Event(text="began")],
    ),
    "everything failed": ReportData(
        decision="failed",
        labels=[LabelRow(key="k", failed="pw.x was killed", attempts=3, remedies=["mixing"])],
    ),
    "failed check": ReportData(
        decision="no_go",
        paths={"potential": "potential"},
        checks=[CheckEntry(name="elastic", passed=False, reason="C44 = −3.1 GPa is negative")],
    ),
    "budget": ReportData(
        decision="budget", reason="200 labels were used", paths={"potential": "potential"}
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_every_moment_of_a_campaign_has_a_report(state: str) -> None:
    page = Page(render(STATES[state]))
    assert page.open == [], "every element is closed"
    for name in page.figures:
        assert any(attrs.get("data-figure") == name for _, attrs in page.tags)
    places = [attrs["data-figure"] for _, attrs in page.tags if "data-figure" in attrs]
    assert sorted(places) == sorted(page.figures)
    for word in ("nan", "None", "NaN", "Infinity", "undefined"):
        assert not re.search(rf"\b{word}\b", page.text), word


def test_what_is_not_there_yet_is_said_in_words() -> None:
    text = Page(render(ReportData())).text
    for sentence in (
        "In progress",
        "Nothing has been computed yet.",
        "No cycle has finished yet.",
        "No molecular dynamics has been run yet.",
        "No physical check has been run yet.",
        "There are no labels yet.",
        "There is no potential yet.",
    ):
        assert sentence in text


def test_decision_comes_first_and_says_why() -> None:
    text = Page(render(STATES["failed check"])).text
    assert (
        text.index("No-Go") < text.index("C44 = −3.1 GPa is negative") < text.index("Key numbers")
    )
    assert "Do not use it for science" in text
    text = Page(render(STATES["budget"])).text
    assert text.index("Stopped by budget") < text.index("200 labels were used")
    assert "is not certified" in text


def test_finished_campaign_shows_its_numbers(campaign: ReportData) -> None:
    page = Page(render(campaign))
    assert len(page.figures) == 14
    for words in (
        "Certified",
        "Bulk modulus B₀",
        "C11 − C12 > 0",
        "Of 101 structures, 3 structures failed at first and were healed and 1 structure could not",
        "Potential.load('work/potential')",
        'variable potential_dir index "work/potential"',
        "pseudopotential hint, raised by the cutoff gate",
        "mixing 0.7 → 0.3",
        "0.1.0",
    ):
        assert words in page.text, words


def test_numbers_are_taken_from_checks_unless_given() -> None:
    check = CheckEntry(name="eos", passed=True, numbers={"B0_GPa": 98.04})
    assert "Bulk modulus B₀ 98.0 GPa" in Page(render(ReportData(checks=[check]))).text
    given = ReportData(checks=[check], numbers={"B0_GPa": 77.0})
    assert "Bulk modulus B₀ 77.0 GPa" in Page(render(given)).text
    beside = ReportData(checks=[check], references={"DFT": {"B0_GPa": 89.0}})
    assert "98.0 89.0 (+10.2 %) GPa" in Page(render(beside)).text


def test_the_newest_result_of_a_check_counts() -> None:
    old = CheckEntry(name="eos", passed=False, reason="bad", iteration=1)
    new = CheckEntry(name="eos", passed=True, reason="good", iteration=2)
    for order in ([old, new], [new, old]):
        text = Page(render(ReportData(checks=order))).text
        assert "good" in text and "bad" not in text


def test_a_name_that_looks_like_html_is_only_text(evil: ReportData) -> None:
    page, plain = Page(render(evil)), Page(render(ReportData()))
    assert page.open == []
    count = [tag for tag, _ in page.tags].count("script")
    assert count == [tag for tag, _ in plain.tags].count("script")
    assert "img" not in {tag for tag, _ in page.tags}
    assert evil.title in "".join(page.words), "it is shown letter for letter"
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    # Plotly reads a little HTML in its texts, so they must arrive there escaped as well.
    texts = json.dumps(page.figures)
    assert "<script" not in texts and "<img" not in texts


def test_page_loads_nothing_from_outside(campaign: ReportData) -> None:
    page = Page(render(campaign))
    for tag, attrs in page.tags:
        assert "src" not in attrs and "srcset" not in attrs, tag
        assert tag not in ("link", "iframe", "object", "embed", "base", "img"), tag
        assert tag != "a" or (attrs.get("href") or "").startswith("#")
    styles = next(text for name, text in page.scripts.items() if name.startswith("style"))
    assert "@import" not in styles and "url(" not in styles
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy is not None and policy.startswith("default-src 'none'")
    assert "http" not in policy and policy.count("'sha256-") == 2


def test_plotly_is_embedded_once_and_the_file_stays_small(campaign: ReportData) -> None:
    html = render(campaign)
    assert html.count("plotly.js (basic - minified)") == 1
    assert len(html.encode()) < 2_000_000
    assert len(render(ReportData()).encode()) < 1_300_000


def test_large_campaign_stays_small() -> None:
    values = [0.001 * i for i in range(60_000)]
    forces = ParitySet(force_reference=values, force_predicted=values)
    data = ReportData(
        parity={"train": forces, "test": forces},
        md=[
            MDTrace(
                iteration=i, temperature_K=300 + 100 * (i % 9), status="completed",
                samples=[(10.0 * k, 1 + 0.1 * (k % 7), 300) for k in range(2000)],
            )
            for i in range(60)
        ],
        labels=[
            LabelRow(key=str(i), generator=f"g{i % 9}", n_atoms=i % 64 + 1, wall_s=i + 1)
            for i in range(3000)
        ],
    )  # fmt: skip
    assert len(render(data).encode()) < 2_600_000


def test_same_data_same_bytes(campaign: ReportData) -> None:
    again = ReportData.model_validate_json(campaign.model_dump_json())
    assert render(campaign) == render(again)


def test_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(ReportData(title="first"), path)
    write_report(ReportData(title="second"), path)
    assert "<h1>second</h1>" in path.read_text(encoding="utf-8")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_readable_without_scripts_and_by_a_screen_reader(campaign: ReportData) -> None:
    page = Page(render(campaign))
    assert "this plot is drawn by JavaScript, which is off here" in page.text
    drawn = [attrs for _, attrs in page.tags if "data-figure" in attrs]
    assert all(a["role"] == "img" and len(a["aria-label"] or "") > 40 for a in drawn)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    assert {link[1:] for link in links if link} <= set(ids)


@pytest.mark.parametrize(
    ("ends", "word"),
    [
        ([], "not run"),
        (["completed", "completed"], "✓ go"),
        (["completed", "halted"], "halted"),
        (["failed", "halted"], "✕ failed"),
        ([""], "not finished"),
    ],
)
def test_dynamics_of_the_newest_cycle_is_summed_up(ends: list[str], word: str) -> None:
    older = [MDTrace(iteration=1, status="halted")] if ends else []
    runs = [MDTrace(iteration=2, temperature_K=300, status=end) for end in ends]
    text = Page(render(ReportData(md=older + runs))).text
    assert f"{word} Molecular dynamics" in text


def test_the_judged_test_error_wins_over_that_of_all_structures() -> None:
    data = ReportData(
        cycles=[CycleRow(iteration=1, labels=5, energy_rmse_eV_per_atom=0.002)],
        parity={"test": ParitySet(energy_reference=[1.0, 2.0], energy_predicted=[1.1, 2.1])},
    )
    text = Page(render(data)).text
    assert "Energy error (test RMSE) 2.0 meV/atom" in text
    assert "All structures count here" in text
