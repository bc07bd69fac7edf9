"""What one prediction cost once its label is known: the losses whose mean judges a block of rows."""

from __future__ import annotations

import numpy as np

from jobs.monitor.quality import EPSILON, Scores
from jobs.spec import MULTICLASS, REGRESSION

# The loss that a metric is made of; a ranking metric has none, and is watched by the squared error of its
# probabilities.
_OF_METRIC = {
    "log_loss": "log_loss",
    "brier": "brier",
    "accuracy": "error",
    "rmse": "squared",
    "mae": "absolute",
    "r2": "squared",
}
CAP_QUANTILE = (
    0.999  # a regression's losses have no bound: the baseline's one in a thousand is the largest that counts
)


def name_for(metric: str | None, scores: Scores) -> str:
    """log_loss (nats), brier (squared error of the probabilities, 0 to 1), error (0 or 1), squared or
    absolute (the target's units)."""
    name = _OF_METRIC.get(metric or "", "squared" if scores.task == REGRESSION else "brier")
    return name if has(scores, name) else "error"


def has(scores: Scores, name: str) -> bool:
    """Whether the loss of these rows can be computed: two are made of probabilities."""
    return not len(scores) or scores.probability is not None or name not in ("log_loss", "brier")


def of_rows(scores: Scores, name: str) -> np.ndarray:
    """float64 loss of each row, of a loss that they have."""
    if not len(scores):
        return np.zeros(0)
    if name == "error":
        return ((scores.predicted != scores.label) | (scores.label < 0)).astype(float)
    if name in ("squared", "absolute"):
        distance = np.abs(scores.predicted.astype(float) - scores.label)
        return distance**2 if name == "squared" else distance
    if scores.task == MULTICLASS:
        return _of_classes(scores, name)
    chance = np.where(scores.label > 0, scores.probability, 1 - scores.probability)
    return -np.log(np.clip(chance, EPSILON, 1.0)) if name == "log_loss" else (1 - chance) ** 2


def _of_classes(scores: Scores, name: str) -> np.ndarray:
    """A class that the model does not know has probability 0. Brier's halved, so that 1 is the worst."""
    rows = np.arange(len(scores))
    chance = np.where(scores.label < 0, 0.0, scores.probability[rows, np.maximum(scores.label, 0)])
    if name == "log_loss":
        return -np.log(np.clip(chance, EPSILON, 1.0))
    return ((scores.probability**2).sum(1) - 2 * chance + 1) / 2


def cap(baseline: np.ndarray, name: str) -> float | None:
    """The largest loss that counts, where the loss has no bound of its own."""
    if name in ("brier", "error"):
        return None
    if name == "log_loss":
        return -float(np.log(0.01))
    return float(np.quantile(baseline, CAP_QUANTILE)) or None


def tolerance(policy: dict[str, float | str], metric: str | None, name: str, mean: float) -> float:
    """How much worse a block may be on average, in the loss's units: `detector.tolerance`, or the metric's
    own tolerance where the loss is its, or a tenth of the baseline's loss."""
    own = (policy.get("detector") or {}).get("tolerance")
    if own is not None:
        return float(own)
    given = policy.get("tolerance")
    if given is None or _OF_METRIC.get(metric or "") != name or metric == "r2":
        return 0.1 * mean
    if metric == "rmse":
        return (mean**0.5 + float(given)) ** 2 - mean
    return float(given)
