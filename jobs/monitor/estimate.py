"""How good is a classifier whose labels are not there yet? An estimate from its own probabilities.

Confidence-based performance estimation: where P(label = 1) = p, the expected confusion matrix, losses and
areas follow from p alone (Białek et al. 2024, Estimating Model Performance Under Covariate Shift Without
Labels, arXiv 2401.08348). It sees a change of the inputs, never one of the relation between inputs and label:
it goes beside the measured quality, marked, not in its place. Probabilities are calibrated on the holdout
first, by isotonic regression. Intervals are what the same estimate missed the truth by on the holdout's days.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.monitor.quality import EPSILON, Scores, number, values
from jobs.spec import BINARY

KNOTS = 100
BINS = 1000
MARK = "estimate without labels"
MIN_BLOCK_ROWS = 30
METRICS = ("roc_auc", "log_loss", "brier", "accuracy", "precision", "recall", "f1")


@dataclass(frozen=True)
class Calibration:
    """`raw` probabilities (ascending) and the share of positives there; between two it is interpolated.
    `spread`: by metric, the standard deviation of estimate minus truth over the holdout's blocks; `shift`:
    its mean."""

    raw: tuple[float, ...]
    share: tuple[float, ...]
    spread: dict[str, float]
    shift: dict[str, float]

    def __call__(self, probability: np.ndarray) -> np.ndarray:
        return np.interp(probability, self.raw, self.share)

    def as_dict(self) -> dict[str, Any]:
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Calibration:
        return cls(
            tuple(content["raw"]), tuple(content["share"]), dict(content["spread"]), dict(content["shift"])
        )


def fit(scores: Scores, block: np.ndarray) -> Calibration | None:
    """From the holdout; None where the model gives no probabilities, or where one class is all there is.
    The error is measured across halves: even blocks by the odd ones' calibration, and the other way round."""
    if scores.task != BINARY or scores.probability is None or len(np.unique(scores.label)) < 2:
        return None
    errors: dict[str, list[float]] = {name: [] for name in METRICS}
    for half in (0, 1):
        fitted, held = block % 2 != half, block % 2 == half
        if not fitted.any() or len(np.unique(scores.label[fitted])) < 2:
            continue
        curve = _isotonic(scores.probability[fitted], scores.label[fitted])
        for number_ in np.unique(block[held]):
            rows = np.flatnonzero(block == number_)
            if len(rows) < MIN_BLOCK_ROWS:
                continue
            part = scores.take(rows)
            guess = expected(np.interp(part.probability, *curve), part.probability, part.predicted)
            for name, truth in values(part).items():
                if name in errors and truth is not None and guess[name] is not None:
                    errors[name].append(guess[name] - truth)
    raw, share = _isotonic(scores.probability, scores.label)
    spread = {name: float(np.std(found, ddof=1)) for name, found in errors.items() if len(found) > 2}
    shift = {name: float(np.mean(errors[name])) for name in spread}
    return Calibration(tuple(raw.tolist()), tuple(share.tolist()), spread, shift)


def estimate(
    metric: str, probability: np.ndarray, predicted: np.ndarray, blocks: int, calibration: Calibration
) -> dict[str, Any] | None:
    """`{"metric", "value", "low", "high", "marked"}` of a window of `blocks` blocks; another metric than the
    one that was asked for where that cannot be estimated; None without usable probabilities."""
    is_usable = np.isfinite(probability) & np.isfinite(predicted) & (probability >= 0) & (probability <= 1)
    if not is_usable.any():
        return None
    metric = metric if metric in calibration.spread else "brier"
    probability, predicted = probability[is_usable], predicted[is_usable]
    value = expected(calibration(probability), probability, predicted)[metric]
    if value is None or metric not in calibration.spread:
        return None
    value -= calibration.shift[metric]
    margin = 1.96 * calibration.spread[metric] / math.sqrt(max(blocks, 1))
    bounds = (value - margin, value + margin)
    low, high = (bounds if metric == "log_loss" else np.clip(bounds, 0, 1)) if margin else bounds
    return {
        "metric": metric,
        "value": number(value),
        "low": number(max(low, 0.0)),
        "high": number(high),
        "marked": MARK,
    }


def expected(chance: np.ndarray, probability: np.ndarray, predicted: np.ndarray) -> dict[str, float | None]:
    """The metrics that are to be expected where row i is positive with `chance[i]`, for a model that says
    `probability[i]` and calls it `predicted[i]`. The area treats scores of one of BINS groups as tied."""
    called = predicted > 0
    hits, positives, all_called = chance[called].sum(), chance.sum(), float(called.sum())
    clipped = np.clip(probability, EPSILON, 1 - EPSILON)
    total = len(chance)
    found = {
        "roc_auc": _area(chance, probability),
        "log_loss": -(chance @ np.log(clipped) + (1 - chance) @ np.log1p(-clipped)) / total,
        "brier": (chance * (1 - probability) ** 2 + (1 - chance) * probability**2).mean(),
        "accuracy": np.where(called, chance, 1 - chance).mean(),
        "precision": hits / all_called if all_called else 0.0,
        "recall": hits / positives if positives else 0.0,
        "f1": 2 * hits / (all_called + positives) if all_called + positives else 0.0,
    }
    return {name: number(value) for name, value in found.items()}


def _area(chance: np.ndarray, score: np.ndarray) -> float:
    """P(a positive is ranked over a negative), ties half, of fractional positives."""
    group = np.minimum((score * BINS).astype(int), BINS - 1)
    gained = np.bincount(group, chance, BINS)
    lost = np.bincount(group, 1 - chance, BINS)
    both = gained.sum() * lost.sum()
    return float((gained * (lost.cumsum() - lost / 2)).sum() / both) if both else math.nan


def _isotonic(probability: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascending scores and the non-decreasing shares of positives nearest to the labels (pool adjacent
    violators: Barlow et al. 1972), of at most KNOTS groups of equally many rows."""
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(KNOTS, len(order)))
    pools: list[list[float]] = []  # rows, positives, sum of scores
    for part in parts:
        pools.append([len(part), float(label[part].sum()), float(probability[part].sum())])
        while len(pools) > 1 and pools[-2][1] * pools[-1][0] >= pools[-1][1] * pools[-2][0]:
            last = pools.pop()
            pools[-1] = [one + other for one, other in zip(pools[-1], last, strict=True)]
    rows, positives, total = np.array(pools).T
    return total / rows, positives / rows
