"""How many distinct values there are, and how many of them are repeated, in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np

K = 4096
MANY = 8  # times k: from so many hashes on, a bound that drops most of them is worth a look


class Distinct:
    """The k least 64-bit hashes and how often each was seen (bottom-k, or KMV: Bar-Yossef et al. 2002,
    doi 10.1007/3-540-45726-7_1; Beyer et al. 2007, doi 10.1145/1247480.1247504).

    Which values are kept depends on the values alone, so that any order and grouping of updates and merges
    gives the same state. Up to k distinct values the count is exact; then its relative standard error is
    1 / sqrt(k - 2), 1.6 %.
    """

    def __init__(self, k: int = K) -> None:
        self.k = k
        self.limit: np.uint64 | None = None  # hashes from here on are dropped; None: nothing was dropped
        self.hashes = np.zeros(0, np.uint64)  # ascending, distinct
        self.counts = np.zeros(0, np.int64)
        self._new: list[tuple[np.ndarray, np.ndarray | None]] = []
        self._size = 0

    @property
    def saturated(self) -> bool:
        return self.limit is not None

    def update(self, hashes: np.ndarray, counts: np.ndarray | None = None) -> None:
        """Adds uint64 hashes, each seen `counts` times (once where None)."""
        if self.limit is not None:
            kept = np.flatnonzero(hashes < self.limit)
            hashes, counts = hashes[kept], None if counts is None else counts[kept]
        if len(hashes):
            self._new.append((hashes, counts))
            self._size += len(hashes)
        if self._size > 4 * self.k:
            self._settle()

    def merge(self, other: Distinct) -> Distinct:
        merged = Distinct(min(self.k, other.k))
        limits = [sketch.limit for sketch in (self, other) if sketch._settle().limit is not None]
        merged.limit = min(limits) if limits else None
        for sketch in (self, other):
            merged.update(sketch.hashes, sketch.counts)
        return merged._settle()

    def estimate(self) -> float:
        """Number of distinct values: exact up to k, then k over the share of the hash range that the k least
        hashes span (Beyer et al. 2007, equation 1; unbiased)."""
        self._settle()
        if self.limit is None:
            return float(len(self.hashes))
        return len(self.hashes) / (float(self.limit) / 2.0**64)

    def repeated(self) -> float:
        """Share of the rows beyond the first of their value: of 0, 0, 0, 1 it is a half. Estimated on the
        kept values, each with all its rows: a uniform sample of values."""
        self._settle()
        rows = int(self.counts.sum())
        return 1.0 - len(self.counts) / rows if rows else 0.0

    def pack(self) -> tuple[dict[str, Any], np.ndarray]:
        """(what JSON holds, uint64[2, kept]: hashes and counts)."""
        self._settle()
        limit = None if self.limit is None else int(self.limit)
        return {"k": self.k, "limit": limit}, np.stack([self.hashes, self.counts.astype(np.uint64)])

    @classmethod
    def unpack(cls, content: dict[str, Any], values: np.ndarray) -> Distinct:
        sketch = cls(content["k"])
        sketch.limit = None if content["limit"] is None else np.uint64(content["limit"])
        sketch.hashes, sketch.counts = values[0], values[1].astype(np.int64)
        return sketch

    def _settle(self) -> Distinct:
        """Takes in what is new: the k least distinct hashes stay, the next one becomes the limit."""
        if not self._new:
            return self
        hashes = np.concatenate([self.hashes, *(part for part, _ in self._new)])
        counts = np.concatenate(
            [self.counts, *(np.ones(len(part), np.int64) if n is None else n for part, n in self._new)]
        )
        self._new, self._size = [], 0
        if len(hashes) > MANY * self.k:
            hashes, counts = self._least(hashes, counts)
        if len(hashes) > self.k:
            ordered = np.sort(hashes)
            ordered = ordered[np.flatnonzero(ordered[1:] != ordered[:-1])]  # the greatest may be left out:
            if len(ordered) > self.k:  # it matters only where there are more than k before it
                self.limit = ordered[self.k]
                kept = np.flatnonzero(hashes < self.limit)
                hashes, counts = hashes[kept], counts[kept]
        order = np.argsort(hashes)
        hashes, counts = hashes[order], counts[order]
        first = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1])))
        self.hashes, self.counts = hashes[first], np.add.reduceat(counts, first)
        if len(self.hashes) > self.k:
            self.limit = self.hashes[self.k]
            self.hashes, self.counts = self.hashes[: self.k].copy(), self.counts[: self.k].copy()
        return self

    def _least(self, hashes: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those that can matter, found without a sort: hashes are uniform, so that twice as many as wanted
        lie under this bound, unless most of them are repeated."""
        bound = np.uint64(2 * self.k * 2**64 // len(hashes))
        kept = np.flatnonzero(hashes < bound)
        if len(np.unique(hashes[kept])) <= self.k:
            return hashes, counts
        return hashes[kept], counts[kept]
