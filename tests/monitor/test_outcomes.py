"""Labels that come with their window, after it, twice, or to nobody; and the history that is kept of them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.contract import JobError
from jobs.monitor import outcomes, window
from jobs.monitor.history import History
from jobs.monitor.outcomes import Settled
from jobs.monitor.schema import Field, Schema
from jobs.spec import BINARY, MULTICLASS
from tests.monitor.captured import START, answer, event, request, response, row, truth, write

SCHEMA = Schema({"amount": Field("amount", "number")}, "id", "", "label", (), BINARY)
WEEK = 7 * 86_400_000_000
ORIGIN = round(START.timestamp() * 1e6)
DAY = 86_400


def settle(
    folder: Path,
    week: int,
    indices: range,
    truths: list[Any],
    waiting: pa.Table | None = None,
    schema: Schema = SCHEMA,
) -> Settled:
    """Week 0, 1, ...: a request an hour apart per index."""
    lines = [event(60 * index, request([row(index)]), response([answer(index)])) for index in indices]
    write(folder / f"capture{week}", lines)
    write(folder / f"labels{week}", truths)
    first = START + timedelta(weeks=week)
    found, known = window.read(
        folder / f"capture{week}", folder / f"labels{week}", schema, first, first + timedelta(weeks=1)
    )
    start = ORIGIN + week * WEEK
    return outcomes.settle(found, known, waiting, f"week{week}", start, start + WEEK)


def test_a_late_label_counts_once_in_the_window_in_which_it_came(tmp_path: Path) -> None:
    first = settle(tmp_path, 0, range(10), [truth("r0", 1)])
    assert len(first.own) == 1 and len(first.late) == 0 and first.waiting.num_rows == 10
    late = [truth("r0", 1), truth("r1", 1), truth("r170", 0), truth("nobody", 1)]
    second = settle(tmp_path, 1, range(168, 178), late, first.waiting)
    assert (len(second.own), len(second.late), second.unknown) == (1, 1, 2)
    assert second.late.requested.tolist() == [ORIGIN + 3_600_000_000]
    third = settle(tmp_path, 2, range(336, 340), late, second.waiting)
    assert len(third.late) == 0


def test_a_window_analysed_twice_says_the_same(tmp_path: Path) -> None:
    first = settle(tmp_path, 0, range(10), [])
    late = [truth("r1", 1), truth("r170", 0)]
    once = settle(tmp_path, 1, range(168, 178), late, first.waiting)
    again = settle(tmp_path, 1, range(168, 178), late, once.waiting)
    assert (len(again.own), len(again.late)) == (len(once.own), len(once.late)) == (1, 1)
    assert again.waiting.sort_by("id").equals(once.waiting.sort_by("id"))


def test_of_two_predictions_of_an_id_the_last_counts(tmp_path: Path) -> None:
    lines = [event(index, request([row(0)]), response([answer(index)])) for index in (3, 1, 2)]
    write(tmp_path / "capture", lines)
    write(tmp_path / "labels", [truth("r0", 1)])
    found, known = window.read(
        tmp_path / "capture", tmp_path / "labels", SCHEMA, START, START + timedelta(days=7)
    )
    settled = outcomes.settle(found, known, None, "w", ORIGIN, ORIGIN + WEEK)
    assert settled.own.scores.probability.tolist() == [0.3] and settled.repeated == 2


def test_labels_and_answers_that_cannot_be_compared_are_counted(tmp_path: Path) -> None:
    odd = [{"prediction": "late", "probability": 2.0}, {"probability": 0.7}, {"other": 1}, answer(1)]
    lines = [event(index, request([row(index)]), response([entry])) for index, entry in enumerate(odd)]
    write(tmp_path / "capture", lines)
    write(tmp_path / "labels", [truth(f"r{index}", 1) for index in range(3)] + [truth("r3", 2)])
    found, known = window.read(
        tmp_path / "capture", tmp_path / "labels", SCHEMA, START, START + timedelta(days=7)
    )
    settled = outcomes.settle(found, known, None, "w", ORIGIN, ORIGIN + WEEK)
    assert settled.own.scores.predicted.tolist() == [1] and settled.unscored == 3


def test_classes_of_the_baseline_and_of_the_answers(tmp_path: Path) -> None:
    schema = Schema({"amount": Field("amount", "number")}, "id", "", "label", (), MULTICLASS)
    shares = '{"prediction": "b", "probabilities": {"b": 0.75, "a": 0.25}}'
    write(tmp_path / "capture", [event(index, request([row(index)]), shares) for index in range(3)])
    write(tmp_path / "labels", [truth("r0", "b"), truth("r1", "c"), truth("r2", "new")])
    found, known = window.read(
        tmp_path / "capture", tmp_path / "labels", schema, START, START + timedelta(days=7)
    )
    scores = outcomes.settle(found, known, None, "w", ORIGIN, ORIGIN + WEEK, ("a", "b", "c")).own.scores
    assert scores.classes == ("a", "b", "c") and scores.label.tolist() == [1, 2, -1]
    assert scores.probability.tolist() == [[0.25, 0.75, 0.0]] * 3


def test_what_waits_is_kept_in_a_file(tmp_path: Path) -> None:
    settled = settle(tmp_path, 0, range(10), [truth("r0", 1)])
    outcomes.save(settled.waiting, tmp_path / "waiting.parquet")
    assert outcomes.load(tmp_path / "waiting.parquet").equals(settled.waiting)
    assert outcomes.load(tmp_path / "none.parquet") is None
    (tmp_path / "broken.parquet").write_text("oops")
    with pytest.raises(JobError, match=r"broken\.parquet, the rows that wait for labels, is not Parquet"):
        outcomes.load(tmp_path / "broken.parquet")


def add(
    history: History, week: int, own: list[tuple[float, float]], late: list[tuple[float, float]] = ()
) -> None:
    """(day, loss) of each labelled row of week 0, 1, ..."""
    sides = [
        (
            np.array([ORIGIN + round(day * DAY * 1e6) for day, _ in rows], np.int64),
            np.array([loss for _, loss in rows], float),
        )
        for rows in (own, late)
    ]
    start = ORIGIN + week * WEEK
    history.add((start, start + WEEK), "one", *sides)


def test_blocks_are_days_and_late_rows_join_theirs() -> None:
    history = History(DAY)
    add(history, 0, [(0.2, 0.0), (0.9, 1.0), (3.5, 0.5)])
    add(history, 1, [(7.0, 1.0)], late=[(0.5, 0.5), (5.0, 1.0)])
    series = history.series("one", 1)
    assert ((series.starts - ORIGIN) / 86_400e6).tolist() == [0, 3, 5, 7]
    assert series.means.tolist() == [0.5, 0.5, 1.0, 1.0] and series.sizes.tolist() == [3, 1, 1, 1]
    assert history.series("another", 1).sizes.tolist() == []
    assert history.series("one", 4).sizes.tolist() == [4]


def test_a_day_in_two_windows_counts_once() -> None:
    """A window of seven days, every day."""
    history = History(DAY)
    rows = [(day + 0.5, day / 10) for day in range(10)]
    for end in range(7, 11):
        inside = [(day, loss) for day, loss in rows if end - 7 <= day < end]
        times = np.array([ORIGIN + round(day * DAY * 1e6) for day, _ in inside], np.int64)
        losses = np.array([loss for _, loss in inside])
        none = (np.zeros(0, np.int64), np.zeros(0))
        span = (ORIGIN + (end - 7) * DAY * 1_000_000, ORIGIN + end * DAY * 1_000_000)
        history.add(span, "one", (times, losses), none)
    series = history.series("one", 1)
    assert series.sizes.tolist() == [1] * 10 and series.means == pytest.approx(np.arange(10) / 10)


WEEKS = st.lists(st.integers(0, 3), min_size=1, max_size=8)


@given(WEEKS)
def test_windows_analysed_again_give_the_same_history(weeks: list[int]) -> None:
    def analysed(order: list[int]) -> History:
        history = History(DAY)
        for week in order:
            own = [(7 * week + day + 0.5, (week + day) % 3 / 2) for day in range(7)]
            late = [(7 * week - 3.5, 1.0)] if week else []
            add(history, week, own, late)
            history = History.from_dict(history.as_dict(), DAY)
        return history

    # Late rows are cleared where their own window is analysed again: it reads every label by then. In the
    # order of time nothing is lost.
    assert analysed([*sorted(weeks), max(weeks)]).as_dict() == analysed(sorted(set(weeks))).as_dict()


def test_a_state_that_was_not_written_here_is_refused() -> None:
    with pytest.raises(JobError, match="the state before this window is not as it was written"):
        History.from_dict({"block_seconds": DAY, "blocks": {"2026-03-02": 3}}, DAY)
    assert History.from_dict(None, DAY).blocks == {}
