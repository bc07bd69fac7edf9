"""What a tally's counts say of each group: every metric, with the interval that resampled days give it."""

from __future__ import annotations

from typing import Any

import numpy as np

from jobs.monitor.bias_metrics import measure
from jobs.monitor.tally import Tally

MIN_SUPPORT = 20  # smallest denominator of a metric: a recall of three positives says nothing
REPLICATES = 200
MIN_DAYS = 5  # fewer are not resampled as days


def resampled(tally: Tally) -> dict[str, np.ndarray]:
    """metric -> (replicates, groups): whole days drawn with replacement where there are MIN_DAYS, as rows of
    a day are not independent; else rows (each count a Poisson draw)."""
    generator = np.random.default_rng(0)
    days = len(tally.days)
    if days >= MIN_DAYS:
        weights = generator.multinomial(days, np.full(days, 1 / days), size=REPLICATES).astype(float)
        drawn = [np.tensordot(weights, part, 1) for part in (tally.counts, tally.classes)]
    else:
        drawn = [
            generator.poisson(part.sum(0), size=(REPLICATES, *part.shape[1:])).astype(float)
            for part in (tally.counts, tally.classes)
        ]
    return {name: found for name, (found, _) in measure(*_totals(*drawn)).items()}


def by_group(tally: Tally, drawn: dict[str, np.ndarray]) -> dict[str, dict[str, dict[str, Any]]]:
    """group -> metric -> {value, low, high, rows}; metrics without enough support are left out. `drawn`: as
    `resampled` gives it."""
    intervals = {name: _interval(replicates) for name, replicates in drawn.items()}
    rows = tally.counts.sum((0, 2, 3, 4))
    return {
        group: {
            name: {
                "value": value,
                "low": round(float(intervals[name][0, position]), 5),
                "high": round(float(intervals[name][1, position]), 5),
                "rows": int(rows[position]),
            }
            for name, value in values.items()
            if np.isfinite(intervals[name][:, position]).all()
        }
        for position, (group, values) in enumerate(plain(tally).items())
    }


def plain(tally: Tally) -> dict[str, dict[str, float]]:
    """group -> metric -> value; metrics without enough support are left out."""
    measured = measure(*_totals(tally.counts.sum(0), tally.classes.sum(0)))
    return {
        group: {
            name: round(float(values[position]), 5)
            for name, (values, support) in measured.items()
            if np.isfinite(values[position]) and support[position] >= MIN_SUPPORT
        }
        for position, group in enumerate(tally.layout.facet.groups)
    }


def _interval(drawn: np.ndarray) -> np.ndarray:
    """(2, groups): the middle 95 % of the replicates in which a metric is defined."""
    whole = np.isfinite(drawn).all(0)
    bounds = np.full((2, drawn.shape[1]), np.nan)
    bounds[:, whole] = np.quantile(drawn[:, whole], [0.025, 0.975], axis=0)
    for position in np.flatnonzero(~whole & np.isfinite(drawn).any(0)):
        bounds[:, position] = np.nanquantile(drawn[:, position], [0.025, 0.975])
    return bounds


def _totals(counts: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    return counts, classes if classes.shape[-1] else None
