"""The bias metrics of SageMaker Clarify, from counts alone, for any number of groups and replicates at once.

Definitions: Amazon SageMaker Developer Guide, "Pre-training Bias Metrics" and "Post-training Data and Model
Bias Metrics". `d` is the group looked at (the guide's disadvantaged facet), `a` everyone else. The sign is
the guide's: a positive difference is to the disadvantage of `d`. All but the distances are without unit; KL
and JS are in nats. Where a denominator is zero the metric is NaN: smclarify's 0 or infinity would be read as
a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]  # (numerator, denominator)
Measured = tuple[np.ndarray, np.ndarray]  # (value, smallest denominator)
NEGATIVE, POSITIVE, UNKNOWN = range(3)


@dataclass(frozen=True)
class Group:
    """Counts of a group's rows, each of any shape. `labels` and `predictions` are (negative, positive) among
    the rows that have one; tp, fp, fn, tn among those that have both."""

    rows: np.ndarray
    labels: Pair
    predictions: Pair
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray

    @classmethod
    def of(cls, counts: np.ndarray) -> Group:
        """`counts`: (..., label, prediction), each negative, positive, unknown."""
        label, prediction = counts.sum(-1), counts.sum(-2)
        return cls(
            rows=label.sum(-1),
            labels=(label[..., NEGATIVE], label[..., POSITIVE]),
            predictions=(prediction[..., NEGATIVE], prediction[..., POSITIVE]),
            tp=counts[..., POSITIVE, POSITIVE],
            fp=counts[..., NEGATIVE, POSITIVE],
            fn=counts[..., POSITIVE, NEGATIVE],
            tn=counts[..., NEGATIVE, NEGATIVE],
        )


def _positive_labels(group: Group) -> Pair:
    return group.labels[1], sum(group.labels)


def _positive_predictions(group: Group) -> Pair:
    return group.predictions[1], sum(group.predictions)


def _acceptance(group: Group) -> Pair:
    return group.tp + group.fn, group.tp + group.fp


def _rejection(group: Group) -> Pair:
    return group.tn + group.fp, group.tn + group.fn


def _recall(group: Group) -> Pair:
    return group.tp, group.tp + group.fn


def _specificity(group: Group) -> Pair:
    return group.tn, group.tn + group.fp


def _precision(group: Group) -> Pair:
    return group.tp, group.tp + group.fp


def _rejection_precision(group: Group) -> Pair:
    return group.tn, group.tn + group.fn


def _accuracy(group: Group) -> Pair:
    return group.tp + group.tn, group.tp + group.fp + group.fn + group.tn


def _treatment(group: Group) -> Pair:
    return group.fn, group.fp


# Differences of a ratio between the groups: (the ratio, the sign of `a` less `d`).
_DIFFERENCES: dict[str, tuple[Callable[[Group], Pair], int]] = {
    "DPL": (_positive_labels, 1),
    "DPPL": (_positive_predictions, 1),
    "DCA": (_acceptance, 1),
    "DCR": (_rejection, -1),
    "RD": (_recall, 1),
    "SD": (_specificity, -1),
    "DAR": (_precision, 1),
    "DRR": (_rejection_precision, -1),
    "AD": (_accuracy, 1),
    "TE": (_treatment, -1),
}
_DISTANCES = ("KL", "JS", "LP", "TVD", "KS")
_CONDITIONAL = {"CDDL": 1, "CDDPL": 2}  # which axis of the counts is summed away: predictions, labels

NAMES = {
    "CI": "class imbalance",
    "DPL": "difference in positive proportions in labels",
    "KL": "Kullback-Leibler divergence of labels",
    "JS": "Jensen-Shannon divergence of labels",
    "LP": "L2 norm between labels' distributions",
    "TVD": "total variation distance of labels",
    "KS": "Kolmogorov-Smirnov distance of labels",
    "CDDL": "conditional demographic disparity in labels",
    "DPPL": "difference in positive proportions in predictions",
    "DI": "disparate impact",
    "DCA": "difference in conditional acceptance",
    "DCR": "difference in conditional rejection",
    "SD": "specificity difference",
    "RD": "recall difference",
    "DAR": "difference in acceptance rates",
    "DRR": "difference in rejection rates",
    "AD": "accuracy difference",
    "TE": "treatment equality",
    "CDDPL": "conditional demographic disparity in predictions",
    "GE": "generalized entropy",
}
NEUTRAL = {"DI": 1.0}  # where there is no bias; 0 for all others


def neutral(metric: str) -> float:
    return NEUTRAL.get(metric, 0.0)


def measure(
    counts: np.ndarray, classes: np.ndarray | None = None, names: Collection[str] = tuple(NAMES)
) -> dict[str, Measured]:
    """{metric: (values, the smallest denominator behind each)}, each (..., groups).

    `counts`: (..., groups, strata, label, prediction), of which each group in turn is `d`. CDDL and CDDPL
    need more than one stratum, and are left out where there is one. `classes`: (..., groups, classes),
    for the distances where labels have more than two classes; without it they are of positive shares.
    """
    whole = counts.sum(-3)
    total = whole.sum(-3, keepdims=True)
    d, a = Group.of(whole), Group.of(total - whole)
    found: dict[str, Measured] = {}
    for name in names:
        if name in _DIFFERENCES:
            ratio, sign = _DIFFERENCES[name]
            ours, theirs = ratio(d), ratio(a)
            found[name] = sign * (_ratio(*theirs) - _ratio(*ours)), np.minimum(ours[1], theirs[1])
        elif name in _CONDITIONAL and counts.shape[-3] > 1:
            found[name] = _conditional(counts.sum(-_CONDITIONAL[name])[..., :UNKNOWN])
    if "CI" in names:
        found["CI"] = _ratio(a.rows - d.rows, a.rows + d.rows), np.minimum(a.rows, d.rows)
    if "DI" in names:
        ours, theirs = _positive_predictions(d), _positive_predictions(a)
        found["DI"] = _ratio(_ratio(*ours), _ratio(*theirs)), np.minimum(ours[1], theirs[1])
    if "GE" in names:
        rows = _accuracy(Group.of(total))[1]
        found["GE"] = tuple(np.broadcast_to(part, d.rows.shape) for part in (_entropy(Group.of(total)), rows))
    if any(name in names for name in _DISTANCES):
        shares = np.stack(d.labels, -1) if classes is None else classes
        rest = np.stack(a.labels, -1) if classes is None else classes.sum(-2, keepdims=True) - classes
        least = np.minimum(shares.sum(-1), rest.sum(-1))
        found |= {name: (value, least) for name, value in _distances(rest, shares).items() if name in names}
    return found


def pooled_error(counts: np.ndarray, name: str) -> np.ndarray:
    """(..., groups): the standard error of metric `name`, a difference of two shares, where there is none:
    sqrt(p (1 - p) (1 / n_d + 1 / n_a)) with both groups' share p, as in the score test of two proportions.
    `counts` as `measure` takes them. Raises KeyError for a metric that is no such difference."""
    whole = counts.sum(-3)
    d, a = Group.of(whole), Group.of(whole.sum(-3, keepdims=True) - whole)
    ratio, _ = _DIFFERENCES[name]
    ours, theirs = ratio(d), ratio(a)
    share = _ratio(ours[0] + theirs[0], ours[1] + theirs[1])
    return np.sqrt(share * (1 - share) * (_ratio(1.0, ours[1]) + _ratio(1.0, theirs[1])))


def _distances(a: np.ndarray, d: np.ndarray) -> dict[str, np.ndarray]:
    """Between the distributions of labels (..., classes). KL(Pa, Pd) is infinite, so NaN here, where `d`
    lacks a class that `a` has; smclarify leaves that class out of all five, the guide's formulas do not."""
    a = _ratio(a, a.sum(-1, keepdims=True))
    d = _ratio(d, d.sum(-1, keepdims=True))
    middle = (a + d) / 2
    gap = np.abs(a - d)
    return {
        "KL": _divergence(a, d),
        "JS": (_divergence(a, middle) + _divergence(d, middle)) / 2,
        "LP": np.sqrt((gap**2).sum(-1)),
        "TVD": gap.sum(-1) / 2,
        "KS": gap.max(-1),
    }


def _divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p == 0, 0.0, p * np.log(p / q))
    total = terms.sum(-1)
    return np.where(np.isfinite(total), total, np.nan)


def _conditional(counts: np.ndarray) -> Measured:
    """Demographic disparity (share of `d` among the rejected less that among the accepted) per stratum,
    weighted by the stratum's rows; a share of nothing counts as 0. `counts`: (..., groups, strata, 2)."""
    total = counts.sum(-3, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros(np.broadcast_shapes(counts.shape)), where=total > 0)
    rows = total.sum(-1)
    value = _ratio((rows * (shares[..., NEGATIVE] - shares[..., POSITIVE])).sum(-1), rows.sum(-1))
    everyone = np.minimum(total[..., NEGATIVE].sum(-1), total[..., POSITIVE].sum(-1))
    both = (everyone > 0) & (counts.sum((-2, -1)) > 0)
    return np.where(both, value, np.nan), np.minimum(everyone, counts.sum((-2, -1)))


def _entropy(group: Group) -> np.ndarray:
    """Half the squared coefficient of variation of the benefit (prediction - label + 1): alpha = 2."""
    rows = _accuracy(group)[1]
    mean = _ratio(rows + group.fp - group.fn, rows)
    square = _ratio(4 * group.fp + group.tp + group.tn, rows)
    return (_ratio(square, mean**2) - 1) / 2


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """NaN where there is nothing to divide by."""
    shape = np.broadcast_shapes(np.shape(part), np.shape(whole))
    return np.divide(part, whole, out=np.full(shape, np.nan), where=np.asarray(whole) != 0)
