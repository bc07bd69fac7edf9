"""Model metrics with block-bootstrap intervals, in NumPy: importing scikit-learn takes longer than the job.

Every metric takes row weights, so that a bootstrap replicate is a vector of weights over rows that were
sorted once. Rows close in time are not independent (flights of a day share their weather): whole blocks are
drawn, not rows. The definitions are scikit-learn's; tests compare them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.spec import BINARY, MULTICLASS, REGRESSION

REPLICATES = 200
MIN_DAYS = 5
RUNS = 20
DAY = 86_400_000_000  # microseconds
EPSILON = 1e-7  # probabilities arrive rounded to six digits: a 0 is less than 1e-6
LOWER_IS_BETTER = {"log_loss", "brier", "rmse", "mae"}
_NAMES = {
    BINARY: ["roc_auc", "pr_auc", "log_loss", "brier", "f1", "precision", "recall", "accuracy"],
    MULTICLASS: [
        "roc_auc",
        "log_loss",
        "accuracy",
        *(f"{name}_{average}" for average in ("macro", "weighted") for name in ("precision", "recall", "f1")),
    ],
    REGRESSION: ["rmse", "mae", "r2"],
}

Weighted = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Scores:
    """Labels and predictions of n rows.

    binary: `label` and `predicted` 0 or 1, `probability` (n,) of class 1. multiclass: `label` and
    `predicted` codes into `classes` (-1: a class that the model does not know), `probability` (n, classes).
    regression: numbers, no `probability`. `probability` may be None where the model returns none: its
    metrics are then left out.
    """

    task: str
    label: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray | None = None
    classes: tuple[str, ...] = ()

    def take(self, rows: np.ndarray) -> Scores:
        probability = None if self.probability is None else self.probability[rows]
        return Scores(self.task, self.label[rows], self.predicted[rows], probability, self.classes)

    def __len__(self) -> int:
        return len(self.label)


def names(task: str) -> list[str]:
    return _NAMES[task]


def blocks(times: np.ndarray) -> np.ndarray:
    """Block number of each row. `times` in microseconds: calendar days (UTC) where there are at least
    MIN_DAYS, else RUNS equal runs of rows in order of time."""
    days, block = np.unique(times // DAY, return_inverse=True)
    if len(days) >= MIN_DAYS:
        return block
    rank = np.empty(len(times), np.int64)
    rank[np.argsort(times, kind="stable")] = np.arange(len(times))
    return rank * min(RUNS, len(times)) // max(len(times), 1)


def draws(block: np.ndarray, replicates: int = REPLICATES, seed: int = 0) -> np.ndarray:
    """(replicates, blocks): how often each block is drawn, with replacement."""
    count = int(block.max()) + 1
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=replicates)


def values(scores: Scores) -> dict[str, float | None]:
    """Each metric; None where it is not defined (one class only, no probabilities)."""
    found = _evaluator(scores)(np.ones(len(scores)))
    return {name: _number(value) for name, value in zip(names(scores.task), found, strict=True)}


def intervals(scores: Scores, block: np.ndarray) -> dict[str, dict[str, float | None]]:
    """`{"roc_auc": {"value", "low", "high"}, ...}`: percentile intervals at 95 % from the block bootstrap."""
    return _summary(scores.task, values(scores), replicate(scores, block))


def replicate(scores: Scores, block: np.ndarray) -> np.ndarray:
    """(replicates, metrics), undefined metrics NaN. Equal blocks give equal draws: two models'
    replicates pair."""
    evaluate = _evaluator(scores)
    return np.stack([evaluate(weights[block].astype(float)) for weights in draws(block)])


def difference(challenger: Scores, champion: Scores, block: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Challenger minus champion on the same rows, with the interval of the paired differences."""
    ours, theirs = values(challenger), values(champion)
    value = {
        name: None if ours[name] is None or theirs[name] is None else ours[name] - theirs[name]
        for name in ours
    }
    return _summary(challenger.task, value, replicate(challenger, block) - replicate(champion, block))


def _summary(task: str, value: dict[str, float | None], replicates: np.ndarray) -> dict[str, Any]:
    summary = {}
    for index, name in enumerate(names(task)):
        column = replicates[:, index]
        column = column[np.isfinite(column)]
        low, high = (
            np.quantile(column, [0.025, 0.975]) if len(column) and value[name] is not None else (None, None)
        )
        summary[name] = {"value": _number(value[name]), "low": _number(low), "high": _number(high)}
    return summary


def _evaluator(scores: Scores) -> Weighted:
    return {BINARY: _binary, MULTICLASS: _multiclass, REGRESSION: _regression}[scores.task](scores)


def _binary(scores: Scores) -> Weighted:
    label = scores.label.astype(float)
    predicted = scores.predicted.astype(float)
    probability = scores.probability
    if probability is None:
        curves: Weighted = lambda weights: np.full(4, np.nan)  # noqa: E731
    else:
        areas = _areas(label, probability)
        clipped = np.clip(probability, EPSILON, 1 - EPSILON)
        loss = -(label * np.log(clipped) + (1 - label) * np.log1p(-clipped))
        square = (probability - label) ** 2

        def curves(weights: np.ndarray) -> np.ndarray:
            total = weights.sum()
            return np.array([*areas(weights), weights @ loss / total, weights @ square / total])

    hits = label * predicted

    def evaluate(weights: np.ndarray) -> np.ndarray:
        positives, called, both, total = weights @ label, weights @ predicted, weights @ hits, weights.sum()
        precision, recall = _ratio(both, called), _ratio(both, positives)
        f1 = _ratio(2 * both, called + positives)
        accuracy = (total - positives - called + 2 * both) / total
        return np.array([*curves(weights), f1, precision, recall, accuracy])

    return evaluate


def _areas(label: np.ndarray, score: np.ndarray) -> Callable[[np.ndarray], tuple[float, float]]:
    """ROC AUC (ties count half) and average precision, sum of (R_k - R_(k-1)) P_k over distinct scores."""
    order = np.argsort(-score, kind="stable")
    label = label[order]
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True)) if len(order) else np.array([], int)

    def areas(weights: np.ndarray) -> tuple[float, float]:
        weights = weights[order]
        positive = np.cumsum(weights * label)[ends]
        everyone = np.cumsum(weights)[ends]
        negative = everyone - positive
        if positive[-1] == 0 or negative[-1] == 0:
            return np.nan, np.nan
        gained = np.diff(positive, prepend=0.0)
        above = np.diff(negative, prepend=0.0)
        roc = (above * (positive - gained / 2)).sum() / (positive[-1] * negative[-1])
        precision = np.divide(positive, everyone, out=np.zeros_like(positive), where=everyone > 0)
        return roc, (gained * precision).sum() / positive[-1]

    return areas


def _multiclass(scores: Scores) -> Weighted:
    size = len(scores.classes)
    label = scores.label
    # A label or a prediction outside the known classes is wrong whatever it is: one more row and column.
    actual_code, called_code = (np.where(code < 0, size, code) for code in (label, scores.predicted))
    cell = actual_code * (size + 1) + called_code
    probability = scores.probability
    if probability is not None:
        known = np.where(label < 0, 0, label)
        chosen = np.where(label < 0, 0.0, probability[np.arange(len(label)), known])
        loss = -np.log(np.clip(chosen, EPSILON, 1.0))
        areas = [_areas((label == code).astype(float), probability[:, code]) for code in range(size)]

    def evaluate(weights: np.ndarray) -> np.ndarray:
        matrix = np.bincount(cell, weights, (size + 1) ** 2).reshape(size + 1, size + 1)
        hits, actual, called = np.diag(matrix), matrix.sum(1), matrix.sum(0)
        precision, recall = _ratio(hits, called), _ratio(hits, actual)
        f1 = _ratio(2 * hits, called + actual)
        present = (actual + called) > 0
        total = weights.sum()
        ranked = (
            np.nan if probability is None else np.nanmean([area(weights)[0] for area in areas] or [np.nan])
        )
        lost = np.nan if probability is None else weights @ loss / total
        averages = [column[present].mean() for column in (precision, recall, f1)]
        averages += [column @ actual / total for column in (precision, recall, f1)]
        return np.array([ranked, lost, hits[:size].sum() / total, *averages])

    return evaluate


def _regression(scores: Scores) -> Weighted:
    label = scores.label.astype(float)
    error = scores.predicted.astype(float) - label

    def evaluate(weights: np.ndarray) -> np.ndarray:
        total = weights.sum()
        square = weights @ error**2 / total
        mean = weights @ label / total
        variance = weights @ (label - mean) ** 2 / total
        r2 = 1 - square / variance if variance > 0 else np.nan
        return np.array([np.sqrt(square), weights @ np.abs(error) / total, r2])

    return evaluate


def _ratio(part: Any, whole: Any) -> Any:
    """0 where there is nothing to divide by, as scikit-learn's zero_division=0."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def _number(value: Any) -> float | None:
    if value is None or not np.isfinite(value):
        return None
    return round(float(value), 6)
