"""The detector, the estimate without labels, and the name of a trend."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.monitor import detector, estimate, losses, quality, trend
from jobs.monitor.detector import Settings
from jobs.monitor.quality import Scores
from jobs.spec import BINARY, MULTICLASS, REGRESSION

DAY = 86_400_000_000


def settings(rng: np.random.Generator, days: int = 28, tolerance: float = 0.02) -> Settings:
    """Days of 200 rows whose error rate is 0.2, give or take 0.03 from day to day."""
    loss, block = days_of(rng, np.full(days, 0.2))
    return detector.fit(
        loss,
        block,
        name="error",
        cap=None,
        tolerance=tolerance,
        seconds=86_400,
        window_blocks=7,
    )


def days_of(rng: np.random.Generator, rates: np.ndarray, rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rates = np.clip(rates + rng.normal(0, 0.03, len(rates)), 0, 1)
    block = np.repeat(np.arange(len(rates)), rows)
    return (rng.random(len(block)) < rates[block]).astype(float), block


def watch(known: Settings, rng: np.random.Generator, rates: np.ndarray) -> detector.Detection:
    loss, block = days_of(rng, rates)
    means = np.bincount(block, loss) / np.bincount(block)
    return detector.run(known, means, np.bincount(block))


def test_a_good_model_is_left_alone_for_a_year() -> None:
    fired = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        fired += watch(settings(rng), rng, np.full(365, 0.2)).has_fired
    assert fired == 0


def test_at_the_edge_of_what_is_tolerated_at_most_the_stated_share_of_windows_alarms() -> None:
    """One window of 52 weeks is under watch: at most 52 times one in a hundred."""
    fired = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        known = settings(rng, days=60)
        loss, block = days_of(rng, np.full(7, 0.22))
        means = np.bincount(block, loss) / np.bincount(block)
        fired += detector.run(known, means, np.bincount(block)).has_fired
    assert fired <= 2


def test_a_worse_model_is_found_and_the_day_is_named() -> None:
    rng = np.random.default_rng(5)
    known = settings(rng)
    found = watch(known, rng, np.concatenate([np.full(30, 0.2), np.full(20, 0.3)]))
    assert found.has_fired and 30 <= found.fired_at < 42
    assert abs(found.since - 30) <= 2


def test_a_model_that_recovers_is_believed_within_weeks() -> None:
    rng = np.random.default_rng(6)
    known = settings(rng)
    found = watch(known, rng, np.concatenate([np.full(30, 0.4), np.full(28, 0.2)]))
    assert not found.has_fired


def test_days_of_few_rows_do_not_alarm() -> None:
    fired = 0
    for seed in range(50):
        rng = np.random.default_rng(seed)
        known = settings(rng)
        loss, block = days_of(rng, np.full(120, 0.2), rows=20)
        means = np.bincount(block, loss) / np.bincount(block)
        fired += detector.run(known, means, np.bincount(block)).has_fired
    assert fired == 0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_baseline_that_never_varies(value: float) -> None:
    known = detector.fit(
        np.full(100, value),
        np.arange(100) // 10,
        name="error",
        cap=None,
        tolerance=0.05,
        seconds=86_400,
        window_blocks=7,
    )
    assert not detector.run(known, [value] * 50, [10] * 50).has_fired
    assert Settings.from_dict(known.as_dict()) == known
    if value == 0.0:
        assert detector.run(known, [0.9] * 50, [10] * 50).has_fired


def test_one_day_of_baseline_and_no_day_of_window() -> None:
    known = detector.fit(
        np.array([0.0, 1.0, 0.0]),
        np.zeros(3, int),
        name="error",
        cap=None,
        tolerance=0.1,
        seconds=86_400,
        window_blocks=7,
    )
    assert detector.run(known, [], []).value == 0.0
    assert np.isfinite(detector.run(known, [1.0] * 5, [30] * 5).value)


def test_losses_are_what_the_metrics_average() -> None:
    rng = np.random.default_rng(1)
    label, probability = rng.integers(0, 2, 500), rng.random(500)
    scores = Scores(BINARY, label, (probability > 0.5).astype(int), probability)
    values = quality.values(scores)
    for metric in ("log_loss", "brier"):
        assert losses.of_rows(scores, metric).mean() == pytest.approx(values[metric], abs=1e-6)
    assert 1 - losses.of_rows(scores, "error").mean() == pytest.approx(values["accuracy"])
    shares = rng.dirichlet([1, 1, 1], 500)
    several = Scores(MULTICLASS, rng.integers(-1, 3, 500), shares.argmax(1), shares, ("a", "b", "c"))
    log_loss = losses.of_rows(several, "log_loss").mean()
    assert log_loss == pytest.approx(quality.values(several)["log_loss"], abs=1e-6)
    brier = losses.of_rows(several, "brier")
    assert brier.min() >= 0 and brier.max() <= 1
    numbers = Scores(REGRESSION, rng.normal(size=500), rng.normal(size=500))
    assert losses.of_rows(numbers, "squared").mean() ** 0.5 == pytest.approx(
        quality.values(numbers)["rmse"], abs=1e-6
    )


@pytest.mark.parametrize(
    ("metric", "has_probability", "name"),
    [
        ("roc_auc", True, "brier"),
        ("roc_auc", False, "error"),
        ("log_loss", True, "log_loss"),
        (None, True, "brier"),
    ],
)
def test_each_metric_has_its_loss(metric: str | None, has_probability: bool, name: str) -> None:
    half = np.full(2, 0.5) if has_probability else None
    assert losses.name_for(metric, Scores(BINARY, np.array([0, 1]), np.array([0, 1]), half)) == name


def test_the_tolerance_is_the_metrics_where_the_loss_is_its_own() -> None:
    assert losses.tolerance({"tolerance": 0.05}, "log_loss", "log_loss", 0.4) == 0.05
    assert losses.tolerance({"tolerance": 0.05}, "roc_auc", "brier", 0.12) == pytest.approx(0.012)
    assert losses.tolerance({"tolerance": 1.0}, "rmse", "squared", 4.0) == pytest.approx(5.0)
    assert losses.tolerance({"detector": {"tolerance": 0.01}}, "log_loss", "log_loss", 0.4) == 0.01


def overconfident(rng: np.random.Generator, rows: int, centre: float) -> Scores:
    """A model whose probabilities are too far from one half: the truth is nearer."""
    truth = np.clip(rng.normal(centre, 0.2, rows), 0.02, 0.98)
    said = np.clip(0.5 + 1.5 * (truth - 0.5), 0.01, 0.99)
    label = (rng.random(rows) < truth).astype(int)
    return Scores(BINARY, label, (said > 0.5).astype(int), said)


@pytest.mark.parametrize("metric", ["roc_auc", "accuracy", "log_loss", "brier", "f1"])
def test_an_estimate_without_labels_holds_the_truth_where_only_the_inputs_moved(metric: str) -> None:
    rng = np.random.default_rng(2)
    holdout = overconfident(rng, 20_000, 0.5)
    calibration = estimate.fit(holdout, np.arange(20_000) // 1000)
    moved = overconfident(rng, 7000, 0.65)
    guess = estimate.estimate(metric, moved.probability, moved.predicted, 7, calibration)
    truth = quality.values(moved)[metric]
    assert guess["marked"] == "estimate without labels" and guess["metric"] == metric
    assert guess["low"] - 0.01 <= truth <= guess["high"] + 0.01
    assert guess["value"] == pytest.approx(truth, abs=0.02)
    assert estimate.Calibration.from_dict(calibration.as_dict()) == calibration


def test_no_estimate_without_probabilities() -> None:
    rng = np.random.default_rng(2)
    calibration = estimate.fit(overconfident(rng, 5000, 0.5), np.arange(5000) // 500)
    assert estimate.estimate("brier", np.full(3, np.nan), np.ones(3), 1, calibration) is None
    assert (
        estimate.fit(Scores(BINARY, np.ones(9, int), np.ones(9, int), np.full(9, 0.5)), np.arange(9)) is None
    )


def named(means: np.ndarray, seed: int = 0, noise: float = 0.01) -> trend.Trend:
    rng = np.random.default_rng(seed)
    size = len(means)
    return trend.trend(np.arange(size) * DAY, means + rng.normal(0, noise, size), np.full(size, 100))


def test_a_trend_has_a_name() -> None:
    flat = np.full(60, 0.2)
    assert sum(named(flat, seed).kind != "none" for seed in range(200)) <= 6
    step = named(np.where(np.arange(60) >= 40, 0.26, 0.2))
    assert (step.kind, step.direction) == ("sudden", "up") and abs(step.since / DAY - 40) <= 1
    assert named(np.where(np.arange(60) >= 40, 0.14, 0.2)).direction == "down"
    slope = named(0.2 + 0.003 * np.maximum(np.arange(60) - 30, 0))
    assert slope.kind == "gradual" and abs(slope.since / DAY - 30) <= 6
    days = np.arange(400)
    summer = named(np.where((days % 364 >= 6) & (days % 364 < 36), 0.26, 0.2))
    assert summer.kind == "recurring" and summer.period == 364
    assert named(np.where(days >= 370, 0.26, 0.2)).kind == "sudden"
    assert named(np.where(days[:60] == 59, 0.5, 0.2)).kind == "sudden"  # a slope over one day is none


def test_a_short_or_a_constant_series_has_none() -> None:
    assert named(np.array([0.1, 0.9, 0.1]), noise=0).kind == "none"
    assert named(np.full(30, 0.2), noise=0).kind == "none"
    exact = named(np.where(np.arange(30) >= 20, 0.5, 0.2), noise=0)
    assert exact.kind == "sudden" and exact.since == 20 * DAY
