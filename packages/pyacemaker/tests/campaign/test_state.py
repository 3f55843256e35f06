"""The state file: what was finished is there, what is damaged is named."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pyacemaker.campaign.events import Event
from pyacemaker.campaign.journal import Journal
from pyacemaker.campaign.state import FILE_NAME, CampaignState, LogLine, StateError
from pyacemaker.structures import CorruptFileError


def test_facts_and_steps_survive_reopening(tmp_path: Path) -> None:
    state = CampaignState(tmp_path)
    state.set_fact("seed", 7)
    state.set_fact("seed", 8)
    state.finish(1, "label", {"keys": ["a", None], "x": 0.1}, 2.5, [LogLine(1.0, 1, "label", "hi")])
    state.close()
    again = CampaignState(tmp_path)
    assert again.fact("seed") == 8
    assert again.fact("nothing") is None
    assert again.result(1, "label") == {"keys": ["a", None], "x": 0.1}
    assert again.result(2, "label") is None
    (step,) = again.steps("label")
    assert (step.iteration, step.name, step.wall_s) == (1, "label", 2.5)
    assert [line.message for line in again.log_lines()] == ["hi"]
    again.close()


def test_a_step_is_recorded_once(tmp_path: Path) -> None:
    state = CampaignState(tmp_path)
    state.finish(1, "train", {}, 1.0)
    with pytest.raises(Exception, match="UNIQUE"):
        state.finish(1, "train", {}, 1.0)
    state.close()


def _tamper(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)


def test_a_changed_result_is_named(tmp_path: Path) -> None:
    state = CampaignState(tmp_path)
    state.finish(3, "train", {"rmse": 1.0}, 1.0)
    state.close()
    _tamper(tmp_path / FILE_NAME, """update step set result='{"rmse":0.1}'""")
    state = CampaignState(tmp_path)
    with pytest.raises(StateError, match=r"campaign\.db.*step 'train' of iteration 3"):
        state.result(3, "train")
    state.close()


def test_a_changed_fact_is_named(tmp_path: Path) -> None:
    state = CampaignState(tmp_path)
    state.set_fact("seed", 1)
    state.close()
    _tamper(tmp_path / FILE_NAME, "update fact set value='2' where key='seed'")
    state = CampaignState(tmp_path)
    with pytest.raises(StateError, match="'seed'"):
        state.fact("seed")
    state.close()


@pytest.mark.parametrize("damage", ["garbage", "truncated"])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path, damage: str) -> None:
    state = CampaignState(tmp_path)
    for iteration in range(50):
        state.finish(iteration, "train", {"text": "x" * 2000}, 1.0)
    state.close()
    path = tmp_path / FILE_NAME
    content = path.read_bytes()
    path.write_bytes(
        b"not a database" * 500 if damage == "garbage" else content[: len(content) // 3]
    )
    with pytest.raises(StateError, match=r"campaign\.db: damaged.*labels are kept"):
        CampaignState(tmp_path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    state = CampaignState(tmp_path)
    state.set_fact("format", 99)
    state.close()
    with pytest.raises(StateError, match="format 99"):
        CampaignState(tmp_path)


def test_reading_needs_a_campaign_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no campaign here"):
        CampaignState(tmp_path, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_readers_see_a_campaign_while_it_writes(tmp_path: Path) -> None:
    state = CampaignState(tmp_path)
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        while not stop.is_set():
            try:
                reader = CampaignState(tmp_path, read_only=True)
                reader.steps()
                reader.close()
            except BaseException as error:
                failures.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for iteration in range(100):
        state.finish(iteration, "train", {"n": iteration}, 0.0)
    stop.set()
    for reader in readers:
        reader.join()
    state.close()
    assert failures == []


def test_a_journal_does_a_step_once_and_seeds_it_by_name(tmp_path: Path) -> None:
    seen: list[Event] = []
    state = CampaignState(tmp_path)
    journal = Journal(tmp_path, state, seed=5, listener=seen.append)

    def draw(rng: np.random.Generator) -> dict[str, float]:
        journal.note(1, "draw", "drawn")
        return {"value": float(rng.random())}

    first = journal.step(1, "draw", draw)
    assert journal.step(1, "draw", draw) == first
    assert journal.step(2, "draw", draw) != first
    assert [event.kind for event in seen] == ["begin", "note", "end"] * 2
    other = Journal(tmp_path / "other", CampaignState(tmp_path), 5, seen.append)
    assert other.step(1, "draw", draw) == first
    fresh_folder = tmp_path / "fresh"
    fresh_folder.mkdir()
    fresh = Journal(fresh_folder, CampaignState(fresh_folder), 5, seen.append)
    assert fresh.step(1, "draw", draw) == first


def test_a_broken_step_leaves_no_trace(tmp_path: Path) -> None:
    state = CampaignState(tmp_path)
    journal = Journal(tmp_path, state, seed=5, listener=lambda _: None)

    def fail(_: np.random.Generator) -> dict[str, float]:
        journal.note(1, "draw", "half done")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        journal.step(1, "draw", fail)
    assert state.result(1, "draw") is None
    assert state.log_lines() == []
    state.close()


def test_files_of_the_campaign_are_checked(tmp_path: Path) -> None:
    journal = Journal(tmp_path, CampaignState(tmp_path), 1, lambda _: None)
    path = journal.folder(1) / "result.json"
    path.write_text("1")
    reference = journal.reference(path)
    assert journal.checked(reference) == path
    path.write_text("2")
    with pytest.raises(CorruptFileError, match=r"result\.json"):
        journal.checked(reference)


def test_a_lost_table_is_named_and_not_made_anew(tmp_path: Path) -> None:
    state = CampaignState(tmp_path)
    state.finish(1, "explore", {"count": 3}, 1.0)
    state.close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("DROP TABLE fact")
        connection.commit()
    for read_only in (False, True):
        with pytest.raises(StateError, match="damaged"):
            CampaignState(tmp_path, read_only=read_only)


def test_a_resumed_run_knows_that_it_reads_back(tmp_path: Path) -> None:
    with closing(CampaignState(tmp_path)) as state:
        journal = Journal(tmp_path, state, 1, lambda _: None)
        assert not journal.reads_back()
        for name in ("train", "md"):
            journal.step(1, name, lambda _: {})
            assert not journal.reads_back()
        assert state.newest() == (1, "md")
        resumed = Journal(tmp_path, state, 1, lambda _: None)
        resumed.step(1, "train", lambda _: {})
        assert resumed.reads_back()
        resumed.step(1, "md", lambda _: {})
        assert not resumed.reads_back()
        resumed.step(2, "explore", lambda _: {})
        assert not resumed.reads_back()


def test_a_finished_step_is_read_once_and_one_of_another_process_is_found(tmp_path: Path) -> None:
    with closing(CampaignState(tmp_path)) as writer:
        writer.finish(1, "train", {"rmse": 1.0}, 1.0)
        with closing(CampaignState(tmp_path, read_only=True)) as reader:
            (first,) = reader.steps()
            writer.finish(1, "md", {"runs": []}, 1.0)
            assert [step.name for step in reader.steps()] == ["train", "md"]
            assert reader.steps()[0] is first
            assert reader.result(1, "md") == {"runs": []}
        with pytest.raises(sqlite3.IntegrityError):
            writer.finish(1, "md", {"runs": []}, 1.0, [LogLine(1.0, 1, "md", "twice")])
        assert writer.log_lines() == []  # a step and what it noted: both or neither


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    for read_only in (False, True):
        with pytest.raises(StateError, match=r"campaign\.db: (unable to open|disk)"):
            CampaignState(tmp_path, read_only=read_only)
