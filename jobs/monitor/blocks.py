"""Histograms per block of time (days, by default), on fixed edges: by how much one day differs from the
next is what a window is judged against. Whole numbers: shards in any order and grouping give the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jobs.contract import JobError
from jobs.monitor.buffers import positions, text_array

if TYPE_CHECKING:
    from jobs.monitor.profile import Profile

BINS = 64
CATEGORIES = 255
FEW = 4  # blocks in a batch up to which each is sorted alone
NO_TIME = np.iinfo(np.int64).min
MOST = 4096  # blocks; rows of further ones are counted in `outside`


@dataclass(frozen=True)
class Edges:
    """Bins per column. Numbers: bin i holds edges[i - 1] < x <= edges[i], so that the running sum of the
    counts is the distribution function at the edges, ties included. Categories: one bin each, then one for
    all others."""

    numbers: dict[str, np.ndarray]
    categories: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, profile: Profile, bins: int = BINS, categories: int = CATEGORIES) -> Edges:
        """Bins of about the same number of rows; one bin per value where there are few values. An allowed
        category has a bin of its own whether or not it was seen."""
        numbers, names = {}, {}
        for name, column in profile.columns.items():
            if hasattr(column, "quantiles"):
                numbers[name] = _quantile_edges(column.quantiles, bins)
            else:
                listed = profile.schema.fields[name].values or ()
                seen = column.counts.as_dict(categories)
                names[name] = tuple(dict.fromkeys((*listed, *seen)))[: max(categories, len(listed))]
        return cls(numbers, names)

    def bins(self, name: str) -> int:
        return len(self.numbers[name] if name in self.numbers else self.categories[name]) + 1

    def __contains__(self, name: str) -> bool:
        return name in self.numbers or name in self.categories

    def __iter__(self) -> Iterable[str]:
        yield from self.numbers
        yield from self.categories

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Edges) and self.as_dict() == other.as_dict()

    def as_dict(self) -> dict[str, Any]:
        return {
            "numbers": {name: edges.tolist() for name, edges in self.numbers.items()},
            "categories": {name: list(values) for name, values in self.categories.items()},
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Edges:
        return cls(
            {name: np.array(edges, float) for name, edges in content["numbers"].items()},
            {name: tuple(values) for name, values in content["categories"].items()},
        )


@dataclass(frozen=True)
class Split:
    """Where a batch's rows belong: in `order` (None: as they are), those from bounds[i] up to bounds[i + 1]
    are of block keys[i]."""

    order: np.ndarray | None
    keys: list[int]
    bounds: list[int]


@dataclass(frozen=True)
class Cut:
    """A batch's rows by block: `order` brings the rows of a block together (None: they are), then `parts` are
    (row of the block's histogram, first, last)."""

    order: np.ndarray | None
    parts: list[tuple[int, int, int]]
    few: bool  # every row is in a part, and there are few of them


class Blocks:
    """`length` is that of a block in microseconds. A block's key is its number since 1970."""

    def __init__(self, edges: Edges, length: int) -> None:
        self.edges = edges
        self.length = length
        self.outside = 0  # rows without a time, or of a block beyond MOST
        self._rows: dict[int, int] = {}  # key -> row of the arrays, in order of appearance
        self._sizes = np.zeros(0, np.int64)
        self._missing: dict[str, np.ndarray] = {name: np.zeros(0, np.int64) for name in edges}
        self._counts = {name: np.zeros((0, edges.bins(name)), np.int64) for name in edges}

    @property
    def keys(self) -> np.ndarray:
        """int64[block], ascending; all arrays are in this order."""
        return np.array(sorted(self._rows), np.int64)

    @property
    def rows(self) -> np.ndarray:
        """int64[block]."""
        return self._sizes[self._order()]

    @property
    def counts(self) -> dict[str, np.ndarray]:
        """int64[block, bin] per column."""
        order = self._order()
        return {name: counts[order] for name, counts in self._counts.items()}

    @property
    def missing(self) -> dict[str, np.ndarray]:
        """int64[block] per column: null, not a number, or of another type."""
        order = self._order()
        return {name: missing[order] for name, missing in self._missing.items()}

    def total(self, name: str) -> np.ndarray:
        """int64[bin] over all blocks."""
        return self._counts[name].sum(axis=0)

    def split(self, times: np.ndarray, valid: np.ndarray | None) -> Split:
        """A batch's int64 microseconds since 1970 by block; where `valid` is False there is no time."""
        if valid is None and (times[1:] >= times[:-1]).all():
            first, last = int(times[0]) // self.length, int(times[-1]) // self.length
            starts = np.searchsorted(
                times, [key * self.length for key in range(first, min(last, first + FEW) + 1)]
            )
            if last - first < FEW and (np.diff(starts, append=len(times)) > 0).all():
                return Split(None, list(range(first, last + 1)), [*starts.tolist(), len(times)])
        keys = times // self.length
        if valid is not None:
            keys[~valid] = NO_TIME
        order = None
        if (keys[1:] < keys[:-1]).any():
            _, codes = np.unique(keys, return_inverse=True)
            short = np.int16 if codes.max() < 2**15 else np.int64  # NumPy sorts 16 bits by radix
            order = np.argsort(codes.astype(short), kind="stable")
            keys = keys[order]
        starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
        return Split(order, keys[starts].tolist(), [*starts.tolist(), len(keys)])

    def cut(self, split: Split) -> Cut:
        """Counts the rows of each block, and makes room for new ones."""
        parts = []
        for key, (first, last) in zip(split.keys, pairwise(split.bounds), strict=True):
            row = None if key == NO_TIME else self._row(key)
            if row is None:
                self.outside += last - first
            else:
                self._sizes[row] += last - first
                parts.append((row, first, last))
        return Cut(split.order, parts, few=len(split.keys) == len(parts) <= FEW)

    def add_numbers(self, name: str, values: np.ndarray, cut: Cut) -> np.ndarray:
        """Counts float64 values (NaN: missing). Sorts each block's part; returns them in their new order."""
        edges, counts, missing = self.edges.numbers[name], self._counts[name], self._missing[name]
        if cut.order is not None:
            values = values[cut.order]
        for row, first, last in cut.parts:
            part = values[first:last]
            part.sort()
            present = int(np.searchsorted(part, np.nan))
            below = np.searchsorted(part[:present], edges, "right")
            counts[row, :-1] += below
            counts[row, 1:] -= below
            counts[row, -1] += present
            missing[row] += last - first - present
        return values

    def bins_of(self, name: str, dictionary: pa.Array) -> np.ndarray:
        """The bin of each entry of a dictionary; before them, that of a missing value."""
        bins = self.edges.bins(name)
        known = text_array(list(self.edges.categories[name]))
        return np.append(np.int32(bins), positions(dictionary, known, bins - 1))

    def add_categories(self, name: str, placed: np.ndarray, cut: Cut) -> None:
        """Counts the bins of rows that are in the cut's order."""
        bins = self.edges.bins(name)
        for row, first, last in cut.parts:
            self._add(name, row, np.bincount(placed[first:last], minlength=bins + 1))

    def add_counts(self, name: str, parts: list[np.ndarray], bins: np.ndarray, cut: Cut) -> None:
        """Counts what was counted by entry of a dictionary, for each part of the cut."""
        for (row, _, _), counts in zip(cut.parts, parts, strict=True):
            found = np.bincount(bins, counts, self.edges.bins(name) + 1)
            self._add(name, row, found.astype(np.int64))

    def _add(self, name: str, row: int, found: np.ndarray) -> None:
        self._counts[name][row] += found[:-1]
        self._missing[name][row] += found[-1]

    def add_absent(self, name: str, cut: Cut) -> None:
        """A batch that does not have the column."""
        for row, first, last in cut.parts:
            self._missing[name][row] += last - first

    def merge(self, other: Blocks) -> Blocks:
        """Raises JobError where the edges are not the same."""
        if self.length != other.length or self.edges != other.edges:
            raise JobError("profiles merge only where they were counted on the same edges and blocks")
        merged = Blocks(self.edges, self.length)
        merged.outside = self.outside + other.outside
        for part in (self, other):
            for key, row in sorted(part._rows.items()):
                place = merged._row(key)
                if place is None:
                    merged.outside += int(part._sizes[row])
                    continue
                merged._sizes[place] += part._sizes[row]
                for name in part.edges:
                    merged._missing[name][place] += part._missing[name][row]
                    merged._counts[name][place] += part._counts[name][row]
        return merged

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """(what JSON holds, arrays by name)."""
        head = {"length": self.length, "outside": self.outside, "edges": self.edges.as_dict()}
        arrays = {"keys": self.keys, "rows": self.rows}
        for index, name in enumerate(self.edges):
            arrays[f"missing{index}"], arrays[f"counts{index}"] = self.missing[name], self.counts[name]
        return head, arrays

    @classmethod
    def unpack(cls, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> Blocks:
        blocks = cls(Edges.from_dict(content["edges"]), content["length"])
        blocks.outside = content["outside"]
        blocks._rows = {int(key): row for row, key in enumerate(arrays["keys"])}
        blocks._sizes = arrays["rows"]
        for index, name in enumerate(blocks.edges):
            blocks._missing[name], blocks._counts[name] = arrays[f"missing{index}"], arrays[f"counts{index}"]
        return blocks

    def _order(self) -> np.ndarray:
        return np.array([self._rows[key] for key in sorted(self._rows)], np.int64)

    def _row(self, key: int) -> int | None:
        """The block's row in the arrays; None beyond MOST blocks."""
        row = self._rows.get(key)
        if row is None and len(self._rows) < MOST:
            row = self._rows[key] = len(self._rows)
            if row >= len(self._sizes):
                self._grow(max(8, 2 * row))
        return row

    def _grow(self, rows: int) -> None:
        self._sizes = _longer(self._sizes, rows)
        for name in self.edges:
            self._missing[name] = _longer(self._missing[name], rows)
            self._counts[name] = _longer(self._counts[name], rows)


def _longer(array: np.ndarray, rows: int) -> np.ndarray:
    grown = np.zeros((rows, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown


def _quantile_edges(quantiles: Any, bins: int) -> np.ndarray:
    values, _ = quantiles.items()
    distinct = values[np.concatenate((values[1:] != values[:-1], [True]))] if len(values) else values
    if len(distinct) <= bins:
        return distinct
    return np.unique(quantiles.quantile(np.arange(1, bins) / bins))
