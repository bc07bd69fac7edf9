"""The metrics against scikit-learn's, and what their intervals mean."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as oracle

from jobs.monitor import bootstrap, quality
from jobs.monitor.quality import Scores
from jobs.spec import BINARY, MULTICLASS, REGRESSION


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def binary(rng: np.random.Generator, rows: int = 2000) -> Scores:
    label = rng.integers(0, 2, rows)
    # One decimal: most scores are tied with hundreds of others.
    probability = np.clip(np.round(0.35 * label + 0.65 * rng.random(rows), 1), 0.05, 0.95)
    return Scores(BINARY, label, (probability >= 0.6).astype(int), probability)


def test_binary_metrics_are_scikit_learns_ties_included(rng: np.random.Generator) -> None:
    scores = binary(rng)
    label, probability, predicted = scores.label, scores.probability, scores.predicted
    assert quality.values(scores) == pytest.approx(
        {
            "roc_auc": oracle.roc_auc_score(label, probability),
            "pr_auc": oracle.average_precision_score(label, probability),
            "log_loss": oracle.log_loss(label, probability),
            "brier": oracle.brier_score_loss(label, probability),
            "f1": oracle.f1_score(label, predicted),
            "precision": oracle.precision_score(label, predicted),
            "recall": oracle.recall_score(label, predicted),
            "accuracy": oracle.accuracy_score(label, predicted),
        },
        abs=1e-6,
    )


def test_multiclass_metrics_are_scikit_learns(rng: np.random.Generator) -> None:
    label = rng.integers(0, 3, 900)
    probability = rng.dirichlet([1, 1, 1], 900) * 0.6 + 0.4 * np.eye(3)[label]
    predicted = probability.argmax(1)
    predicted[:200] = 0
    found = quality.values(Scores(MULTICLASS, label, predicted, probability, ("a", "b", "c")))
    assert found["roc_auc"] == pytest.approx(
        oracle.roc_auc_score(label, probability, multi_class="ovr", average="macro"), abs=1e-6
    )
    assert found["log_loss"] == pytest.approx(oracle.log_loss(label, probability), abs=1e-6)
    assert found["accuracy"] == pytest.approx(oracle.accuracy_score(label, predicted), abs=1e-6)
    for average in ("macro", "weighted"):
        expected = oracle.precision_recall_fscore_support(label, predicted, average=average)[:3]
        ours = [found[f"{name}_{average}"] for name in ("precision", "recall", "f1")]
        assert ours == pytest.approx(expected, abs=1e-6)


def test_what_is_not_defined_of_a_class_is_no_zero_in_the_average() -> None:
    """Class 2 does not occur and was called once, class 3 occurs and was never called."""
    label, predicted = np.array([0, 0, 1, 1, 3]), np.array([0, 0, 1, 2, 1])
    found = quality.values(Scores(MULTICLASS, label, predicted, None, ("a", "b", "c", "d")))
    for average in ("macro", "weighted"):
        expected = oracle.precision_recall_fscore_support(
            label, predicted, average=average, zero_division=np.nan
        )[:3]
        ours = [found[f"{name}_{average}"] for name in ("precision", "recall", "f1")]
        assert ours == pytest.approx(expected, abs=1e-6)
    assert found["recall_macro"] == pytest.approx((1 + 0.5 + 0) / 3, abs=1e-6)


def test_a_class_that_the_model_does_not_know_is_always_wrong() -> None:
    label, predicted = np.array([0, 1, -1, -1]), np.array([0, 1, 0, -1])
    found = quality.values(Scores(MULTICLASS, label, predicted, None, ("a", "b")))
    assert found["accuracy"] == 0.5
    assert found["log_loss"] is None


def test_regression_metrics_are_scikit_learns(rng: np.random.Generator) -> None:
    label = 1e6 + rng.normal(size=500)
    predicted = label + rng.normal(size=500)
    assert quality.values(Scores(REGRESSION, label, predicted)) == pytest.approx(
        {
            "rmse": oracle.root_mean_squared_error(label, predicted),
            "mae": oracle.mean_absolute_error(label, predicted),
            "r2": oracle.r2_score(label, predicted),
        },
        abs=1e-6,
    )


def test_a_replicate_is_the_metric_of_the_drawn_blocks(rng: np.random.Generator) -> None:
    scores, block = binary(rng, 400), np.arange(400) // 40
    drawn = bootstrap.draws(10)[0].astype(int)
    repeated = scores.take(np.repeat(np.arange(400), drawn[block]))
    assert quality.replicate(scores, block)[0] == pytest.approx(
        list(quality.values(repeated).values()), abs=1e-6
    )


def test_groups_of_scores_give_the_areas_of_all_scores_even_where_positives_are_rare(
    rng: np.random.Generator,
) -> None:
    label = (rng.random(200_000) < 0.001).astype(int)
    scores = Scores(BINARY, label, label, np.clip(rng.normal(0.2 + 0.3 * label, 0.1), 0, 1))
    exact = quality.values(scores)
    grouped = quality._metrics(
        BINARY, quality._sums(scores, np.zeros(len(label), int), quality.BINS), np.ones((1, 1))
    )[0]
    assert grouped[0] == pytest.approx(exact["roc_auc"], abs=5e-4)
    assert grouped[1] == pytest.approx(exact["pr_auc"], abs=1e-2)


def test_what_is_not_defined_is_none_and_never_nan() -> None:
    one_class = Scores(BINARY, np.ones(50, int), np.ones(50, int), np.linspace(0.1, 0.9, 50))
    found = quality.intervals(one_class, np.arange(50) // 5)
    assert found["roc_auc"] == {"value": None, "low": None, "high": None}
    assert found["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    nothing = Scores(BINARY, np.zeros(50, int), np.zeros(50, int))
    assert [quality.values(nothing)[name] for name in ("f1", "precision", "recall")] == [None] * 3
    without = Scores(BINARY, np.arange(50) % 2, np.ones(50, int))
    assert quality.values(without)["log_loss"] is None


@pytest.mark.parametrize("task", [BINARY, MULTICLASS, REGRESSION])
@pytest.mark.parametrize("rows", [0, 1])
def test_a_window_with_no_label_or_one(task: str, rows: int) -> None:
    one = np.ones(rows, int)
    probability = {BINARY: np.full(rows, 0.5), MULTICLASS: np.full((rows, 2), 0.5), REGRESSION: None}[task]
    found = quality.intervals(Scores(task, one, one, probability, ("a", "b")), np.zeros(rows, int))
    assert all(figure["value"] is None or np.isfinite(figure["value"]) for figure in found.values())
    assert rows or all(figure["value"] is None for figure in found.values())


def test_dependent_rows_get_wider_intervals_than_their_number_suggests(rng: np.random.Generator) -> None:
    """Twenty days of a hundred equal rows are twenty observations, not two thousand."""
    day = np.repeat(np.arange(20), 100)
    error = np.repeat(rng.normal(size=20), 100)
    scores = Scores(REGRESSION, np.zeros(2000), error)
    days = quality.intervals(scores, day)["mae"]
    rows = quality.intervals(scores, np.arange(2000))["mae"]
    assert days["high"] - days["low"] > 5 * (rows["high"] - rows["low"])
    assert days["low"] < days["value"] < days["high"]


def test_an_interval_of_a_week_covers_what_it_claims(rng: np.random.Generator) -> None:
    """The mean of seven days that differ: 95 % of the intervals hold the truth, give or take the draw."""
    covered = 0
    for _ in range(400):
        error = np.repeat(rng.normal(1.0, 0.2, 7), 20)
        found = quality.intervals(Scores(REGRESSION, np.zeros(140), error), np.repeat(np.arange(7), 20))
        covered += found["mae"]["low"] <= 1.0 <= found["mae"]["high"]
    assert covered / 400 > 0.92


@pytest.mark.parametrize("freedom", [1, 2, 3, 6, 13, 29])
def test_students_quantile_is_scipys(freedom: int) -> None:
    assert bootstrap.student(freedom, 0.975) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-6)


def test_blocks_are_days_or_runs_in_order_of_time() -> None:
    hours = np.arange(0, 24 * 10) * (quality.DAY // 24)
    assert np.bincount(quality.blocks(hours)).tolist() == [24] * 10
    one_day = quality.blocks(hours[:20][::-1])
    assert one_day.tolist() == list(range(20))[::-1]


def test_a_model_is_exactly_as_good_as_itself(rng: np.random.Generator) -> None:
    scores = binary(rng)
    found = quality.difference(scores, scores, np.arange(2000) // 100)
    assert all(figure == {"value": 0.0, "low": 0.0, "high": 0.0} for figure in found.values())


def test_a_clear_improvement_lies_outside_zero(rng: np.random.Generator) -> None:
    better = binary(rng)
    worse = Scores(BINARY, better.label, better.predicted, np.full(len(better), 0.5))
    found = quality.difference(better, worse, np.arange(2000) // 100)["roc_auc"]
    assert 0 < found["low"] < found["value"] < found["high"]
