"""A window against the baseline, files in, files out: each check, and all that can be wrong with a window."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.monitor import analyze, baseline, performance, shard
from jobs.monitor.analyze import Analysis, Given
from jobs.monitor.baseline import Baseline
from jobs.monitor.scan import scan
from jobs.monitor.schema import Schema
from jobs.monitor.state import State
from jobs.spec import Feature, Spec
from tests.monitor import demo
from tests.monitor.demo import END, SPEC, START, Row

Run = Callable[..., Analysis]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The baseline of a model trained on sixty days and examined on fourteen."""
    path = tmp_path_factory.mktemp("baseline")
    holdout = demo.holdout()
    baseline.write(path, SPEC, demo.train(), holdout, **performance.reference(SPEC, holdout))
    return path


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Run:
    """Analyses rows that were captured, each with its answer, and labels by id."""
    known = Baseline.load(folder)

    def analysed(
        rows: list[Row],
        labels: dict[str, str] | None = None,
        answers: list[Row] | None = None,
        spec: Spec = SPEC,
        state: State | None = None,
        change: Callable[[Row], Any] = lambda line: line,
        place: str = "window",
    ) -> Analysis:
        path = tmp_path / place
        demo.write(path, rows, demo.answers(rows) if answers is None else answers, labels, change)
        truth = path / "labels" if labels else None
        schema, window = Schema.of(spec), (START, END)
        counted = shard.count(
            path / "capture", truth, schema, known.edges, known.layouts, known.watch, window
        )
        return analyze.analyze(spec, known, counted, state or State(known.digest), Given(truth))

    return analysed


@pytest.fixture
def rows() -> list[Row]:
    return demo.rows(1500, START, 7, seed=4)


def found(analysis: Analysis) -> list[tuple[str, str]]:
    return [(one["feature_name"], one["constraint_check_type"]) for one in analysis.content["violations"]]


def with_monitor(**changes: Any) -> Spec:
    return replace(SPEC, monitor=SPEC.monitor | changes)


def test_a_window_like_the_training_data_has_no_violation(run: Run) -> None:
    for seed in range(10, 16):
        rows = demo.rows(1500, START, 7, seed)
        analysis = run(rows, demo.labels(rows, demo.answers(rows), seed), place=f"window{seed}")
        assert (analysis.content["status"], found(analysis)) == ("Completed", [])
        assert analysis.content["labelled"] == 1500
        assert analysis.sentence == "Completed: Job completed successfully with no violations."


@pytest.mark.parametrize(
    ("feature", "change"),
    [
        ("amount", lambda row, index: (row["amount"] or 1.0) * 2),
        ("age", lambda row, index: min(row["age"] + 15, 89)),
        ("city", lambda row, index: "Bonn" if index % 2 else row["city"]),
        ("plan", lambda row, index: "paid" if index % 3 else row["plan"]),
        ("member", lambda row, index: True if index % 2 else row["member"]),
    ],
)
def test_each_type_of_feature_drifts_alone(run: Run, rows: list[Row], feature: str, change: Any) -> None:
    answers = demo.answers(rows)
    for index, row in enumerate(rows):
        row[feature] = change(row, index)
    analysis = run(rows, answers=answers)
    assert (feature, "baseline_drift_check") in found(analysis)
    assert {name for name, _ in found(analysis)} == {feature}
    figures = analysis.content["features"][feature]
    assert figures["distance"] > figures["threshold"] >= 0.1
    assert figures["statistic"] == ("ks" if feature in ("amount", "age") else "linf")
    assert figures["impact"] == max(entry["impact"] for entry in analysis.content["features"].values())


def test_a_seasonal_feature_is_shown_and_is_no_violation(run: Run, rows: list[Row]) -> None:
    answers = demo.answers(rows)
    for row in rows:
        row["age"] += 15
    analysis = run(rows, answers=answers, spec=with_monitor(data={"drift": 0.1, "seasonal": ["age"]}))
    assert found(analysis) == []
    assert analysis.content["features"]["age"]["distance"] > 0.1
    assert analysis.content["features"]["age"]["seasonal"]


def test_predictions_drift(run: Run, rows: list[Row]) -> None:
    answers = [{"prediction": 0, "probability": 0.2} for _ in rows]
    analysis = run(rows, answers=answers)
    assert ("prediction", "baseline_drift_check") in found(analysis)
    assert {name for name, _ in found(analysis)} <= {"prediction", "region"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda row, index: row.pop("age"), ("age", "missing_column_check")),
        (lambda row, index: row.update(extra=1), ("extra", "extra_column_check")),
        (lambda row, index: index == 7 and row.update(age="old"), ("age", "data_type_check")),
        (lambda row, index: index == 7 and row.update(age=30.5), ("age", "data_type_check")),
        (lambda row, index: index == 7 and row.update(member="yes"), ("member", "data_type_check")),
        (lambda row, index: index == 7 and row.update(age=None), ("age", "completeness_check")),
        (lambda row, index: index % 8 == 0 and row.update(amount=None), ("amount", "completeness_check")),
        (lambda row, index: index == 7 and row.update(plan="gold"), ("plan", "categorical_values_check")),
        (lambda row, index: index % 40 == 0 and row.update(city="Rom"), ("city", "categorical_values_check")),
    ],
)  # fmt: skip
def test_each_check_of_the_data(run: Run, rows: list[Row], change: Any, expected: tuple[str, str]) -> None:
    answers = demo.answers(rows)
    for index, row in enumerate(rows):
        change(row, index)
    assert found(run(rows, answers=answers)) == [expected]


def test_a_few_new_categories_of_an_open_column_are_usual(run: Run, rows: list[Row]) -> None:
    rows[3]["city"] = "Rom"
    analysis = run(rows)
    assert found(analysis) == []
    assert analysis.content["features"]["city"]["unseen"] == pytest.approx(1 / 1500, abs=1e-4)


def test_worse_predictions_are_a_violation_of_quality(run: Run, rows: list[Row]) -> None:
    opposite = {id_: str(1 - int(label)) for id_, label in demo.labels(rows, demo.answers(rows)).items()}
    analysis = run(rows, opposite)
    assert found(analysis)[0] == ("log_loss", "model_quality_check")
    content = analysis.content
    figure = content["quality"]["log_loss"]
    assert figure["low"] > figure["baseline"] + 0.05
    assert content["violations"][0]["threshold"] == pytest.approx(figure["baseline"] + 0.05)
    assert "1,500 labelled rows" in content["violations"][0]["description"]
    assert content["detector"]["blocks"] == 7
    assert content["verdict"].startswith("The model errs more than it did")


def test_few_labels_give_figures_and_no_verdict(run: Run, rows: list[Row]) -> None:
    labels = {row["id"]: "1" for row in rows[:99]} | {"nobody": "0", rows[200]["id"]: "broken"}
    analysis = run(rows, labels)
    assert analysis.content["labelled"] == 99
    assert analysis.content["quality"]["accuracy"]["value"] is not None
    assert analysis.content["skipped_lines"] == 1
    assert analysis.content["labels"]["unknown"] == 1
    assert analysis.content["labels"]["waiting"] == 1500 - 99
    assert found(analysis) == []


def test_labels_of_nobody_are_told(run: Run, rows: list[Row]) -> None:
    content = run(rows, {f"{row['id']}.0": "1" for row in rows}).content
    assert content["unjudged"]["quality"].endswith("1,500 labels are of ids that no row has")
    assert content["verdict"].endswith("None of 1\u202f500 labels has the id of a row.")


def test_an_estimate_stands_where_no_label_is_known(run: Run, rows: list[Row]) -> None:
    analysis = run(rows)
    assert analysis.content["labelled"] == 0
    assert analysis.content["estimate"]["marked"] == "estimate without labels"
    assert 0.4 < analysis.content["estimate"]["value"] < 0.8


def test_what_was_not_judged_has_its_reason(run: Run, rows: list[Row], tmp_path: Path) -> None:
    """And only that: an empty section is not taken for one in order."""
    rules = {"python": "rules.py", "sql": []}
    content = run(rows, spec=with_monitor(rules=rules)).content
    assert content["unjudged"] == {
        "attribution": "the baseline holds no attributions: it was made without the model",
        "quality": "0 rows of the window can be scored by now, 2 are needed",
        "rules": "the model's folder was not given",
        "skew": "no features as the pipeline computed them were given",
    }
    for section in content["unjudged"]:
        assert not content[section]
    train = demo.train()
    alone = baseline.write(tmp_path / "features", SPEC, train, None)
    pq.write_table(train, tmp_path / "train.parquet")
    counted = shard.count_files(
        scan(tmp_path / "train.parquet"), Schema.of(SPEC), alone.edges, [], alone.watch
    )
    said = analyze.analyze(SPEC, alone, counted, State(alone.digest), Given()).content["unjudged"]
    assert {name for name, reason in said.items() if "without a holdout" in reason} == {
        "bias", "detector", "estimate", "prediction", "quality",
    }  # fmt: skip


@pytest.mark.parametrize(("count", "status"), [(0, "NoData"), (1, "TooFewRows"), (499, "TooFewRows")])
def test_too_little_is_said_so(run: Run, count: int, status: str) -> None:
    analysis = run(demo.rows(count, START, 7))
    assert (analysis.content["status"], analysis.content["rows"]) == (status, count)
    assert analysis.sentence.startswith(status)


def test_lines_that_cannot_be_read_are_no_quiet_window(run: Run, rows: list[Row]) -> None:
    analysis = run(rows, change=lambda line: {"eventVersion": "0"})
    assert (
        analysis.sentence.startswith("NoData")
        and "1500 lines could not be read, such as" in analysis.sentence
    )
    assert analysis.content["verdict"].endswith("window: 1\u202f500 lines could not be read.")


@pytest.mark.parametrize(
    ("said", "violations"),
    [
        ({"prediction": True}, []),
        ({"prediction": "yes"}, [("prediction", "data_type_check")]),
        ({"probability": "high"}, [("prediction", "data_type_check")]),
        ({"probability": None}, [("prediction", "completeness_check")]),
    ],
)
def test_answers_of_another_type_are_told(
    run: Run, rows: list[Row], said: Row, violations: list[tuple[str, str]]
) -> None:
    answers = demo.answers(rows)
    wrong = [answer | said if index % 40 == 0 else answer for index, answer in enumerate(answers)]
    assert found(run(rows, answers=wrong)) == violations


def test_what_the_windows_before_said_is_remembered_once(run: Run, rows: list[Row]) -> None:
    labels = demo.labels(rows, demo.answers(rows))
    first = run(rows, labels, place="first")
    again = run(rows, labels, state=first.state, place="again")
    assert len(again.state.windows) == 1
    assert again.content["detector"] == first.content["detector"]
    assert again.content["violations"] == first.content["violations"]


def test_labels_that_come_late_count_later(run: Run, rows: list[Row], tmp_path: Path) -> None:
    """Rows without a label wait in the state that the next window gets."""
    labels = demo.labels(rows, demo.answers(rows))
    first = run(rows, dict(list(labels.items())[:500]), place="first")
    first.state.save(tmp_path / "state")
    kept = State.load(tmp_path / "state", first.content["baseline"])
    assert kept.waiting is not None
    waiting = [label for label in kept.waiting["taken"].to_pylist() if label is None]
    assert len(waiting) == 1000
    other = State.load(tmp_path / "state", "another baseline")
    assert other.waiting is None
    assert other.windows == kept.windows


def test_a_feature_that_the_baseline_does_not_know(run: Run, rows: list[Row]) -> None:
    features = SPEC.features | {"new": Feature("new", "number", nullable=True)}
    with_new = [row | {"new": 1.0} for row in rows]
    analysis = run(with_new, spec=replace(SPEC, features=features))
    assert found(analysis) == [("new", "extra_column_check")]
    assert "evaluate the model again" in analysis.content["violations"][0]["description"]


def test_a_feature_of_another_type_than_the_baselines(run: Run, rows: list[Row]) -> None:
    features = SPEC.features | {"age": Feature("age", "string")}
    changed = [row | {"age": str(row["age"])} for row in rows]
    analysis = run(changed, answers=demo.answers(rows), spec=replace(SPEC, features=features))
    assert found(analysis) == [("age", "data_type_check")]


def test_times_out_of_order_change_nothing(run: Run, rows: list[Row]) -> None:
    labels = demo.labels(rows, demo.answers(rows))
    straight = run(rows, labels, place="straight").content
    mixed = [rows[index] for index in sorted(range(len(rows)), key=lambda index: (index * 7919) % 1500)]
    shuffled = run(mixed, labels, place="mixed").content
    assert shuffled["violations"] == straight["violations"]
    assert shuffled["quality"] == straight["quality"]
    assert shuffled["drift"] == straight["drift"]


def test_a_broken_line_is_counted_and_named_by_its_place(run: Run, rows: list[Row]) -> None:
    def change(line: Row) -> Any:
        return "not an event" if line["eventMetadata"]["eventId"] == "e7" else line

    analysis = run(rows, change=change)
    assert (analysis.content["rows"], analysis.content["skipped_lines"]) == (1499, 1)
    assert "a.jsonl:8" in analysis.content["skipped"][0]


def test_all_values_missing_infinite_or_constant(run: Run, rows: list[Row]) -> None:
    answers = demo.answers(rows)
    for row in rows:
        row.update(amount=None, city="Bonn")
    analysis = run(rows, answers=answers)
    assert ("amount", "completeness_check") in found(analysis)
    assert ("city", "baseline_drift_check") in found(analysis)


def test_the_files_of_a_window(run: Run, rows: list[Row], folder: Path, tmp_path: Path) -> None:
    labels = demo.labels(rows, demo.answers(rows))
    for row in rows:
        row["city"] = "Bonn<b>"
    analysis = run(rows, labels)
    written = tmp_path / "report"
    analyze.write(written, analysis, folder)
    assert {path.name for path in written.iterdir()} == {
        "analysis.json",
        "constraints.json",
        "constraint_violations.json",
        "profile.npz",
        "report.html",
        "state",
        "statistics.json",
    }
    assert json.loads((written / "analysis.json").read_text()) == analysis.content
    page = (written / "report.html").read_text()
    assert "Bonn&lt;b&gt;" in page and "Bonn<b>" not in page
    assert "http://" not in page and "https://" not in page, "nothing to fetch"
    again = analyze.read(written, folder)
    assert again.analysis == analysis.content
    assert [entry["end"] for entry in again.history] == [analysis.content["window"]["end"]]


def test_a_late_window_does_not_know_its_future(run: Run, rows: list[Row]) -> None:
    analysis = run(rows)
    later = {"start": "2026-03-09T00:00:00Z", "end": "2026-03-16T00:00:00Z"}
    analysis.state.remember(later)
    assert len(analysis.state.until(analysis.content["window"]["end"])) == 1
    assert len(analysis.state.until((END + timedelta(days=7)).isoformat())) == 2


def test_of_one_column_the_largest_move_is_told_first() -> None:
    found = [
        {
            "feature_name": "city",
            "constraint_check_type": "bias_drift_check",
            "value": value,
            "threshold": 0.1,
        }
        for value in (0.2, -0.9, 0.5)
    ]
    found.sort(key=lambda one: analyze.importance(one, {"city": {"impact": 0.2}}))
    assert [one["value"] for one in found] == [-0.9, 0.5, 0.2]
