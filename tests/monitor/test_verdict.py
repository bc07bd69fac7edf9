"""Features and prediction at one stated rate, Model Monitor's verdict beside, and nothing said twice."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from jobs.contract import JobError
from jobs.monitor import outliers, skew
from jobs.monitor.outliers import Outliers
from jobs.monitor.profile import Edges, Profile, profile
from jobs.monitor.schema import Field, Schema
from jobs.monitor.series import fenced
from jobs.monitor.verdict import Settings, Verdict, judge
from jobs.spec import Spec

DAY = 86_400_000_000
WEEK = timedelta(days=7)
FEATURES = Schema(
    {"x": Field("x", "number"), "y": Field("y", "number"), "kind": Field("kind", "string")},
    id="id",
    time="at",
)
ANSWERED = FEATURES.with_fields(Field("prediction", "number"))


def rows(count: int, first: int, seed: int, shift: float = 0.0, new: float = 0.0, prediction: float = 0.0):
    """`count` days of a hundred rows; x and y move together."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(first, first + count), 100)
    x = rng.normal(size=len(day))
    kind = np.where(rng.random(len(day)) < new, "new", rng.choice(["a", "b"], len(day)))
    return pa.table(
        {
            "id": [f"{seed}-{index}" for index in range(len(day))],
            "at": pa.array(day * DAY + rng.integers(0, DAY, len(day)), pa.timestamp("us", "UTC")),
            "x": x + shift,
            "y": x + 0.1 * rng.normal(size=len(day)),
            "kind": kind.tolist(),
            "prediction": 0.1 * x + prediction,
        }
    )


def by_day(table: pa.Table, schema: Schema) -> Profile:
    made = profile(table, schema, block=None)
    return profile(table, schema, fenced(Edges.of(made), made))


TRAIN = by_day(rows(60, 0, 1), FEATURES)
HOLDOUT = by_day(rows(14, 60, 2), ANSWERED)
EDGES = Edges(
    TRAIN.blocks.edges.numbers | {"prediction": HOLDOUT.blocks.edges.numbers["prediction"]},
    TRAIN.blocks.edges.categories,
)


def verdict(table: pa.Table, settings: Settings = Settings(), **more: object) -> Verdict:  # noqa: B008
    window = profile(table, ANSWERED, EDGES)
    return judge(TRAIN, window, settings, WEEK, HOLDOUT, "prediction", **more)


def names(found: Verdict) -> list[tuple[str, str]]:
    return [(one["feature_name"], one["constraint_check_type"]) for one in found.violations]


def test_a_calm_week_has_figures_and_no_violations() -> None:
    found = verdict(rows(7, 80, 3))
    assert found.violations == []
    figure = found.features["x"]
    assert {"effect", "effect_floor", "t", "p", "distances", "quantiles", "model_monitor"} <= figure.keys()
    assert figure["distances"]["ks"] == pytest.approx(figure["effect"], abs=0.01)
    assert found.prediction["distance"] < 0.1
    assert found.drift["false_alarm_rate"] == 0.01
    json.dumps(vars(found), allow_nan=False)


def test_feature_and_prediction_are_judged_against_their_own_baselines() -> None:
    assert names(verdict(rows(7, 80, 3, shift=0.5))) == [("x", "baseline_drift_check")]
    assert names(verdict(rows(7, 80, 3, prediction=0.1))) == [("prediction", "baseline_drift_check")]


def test_new_categories_are_not_drift_as_well() -> None:
    assert names(verdict(rows(7, 80, 3, new=0.05))) == [("kind", "categorical_values_check")]


def test_model_monitors_verdicts_stand_beside() -> None:
    theirs = verdict(rows(7, 80, 3, shift=0.3)).features["x"]["model_monitor"]
    assert theirs["simple"]["violation"] and not theirs["robust"]["violation"]
    rows_ = 1.8 * np.sqrt((6000 + 700) / (6000 * 700))
    assert theirs["robust"]["distance"] == pytest.approx(theirs["simple"]["distance"] - rows_, abs=1e-5)


def test_a_season_is_shown() -> None:
    found = verdict(rows(7, 80, 3, shift=1.0), Settings(seasonal=("x",)))
    assert found.violations == [] and found.features["x"]["seasonal"]


def test_without_a_holdout_features_are_judged_alone() -> None:
    found = judge(TRAIN, profile(rows(7, 80, 3), FEATURES, TRAIN.blocks.edges), Settings())
    assert found.prediction is None and "prediction" not in found.drift


def test_other_bins_than_the_baselines_are_refused_by_name() -> None:
    table = rows(7, 80, 3)
    with pytest.raises(JobError, match="column `x` was counted on other bins"):
        judge(TRAIN, by_day(table, FEATURES), Settings())


@pytest.mark.parametrize(("given", "rate"), [("1%", 0.01), (0.05, 0.05), ("0.2", 0.2)])
def test_a_rate_is_a_number_or_a_percentage(given: object, rate: float) -> None:
    spec = Spec("m", "", "", "", "", {}, "", monitor={"data": {"false_alarms": given, "drift": "3%"}})
    assert Settings.of(spec) == Settings(0.03, rate)


@pytest.mark.parametrize("given", ["often", 0, 2])
def test_a_rate_that_is_none_is_named(given: object) -> None:
    spec = Spec("m", "", "", "", "", {}, "", monitor={"data": {"false_alarms": given}})
    with pytest.raises(JobError, match=r"monitor\.data\.false_alarms"):
        Settings.of(spec)


def outlying(table: pa.Table) -> Verdict:
    """With the rows' own check."""
    kept = Outliers.learn(rows(60, 0, 1), TRAIN)
    window = profile(table, ANSWERED, EDGES)
    places, marks = kept.mark(table)
    times = np.asarray(table["at"].cast(pa.int64()))[places]
    return verdict(table, extra=[kept.series(TRAIN.blocks, window.blocks, times, marks, 7)])


def test_rows_far_from_everything_are_found_though_each_value_is_usual() -> None:
    calm = rows(7, 80, 3)
    assert outlying(calm).violations == []
    apart = np.where(np.arange(700) % 12 == 0, -1.0, 1.0) * 2.4
    strange = calm.set_column(2, "x", pa.array(np.where(np.arange(700) % 12 == 0, apart, calm["x"])))
    strange = strange.set_column(3, "y", pa.array(np.where(np.arange(700) % 12 == 0, -apart, calm["y"])))
    found = outlying(strange)
    assert found.outliers["drifted"]
    assert (outliers.NAME, "range_check") in names(found)


def test_the_rows_kept_survive_their_file(tmp_path) -> None:
    kept = Outliers.learn(rows(10, 0, 1), TRAIN)
    kept.save(tmp_path / "rows.npz")
    again = Outliers.load(tmp_path / "rows.npz")
    assert again.cuts.tolist() == kept.cuts.tolist()
    (tmp_path / "rows.npz").write_bytes(b"no")
    with pytest.raises(JobError, match=r"rows\.npz is not"):
        Outliers.load(tmp_path / "rows.npz")


@pytest.mark.parametrize("table", [rows(1, 80, 3).slice(0, 0), rows(1, 80, 3).drop_columns(["x"])])
def test_rows_without_values_can_be_scored(table: pa.Table) -> None:
    places, marks = Outliers.learn(rows(10, 0, 1), TRAIN).mark(table)
    assert len(places) == len(marks) == table.num_rows


def test_a_feature_that_two_programs_compute_differently_is_named() -> None:
    pipeline = rows(2, 0, 5)
    captured = pipeline.slice(50, 100)
    wrong = captured.set_column(2, "x", pa.array(np.asarray(captured["x"]) * (np.arange(100) % 2 + 1)))
    wrong = wrong.set_column(3, "y", pa.array(np.asarray(captured["y"]).astype("f4").astype("f8")))
    report, found = skew.compare(wrong, wrong["id"].combine_chunks(), pipeline, FEATURES)
    assert report["rows"] == 100
    assert report["features"]["x"]["different"] == pytest.approx(0.5)
    assert [one["feature_name"] for one in found] == ["x"]
    assert "'5-51'" in found[0]["description"]


def test_a_missing_value_is_another_value() -> None:
    pipeline = rows(1, 0, 5)
    gaps = [None if index % 2 else value for index, value in enumerate(pipeline["kind"].to_pylist())]
    captured = pipeline.set_column(4, "kind", pa.array(gaps))
    _, [violation] = skew.compare(captured, captured["id"].combine_chunks(), pipeline, FEATURES)
    assert (violation["feature_name"], violation["value"]) == ("kind", 0.5)


def test_few_rows_in_common_say_nothing() -> None:
    pipeline, captured = rows(1, 0, 5), rows(1, 0, 6)
    report, found = skew.compare(captured, captured["id"].combine_chunks(), pipeline, FEATURES)
    assert (report["rows"], found) == (0, [])
    assert report["reason"] == "0 rows of the pipeline were captured too, 30 are needed"


def test_a_pipelines_files_may_differ_in_format_type_and_columns(tmp_path: Path) -> None:
    """CSV with numbers as text beside Parquet, one without a feature: only rows that were captured are
    kept."""
    pipeline, captured = rows(2, 0, 5), rows(2, 0, 5).slice(0, 150)
    ids = captured["id"].combine_chunks()
    csv.write_csv(pipeline.slice(0, 100), tmp_path / "a.csv")
    pq.write_table(pipeline.slice(100).drop_columns(["kind"]), tmp_path / "b.parquet")
    table = skew.read(tmp_path, ids, FEATURES)
    assert (table.num_rows, table.column_names) == (150, ["id", "x", "y"])
    report, found = skew.compare(captured, ids, table, FEATURES)
    assert (report["features"]["x"]["different"], found) == (0, [])


def test_ids_that_are_numbers_join_and_one_that_is_none_joins_nothing(tmp_path: Path) -> None:
    """pandas makes floats of whole numbers among which one is missing."""
    ids = pa.array([7.0, 20260401000123.0, float("nan"), None])
    pq.write_table(rows(1, 0, 5).slice(0, 4).set_column(0, "id", ids), tmp_path / "a.parquet")
    table = skew.read(tmp_path, pa.array(["7", "20260401000123", "nan", None]), FEATURES)
    assert table["id"].to_pylist() == ["7", "20260401000123"]


def test_a_pipeline_whose_ids_have_no_text_is_told(tmp_path: Path) -> None:
    table = rows(1, 0, 5)
    pq.write_table(table.set_column(0, "id", pa.array([b"\xff"] * len(table))), tmp_path / "a.parquet")
    with pytest.raises(JobError, match="the column `id` is of type binary: text or numbers are needed"):
        skew.read(tmp_path, pa.array(["5-1"]), FEATURES)


def test_a_pipeline_without_ids_is_told(tmp_path: Path) -> None:
    pq.write_table(rows(1, 0, 5).drop_columns(["id"]), tmp_path / "b.parquet")
    with pytest.raises(JobError, match="no column `id`"):
        skew.read(tmp_path, pa.array(["5-1"]), FEATURES)
