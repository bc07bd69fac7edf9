"""The other two tasks end to end: several classes, and a number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import declared, validate
from jobs import spec as model_spec
from jobs.contract import JobError
from jobs.evaluation import answered, compare
from jobs.hosted import Scored
from jobs.monitor import analyze, baseline, datafiles, outcomes, performance, shard
from jobs.monitor.analyze import Given
from jobs.monitor.baseline import Baseline
from jobs.monitor.schema import Schema
from jobs.monitor.state import State
from jobs.prepare import prepare
from jobs.spec import BINARY, MULTICLASS, REGRESSION, Spec
from tests.monitor import demo

START = datetime(2026, 1, 1, tzinfo=UTC)
CLASSES = ["cat", "dog", "owl"]
YAML = """
name: demo
task: {task}
target: label
id: id
time: at
features: {{x: number}}
gate: {{primary: {primary}, holdout: 14d, min_rows: 100}}
monitor: {{every: 7d, min_rows: 200, quality: {{metric: {primary}, tolerance: 0.1}}}}
"""

NUMBERED = Spec("demo", MULTICLASS, "label", "id", "at", {}, entry="inference.py")


def make(task: str, count: int, noise: float, seed: int = 0) -> list[dict[str, Any]]:
    """x decides the label but for the noise."""
    rng = np.random.default_rng(seed)
    x = rng.random(count) * 3
    seen = np.clip(x + rng.normal(0, noise, count), 0, 2.999)
    return [
        {
            "id": f"{seed}-{index}",
            "at": START + timedelta(hours=index),
            "x": float(x[index]),
            "label": float(seen[index]) if task == REGRESSION else CLASSES[int(seen[index])],
        }
        for index in range(count)
    ]


def answer(task: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if task == REGRESSION:
        return [{"prediction": row["x"]} for row in rows]
    likely = [CLASSES[int(row["x"])] for row in rows]
    return [
        {"prediction": name, "probabilities": {other: 0.8 if other == name else 0.1 for other in CLASSES}}
        for name in likely
    ]


@pytest.mark.parametrize(("task", "primary"), [(MULTICLASS, "f1_macro"), (REGRESSION, "r2")])
def test_a_task_from_its_data_to_a_window(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, task: str, primary: str
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "base"))
    (tmp_path / "model.yaml").write_text(YAML.format(task=task, primary=primary))
    spec, data = model_spec.load(tmp_path), tmp_path / "data"
    data.mkdir()
    pq.write_table(pa.Table.from_pylist(make(task, 1200, 0.1)), data / "rows.parquet")
    report = prepare(spec, data, None)
    assert report["accepted"], report["reason"]
    parts = [
        pq.read_table(tmp_path / f"base/processing/output/{name}/{name}.parquet")
        for name in ("train", "holdout")
    ]
    known = judge(spec, parts, tmp_path)
    content = known.content

    good, bad = (window(spec, known, noise, tmp_path / str(noise)) for noise in (0.1, 2.0))
    assert good["violations"] == []
    assert good["quality"][primary]["value"] == pytest.approx(content["quality"][primary]["value"], abs=0.05)
    assert [entry["constraint_check_type"] for entry in bad["violations"]] == ["model_quality_check"]
    assert bad["quality"][primary]["high"] < content["quality"][primary]["value"] - 0.1


def judge(spec: Spec, parts: list[pa.Table], folder: Path) -> Baseline:
    """The evaluation of a good model against a blind one; returns the good one's baseline."""
    train, holdout = parts
    rows = holdout.to_pylist()
    ours = Scored(answer(spec.task, rows), {})
    blind = Scored([ours.answers[0]] * len(rows), {})
    evaluation = compare(spec, train, holdout, ours, blind)
    assert evaluation["difference"][spec.gate["primary"]]["low"] > 0.3
    for other in ("champion", "constant"):
        assert evaluation["gains"][other]["at_least"] > 0.3
    held = answered(spec, holdout, ours)
    reference = performance.reference(spec, held)
    found = evaluation["challenger"]["metrics"]
    assert reference["quality"] == {name: found[name] for name in reference["quality"]}
    return baseline.write(folder / "baseline", spec, train, held, **reference)


def window(spec: Spec, known: Baseline, noise: float, folder: Path) -> dict[str, Any]:
    rows = make(spec.task, 400, noise, seed=9)
    labels = {row["id"]: str(row.pop("label")) for row in rows}
    given = answer(spec.task, rows)
    demo.write(folder, [row | {"at": row["at"].isoformat()} for row in rows], given, labels)
    schema, span = Schema.of(spec), (START, START + timedelta(days=17))
    truth = folder / "labels"
    counted = shard.count(folder / "capture", truth, schema, known.edges, known.layouts, known.watch, span)
    return analyze.analyze(spec, known, counted, State(known.digest), Given(truth)).content


def test_a_label_that_the_model_does_not_know_is_wrong() -> None:
    answers = datafiles.answers_of(MULTICLASS, answer(MULTICLASS, [{"x": 0.5}, {"x": 1.5}]))
    scores = outcomes.scores(answers, pa.array(["cat", "bat"]), MULTICLASS)
    assert scores.label.tolist() == [0, -1]
    assert scores.predicted.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("task", "wrong", "said"),
    [
        (REGRESSION, {"prediction": "dear"}, "`prediction` must be a number"),
        (
            MULTICLASS,
            {"prediction": "cat", "probabilities": {"cat": 1.0, "dog": 0.9, "owl": 0.1}},
            "`prediction` must be a class, and `probabilities` between 0 and 1 and add up to 1",
        ),
        (
            MULTICLASS,
            {"prediction": "cat", "probabilities": {"cat": 1.5, "dog": -0.5, "owl": 0.0}},
            "`prediction` must be a class, and `probabilities` between 0 and 1 and add up to 1",
        ),
        (
            MULTICLASS,
            {"prediction": ["cat"]},
            "`prediction` must be a class, and `probabilities` between 0 and 1 and add up to 1",
        ),
    ],
)
def test_an_answer_that_the_task_has_not_is_quoted(tmp_path: Path, task: str, wrong: dict, said: str) -> None:
    """Probabilities that are too large together would make the log loss as small as one likes."""
    primary = "r2" if task == REGRESSION else "log_loss"
    (tmp_path / "model.yaml").write_text(YAML.format(task=task, primary=primary))
    spec = model_spec.load(tmp_path)
    rows = make(task, 480, 0.1)
    answers = answer(task, rows)
    answers[7] = wrong
    table = pa.Table.from_pylist(rows)
    with pytest.raises(JobError) as raised:
        compare(spec, table, table, Scored(answers, {}), None)
    counted = "1 of 480 answers of the challenger cannot be compared with their labels"
    assert str(raised.value) == f"{counted}, the first is {wrong}: {said}"


def test_probabilities_may_be_rounded_and_leave_classes_out() -> None:
    shares = [{"cat": 0.333, "dog": 0.333, "owl": 0.333}, {"dog": 1}]
    answers = datafiles.answers_of(
        MULTICLASS, [{"prediction": "dog", "probabilities": each} for each in shares]
    )
    assert outcomes.usable(answers, pa.array(["cat", "dog"]), MULTICLASS).all()


def test_probabilities_without_their_classes_are_refused() -> None:
    """They were taken for none: every figure made of them was missing without a word."""
    with pytest.raises(JobError, match="must be a number by class"):
        datafiles.answers_of(MULTICLASS, [{"prediction": "cat", "probabilities": [0.8, 0.1, 0.1]}])


@pytest.mark.parametrize("labels", [[7, 8], [7.0, 8.0, None], ["7", "8"]])
def test_classes_that_are_whole_numbers_are_named_alike_wherever_they_come_from(labels: list[Any]) -> None:
    """pandas makes floats of whole numbers among which one is missing; a model answers with what it saw."""
    column = declared.typed(pa.chunked_array([labels]), "label", NUMBERED)
    assert column.drop_null().to_pylist() == ["7", "8"]
    answers = datafiles.answers_of(MULTICLASS, [{"prediction": label} for label in labels[:2]])
    assert outcomes.scores(answers, column.combine_chunks()[:2], MULTICLASS).predicted.tolist() == [0, 1]


@pytest.mark.parametrize(("value", "shown"), [(0.37, "0.37"), (float("inf"), "inf")])
def test_a_number_that_is_no_class_is_refused(value: float, shown: str) -> None:
    """A regression that was declared as a task of several classes had a class for each row."""
    with pytest.raises(declared.Refused) as raised:
        declared.typed(pa.chunked_array([[7.0, value, float("nan")]]), "label", NUMBERED)
    should = "should be a class, as text or a whole number (of other numbers the task is regression)"
    assert str(raised.value) == f"column `label` {should}, row 2 holds {shown}"


@pytest.mark.parametrize(("positive", "refused"), [("car", True), ("[car, owl]", False), ("dog", False)])
def test_the_outcome_that_counts_occurs_in_the_data(tmp_path: Path, positive: str, refused: bool) -> None:
    text = YAML.replace("every: 7d,", f"every: 7d, bias: {{{{positive: {positive}}}}},")
    (tmp_path / "model.yaml").write_text(text.format(task=MULTICLASS, primary="f1_macro"))
    spec = model_spec.load(tmp_path)
    found = validate.check_rows(pa.Table.from_pylist(make(MULTICLASS, 300, 0.1)), spec)
    said = "label `label` is nowhere car, as monitor.bias.positive has it: there are cat, dog, owl"
    assert [finding.reason for finding in found if finding.fatal] == [said] * refused


def test_bare_answers_have_no_probability() -> None:
    answers = datafiles.answers_of(BINARY, [{"prediction": 1}, {"prediction": 0}])
    scores = outcomes.scores(answers, pa.array([1.0, 0.0]), BINARY)
    assert scores.probability is None
    assert scores.label.tolist() == [1, 0]
