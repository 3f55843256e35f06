"""The report of a running campaign: as fresh as its cost allows."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pyacemaker.campaign import deploy
from pyacemaker.campaign.journal import Journal
from pyacemaker.campaign.orchestrator import Campaign
from pyacemaker.campaign.state import CampaignState
from pyacemaker.labels import LabelStore


def test_reports_take_a_small_part_of_the_time_and_decisions_are_written_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    written = []

    def draw(campaign: Any) -> None:
        clock[0] += 3.0
        written.append(clock[0])

    monkeypatch.setattr(deploy.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(deploy, "write_report", draw)
    with closing(CampaignState(tmp_path)) as state:
        journal = Journal(tmp_path, state, 1, lambda _: None)
        missing: Any = None
        campaign = Campaign(missing, missing, journal, LabelStore(tmp_path / "labels"), missing)
        for iteration in range(1, 101):
            clock[0] += 10.0
            decision = {"what": f"decision {iteration}", "why": "the test"}
            journal.step(iteration, "explore", lambda _, d=decision: {"decisions": [d]})
            deploy.update_report(campaign)
        resumed = Journal(tmp_path, state, 1, lambda _: None)
        resumed.step(1, "explore", lambda _: {})
        campaign.journal, campaign.report_due = resumed, 0.0
        deploy.update_report(campaign)
    assert written[0] == 13.0  # the first at once
    assert 3.0 * len(written) <= 0.02 * clock[0] + 3.0
    assert len(written) == 7  # and as many as that allows; none where a run only reads back
    lines = (tmp_path / "decisions.jsonl").read_text().splitlines()
    assert [json.loads(line)["what"] for line in lines][-1] == "decision 100"
