"""Does the model still decide by the same features as at its baseline? Global SHAP values (the mean of a
feature's absolute share in each prediction) of a sample of rows, against the baseline's.

Two figures: Model Monitor's nDCG, which sees a new order among the heavy features and little else (the two
heaviest of ten swapped give 0.95), and the L1 distance between the normalised values, 0 to 2, whose verdict
needs both an effect and more than the baseline's own days differ by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from jobs.contract import JobError
from jobs.spec import Spec

CHECK = "feature_attribution_drift_check"  # Model Monitor's
NDCG = 0.9  # Model Monitor's
L1 = 0.3
MIN_ROWS = 50
DRAWS = 500
MIN_DAYS = 3
CAUTION = 2.0
FALSE_ALARMS = 0.01


@dataclass(frozen=True)
class Settings:
    """model.yaml's `monitor.attribution`: violations under `ndcg`, and over `l1`."""

    ndcg: float = NDCG
    l1: float = L1
    false_alarms: float = FALSE_ALARMS

    @classmethod
    def of(cls, spec: Spec) -> Settings:
        chosen = spec.monitor.get("attribution") or {}
        return cls(
            **{
                name: float(chosen[name])
                for name in ("ndcg", "l1", "false_alarms")
                if chosen.get(name) is not None
            }
        )


@dataclass(frozen=True)
class Explained:
    """`values`: float64 (rows, features), absolute SHAP values in the unit of the prediction, the sum over
    the outputs of a model with several; `days`: int64 (rows), since 1970; `method`: `sampled`, or `script`
    where the model's own script explained."""

    features: tuple[str, ...]
    values: np.ndarray
    days: np.ndarray
    method: str = "sampled"

    def __len__(self) -> int:
        return len(self.values)

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(
                file,
                features=np.array(self.features, "U"),
                values=self.values,
                days=self.days,
                method=np.array(self.method, "U"),
            )

    @classmethod
    def load(cls, path: Path) -> Explained:
        """Raises JobError for what `save` did not write."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                names = tuple(str(name) for name in stored["features"])
                return cls(names, stored["values"], stored["days"], str(stored["method"]))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise JobError(f"{path.name} holds no attributions: {error}") from error


@dataclass
class Comparison:
    """`figures` as in analysis.json: ndcg, l1, threshold (what l1 may be: model.yaml's, or what windows like
    the baseline reach, where that is more), features {name: {share, baseline, change}}; with a `reason`
    instead where nothing can be compared."""

    figures: dict[str, Any] = field(default_factory=dict)
    violations: list[dict[str, Any]] = field(default_factory=list)


def shares(values: np.ndarray) -> np.ndarray:
    """Each feature's share of all attribution: (..., rows, features) -> (..., features); they sum to 1, or
    are all 0 for a model that always answers the same."""
    means = values.mean(-2)
    total = means.sum(-1, keepdims=True)
    return np.divide(means, total, out=np.zeros_like(means), where=total > 0)


def ndcg(now: Sequence[float], before: Sequence[float]) -> float:
    """Normalised discounted cumulative gain, 0 to 1: the baseline's attributions added up in the order of
    the window's, each divided by log2(1 + its place), over the same in the baseline's own order.

    Amazon SageMaker Developer Guide, "Feature attribution drift for models in production".
    """
    gains = np.asarray(before, float)
    discounts = 1 / np.log2(np.arange(2, len(gains) + 2))
    ideal = np.sort(gains)[::-1] @ discounts
    order = np.argsort(-np.asarray(now, float), kind="stable")
    return float(gains[order] @ discounts / ideal) if ideal > 0 else 1.0


def compare(now: Explained, before: Explained, settings: Settings) -> Comparison:
    reason = _obstacle(now, before)
    if reason:
        return Comparison({"reason": reason})
    ours, theirs = shares(now.values), shares(before.values)
    distance, gain = float(np.abs(ours - theirs).sum()), ndcg(ours, theirs)
    usual, basis = _null(now, before, theirs, settings.false_alarms)
    allowed = max(settings.l1, usual)
    result = Comparison(
        {
            "method": now.method,
            "rows": len(now),
            "ndcg": round(gain, 4),
            "l1": round(distance, 4),
            "threshold": round(allowed, 4),
            "drawn": basis,
            "features": {
                name: {
                    "share": round(float(ours[index]), 4),
                    "baseline": round(float(theirs[index]), 4),
                    "change": round(float(ours[index] - theirs[index]), 4),
                }
                for index, name in enumerate(now.features)
            },
        }
    )
    moved = max(range(len(ours)), key=lambda index: abs(ours[index] - theirs[index]))
    what = (
        f"{now.features[moved]} most of all, from {theirs[moved]:.1%} to {ours[moved]:.1%} of the attribution"
    )
    if gain < settings.ndcg:
        reason = f"feature attribution: nDCG {gain:.3f} is under {settings.ndcg:g}; {what}"
        result.violations.append(_violation(now.features[moved], "ndcg", gain, settings.ndcg, reason))
    if distance > allowed:
        reason = (
            f"feature attribution: L1 {distance:.3f} is over {settings.l1:g} and the {usual:.3f} that "
            f"windows like the baseline reach; {what}"
        )
        result.violations.append(_violation(now.features[moved], "l1", distance, round(allowed, 4), reason))
    return result


def _obstacle(now: Explained, before: Explained) -> str:
    if set(now.features) != set(before.features):
        names = ", ".join(sorted(set(now.features) ^ set(before.features)))
        return f"the baseline's attributions are of other features: {names}"
    if now.features != before.features:
        return "the baseline's attributions have their features in another order: evaluate the model again"
    if now.method != before.method:
        return f"the baseline was explained by {before.method}, the window by {now.method}: not comparable"
    for name, explained in (("window", now), ("baseline", before)):
        if len(explained) < MIN_ROWS:
            return f"{len(explained)} rows of the {name} could be explained, {MIN_ROWS} are needed"
        if not np.isfinite(explained.values).all():
            return f"attributions of the {name} are not finite"
        if not explained.values.any():
            return f"the model answered every row of the {name} alike: there is nothing to attribute"
    return ""


def _null(now: Explained, before: Explained, centre: np.ndarray, rate: float) -> tuple[float, str]:
    """The L1 distance that windows of as many days and rows, drawn from the baseline's, exceed at `rate`.

    Drawn windows vary about the baseline by s²/w (k-1)/k for w days of k, a new one by s² (1/w + 1/k).
    """
    generator = np.random.default_rng(3)
    days, day = np.unique(before.days, return_inverse=True)
    known, length = len(days), len(np.unique(now.days))
    if known >= MIN_DAYS:
        times = generator.multinomial(length, np.full(known, 1 / known), size=DRAWS)
        weights = times[:, day] / times[:, day].sum(1, keepdims=True)
        factor, basis = np.sqrt((known + length) / (known - 1)), "days"
    else:
        weights = np.full((DRAWS, len(before)), 1 / len(before))
        factor, basis = CAUTION, "rows"
    drawn = generator.multinomial(len(now), weights) @ before.values
    distances = np.abs(drawn / drawn.sum(1, keepdims=True) - centre).sum(1)
    return float(np.quantile(distances, 1 - rate) * factor), basis


def _violation(feature: str, metric: str, value: float, threshold: float, reason: str) -> dict[str, Any]:
    return {
        "feature_name": feature,
        "constraint_check_type": CHECK,
        "description": reason,
        "metric": metric,
        "value": round(value, 4),
        "threshold": threshold,
    }
