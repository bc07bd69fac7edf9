"""prepare accepts what model.yaml promises, refuses the rest by name, and splits by time."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from jobs import spec as model_spec
from jobs.contract import format_time
from jobs.prepare import prepare
from jobs.spec import Spec
from tests.jobs.conftest import FLIGHTS, Job, succeed
from tests.monitor.demo import label, line

Change = Callable[[pa.Table], pa.Table]
FIRST_ID = "2013-01-01-UA1545-EWR"


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Spec:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return model_spec.load(FLIGHTS)


def replace(column: str, row: int, value: Any, kind: pa.DataType | None = None) -> Change:
    """One value of one column."""

    def change(table: pa.Table) -> pa.Table:
        values = table[column].to_pylist()
        values[row] = value
        return table.set_column(table.column_names.index(column), column, pa.array(values, kind))

    return change


def constant(column: str, value: Any) -> Change:
    return lambda table: table.set_column(
        table.column_names.index(column), column, pa.array([value] * len(table))
    )


def typo(table: pa.Table) -> pa.Table:
    """A column of numbers as text, one of which is none."""
    return replace("distance", 7, "far")(constant("distance", "100")(table))


def twice(table: pa.Table) -> pa.Table:
    """A column that is there again, as a join leaves it."""
    return table.append_column("temp", table["temp"])


def test_the_newest_two_weeks_are_held_out_in_order_of_time(trained: Job) -> None:
    train = pq.read_table(trained.input("train") / "train.parquet")["scheduled_departure"]
    holdout = pq.read_table(trained.input("holdout") / "holdout.parquet")["scheduled_departure"]
    assert pc.max(train).as_py() < pc.min(holdout).as_py()
    assert pc.min(holdout).as_py() > datetime(2013, 2, 14, 23, tzinfo=UTC)
    assert train.to_pylist() == sorted(train.to_pylist())


def test_files_out_of_order_and_in_two_formats_are_one_data_set(
    spec: Spec, tmp_path: Path, january_and_february: pa.Table
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    half = len(january_and_february) // 2
    csv.write_csv(january_and_february.slice(half), data / "a.csv")
    pq.write_table(january_and_february.slice(0, half), data / "b.parquet")
    report = prepare(spec, data, None)
    assert report["accepted"], report["reason"]
    assert report["rows"]["read"] == len(january_and_february)
    assert report["train"]["until"] < report["holdout"]["from"]
    written = pq.read_table(tmp_path / "processing/output/train/train.parquet")
    assert written.schema.field("late").type == pa.int64()


def test_only_the_window_is_used(spec: Spec, tmp_path: Path, january_and_february: pa.Table) -> None:
    short = model_spec.Spec(**{**vars(spec), "retrain": {"window": "30d"}})
    report = prepare(short, write(tmp_path, january_and_february), None)
    assert report["train"]["from"] >= "2013-01-29"


def test_rows_that_trained_the_champion_are_never_held_out(
    spec: Spec, tmp_path: Path, january_and_february: pa.Table
) -> None:
    seen = datetime(2013, 2, 19, 12, tzinfo=UTC)
    report = prepare(spec, write(tmp_path, january_and_february), seen)
    assert report["accepted"]
    assert report["holdout"]["from"] > "2013-02-19T12:00"


def test_a_champion_that_has_seen_nearly_everything_leaves_no_exam(
    spec: Spec, tmp_path: Path, january_and_february: pa.Table
) -> None:
    report = prepare(spec, write(tmp_path, january_and_february), datetime(2013, 2, 27, tzinfo=UTC))
    assert not report["accepted"]
    assert "the holdout (after 2013-02-27T00:00:00Z, the champion's training) has" in report["reason"]


@pytest.mark.parametrize(
    ("change", "column", "check", "reason"),
    [
        (lambda table: table.drop_columns("temp"), "temp", "missing_column", "no column `temp` (a feature"),
        (lambda table: table.drop_columns("late"), "late", "missing_column", "no column `late` (the label"),
        (typo, "distance", "type", "column `distance` should be a number, row 8 holds 'far'"),
        (twice, "temp", "repeated_column", "data.parquet has the column `temp` more than once"),
        (constant("flight_id", b"\xff"), "flight_id", "type", "column `flight_id` should be text, is binary"),
        (constant("weekday", 1e300), "weekday", "type", "should be a whole number, row 1 holds 1e+300"),
        (replace("weekday", 3, 2.5), "weekday", "type", "should be a whole number, row 4 holds 2.5"),
        (constant("carrier", 7), "carrier", "type", "column `carrier` should be text, is int64"),
        (constant("scheduled_departure", "soon"), "scheduled_departure", "type", "should be a time"),
        (replace("distance", 2, None), "distance", "null", "may not be missing, is missing in row 3"),
        (replace("late", 2, None), "late", "null", "column `late` may not be missing"),
        (replace("temp", 1, 451.0), "temp", "range", "column `temp` is over 140: 451.0 in row 2"),
        (replace("temp", 1, float("inf")), "temp", "infinite", "must be finite"),
        (replace("origin", 5, "BOS"), "origin", "values", "is none of EWR, JFK, LGA: 'BOS' in row 6"),
        (replace("late", 0, 2), "late", "label", "label `late` must be 0 or 1, there is also 2"),
        (constant("late", 0), "late", "one_class", "only one class"),
        (replace("flight_id", 1, FIRST_ID), "flight_id", "duplicate_id", "unique, rows 1 and 2 of all"),
        (lambda table: table.slice(0, 500), None, "too_few_rows", "the training part has 0 rows, at"),
        (lambda table: table.slice(0, 0), None, "empty_file", "data.parquet has no rows"),
    ],
)  # fmt: skip
def test_bad_data_is_refused_with_its_column_and_reason(
    spec: Spec,
    tmp_path: Path,
    january_and_february: pa.Table,
    change: Change,
    column: str | None,
    check: str,
    reason: str,
) -> None:
    report = prepare(spec, write(tmp_path, change(january_and_february)), None)
    assert not report["accepted"]
    found = [finding for finding in report["findings"] if finding["check"] == check]
    assert found, report
    assert found[0]["column"] == column
    assert reason in found[0]["reason"]
    assert not (tmp_path / "processing/output/train").exists()


PRIVATE = "a value that is not shown in row 3"


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("flight_id", FIRST_ID, "rows 1 and 3 of all files, in the order of their names, have the same"),
        ("flight_id", None, "column `flight_id` may not be missing, is missing in row 3"),
        ("origin", "Ann Smith", f"column `origin` is none of EWR, JFK, LGA: {PRIVATE}"),
        ("temp", 451.25, f"column `temp` is over 140: {PRIVATE}"),
        ("weekday", 2.25, "should be a whole number, row 3 holds a value that is not shown"),
        ("distance", "Ann Smith", "should be a number, row 3 holds a value that is not shown"),
    ],
)
def test_what_tells_of_a_person_is_not_quoted(
    spec: Spec, tmp_path: Path, january_and_february: pa.Table, column: str, value: Any, reason: str
) -> None:
    """Reasons are in logs and e-mails."""
    guarded = dataclasses.replace(spec, protected=("origin", "temp", "weekday", "distance"))
    table = typo(january_and_february) if column == "distance" else january_and_february
    report = prepare(guarded, write(tmp_path, replace(column, 2, value)(table)), None)
    assert reason in report["reason"]
    assert value is None or str(value) not in json.dumps(report)


def test_a_new_group_of_a_protected_column_is_counted_and_not_named(
    spec: Spec, tmp_path: Path, january_and_february: pa.Table
) -> None:
    last = len(january_and_february) - 1
    data = write(tmp_path, replace("dest", last, "Smith Bay")(january_and_february))
    for protected, named in (((), True), (("dest",), False)):
        report = prepare(dataclasses.replace(spec, protected=protected), data, None)
        (finding,) = [each for each in report["findings"] if each["column"] == "dest"]
        assert "held-out rows have a category that training never saw" in finding["reason"]
        assert ("Smith Bay" in json.dumps(report)) == named


def test_a_line_that_does_not_fit_is_not_quoted(spec: Spec, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "people.csv").write_text("name,mail\nAnn Smith,ann@example.org,got 3: x\n")
    report = prepare(spec, data, None)
    assert report["reason"] == ("people.csv cannot be read: CSV parse error: Expected 2 columns, got 3")


def test_text_that_is_all_numbers_is_taken_as_numbers(
    spec: Spec, tmp_path: Path, january_and_february: pa.Table
) -> None:
    assert prepare(spec, write(tmp_path, constant("distance", " 12.5")(january_and_february)), None)[
        "accepted"
    ]


def test_every_mistake_of_every_file_is_reported(
    spec: Spec, tmp_path: Path, january_and_february: pa.Table
) -> None:
    data = write(tmp_path, replace("temp", 0, 999.0)(january_and_february))
    (data / "empty.csv").touch()
    (data / "torn.parquet").write_bytes(b"PAR1 and no more")
    pq.write_table(january_and_february.drop_columns("dest"), data / "without.parquet")
    report = prepare(spec, data, None)
    assert {(finding["check"], finding["file"]) for finding in report["findings"]} == {
        ("range", "data.parquet"),
        ("empty_file", "empty.csv"),
        ("unreadable_file", "torn.parquet"),
        ("missing_column", "without.parquet"),
    }
    assert report["reason"].endswith("(and 3 more)")


def test_a_report_on_many_broken_files_is_one_that_step_functions_can_read(
    spec: Spec, tmp_path: Path, january_and_february: pa.Table
) -> None:
    """A year of daily files in which somebody has renamed every column."""
    data = tmp_path / "data"
    data.mkdir()
    day = january_and_february.slice(0, 2).rename_columns(
        [f"{name}_of_{'something_else' * 5}" for name in january_and_february.column_names]
    )
    for number in range(365):
        pq.write_table(day, data / f"{number:03}.parquet")
    report = prepare(spec, data, None)
    assert not report["accepted"]
    assert int(re.search(r"and (\d+) more", report["reason"])[1]) > len(report["findings"])
    assert all(finding["fatal"] for finding in report["findings"])
    assert len(json.dumps(report)) < 200_000


def test_a_new_category_of_an_unlisted_column_is_counted_not_refused(
    spec: Spec, tmp_path: Path, january_and_february: pa.Table
) -> None:
    last = len(january_and_february) - 1
    report = prepare(spec, write(tmp_path, replace("dest", last, "XXX")(january_and_february)), None)
    assert report["accepted"]
    found = [finding for finding in report["findings"] if finding["column"] == "dest"]
    assert "training never saw: XXX" in found[0]["reason"]
    assert not found[0]["fatal"]


def test_bad_data_ends_the_job_well_with_the_reason_as_its_message(job: Job) -> None:
    job.copy_input("code", FLIGHTS)
    (job.input("data") / "empty.parquet").touch()
    succeed(job.run("prepare"))
    assert job.message == "empty.parquet is empty"
    assert job.json("report/validation.json")["accepted"] is False


def test_a_job_without_its_inputs_fails_and_says_so(job: Job) -> None:
    assert job.run("prepare").returncode == 1
    assert job.message.startswith("the job has no input `code`")


def capture(folder: Path, table: pa.Table, spec: Spec, drop: set[str], **changes: Any) -> tuple[Path, Path]:
    """Rows of a table as data capture and ground truth have them; `drop`: ids whose label is not known."""
    lines, labels = [], []
    for index, row in enumerate(table.to_pylist()):
        row = {name: value for name, value in row.items() if value is not None}
        late, key = row.pop("late"), row["flight_id"]
        row["scheduled_departure"] = format_time(row["scheduled_departure"])
        lines.append(
            line(
                row | changes,
                {"prediction": 0, "probability": 0.2},
                f"e{index}",
                datetime(2026, 1, 1, tzinfo=UTC),
            )
        )
        if key not in drop:
            labels.append(label(key, str(late)))
    for name, content in (("capture", lines), ("labels", labels)):
        (folder / name).mkdir()
        (folder / name / "a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in content))
    return folder / "capture", folder / "labels"


def test_labelled_requests_join_the_base_data(
    spec: Spec, tmp_path: Path, january_and_february: pa.Table
) -> None:
    half = len(january_and_february) // 2
    base, asked = january_and_february.slice(0, half), january_and_february.slice(half - 10)
    unknown = {asked["flight_id"][index].as_py() for index in (20, 30)}
    captured, labels = capture(tmp_path, asked, spec, unknown)
    report = prepare(spec, write(tmp_path, base), None, captured, labels)
    assert report["accepted"], report["reason"]
    assert report["rows"]["read"] == len(january_and_february) - 2  # the ten that both have count once
    found = [finding["reason"] for finding in report["findings"] if finding["check"] == "captured"]
    assert found == [f"{len(asked) - 12:,} labelled requests were added"]
    whole = prepare(spec, write(tmp_path / "labels", january_and_february), None)
    assert report["holdout"]["until"] == whole["holdout"]["until"]
    written = pq.read_table(tmp_path / "processing/output/holdout/holdout.parquet")
    assert written.schema.field("departure_minute").type == pa.int64()


def test_captured_requests_alone_are_data(spec: Spec, tmp_path: Path, january_and_february: pa.Table) -> None:
    captured, labels = capture(tmp_path, january_and_february, spec, set())
    report = prepare(spec, None, None, captured, labels)
    assert report["accepted"], report["reason"]
    assert report["rows"]["read"] == len(january_and_february)


@pytest.mark.parametrize(
    ("trained_until", "reason"),
    [
        (datetime(2013, 2, 19, 12, tzinfo=UTC), None),
        (
            datetime(2013, 2, 27, 12, tzinfo=UTC),
            "the holdout (after 2013-02-27T12:00:00Z, the champion's training) has",
        ),
    ],
)
def test_requests_that_trained_the_champion_are_never_held_out(
    spec: Spec, tmp_path: Path, january_and_february: pa.Table, trained_until: datetime, reason: str | None
) -> None:
    """Requests are ordered by their own time, not by when they were captured or labelled."""
    half = len(january_and_february) // 2
    captured, labels = capture(tmp_path, january_and_february.slice(half), spec, set())
    base = write(tmp_path, january_and_february.slice(0, half))
    report = prepare(spec, base, trained_until, captured, labels)
    if reason:
        assert not report["accepted"]
        assert report["reason"].startswith(reason) and "at least 2,000 are needed" in report["reason"]
        return
    assert report["accepted"]
    held = pq.read_table(tmp_path / "processing/output/holdout/holdout.parquet")
    learned = pq.read_table(tmp_path / "processing/output/train/train.parquet")
    assert held["scheduled_departure"][0].as_py() > trained_until
    assert learned["scheduled_departure"][-1].as_py() <= trained_until
    assert not {*held["flight_id"].to_pylist()} & {*learned["flight_id"].to_pylist()}


def test_requests_that_model_yaml_would_refuse_are_left_out(
    spec: Spec, tmp_path: Path, january_and_february: pa.Table
) -> None:
    captured, labels = capture(tmp_path, january_and_february.slice(0, 50), spec, set(), origin="BOS")
    report = prepare(spec, write(tmp_path, january_and_february), None, captured, labels)
    assert report["accepted"]
    found = [finding["reason"] for finding in report["findings"] if finding["check"] == "captured"]
    assert found[1] == "50 labelled requests were left out: they are not what model.yaml allows"


def write(folder: Path, table: pa.Table) -> Path:
    data = folder / "data"
    data.mkdir()
    pq.write_table(table, data / "data.parquet")
    return data
