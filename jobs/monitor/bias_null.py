"""How far the bias metrics of a window without drift lie from the baseline's: windows drawn from the
baseline's own days. One threshold for all groups and metrics together (max-T), so that the false-alarm rate
is of the window and not of each of hundreds of figures.

Westfall and Young, "Resampling-Based Multiple Testing" (1993), 2.4: the largest standardised statistic.
Drawn windows cannot lie beyond what the baseline happens to hold, and its days also gave the standard
deviations. So the threshold is at least that of a normal with the draws' correlations (multiplier bootstrap:
Chernozhukov, Chetverikov and Kato 2013, doi 10.1214/13-AOS1161) whose deviations are known from k days only
(Student's t with k - 1 degrees of freedom), and whose tails are as heavy as the draws' kurtosis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jobs.monitor import tails
from jobs.monitor.bias_metrics import measure
from jobs.monitor.tally import Tally

DRAWS = 500
MULTIPLIED = 2000
MIN_DAYS = 3  # fewer say nothing of how days differ
CAUTION = 2.0  # the threshold's factor where only rows could be drawn


class Null:
    """`add` the groups that have enough rows, then take the `threshold`."""

    def __init__(self, baseline: Sequence[Tally], window: Sequence[Tally], metrics: Sequence[str]) -> None:
        self.metrics = metrics
        self.days = len(baseline[0].days) if baseline else 0
        self.length = max((len(tally.days) for tally in window), default=1) or 1
        self._measured = [self._draw(before, now) for before, now in zip(baseline, window, strict=True)]
        self._distances: list[np.ndarray] = []  # per figure: the draws', in standard deviations

    @property
    def is_of_days(self) -> bool:
        return self.days >= MIN_DAYS

    @property
    def factor(self) -> float:
        """A drawn window varies about the baseline by s²/w (k-1)/k for w days out of k, a new one by
        s² (1/w + 1/k): the square root of what is missing. The fewer days, the more cautious."""
        if not self.is_of_days:
            return CAUTION
        return float(np.sqrt((self.days + self.length) / (self.days - 1)))

    def add(self, index: int, position: int, figures: dict[str, dict[str, Any]]) -> None:
        """Sets `t` of a group's figures, and takes it into the null."""
        drawn, spread, centre = self._measured[index]
        for name in self.metrics:
            entry = figures.get(name)
            if entry is None or entry["baseline"] is None:
                continue
            width = spread[name][position]
            if not np.isfinite(width) or width <= 0:
                continue
            distance = (drawn[name][:, position] - centre[name][position]) / width
            self._distances.append(np.nan_to_num(distance))
            entry["t"] = round(abs(entry["value"] - entry["baseline"]) / width, 3)

    def threshold(self, rate: float) -> float | None:
        """None where nothing can be judged."""
        if not self._distances:
            return None
        distances = np.stack(self._distances, 1)
        drawn = np.quantile(np.abs(distances).max(1), 1 - rate)
        generator = np.random.default_rng(2)
        centred = distances - distances.mean(0)
        normal = generator.standard_normal((MULTIPLIED, DRAWS)) @ centred / DRAWS**0.5
        if self.is_of_days:
            normal *= _stretch(self.days - 1, normal.shape, generator)
        excess = (centred**4).mean(0) / (centred**2).mean(0) ** 2 - 3
        freedom = 4 + 6 / np.maximum(excess, 1e-3)  # of the t distribution with that kurtosis
        normal *= _stretch(freedom, normal.shape, generator) * np.sqrt(1 - 2 / freedom)
        if self.length == 1 and self.days >= tails.LEAST_BLOCKS:
            drawn = max(drawn, self._one_day(distances, rate))
        return round(float(max(drawn, np.quantile(np.abs(normal).max(1), 1 - rate))) * self.factor, 3)

    def summary(self) -> dict[str, Any]:
        return {
            "baseline_days": self.days,
            "window_days": self.length,
            "figures": len(self._distances),
            "drawn": "days" if self.is_of_days else "rows",
        }

    def _one_day(self, distances: np.ndarray, rate: float) -> float:
        """There are no more windows of one day to draw than the baseline has days: their tail is predicted. A
        wild day hides behind the deviation that it has widened, so each is measured by that of the others."""
        size = np.abs(distances)
        days = np.stack([size[self._times[:, day] > 0].mean(0) for day in np.flatnonzero(self._times.sum(0))])
        without_own = days * np.sqrt((self.days - 1) / np.maximum(self.days - days**2, 1.0))
        return tails.predicted(without_own.max(1), rate)

    def _draw(self, before: Tally, now: Tally) -> tuple[dict, dict, dict]:
        """({metric: (draws, groups)}, {metric: their standard deviation}, {metric: the baseline's value})."""
        generator = np.random.default_rng(1)  # the same days for all facets: their maxima belong together
        is_stratified = any(name.startswith("CDD") for name in self.metrics)
        counts = before.counts if is_stratified else before.counts.sum(2, keepdims=True)
        classes = before.classes
        total = counts.sum()
        rows = now.rows
        if self.is_of_days:
            times = generator.multinomial(self.length, np.full(self.days, 1 / self.days), size=DRAWS)
            self._times = times
            drawn = _thin(np.tensordot(times, counts, 1), rows, generator)
            drawn_classes = _thin(np.tensordot(times, classes, 1), rows, generator)
        else:
            share = rows / max(total, 1)
            drawn = generator.poisson(counts.sum(0) * share, size=(DRAWS, *counts.shape[1:]))
            drawn_classes = generator.poisson(classes.sum(0) * share, size=(DRAWS, *classes.shape[1:]))
        has_classes = bool(classes.shape[-1])
        found = measure(drawn, drawn_classes if has_classes else None, self.metrics)
        middle = measure(counts.sum(0), classes.sum(0) if has_classes else None, self.metrics)
        measured = {name: values for name, (values, _) in found.items()}
        spread = {name: _deviation(values) for name, values in measured.items()}
        return measured, spread, {name: values for name, (values, _) in middle.items()}


def _thin(counts: np.ndarray, rows: int, generator: np.random.Generator) -> np.ndarray:
    """Draws with more rows than the window lose the surplus at random: a small window varies more."""
    axes = tuple(range(1, counts.ndim))
    drawn = np.maximum(counts.sum(axes, keepdims=True), 1)
    return generator.binomial(counts, np.minimum(rows / drawn, 1.0))


def _stretch(
    freedom: float | np.ndarray, shape: tuple[int, ...], generator: np.random.Generator
) -> np.ndarray:
    """What makes a normal into a Student's t."""
    return np.sqrt(freedom / generator.chisquare(freedom, shape))


def _deviation(values: np.ndarray) -> np.ndarray:
    """Standard deviation over the draws in which the metric is defined; NaN where that is under half."""
    defined = np.isfinite(values)
    count = np.maximum(defined.sum(0), 1)
    mean = np.where(defined, values, 0).sum(0) / count
    variance = np.where(defined, (values - mean) ** 2, 0).sum(0) / count
    return np.where(defined.mean(0) < 0.5, np.nan, np.sqrt(variance))
