"""analyze: one window against the baseline. One feature of each type, each check, and what is broken."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs import baseline, capture, contract, metrics, predictions
from jobs.analyze import analyze
from jobs.capture import Captured, Skipped
from jobs.spec import Feature, Spec
from tests.jobs.conftest import Job, succeed

START = datetime(2026, 3, 2, tzinfo=UTC)
WINDOW = (START, START + timedelta(days=7))
SPEC = Spec(
    name="demo",
    task="binary_classification",
    target="label",
    id="id",
    time="at",
    features={
        feature.name: feature
        for feature in (
            Feature("amount", "number", nullable=True),
            Feature("age", "integer"),
            Feature("city", "string"),
            Feature("plan", "string", values=("free", "paid")),
            Feature("member", "boolean"),
        )
    },
    entry="inference.py",
    monitor={
        "lookback": "7d",
        "min_rows": 500,
        "data": {"drift": 0.1},
        "quality": {"metric": "log_loss", "tolerance": 0.05},
    },
)


def make_rows(count: int, start: datetime, days: float, seed: int = 0) -> list[dict[str, Any]]:
    """Stationary rows, evenly over the days."""
    rng = np.random.default_rng(seed)
    amount, age = rng.lognormal(3, 1, count), rng.integers(18, 90, count)
    city, paid, member = (
        rng.choice(["Bonn", "Kiel", "Ulm"], count),
        rng.random(count) < 0.3,
        rng.random(count) < 0.5,
    )
    return [
        {
            "id": f"{seed}-{index}",
            "at": (start + timedelta(days=days * index / count)).isoformat(),
            "amount": None if index % 50 == 0 else float(amount[index]),
            "age": int(age[index]),
            "city": str(city[index]),
            "plan": "paid" if paid[index] else "free",
            "member": bool(member[index]),
        }
        for index in range(count)
    ]  # fmt: skip


def make_answers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    probabilities = [0.1 + 0.6 * (row.get("age") or 0) / 90 for row in rows]
    return [{"prediction": int(value > 0.5), "probability": value} for value in probabilities]


def make_labels(rows: list[dict[str, Any]], answers: list[dict[str, Any]], seed: int = 1) -> dict[str, str]:
    """As the model says: it is calibrated."""
    chance = np.random.default_rng(seed).random(len(rows))
    return {
        row["id"]: str(int(draw < answer["probability"]))
        for row, answer, draw in zip(rows, answers, chance, strict=True)
    }


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """baseline.json of a model trained on sixty days and examined on fourteen."""
    folder = tmp_path_factory.mktemp("baseline")
    train = make_rows(6000, START - timedelta(days=74), 60, seed=2)
    holdout = make_rows(2000, START - timedelta(days=14), 14, seed=3)
    answers = make_answers(holdout)
    labels = make_labels(holdout, answers)
    scores = predictions.to_scores(SPEC.task, [labels[row["id"]] for row in holdout], answers)
    tables = [
        pa.Table.from_pylist([row | {"at": datetime.fromisoformat(row["at"])} for row in rows])
        for rows in (train, holdout)
    ]
    watched = predictions.monitored(SPEC.task, answers)
    baseline.write(folder, SPEC, *tables, watched, scores, metrics.intervals(scores, np.arange(2000) // 100))
    return json.loads((folder / "baseline.json").read_text())


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return make_rows(1500, START, 7, seed=4)


def run(
    content: dict[str, Any],
    rows: list[dict[str, Any]],
    labels: dict[str, str] | None = None,
    answers: list[dict[str, Any]] | None = None,
    spec: Spec = SPEC,
) -> dict[str, Any]:
    captured = Captured(
        rows,
        make_answers(rows) if answers is None else answers,
        [row.get("id") for row in rows],
        [START + timedelta(minutes=index) for index in range(len(rows))],
    )
    return analyze(spec, content, captured, labels or {}, WINDOW)[0]


def found(analysis: dict[str, Any]) -> list[tuple[str, str]]:
    return [(entry["feature_name"], entry["constraint_check_type"]) for entry in analysis["violations"]]


def test_a_window_like_the_training_data_has_no_violation(content: dict[str, Any]) -> None:
    for seed in range(10, 30):
        rows = make_rows(1500, START, 7, seed)
        analysis = run(content, rows, make_labels(rows, make_answers(rows), seed))
        assert (analysis["status"], found(analysis)) == ("Completed", [])
        assert analysis["labelled"] == 1500


@pytest.mark.parametrize(
    ("feature", "change"),
    [
        ("amount", lambda row, index: (row["amount"] or 1.0) * 2),
        ("age", lambda row, index: row["age"] + 15),
        ("city", lambda row, index: "Bonn" if index % 2 else row["city"]),
        ("plan", lambda row, index: "paid" if index % 3 else row["plan"]),
        ("member", lambda row, index: True if index % 2 else row["member"]),
    ],
)
def test_each_type_of_feature_drifts_alone(
    content: dict[str, Any], rows: list[dict[str, Any]], feature: str, change: Any
) -> None:
    answers = make_answers(rows)
    for index, row in enumerate(rows):
        row[feature] = change(row, index)
    analysis = run(content, rows, answers=answers)
    assert found(analysis) == [(feature, "baseline_drift_check")]
    figures = analysis["features"][feature]
    assert figures["distance"] > figures["threshold"] == 0.1
    assert figures["statistic"] == ("ks" if feature in ("amount", "age") else "linf")


def test_a_seasonal_feature_is_shown_and_is_no_violation(
    content: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    answers = make_answers(rows)
    for row in rows:
        row["age"] += 15
    monitor = SPEC.monitor | {"data": {"drift": 0.1, "seasonal": ["age"]}}
    analysis = run(content, rows, answers=answers, spec=Spec(**(vars(SPEC) | {"monitor": monitor})))
    assert found(analysis) == []
    assert analysis["features"]["age"]["distance"] > 0.1
    assert analysis["features"]["age"]["seasonal"]


def test_predictions_drift(content: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    answers = [{"prediction": 0, "probability": 0.2} for _ in rows]
    assert found(run(content, rows, answers=answers)) == [("prediction", "baseline_drift_check")]


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
def test_each_check_of_the_data(
    content: dict[str, Any], rows: list[dict[str, Any]], change: Any, expected: tuple[str, str]
) -> None:
    answers = make_answers(rows)
    for index, row in enumerate(rows):
        change(row, index)
    assert found(run(content, rows, answers=answers)) == [expected]


def test_a_few_new_categories_of_an_open_column_are_usual(
    content: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    rows[3]["city"] = "Rom"
    analysis = run(content, rows)
    assert found(analysis) == []
    assert analysis["features"]["city"]["unseen"] == pytest.approx(1 / 1500, abs=1e-4)


def test_worse_predictions_are_a_violation_of_quality(
    content: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    opposite = {id_: str(1 - int(label)) for id_, label in make_labels(rows, make_answers(rows)).items()}
    analysis = run(content, rows, opposite)
    assert found(analysis) == [("log_loss", "model_quality_check")]
    figure = analysis["quality"]["log_loss"]
    assert figure["low"] > figure["baseline"] + 0.05
    assert analysis["violations"][0]["threshold"] == pytest.approx(figure["baseline"] + 0.05)
    assert "1,500 labelled rows" in analysis["violations"][0]["description"]


def test_one_bad_day_is_not_a_bad_week(content: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Its loss lifts the week's over the threshold; six good days say that this may be chance."""
    answers = make_answers(rows)
    labels = make_labels(rows, answers)
    for row, answer in zip(rows[:214], answers, strict=False):
        labels[row["id"]] = str(int(answer["probability"] < 0.5))
    monitor = SPEC.monitor | {"quality": {"metric": "log_loss", "tolerance": 0.02}}
    analysis = run(content, rows, labels, spec=Spec(**(vars(SPEC) | {"monitor": monitor})))
    figure = analysis["quality"]["log_loss"]
    assert figure["low"] < figure["baseline"] + 0.02 < figure["value"]
    assert found(analysis) == []


def test_few_labels_give_figures_and_no_verdict(content: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    labels = {row["id"]: "1" for row in rows[:99]}
    analysis = run(content, rows, labels | {"nobody": "0", rows[200]["id"]: "broken"})
    assert analysis["labelled"] == 99
    assert analysis["quality"]["accuracy"]["value"] is not None
    assert found(analysis) == []


def test_an_id_predicted_twice_counts_with_its_last_prediction(content: dict[str, Any]) -> None:
    rows = make_rows(600, START, 7)
    again = [dict(row) for row in rows]
    answers = [{"prediction": 0, "probability": 0.4}] * 600 + [{"prediction": 1, "probability": 0.6}] * 600
    analysis = run(content, rows + again, {row["id"]: "1" for row in rows}, answers)
    assert analysis["labelled"] == 600
    assert analysis["quality"]["accuracy"]["value"] == 1.0


@pytest.mark.parametrize(("count", "status"), [(0, "NoData"), (499, "TooFewRows"), (500, "Completed")])
def test_too_little_is_said_so(content: dict[str, Any], count: int, status: str) -> None:
    analysis = run(content, make_rows(count, START, 7))
    assert (analysis["status"], analysis["rows"]) == (status, count)


def test_a_feature_that_the_baseline_does_not_know(
    content: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    features = SPEC.features | {"new": Feature("new", "number", nullable=True)}
    analysis = run(content, rows, spec=Spec(**(vars(SPEC) | {"features": features})))
    assert found(analysis) == [("new", "extra_column_check")]


def event(
    body: str,
    answer: str,
    moment: datetime,
    event_id: str,
    kind: str = "application/jsonlines",
    **metadata: str,
) -> dict[str, Any]:
    """A line of data capture, as SageMaker writes it."""
    encoding = {"application/jsonlines": "JSON", "application/json": "JSON", "text/csv": "CSV"}.get(
        kind, "BASE64"
    )

    def part(mode: str, data: str) -> dict[str, str]:
        if encoding == "BASE64":
            data = base64.b64encode(data.encode()).decode()
        observed = "application/json" if encoding == "BASE64" else kind
        return {"observedContentType": observed, "mode": mode, "data": data, "encoding": encoding}

    return {
        "captureData": {"endpointInput": part("INPUT", body), "endpointOutput": part("OUTPUT", answer)},
        "eventMetadata": {"eventId": event_id, "inferenceTime": contract.format_time(moment)} | metadata,
        "eventVersion": "0",
    }


def read(folder: Path, *lines: Any) -> tuple[Captured, Skipped]:
    path = folder / "capture" / "2026" / "03" / "02" / "10"
    path.mkdir(parents=True)
    (path / "a.jsonl").write_text(
        "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    )
    skipped = Skipped()
    return capture.read_window(folder / "capture", SPEC, *WINDOW, skipped), skipped


def test_every_encoding_of_capture_is_read(tmp_path: Path) -> None:
    row = make_rows(1, START, 1)[0] | {"amount": 12.5}
    answer = '{"prediction": 1, "probability": 0.75}'
    table = ",".join(SPEC.features) + "\n12.5,{age},{city},{plan},true".format(**row)
    answers = f'{{"predictions": [{answer}]}}'
    captured, skipped = read(
        tmp_path,
        event(json.dumps(row), answer, START, "1"),
        event(json.dumps({"instances": [row]}), answers, START, "2", "application/json"),
        event(table, "1,0.75", START, "3", "text/csv", inferenceId="mine"),
        event(json.dumps(row), answer, START, "4", "application/x-unlisted"),
    )
    assert skipped.lines == 0, skipped.problems
    assert [found["amount"] for found in captured.rows] == [12.5] * 4
    assert [found["member"] for found in captured.rows] == [row["member"]] * 2 + [True, row["member"]]
    assert all((found["prediction"], found["probability"]) == (1, 0.75) for found in captured.answers)
    assert captured.ids == [row["id"], row["id"], "mine", row["id"]]


def test_only_requests_of_the_window_count_and_each_once(tmp_path: Path) -> None:
    def one(moment: datetime, event_id: str) -> dict[str, Any]:
        return event('{"age": 1}', '{"prediction": 1}', moment, event_id)

    last = WINDOW[1] - timedelta(seconds=1)
    captured, _ = read(
        tmp_path,
        one(START - timedelta(seconds=1), "before"),
        one(START, "first"),
        one(START, "first"),
        one(last, "last"),
        one(WINDOW[1], "after"),
    )
    assert captured.ids == ["first", "last"]


def test_a_broken_line_is_counted_and_skipped(tmp_path: Path) -> None:
    good = event('{"age": 1}', '{"prediction": 1}', START, "good")
    lost = event('{"age": 1}\n{"age": 2}', '{"prediction": 1}', START, "lost")
    garbled = json.loads(json.dumps(good))
    garbled["captureData"]["endpointInput"] |= {"encoding": "BASE64", "data": "*"}
    garbled["eventMetadata"]["eventId"] = "garbled"
    captured, skipped = read(tmp_path, '{"captureData": ', "[]", {"eventVersion": "0"}, lost, garbled, good)
    assert captured.ids == ["good"]
    assert skipped.lines == 5
    assert skipped.problems[0] == "2026/03/02/10/a.jsonl:1: not JSON (Expecting value at column 16)"
    assert "2 rows and 1 predictions" in skipped.problems[3]


def test_the_last_label_of_an_id_wins(tmp_path: Path) -> None:
    def line(id_: str, label: str) -> str:
        truth = {"groundTruthData": {"data": label, "encoding": "CSV"}, "eventMetadata": {"eventId": id_}}
        return json.dumps(truth | {"eventVersion": "0"}) + "\n"

    for hour, label in (("10", "0"), ("09", "1")):
        (tmp_path / hour).mkdir()
        (tmp_path / hour / "x.jsonl").write_text(line("a", label) + "broken\n")
    skipped = Skipped()
    assert capture.read_labels(tmp_path, skipped) == {"a": "0"}
    assert skipped.lines == 2
    assert capture.read_labels(None, skipped) == {}


def test_the_job_on_real_flights(job: Job, trained: Job, january_and_february: pa.Table) -> None:
    """The holdout's own fortnight, captured: all four files, and a message in Model Monitor's words."""
    job.copy_input("code", trained.input("code"))
    job.copy_input("baseline", trained.output("baseline"))
    rows = january_and_february.slice(len(january_and_february) - 3000).to_pylist()
    labels = []
    with (job.input("capture") / "a.jsonl").open("w") as file:
        for index, row in enumerate(rows):
            label, moment = row.pop("late"), row["scheduled_departure"]
            labels.append({"data": str(label), "encoding": "CSV"})
            body = json.dumps(row | {"scheduled_departure": moment.isoformat()})
            line = event(body, '{"prediction": 0, "probability": 0.15}', moment, f"e{index}")
            file.write(json.dumps(line) + "\n")
    with (job.input("labels") / "b.jsonl").open("w") as file:
        for row, label in zip(rows, labels, strict=True):
            truth = {"groundTruthData": label, "eventMetadata": {"eventId": row["flight_id"]}}
            file.write(json.dumps(truth | {"eventVersion": "0"}) + "\n")
    window = {"WINDOW_START": "2013-02-01T00:00:00Z", "WINDOW_END": "2013-03-01T00:00:00Z"}
    succeed(job.run("analyze", **window))
    analysis = job.json("report/analysis.json")
    assert (analysis["status"], analysis["rows"], analysis["labelled"]) == ("Completed", 3000, 3000)
    assert ("prediction", "baseline_drift_check") in found(analysis)
    assert {
        key for entry in job.json("report/constraint_violations.json")["violations"] for key in entry
    } == {
        "feature_name",
        "constraint_check_type",
        "description",
    }
    assert job.json("report/statistics.json")["dataset"] == {"item_count": 3000}
    assert job.json("report/constraints.json") == trained.json("baseline/constraints.json")
    assert job.message.startswith("CompletedWithViolations: Job completed successfully with ")


def test_a_job_without_its_window_says_so(job: Job, trained: Job) -> None:
    job.copy_input("code", trained.input("code"))
    assert job.run("analyze", WINDOW_START="yesterday", WINDOW_END="").returncode == 1
    assert job.message == "the environment's WINDOW_START='yesterday' is not an ISO 8601 time"
