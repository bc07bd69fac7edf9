"""Summaries of a column that merge: quantiles here, distinct values and counts of categories beside. Each
holds a bounded number of values however many rows it saw, says how far off it may be, and repeats itself."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from jobs.monitor.counts import Counts
from jobs.monitor.distinct import Distinct
from jobs.monitor.extremes import Extremes
from jobs.monitor.hashing import splitmix

__all__ = ["Counts", "Distinct", "Quantiles", "paired"]

K = 4096
FANOUT = 2  # a level holds FANOUT * K values before one in FANOUT of them moves up
EXTREMES = 4  # one in so many of K values more are kept at either end
MERGED = 8  # levels of a merged sketch may hold so many times more: a merge of few shards only collects
MANY = 1000  # points from which on they are merged, not searched
DOUBT = 1e-6  # probability with which any rank is further off than `epsilon`


class Quantiles:
    """Quantiles of float64 values in bounded memory, mergeable.

    The sketch of Karnin, Lang and Liberty (2016, arXiv 1603.05346): level h holds values that stand for 2^h
    each. Their compaction keeps every second value of a sorted level, from a random start; here a whole batch
    is sorted and one in 2^j is kept, from a random start, which is j compactions in one step, and the sort is
    NumPy's vectorised one. Up to FANOUT * K values are kept as they are: small windows are exact. So are the
    K / EXTREMES least and greatest values of any window.

    The weights of the kept values always sum to `n`.
    """

    def __init__(self, k: int = K) -> None:
        self.k = k
        self.n = 0
        self.minimum, self.maximum = math.inf, -math.inf
        self.worst = 0  # the sum of (stride - 1) * weight over all selections: no rank is further off
        self.spread = 0  # the sum of (stride * weight)^2: see `epsilon`
        self.extremes = Extremes(max(k // EXTREMES, 1))
        self._levels: list[list[np.ndarray]] = [[]]
        self._items: tuple[np.ndarray, np.ndarray] | None = None

    def update(self, values: np.ndarray, ascending: bool = False) -> None:
        """Adds float64 values without NaN. What is kept of them is copied."""
        if not len(values):
            return
        if not ascending:
            values = np.sort(values)
        self.minimum = min(self.minimum, float(values[0]))
        self.maximum = max(self.maximum, float(values[-1]))
        self.n += len(values)
        self.extremes.update(values)
        self._items = None
        if len(values) > self.k * FANOUT:
            self._lift(0, values, int(math.log2(len(values) / self.k)))
        else:
            self._levels[0].append(values.copy())
        self._compact(self.k * FANOUT)

    def merge(self, other: Quantiles) -> Quantiles:
        """Both sketches' values. As long as they fit (MERGED * FANOUT * K values in a level) they are only
        collected: any order and any grouping then gives the same answers, and no accuracy is lost."""
        merged = Quantiles(min(self.k, other.k))
        merged.n = self.n + other.n
        merged.minimum, merged.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        merged.worst, merged.spread = self.worst + other.worst, self.spread + other.spread
        merged.extremes = self.extremes.merge(other.extremes)
        depth = max(len(self._levels), len(other._levels))
        merged._levels = [_level(self, height) + _level(other, height) for height in range(depth)]
        merged._compact(merged.k * FANOUT * MERGED)
        return merged

    def items(self) -> tuple[np.ndarray, np.ndarray]:
        """(the kept values, ascending; int64 how many rows are less than or equal to each)."""
        if self._items is None:
            levels = [np.sort(np.concatenate([np.zeros(0), *parts])) for parts in self._levels]
            values = np.concatenate(levels)
            weights = np.repeat(1 << np.arange(len(levels)), [len(level) for level in levels])
            order = np.argsort(values, kind="stable")  # a few sorted runs: a merge
            items = values[order], np.cumsum(weights[order])
            self._items = self.extremes.within(items, self.n) if self.worst else items
        return self._items

    def cdf(self, x: np.ndarray | float) -> np.ndarray:
        """Share of the rows with a value of at most x; NaN where there are no rows."""
        values, ranks = self.items()
        if not self.n:
            return np.full(np.shape(x), np.nan)
        below = _ranks(values, np.asarray(x, float))
        return np.where(below > 0, ranks[np.maximum(below, 1) - 1], 0) / self.n

    def quantile(self, q: np.ndarray | float) -> np.ndarray:
        """The least kept value whose rank is at least q of the rows (numpy's `inverted_cdf`); the least and
        the greatest are exact."""
        values, ranks = self.items()
        if not self.n:
            return np.full(np.shape(q), np.nan)
        q = np.asarray(q, float)
        found = values[np.minimum(np.searchsorted(ranks, np.ceil(q * self.n), "left"), len(values) - 1)]
        return np.where(q <= 0, self.minimum, np.where(q >= 1, self.maximum, found))

    @property
    def epsilon(self) -> float:
        """Bound on |cdf(x) - the rows' own share|, for all x at once with probability 1 - DOUBT.

        A selection with a stride of s from values of weight w moves a rank by less than s * w, with an
        expectation of 0 (its start is random): Hoeffding's inequality for the sum of all selections, and a
        union over the ranks. Never more than the sum of the worst cases.
        """
        if not self.n or not self.worst:
            return 0.0
        likely = math.sqrt(self.spread * math.log(2 * self.n / DOUBT) / 2)
        return min(self.worst, likely) / self.n

    def compacted(self, k: int) -> Quantiles:
        """A copy in Apache's proportions: the top level holds up to k values, each below it 0.64 of that."""
        copy = Quantiles(k).merge(self)
        height = 0
        while height < len(copy._levels):
            depth = len(copy._levels) - height - 1
            if _size(copy._levels[height]) <= max(2, int(k * 0.64**depth)):
                height += 1
                continue
            values = np.sort(np.concatenate(copy._levels[height]))
            copy._levels[height] = []
            copy._lift(height, values, 1)
            height = 0
        return copy

    def to_kll(self, buckets: int = 10, k: int = 2048) -> dict[str, Any]:
        """The `kll` object of Model Monitor's statistics.json: equally wide buckets (the last one closed) and
        the sketch as Deequ stores it: `data[h]` are the values with weight 2^h."""
        if not self.n:
            return {"buckets": [], "sketch": {"parameters": {"c": 0.64, "k": float(k)}, "data": []}}
        small = self.compacted(k)
        edges = np.linspace(self.minimum, self.maximum, buckets + 1)
        below = np.concatenate(([0.0], [self._below(edge) for edge in edges[1:-1]], [float(self.n)]))
        return {
            "buckets": [
                {"lower_bound": float(low), "upper_bound": float(high), "count": float(count)}
                for low, high, count in zip(edges, edges[1:], np.diff(below), strict=False)
            ],
            "sketch": {
                "parameters": {"c": 0.64, "k": float(k)},
                "data": [np.sort(np.concatenate([*parts, []])).tolist() for parts in small._levels],
            },
        }

    def pack(self) -> tuple[dict[str, Any], np.ndarray]:
        """(what JSON holds; the least and the greatest values, then all levels' one after the other)."""
        self._levels = [[np.sort(np.concatenate(parts))] if parts else [] for parts in self._levels]
        content = {
            "k": self.k,
            "n": self.n,
            "minimum": self.minimum if self.n else None,
            "maximum": self.maximum if self.n else None,
            "worst": self.worst,
            "spread": self.spread,
            "extremes": len(self.extremes.low),
            "sizes": [_size(parts) for parts in self._levels],
        }
        ends = self.extremes.low, self.extremes.high
        return content, np.concatenate([*ends, *(part for parts in self._levels for part in parts)])

    @classmethod
    def unpack(cls, content: dict[str, Any], values: np.ndarray) -> Quantiles:
        sketch = cls(content["k"])
        sketch.n, sketch.worst, sketch.spread = content["n"], content["worst"], content["spread"]
        if sketch.n:
            sketch.minimum, sketch.maximum = content["minimum"], content["maximum"]
        low, high, values = np.split(values, [content["extremes"], 2 * content["extremes"]])
        sketch.extremes = Extremes(sketch.extremes.size, low, high)
        bounds = np.cumsum([0, *content["sizes"]])
        sketch._levels = [
            [values[first:last]] if last > first else [] for first, last in pairwise(bounds)
        ] or [[]]
        return sketch

    def _below(self, edge: float) -> float:
        """Rows with a value under the edge."""
        values, ranks = self.items()
        position = np.searchsorted(values, edge, "left")
        return float(ranks[position - 1]) if position else 0.0

    def _lift(self, height: int, values: np.ndarray, step: int) -> None:
        """Moves one in 2^step of sorted values of weight 2^height up by `step` levels, from a start that the
        state decides. As many as 2^step does not divide stay behind as they are: the greatest ones."""
        while len(self._levels) <= height + step:
            self._levels.append([])
        stride = 1 << step
        whole = len(values) - len(values) % stride
        if whole < len(values):
            self._levels[height].append(values[whole:].copy())
            values = values[:whole]
        start = splitmix(self.worst ^ self.n ^ hash(float(values[len(values) // 2]))) % stride
        self.worst += (stride - 1) << height
        self.spread += (stride << height) ** 2
        self._levels[height + step].append(values[start::stride].copy())

    def _compact(self, capacity: int) -> None:
        """Lifts every level that holds more than `capacity` values, down to K to 2K of them."""
        height = 0
        while height < len(self._levels):
            if _size(self._levels[height]) > capacity:
                values = np.sort(np.concatenate(self._levels[height]))
                self._levels[height] = []
                self._lift(height, values, int(math.log2(len(values) / self.k)))
            height += 1


def paired(one: Quantiles, other: Quantiles) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(every kept value of both, ascending and distinct; the distribution function of each at them), in one
    merge. Both must have rows."""
    (first, ranks), (second, others) = one.items(), other.items()
    points = np.concatenate((first, second))
    order = np.argsort(points, kind="stable")  # two sorted runs: a merge
    points = points[order]
    last = np.flatnonzero(np.concatenate((points[1:] != points[:-1], [True])))
    steps = np.diff(ranks, prepend=0), np.diff(others, prepend=0)
    none = np.zeros(len(first), np.int64), np.zeros(len(second), np.int64)
    rises = np.concatenate((steps[0], none[1])), np.concatenate((none[0], steps[1]))
    heights = [np.cumsum(rise[order])[last] / n for rise, n in zip(rises, (one.n, other.n), strict=True)]
    return points[last], heights[0], heights[1]


def _ranks(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """How many of the ascending values are at most x. Merging two long sorted runs is several times faster
    than as many binary searches."""
    if x.size < MANY:
        return np.searchsorted(values, x, "right")
    order = np.argsort(np.concatenate((values, x)), kind="stable")  # a value goes before an equal x
    asked = order >= len(values)
    below = np.empty(x.size, np.int64)
    below[order[asked] - len(values)] = np.cumsum(~asked)[asked]
    return below


def _level(sketch: Quantiles, height: int) -> list[np.ndarray]:
    return sketch._levels[height] if height < len(sketch._levels) else []


def _size(parts: list[np.ndarray]) -> int:
    return sum(len(part) for part in parts)
