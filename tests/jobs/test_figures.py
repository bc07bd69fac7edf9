"""What the gate judges by: metrics, gains and how sure they are, the constant to beat, bias."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve
from sklearn.dummy import DummyClassifier, DummyRegressor

from jobs import constant, evaluation, fairness, gains, metrics
from jobs import spec as model_spec
from jobs.hosted import Scored
from jobs.monitor import quality
from jobs.monitor.quality import Scores
from jobs.spec import BINARY, MULTICLASS, REGRESSION

CLASSES = ("cat", "dog", "owl")
DAY = quality.DAY


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def binary(rng: np.random.Generator, rows: int = 2000, skill: float = 0.3) -> Scores:
    label = (rng.random(rows) < 0.2).astype(int)
    probability = np.clip(skill * label + (1 - skill) * rng.random(rows), 0, 1).round(6)
    return Scores(BINARY, label, (probability > 0.6).astype(int), probability)


def several(rng: np.random.Generator, rows: int = 900) -> Scores:
    label = rng.integers(0, 3, rows)
    probability = (rng.dirichlet([1, 1, 1], rows) * 0.6 + 0.4 * np.eye(3)[label]).round(6)
    return Scores(MULTICLASS, label, probability.argmax(1), probability, CLASSES)


def number(rng: np.random.Generator, rows: int = 800) -> Scores:
    label = 50 + 10 * rng.normal(size=rows)
    return Scores(REGRESSION, label, label + 4 * rng.normal(size=rows))


@pytest.mark.parametrize("make", [binary, several, number])
def test_values_are_those_of_the_replicates_definitions(rng: np.random.Generator, make) -> None:
    """Figures by scikit-learn and intervals by monitor/quality are of the same metric."""
    scores = make(rng)
    assert metrics.values(scores) == pytest.approx(quality.values(scores), abs=2e-6)
    few = scores.take(np.arange(7))
    assert metrics.values(few) == pytest.approx(quality.values(few), abs=2e-6, nan_ok=True)


def test_a_class_that_is_missing_is_null_and_said() -> None:
    """Owls do not occur and were called once; dogs occur and were never called."""
    label, predicted = np.array([0, 0, 1, 1, -1]), np.array([0, 0, 0, 2, 0])
    scores = Scores(MULTICLASS, label, predicted, None, CLASSES)
    found = metrics.classes(scores)
    assert found["owl"] == {
        "rows": 0, "predicted": 1, "precision": 0.0, "recall": None, "f1": 0.0, "roc_auc": None,
    }  # fmt: skip
    assert (found["dog"]["precision"], found["dog"]["recall"]) == (None, 0.0)
    assert metrics.values(scores) == pytest.approx(quality.values(scores))
    assert metrics.notes(scores) == [
        "the model answers without probabilities: what is made of them is not known",
        "class dog was never predicted: it has no precision",
        "class owl does not occur in the holdout: it has no recall",
        "1 rows are of classes that the model does not know: each counts as wrong",
    ]
    assert metrics.confusion(scores) == {
        "labels": ["cat", "dog", "owl", "(other)"],
        "rows": [[2, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]],
    }


def test_one_class_has_no_area_and_nothing_called_no_precision() -> None:
    scores = Scores(BINARY, np.zeros(50, int), np.zeros(50, int), np.linspace(0.1, 0.4, 50))
    found = metrics.values(scores)
    assert [found[name] for name in ("roc_auc", "pr_auc", "precision", "recall", "f1")] == [None] * 5
    assert found["accuracy"] == 1.0 and found["brier"] is not None
    assert metrics.curves(scores) == {"roc": None, "pr": None, "calibration": None}


def test_a_percentage_of_nothing_is_null_and_said(rng: np.random.Generator) -> None:
    scores = number(rng)
    block = np.arange(len(scores)) // 80
    found = metrics.figures(scores, block, quality.replicate(scores, block), features=3)
    expected = sk.mean_absolute_percentage_error(scores.label, scores.predicted)
    assert found["mape"]["value"] == pytest.approx(expected, abs=1e-6)
    assert found["mape"]["low"] < expected < found["mape"]["high"]
    r2 = sk.r2_score(scores.label, scores.predicted)
    assert found["adjusted_r2"]["value"] == pytest.approx(1 - (1 - r2) * 799 / 796, abs=1e-6)
    assert metrics.adjusted(0.5, 4, 3) is None
    with_zero = Scores(REGRESSION, np.append(scores.label, 0.0), np.append(scores.predicted, 1.0))
    block = np.append(block, 9)
    found = metrics.figures(with_zero, block, quality.replicate(with_zero, block), features=3)
    assert found["mape"] == {"value": None, "low": None, "high": None}
    assert metrics.notes(with_zero) == ["mape is not defined: 1 of 801 labels are 0"]


def test_calibration_is_scikit_learns_in_bins_of_equally_many(rng: np.random.Generator) -> None:
    scores = binary(rng)
    found = metrics.calibration(scores.label, scores.probability)
    actual, predicted = calibration_curve(scores.label, scores.probability, n_bins=10, strategy="quantile")
    assert [part["actual"] for part in found] == pytest.approx(actual, abs=1e-6)
    assert [part["predicted"] for part in found] == pytest.approx(predicted, abs=1e-6)
    assert {part["rows"] for part in found} == {200}
    same = metrics.calibration(scores.label, np.full(len(scores), 0.3))
    assert len(same) == 1 and same[0]["rows"] == len(scores)


def test_the_calibration_error_is_what_the_paper_defines() -> None:
    """Of ten rows at 0.9 nine are positive, of ten at 0.3 none: off by 0 and by 0.3, in equal parts."""
    label = np.array([1] * 9 + [0] + [0] * 10)
    scores = Scores(BINARY, label, label, np.repeat([0.9, 0.3], 10))
    assert metrics.calibration_error(scores) == pytest.approx(0.15)


def test_curves_keep_their_ends_and_their_area(rng: np.random.Generator) -> None:
    scores = binary(rng, 20_000)
    found = metrics.curves(scores)
    assert len(found["roc"]) <= metrics.CURVE_POINTS and found["roc"][0] == [0.0, 0.0]
    assert found["roc"][-1] == [1.0, 1.0] and found["pr"][-1][0] == 1.0
    x, y = zip(*found["roc"], strict=True)
    assert sk.auc(x, y) == pytest.approx(sk.roc_auc_score(scores.label, scores.probability), abs=2e-3)


def pair(rng: np.random.Generator, better: float, days: int = 14, rows: int = 100) -> tuple[np.ndarray, ...]:
    """The losses of two models on the same days: a day is hard for both."""
    day = np.repeat(np.arange(days), rows)
    hard = np.repeat(rng.normal(0, 0.3, days), rows)
    ours, theirs = (np.abs(1 + hard + rng.normal(0, 0.1, len(day))) for _ in range(2))
    return ours, theirs + better, day


def gained(ours: np.ndarray, theirs: np.ndarray, day: np.ndarray, confidence: float = 0.9) -> gains.Figure:
    sides = [Scores(REGRESSION, np.zeros(len(day)), errors) for errors in (ours, theirs)]
    drawn = np.subtract(*(quality.replicate(side, day)[:, 1] for side in sides))
    figures = [{"value": quality.values(side)["mae"]} for side in sides]
    return gains.gain("mae", *figures, drawn, int(day.max()) + 1, confidence)


def test_a_gain_is_positive_where_the_challenger_is_better(rng: np.random.Generator) -> None:
    found = gained(*pair(rng, 0.1))
    assert 0 < found["low"] < found["at_least"] < found["value"] < found["high"]
    assert found["value"] == pytest.approx(0.1, abs=0.02)


def test_what_makes_a_day_hard_for_both_cancels_out(rng: np.random.Generator) -> None:
    """Each model's own interval is as wide as the days differ; that of their difference is not."""
    ours, theirs, day = pair(rng, 0.1)
    own = quality.intervals(Scores(REGRESSION, np.zeros(len(day)), ours), day)["mae"]
    found = gained(ours, theirs, day)
    assert found["high"] - found["low"] < (own["high"] - own["low"]) / 5


def test_the_interval_is_scipys_bootstrap_of_the_days(rng: np.random.Generator) -> None:
    """SciPy draws the same days and takes plain percentiles; ours are as much wider as fourteen days ask."""
    ours, theirs, day = pair(rng, 0.05)
    daily = np.array([(theirs - ours)[day == each].mean() for each in range(14)])
    plain = stats.bootstrap((daily,), np.mean, n_resamples=4000, method="percentile", rng=rng)
    found = gained(ours, theirs, day)
    error = (found["value"] - found["at_least"]) / stats.t.ppf(0.9, 13)
    assert error == pytest.approx(plain.standard_error * math.sqrt(14 / 13), rel=0.1)
    low, high = plain.confidence_interval
    assert found["low"] < low < high < found["high"]
    assert found["high"] - found["low"] == pytest.approx((high - low) * 1.14, rel=0.1)


def test_the_bound_holds_as_often_as_it_says() -> None:
    """Two models that are equally good, fourteen days: nine times in ten the bound stays under zero."""
    rng = np.random.default_rng(1)
    promoted = 0
    for _ in range(400):
        daily = rng.normal(0, 0.1, 14)  # the difference between the models differs from day to day
        ours = np.full(140, 1.0)
        promoted += gained(ours, ours + np.repeat(daily, 10), np.repeat(np.arange(14), 10))["at_least"] > 0
    assert promoted / 400 == pytest.approx(0.1, abs=0.04)


def test_the_chance_of_a_loss_is_students(rng: np.random.Generator) -> None:
    drawn = rng.normal(-0.1, 0.05, 1000)
    found = gains.loss_chance("roc_auc", {"value": 0.6}, {"value": 0.7}, drawn, 14)
    t = -0.1 / (drawn.std(ddof=1) * math.sqrt(14 / 13))
    assert found["chance"] == pytest.approx(stats.t.cdf(t, 13), abs=1e-6)
    better = gains.loss_chance("roc_auc", {"value": 0.7}, {"value": 0.6}, -drawn, 14)
    assert better["chance"] == pytest.approx(1 - found["chance"], abs=1e-3)


@pytest.mark.parametrize(
    ("drawn", "blocks"), [(np.full(1000, np.nan), 14), (np.r_[np.nan * np.ones(501), np.ones(499)], 14)]
)
def test_what_is_mostly_undefined_has_no_bound(drawn: np.ndarray, blocks: int) -> None:
    known = {"value": 0.7}, {"value": 0.6}
    assert gains.gain("roc_auc", *known, drawn, blocks, 0.9)["at_least"] is None
    assert gains.loss_chance("roc_auc", *known, drawn, blocks)["chance"] is None


def test_one_block_has_no_bound() -> None:
    assert gains.gain("roc_auc", {"value": 0.7}, {"value": 0.6}, np.zeros(1000), 1, 0.9)["at_least"] is None


def test_the_constant_of_probabilities_is_scikit_learns_prior(rng: np.random.Generator) -> None:
    scores = binary(rng)
    label = rng.integers(0, 4, 300) == 0
    found = constant.best(BINARY, label.astype(float))
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((300, 1)), label)
    expected = sk.log_loss(scores.label, dummy.predict_proba(np.zeros((len(scores), 1))))
    answer = found["log_loss"].answer(scores)
    assert metrics.values(answer)["log_loss"] == pytest.approx(expected, abs=1e-6)
    assert metrics.values(answer)["roc_auc"] == 0.5
    assert found["accuracy"].words == "always 0" and found["f1"].words == "always 1"
    assert metrics.values(found["f1"].answer(scores))["recall"] == 1.0


def test_no_constant_does_better_in_any_metric(rng: np.random.Generator) -> None:
    """On the rows that it was learned from: by any other share, class or number."""
    label = several(rng, 600).label
    label[:150] = 0
    asked = Scores(MULTICLASS, label, label, None, CLASSES)
    for name, best in constant.best(MULTICLASS, label.astype(float), CLASSES).items():
        value = metrics.values(best.answer(asked))[name]
        for code in range(3):
            for shares in ((0.5, 0.3, 0.2), (1 / 3, 1 / 3, 1 / 3)):
                other = metrics.values(constant.Constant("", code, shares).answer(asked))[name]
                worse = other is None or (other >= value if name == "log_loss" else other <= value)
                assert worse, (name, code, other, value)


@pytest.mark.parametrize(("name", "strategy"), [("rmse", "mean"), ("r2", "mean"), ("mae", "median")])
def test_the_constant_of_a_number_is_scikit_learns(
    rng: np.random.Generator, name: str, strategy: str
) -> None:
    scores, label = number(rng), rng.exponential(10, 500)
    dummy = DummyRegressor(strategy=strategy).fit(np.zeros((500, 1)), label)
    answer = constant.best(REGRESSION, label)[name].answer(scores)
    assert answer.predicted[0] == pytest.approx(dummy.predict([[0]])[0])


SPEC = """
name: demo
task: binary_classification
target: label
id: id
time: at
protected: [sex]
features: {x: number}
gate: {primary: roc_auc}
monitor: {every: 7d}
"""


def test_the_chance_of_bias_is_that_of_the_two_proportion_test_where_days_do_not_vary(tmp_path) -> None:
    """Forty women without a single positive answer beside a thousand men of whom 3 % have one: the women's
    days do not vary at all, and yet chance would often do the same."""
    (tmp_path / "model.yaml").write_text(SPEC)
    spec = model_spec.load(tmp_path)
    rng = np.random.default_rng(2)
    rows = 1040
    men = np.arange(rows) >= 40
    positive = men & (np.arange(rows) % 33 == 0)
    at = rng.permutation(rows) % 14 * DAY
    table = pa.table(
        {
            "id": [str(row) for row in range(rows)],
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "sex": np.where(men, "m", "f"),
            "x": np.zeros(rows),
            "label": np.arange(rows) % 2,
        }
    )
    answers = [{"prediction": int(each), "probability": float(each)} for each in positive]
    found, skipped = fairness.groups(spec, evaluation.answered(spec, table, Scored(answers, {})))
    women = found["sex=f"]
    assert (women["rows"], women["rest"], skipped) == (40, 1000, [])
    share = positive[men].mean()
    assert women["metrics"]["DPPL"]["value"] == pytest.approx(share, abs=1e-5)
    pooled = positive.mean()
    z = share / math.sqrt(pooled * (1 - pooled) * (1 / 40 + 1 / 1000))
    assert women["metrics"]["DPPL"]["chance"] == pytest.approx(stats.t.sf(z, 13), abs=1e-5)
    assert women["metrics"]["DI"] == women["metrics"]["DI"] | {
        "value": 0.0,
        "chance": women["metrics"]["DPPL"]["chance"],
    }
    assert women["metrics"]["CI"]["chance"] is None
