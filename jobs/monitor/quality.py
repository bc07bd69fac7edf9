"""Model metrics with block-bootstrap intervals, in NumPy: importing scikit-learn takes longer than the job.

Rows close in time are not independent (flights of a day share their weather): whole blocks are drawn, not
rows. All that a replicate needs is sums over rows, kept per block: a replicate is a weighted sum of blocks,
and a thousand of them over a million rows are one matrix product. The two areas need a ranking: their
replicates use BINS groups of neighbouring scores, their values every row. Definitions are scikit-learn's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.monitor.bootstrap import REPLICATES, draws, levels
from jobs.spec import BINARY, MULTICLASS, REGRESSION

BINS = 500
MIN_DAYS = 5
RUNS = 20
DAY = 86_400_000_000  # microseconds
EPSILON = 1e-7  # probabilities arrive rounded to six digits: a 0 is less than 1e-6
LOWER_IS_BETTER = {"log_loss", "brier", "rmse", "mae"}
AREAS = ("roc_auc", "pr_auc")
_NAMES = {
    BINARY: [*AREAS, "log_loss", "brier", "f1", "precision", "recall", "accuracy"],
    MULTICLASS: [
        "roc_auc",
        "log_loss",
        "accuracy",
        *(f"{name}_{average}" for average in ("macro", "weighted") for name in ("precision", "recall", "f1")),
    ],
    REGRESSION: ["rmse", "mae", "r2"],
}


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


@dataclass(frozen=True)
class Sums:
    """Per block (and, for the areas, per group of scores) what the metrics are made of.

    `plain`: (blocks, k) sums; `ranked`: per class (or once) an int64 (blocks, groups, 2) of negatives and
    positives in descending order of score, empty without probabilities.
    """

    plain: np.ndarray
    ranked: tuple[np.ndarray, ...]


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


def values(scores: Scores) -> dict[str, float | None]:
    """Each metric on all rows; None where it is not defined (no rows, one class only, no probabilities)."""
    if not len(scores):
        return dict.fromkeys(names(scores.task))
    sums = _sums(scores, np.zeros(len(scores), np.int64), bins=None)
    found = _metrics(scores.task, sums, np.ones((1, 1)))[0]
    return {name: number(value) for name, value in zip(names(scores.task), found, strict=True)}


def intervals(scores: Scores, block: np.ndarray) -> dict[str, dict[str, float | None]]:
    """`{"roc_auc": {"value", "low", "high"}, ...}`, 95 % intervals. `block`: as `blocks` gives it."""
    return summary(scores.task, values(scores), replicate(scores, block), _count(block))


def difference(challenger: Scores, champion: Scores, block: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Challenger minus champion on the same rows, with the interval of the paired differences."""
    ours, theirs = values(challenger), values(champion)
    value = {
        name: None if ours[name] is None or theirs[name] is None else ours[name] - theirs[name]
        for name in ours
    }
    replicates = replicate(challenger, block) - replicate(champion, block)
    return summary(challenger.task, value, replicates, _count(block))


def replicate(scores: Scores, block: np.ndarray) -> np.ndarray:
    """(replicates, metrics), undefined metrics NaN. Equal blocks give equal draws: two models' replicates
    pair."""
    if not len(scores):
        return np.full((REPLICATES, len(names(scores.task))), np.nan)
    return _metrics(scores.task, _sums(scores, block, BINS), draws(_count(block)))


def number(value: Any) -> float | None:
    if value is None or not np.isfinite(value):
        return None
    return round(float(value), 6)


def summary(
    task: str, value: dict[str, float | None], replicates: np.ndarray, blocks_: int
) -> dict[str, dict[str, float | None]]:
    """Values with their 95 % intervals, from `replicate`'s replicates or from differences of two of them."""
    found = {}
    low, high = levels(blocks_)
    for index, name in enumerate(names(task)):
        column = replicates[:, index]
        column = column[np.isfinite(column)]
        bounds = (None, None)
        if len(column) and value[name] is not None:
            bounds = np.quantile(column, [low, high])
        found[name] = {"value": number(value[name]), "low": number(bounds[0]), "high": number(bounds[1])}
    return found


def _count(block: np.ndarray) -> int:
    return int(block.max()) + 1 if len(block) else 1


def _sums(scores: Scores, block: np.ndarray, bins: int | None) -> Sums:
    return {BINARY: _binary_sums, MULTICLASS: _multiclass_sums, REGRESSION: _regression_sums}[scores.task](
        scores, block, bins
    )


def _per_block(block: np.ndarray, *columns: np.ndarray) -> np.ndarray:
    size = _count(block)
    return np.stack([np.bincount(block, column, minlength=size) for column in columns], axis=1)


def _binary_sums(scores: Scores, block: np.ndarray, bins: int | None) -> Sums:
    label, predicted = scores.label.astype(float), scores.predicted.astype(float)
    plain = [np.ones(len(label)), label, predicted, label * predicted]
    if scores.probability is None:
        return Sums(_per_block(block, *plain), ())
    loss, square = losses(label, scores.probability)
    ranked = _ranked(scores.label == 1, scores.probability, block, bins)
    return Sums(_per_block(block, *plain, loss, square), (ranked,))


def losses(label: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log loss (nats) and squared error of each row."""
    clipped = np.clip(probability, EPSILON, 1 - EPSILON)
    return -np.log(np.where(label > 0, clipped, 1 - clipped)), (probability - label) ** 2


def _ranked(is_positive: np.ndarray, score: np.ndarray, block: np.ndarray, bins: int | None) -> np.ndarray:
    """Negatives and positives by block and group, groups in descending order of score. A group is one score;
    where there are more of them than `bins`, neighbours share one, each with about as many of the positives
    and of the negatives together: a rare class is not all in the first."""
    order = np.argsort(-score, kind="stable")
    ordered, positive = score[order], is_positive[order]
    is_next = np.concatenate(([False], ordered[1:] != ordered[:-1]))
    group = np.cumsum(is_next)
    if bins and group[-1] + 1 > bins:
        gained = np.cumsum(positive)
        lost = np.arange(1, len(order) + 1) - gained
        share = gained / max(gained[-1], 1) + lost / max(lost[-1], 1)
        first = np.flatnonzero(np.concatenate(([True], is_next[1:])))  # equal scores stay together
        group = np.unique((share[first] * bins / 2).astype(int)[group], return_inverse=True)[1]
    size = int(group[-1]) + 1
    cell = (block[order] * size + group) * 2 + positive
    return np.bincount(cell, minlength=_count(block) * size * 2).reshape(-1, size, 2)


def _areas(ranked: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ROC AUC (ties count half) and average precision, sum of (R_k - R_(k-1)) P_k, of each row of weights."""
    size = ranked.shape[1]
    counts = (weights @ ranked.reshape(len(ranked), -1)).reshape(-1, size, 2)
    lost, gained = counts[..., 0], counts[..., 1]
    positive, negative = gained.cumsum(1), lost.cumsum(1)
    above = positive - gained / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        roc = (lost * above).sum(1) / (positive[:, -1] * negative[:, -1])
        precision = np.nan_to_num(positive / (positive + negative))
        average = (gained * precision).sum(1) / positive[:, -1]
    one_class = (positive[:, -1] == 0) | (negative[:, -1] == 0)
    return np.where(one_class, np.nan, roc), np.where(one_class, np.nan, average)


def _multiclass_sums(scores: Scores, block: np.ndarray, bins: int | None) -> Sums:
    size = len(scores.classes) + 1  # a label or prediction outside the known classes has a code of its own
    label, predicted = (np.where(code < 0, size - 1, code) for code in (scores.label, scores.predicted))
    cell = (block * size + label) * size + predicted
    matrix = np.bincount(cell, minlength=_count(block) * size * size).reshape(-1, size * size).astype(float)
    probability = scores.probability
    if probability is None:
        return Sums(matrix, ())
    known = np.where(scores.label < 0, 0, scores.label)
    chosen = np.where(scores.label < 0, 0.0, probability[np.arange(len(label)), known])
    loss = -np.log(np.clip(chosen, EPSILON, 1.0))
    ranked = tuple(
        _ranked(scores.label == code, probability[:, code], block, bins) for code in range(size - 1)
    )
    return Sums(np.column_stack([_per_block(block, loss), matrix]), ranked)


def _regression_sums(scores: Scores, block: np.ndarray, bins: int | None) -> Sums:
    label = scores.label.astype(float)
    error = scores.predicted.astype(float) - label
    centred = label - label.mean()  # squares of large numbers would drown the variance
    return Sums(_per_block(block, np.ones(len(label)), error**2, np.abs(error), centred, centred**2), ())


def _metrics(task: str, sums: Sums, weights: np.ndarray) -> np.ndarray:
    """(rows of weights, metrics)."""
    plain = weights @ sums.plain
    with np.errstate(invalid="ignore", divide="ignore"):
        if task == BINARY:
            return _binary(plain, sums.ranked, weights)
        if task == MULTICLASS:
            return _multiclass(plain, sums.ranked, weights)
        return _regression(plain)


def _binary(plain: np.ndarray, ranked: tuple[np.ndarray, ...], weights: np.ndarray) -> np.ndarray:
    total, positives, called, both = plain.T[:4]
    curves = np.full((4, len(plain)), np.nan)
    if ranked:
        curves = np.stack([*_areas(ranked[0], weights), plain[:, 4] / total, plain[:, 5] / total])
    f1 = _ratio(2 * both, called + positives)
    accuracy = (total - positives - called + 2 * both) / total
    return np.stack([*curves, f1, _ratio(both, called), _ratio(both, positives), accuracy], axis=1)


def _multiclass(plain: np.ndarray, ranked: tuple[np.ndarray, ...], weights: np.ndarray) -> np.ndarray:
    has_loss = bool(ranked)
    matrix = plain[:, has_loss:]
    size = math.isqrt(matrix.shape[1])
    matrix = matrix.reshape(-1, size, size)
    hits, actual, called = np.diagonal(matrix, axis1=1, axis2=2), matrix.sum(2), matrix.sum(1)
    total = actual.sum(1)
    parts = [(hits, called), (hits, actual), (2 * hits, called + actual)]
    macro = [np.nanmean(_ratio(*part), axis=1) for part in parts]
    weighted = [_weighted(_ratio(*part), actual) for part in parts]
    roc = lost = np.full(len(plain), np.nan)
    if has_loss:
        areas = np.stack([_areas(counts, weights)[0] for counts in ranked])
        defined = np.isfinite(areas).sum(0)
        roc = np.nansum(areas, axis=0) / np.where(defined, defined, np.nan)
        lost = plain[:, 0] / total
    accuracy = hits[:, : size - 1].sum(1) / total
    return np.stack([roc, lost, accuracy, *macro, *weighted], axis=1)


def _regression(plain: np.ndarray) -> np.ndarray:
    total, square, absolute, first, second = plain.T
    variance = second / total - (first / total) ** 2
    r2 = np.where(variance > 1e-12 * second.max(initial=0), 1 - square / total / variance, np.nan)
    return np.stack([np.sqrt(square / total), absolute / total, r2], axis=1)


def _weighted(score: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """The mean over the classes for which `score` is defined, by their rows."""
    rows = np.where(np.isnan(score), 0.0, actual)
    return np.nansum(score * rows, axis=1) / rows.sum(1)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """NaN where there is nothing to divide by, as scikit-learn's zero_division=np.nan: a class that does not
    occur has no recall, and 0 would be read as a bad one. Averages leave it out."""
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0)
