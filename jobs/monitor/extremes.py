"""The least and the greatest values of a column, as they are. A quantile sketch is off by a share of rows,
which is little in the middle of a distribution and everything in its tails: of a million it cannot tell the
fourteen that lie furthest out from none, and a distance that takes the logarithm of shares can."""

from __future__ import annotations

import numpy as np

Items = tuple[np.ndarray, np.ndarray]


class Extremes:
    """The `size` least and the `size` greatest float64 values, repeated ones included, both ascending. The
    same in any order and grouping of updates and merges."""

    def __init__(self, size: int, low: np.ndarray | None = None, high: np.ndarray | None = None) -> None:
        self.size = size
        self.low = np.zeros(0) if low is None else low
        self.high = np.zeros(0) if high is None else high

    def update(self, values: np.ndarray) -> None:
        """Takes in ascending values."""
        if len(self.low) < self.size or values[0] < self.low[-1]:
            self.low = self._least(self.low, values[: self.size])
        if len(self.high) < self.size or values[-1] > self.high[0]:
            self.high = self._greatest(self.high, values[-self.size :])

    def merge(self, other: Extremes) -> Extremes:
        merged = Extremes(min(self.size, other.size))
        merged.low, merged.high = merged._least(self.low, other.low), merged._greatest(self.high, other.high)
        return merged

    def _least(self, *parts: np.ndarray) -> np.ndarray:
        return np.sort(np.concatenate(parts))[: self.size].copy()

    def _greatest(self, *parts: np.ndarray) -> np.ndarray:
        return np.sort(np.concatenate(parts))[-self.size :].copy()

    def within(self, items: Items, n: int) -> Items:
        """A sketch's `items` (ascending values, how many of all `n` rows are at most as large) with the
        extremes in place of its own. Of the greatest of the low values, and only of it, more may exist."""
        values, ranks = items
        low = self.low[: np.searchsorted(self.low, self.low[-1], "left")]
        high = self.high[np.searchsorted(self.high, self.high[0], "right") :]
        first = np.searchsorted(values, self.low[-1], "left")
        last = np.searchsorted(values, self.high[0], "left")
        top = n - len(high)
        return (
            np.concatenate((low, values[first:last], self.high[:1], high)),
            np.concatenate(
                (
                    np.arange(1, len(low) + 1),
                    np.clip(ranks[first:last], len(low) + 1, top),
                    np.arange(top, n + 1),
                )
            ),
        )
