"""Metrics of one model on the holdout, by scikit-learn, with intervals, curves and tables.

Values are scikit-learn's on all rows. Intervals are of monitor/quality, which computes the same definitions
for a thousand bootstrap replicates at once (tests hold the two together).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn import metrics as sk

from jobs.monitor import bootstrap, quality
from jobs.monitor.quality import EPSILON, Scores, number
from jobs.spec import BINARY, MULTICLASS, REGRESSION

CURVE_POINTS = 101
BINS = 10
MAX_CLASSES = 50  # of a confusion matrix
Figures = dict[str, dict[str, float | None]]


def figures(scores: Scores, block: np.ndarray, replicates: np.ndarray, features: int) -> Figures:
    """`{"roc_auc": {"value", "low", "high"}, ...}`: 95 % intervals over `block`, of `quality.replicate`'s
    replicates. `features`: how many the model sees, which adjusted R2 takes off."""
    size = int(block.max()) + 1 if len(block) else 1
    found = quality.summary(scores.task, values(scores), replicates, size)
    if scores.task == BINARY:
        found["ece"] = _plain(calibration_error(scores))
    if scores.task == REGRESSION:
        found["adjusted_r2"] = {
            name: number(adjusted(value, len(scores), features)) for name, value in found["r2"].items()
        }
        found["mape"] = _percentage_error(scores, block)
    return found


def values(scores: Scores) -> dict[str, float | None]:
    """Those of `quality.names`; None where one is not defined: no rows, one class only, no probabilities, or
    nothing to divide by (never 0.0 for that)."""
    if not len(scores):
        return dict.fromkeys(quality.names(scores.task))
    found = {BINARY: _binary, MULTICLASS: _multiclass, REGRESSION: _regression}[scores.task](scores)
    return {name: number(found.get(name)) for name in quality.names(scores.task)}


def curves(scores: Scores) -> dict[str, Any]:
    """`roc` and `pr` as points of at most CURVE_POINTS; `calibration` in BINS of equally many rows."""
    found: dict[str, Any] = {"roc": None, "pr": None, "calibration": None}
    if scores.task == REGRESSION:
        return found | {"calibration": calibration(scores.label, scores.predicted)}
    if scores.task != BINARY or scores.probability is None or len(np.unique(scores.label)) < 2:
        return found
    false, true, _ = sk.roc_curve(scores.label, scores.probability)
    precision, recall, _ = sk.precision_recall_curve(scores.label, scores.probability)
    return {
        "roc": _thinned(false, true),
        "pr": _thinned(recall[::-1], precision[::-1]),
        "calibration": calibration(scores.label, scores.probability),
    }


def confusion(scores: Scores) -> dict[str, Any] | None:
    """Counts, a row for each true class and a column for each predicted one; None of a number, or of more
    than MAX_CLASSES classes. `(other)` is a class that the model does not know."""
    if scores.task == REGRESSION or len(scores.classes) > MAX_CLASSES or not len(scores):
        return None
    names = ["0", "1"] if scores.task == BINARY else [*scores.classes]
    label, predicted = (
        np.where(code < 0, len(names), code).astype(int) for code in (scores.label, scores.predicted)
    )
    if max(label.max(), predicted.max()) == len(names):
        names.append("(other)")
    counts = sk.confusion_matrix(label, predicted, labels=range(len(names)))
    return {"labels": names, "rows": counts.tolist()}


def classes(scores: Scores) -> dict[str, dict[str, Any]] | None:
    """Of each class of a task with several: rows, how often it was predicted, and its metrics against the
    rest, None where one is not defined."""
    if scores.task != MULTICLASS or not len(scores):
        return None
    codes = range(len(scores.classes))
    precision, recall, f1, rows = sk.precision_recall_fscore_support(
        scores.label, scores.predicted, labels=codes, zero_division=np.nan
    )
    return {
        scores.classes[code]: {
            "rows": int(rows[code]),
            "predicted": int(np.count_nonzero(scores.predicted == code)),
            "precision": number(precision[code]),
            "recall": number(recall[code]),
            "f1": number(f1[code]),
            "roc_auc": number(_area(scores, code)),
        }
        for code in codes
    }


def notes(scores: Scores) -> list[str]:
    """Why figures are missing, in sentences."""
    said = []
    if scores.task == REGRESSION:
        zeros = int(np.count_nonzero(scores.label == 0))
        if zeros:
            said.append(f"mape is not defined: {zeros:,} of {len(scores):,} labels are 0")
        return said
    if scores.probability is None:
        said.append("the model answers without probabilities: what is made of them is not known")
    for name, row in (classes(scores) or {}).items():
        if not row["rows"]:
            said.append(f"class {name} does not occur in the holdout: it has no recall")
        elif not row["predicted"]:
            said.append(f"class {name} was never predicted: it has no precision")
    unknown = int(np.count_nonzero(scores.label < 0)) if scores.task == MULTICLASS else 0
    if unknown:
        said.append(f"{unknown:,} rows are of classes that the model does not know: each counts as wrong")
    return said


def adjusted(r2: float | None, rows: int, features: int) -> float | None:
    """R2 less what so many features explain by chance: 1 - (1 - R2)(n - 1) / (n - p - 1) (Wherry, 1931)."""
    freedom = rows - features - 1
    return None if r2 is None or freedom < 1 else 1 - (1 - r2) * (rows - 1) / freedom


def calibration_error(scores: Scores) -> float | None:
    """Expected calibration error: the mean distance of a bin's mean probability from its share of positives,
    by rows, in BINS bins of equal width (Guo et al. 2017, On Calibration of Modern Neural Networks)."""
    if scores.probability is None or not len(scores):
        return None
    bins = np.minimum((scores.probability * BINS).astype(int), BINS - 1)
    gap = np.bincount(bins, scores.probability - scores.label, minlength=BINS)
    return float(np.abs(gap).sum() / len(scores))


def calibration(label: np.ndarray, predicted: np.ndarray) -> list[dict[str, Any]]:
    """Mean prediction beside mean label in BINS bins of equally many rows; equal predictions share one."""
    edges = np.quantile(predicted, np.linspace(0, 1, BINS + 1)[1:-1])
    bins = np.searchsorted(edges, predicted)
    rows = np.bincount(bins, minlength=BINS)
    sums = [np.bincount(bins, column, minlength=BINS) for column in (predicted, label)]
    return [
        {
            "predicted": number(sums[0][place] / rows[place]),
            "actual": number(sums[1][place] / rows[place]),
            "rows": int(rows[place]),
        }
        for place in np.flatnonzero(rows)
    ]


def _binary(scores: Scores) -> dict[str, float | None]:
    label, predicted, probability = scores.label, scores.predicted, scores.probability
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        label, predicted, average="binary", zero_division=np.nan
    )
    found = {
        "f1": f1,
        "precision": precision,
        "recall": recall,
        "accuracy": sk.accuracy_score(label, predicted),
    }
    if probability is None:
        return found
    clipped = np.clip(probability, EPSILON, 1 - EPSILON)
    found |= {
        "log_loss": sk.log_loss(label, clipped, labels=[0, 1]),
        "brier": sk.brier_score_loss(label, probability, pos_label=1),
    }
    if len(np.unique(label)) == 2:
        found["roc_auc"] = sk.roc_auc_score(label, probability)
        found["pr_auc"] = sk.average_precision_score(label, probability)
    return found


def _multiclass(scores: Scores) -> dict[str, float | None]:
    """A label outside the classes that the model knows is wrong whatever was predicted."""
    wrong = len(scores.classes)
    label = np.where(scores.label < 0, wrong, scores.label)
    predicted = np.where(scores.predicted < 0, wrong, scores.predicted)
    found: dict[str, float | None] = {
        "accuracy": sk.accuracy_score(label, np.where(predicted == wrong, -1, predicted))
    }
    for average in ("macro", "weighted"):
        three = sk.precision_recall_fscore_support(label, predicted, average=average, zero_division=np.nan)[
            :3
        ]
        found |= {
            f"{name}_{average}": value
            for name, value in zip(("precision", "recall", "f1"), three, strict=True)
        }
    if scores.probability is None:
        return found
    shares = np.clip(np.column_stack([scores.probability, np.zeros(len(label))]), EPSILON, 1.0)
    with warnings.catch_warnings():  # answers are rounded: they do not sum to one to the last digit
        warnings.filterwarnings("ignore", message=r"The y_\w+ values do not sum to one")
        found["log_loss"] = sk.log_loss(label, shares, labels=range(wrong + 1))
    areas = [area for area in (_area(scores, code) for code in range(wrong)) if area is not None]
    return found | {"roc_auc": float(np.mean(areas)) if areas else None}


def _regression(scores: Scores) -> dict[str, float | None]:
    label, predicted = scores.label, scores.predicted
    varies = len(label) > 1 and np.ptp(label) > 0
    return {
        "rmse": sk.root_mean_squared_error(label, predicted),
        "mae": sk.mean_absolute_error(label, predicted),
        "r2": sk.r2_score(label, predicted) if varies else None,
    }


def _area(scores: Scores, code: int) -> float | None:
    """ROC AUC of one class against the rest; None where there are not both."""
    is_class = scores.label == code
    if scores.probability is None or is_class.all() or not is_class.any():
        return None
    return float(sk.roc_auc_score(is_class, scores.probability[:, code]))


def _percentage_error(scores: Scores, block: np.ndarray) -> dict[str, float | None]:
    """MAPE. A label of 0 has no percentage: then there is none, and `notes` says so. Small labels dominate
    it, and it favours predictions that are too low."""
    if not len(scores) or (scores.label == 0).any():
        return _plain(None)
    size = int(block.max()) + 1
    errors = np.abs(scores.predicted - scores.label) / np.abs(scores.label)
    weights = bootstrap.draws(size)
    drawn = weights @ np.bincount(block, errors, minlength=size) / (weights @ np.bincount(block))
    low, high = np.quantile(drawn, bootstrap.levels(size))
    value = sk.mean_absolute_percentage_error(scores.label, scores.predicted)
    return {"value": number(value), "low": number(low), "high": number(high)}


def _plain(value: float | None) -> dict[str, float | None]:
    return {"value": number(value), "low": None, "high": None}


def _thinned(x: np.ndarray, y: np.ndarray) -> list[list[float]]:
    """Points of a curve, the ends among them, about evenly along it."""
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    wanted = np.linspace(0, along[-1], CURVE_POINTS)
    kept = np.unique(np.append(np.searchsorted(along, wanted), len(x) - 1).clip(0, len(x) - 1))
    return [[round(float(x[at]), 4), round(float(y[at]), 4)] for at in kept]
