"""What a profile holds of one column, built batch by batch."""

from __future__ import annotations

import math
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.monitor import buffers
from jobs.monitor.blocks import Blocks, Cut
from jobs.monitor.counts import same
from jobs.monitor.hashing import finish, hash_text, multiplier, spread
from jobs.monitor.schema import Field
from jobs.monitor.sketch import Counts, Distinct, Quantiles

TALLIES = ("rows", "absent", "missing", "mistyped")


class RowHash:
    """uint64 per row of a batch: the sum of what its columns add, in any order."""

    def __init__(self, rows: int) -> None:
        self.values = np.zeros(rows, np.uint64)
        self._lock = Lock()

    def add(self, hashes: np.ndarray) -> None:
        with self._lock:
            np.add(self.values, hashes, out=self.values)


class NumberColumn:
    """`rows` = `n` + `missing` + `infinite` + `mistyped`. Null and NaN are missing; `absent` of the missing
    were in batches without the column. Statistics and quantiles are those of the `n` finite values; `below`
    and `above` of them lie outside the field's range."""

    _tallies = (*TALLIES, "infinite", "below", "above", "n")

    def __init__(self, field: Field) -> None:
        self.field = field
        self.rows = self.absent = self.missing = self.infinite = self.mistyped = 0
        self.below = self.above = self.n = 0
        self.mean = self._squares = 0.0  # the sum of squared differences from the mean
        self.quantiles, self.distinct = Quantiles(), Distinct()
        self._factor = multiplier(field.name)

    @property
    def sum(self) -> float:
        return self.mean * self.n

    @property
    def std(self) -> float:
        """Of the population (divided by n), as Model Monitor has it."""
        return math.sqrt(self._squares / self.n) if self.n else 0.0

    @property
    def min(self) -> float:
        return self.quantiles.minimum

    @property
    def max(self) -> float:
        return self.quantiles.maximum

    def histogram(self, edges: np.ndarray) -> np.ndarray:
        """int64[len(edges) + 1]: rows with edges[i - 1] < x <= edges[i], from the sketch."""
        ranks = np.rint(self.quantiles.cdf(edges) * self.n) if self.n else np.zeros(len(edges))
        return np.diff(ranks, prepend=0, append=self.n).astype(np.int64)

    def update(self, array: pa.Array, hashes: RowHash, blocks: Blocks | None, cut: Cut | None) -> None:
        values, mistyped = buffers.floats(array, buffers.scratch(len(array), "values"))
        if self.field.type == "integer" and not pa.types.is_integer(array.type):
            fractional = np.floor(values) != values
            fractional &= ~np.isnan(values)
            mistyped += int(fractional.sum())
            values[fractional] = np.nan
        memory = buffers.scratch(len(values), "spread").view(np.uint64)
        spreaded = spread(values.view(np.uint64), self._factor, out=memory)
        hashes.add(spreaded)
        saturated = self.distinct.saturated
        if saturated:
            hashed = finish(spreaded)
            kept = np.flatnonzero(hashed < self.distinct.limit)
            self.distinct.update(hashed[kept[~np.isnan(values[kept])]])
        self.mistyped += mistyped
        self.missing -= mistyped
        if blocks is not None and cut is not None:
            values = blocks.add_numbers(self.field.name, values, cut)
            if cut.few:
                for _, first, last in cut.parts:
                    self._add_sorted(values[first:last], saturated)
                return
        values.sort()
        self._add_sorted(values, saturated)

    def _add_sorted(self, values: np.ndarray, saturated: bool) -> None:
        """Values in ascending order, NaN (null or mistyped) at the end."""
        last, present = np.searchsorted(values, [np.inf, np.nan], "left")
        first = np.searchsorted(values, -np.inf, "right")
        self.rows += len(values)
        self.missing += len(values) - int(present)
        self.infinite += int(present) - int(last - first)
        values = values[first:last]
        if not len(values):
            return
        if not saturated:
            self._add_distinct(values)
        self._add_moments(values)
        if self.field.minimum is not None:
            self.below += int(np.searchsorted(values, self.field.minimum, "left"))
        if self.field.maximum is not None:
            self.above += len(values) - int(np.searchsorted(values, self.field.maximum, "right"))
        self.quantiles.update(values, ascending=True)

    def _add_distinct(self, values: np.ndarray) -> None:
        starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
        counts = np.diff(starts, append=len(values))
        self.distinct.update(finish(spread(values[starts].view(np.uint64), self._factor)), counts)

    def _add_moments(self, values: np.ndarray) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(np.add.reduce(values)) / len(values)
            differences = np.subtract(values, mean, out=buffers.scratch(len(values), "moments"))
            squares = float(np.einsum("i,i->", differences, differences))  # dot would start BLAS's threads
        self.n, self.mean, self._squares = _pooled(
            (self.n, self.mean, self._squares), (len(values), mean, squares)
        )

    def merge(self, other: NumberColumn) -> NumberColumn:
        merged = NumberColumn(self.field)
        _add_tallies(merged, self, other)
        merged.n, merged.mean, merged._squares = _pooled(
            (self.n, self.mean, self._squares), (other.n, other.mean, other._squares)
        )
        merged.quantiles = self.quantiles.merge(other.quantiles)
        merged.distinct = self.distinct.merge(other.distinct)
        return merged

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """(what JSON holds, arrays by name)."""
        quantiles, values = self.quantiles.pack()
        distinct, hashes = self.distinct.pack()
        head = {name: getattr(self, name) for name in self._tallies}
        head |= {"mean": self.mean, "squares": self._squares, "quantiles": quantiles, "distinct": distinct}
        return head, {"quantiles": values, "distinct": hashes}

    @classmethod
    def unpack(cls, field: Field, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> NumberColumn:
        column = cls(field)
        for name in cls._tallies:
            setattr(column, name, content[name])
        column.mean, column._squares = content["mean"], content["squares"]
        column.quantiles = Quantiles.unpack(content["quantiles"], arrays["quantiles"])
        column.distinct = Distinct.unpack(content["distinct"], arrays["distinct"])
        return column


class StringColumn:
    """Strings and truth values (`true`, `false`). `rows` = `n` + `missing` + `mistyped`."""

    _tallies = TALLIES

    def __init__(self, field: Field) -> None:
        self.field = field
        self.rows = self.absent = self.missing = self.mistyped = 0
        self.counts, self.distinct = Counts(), Distinct()
        self._factor = multiplier(field.name)
        self._dictionary: pa.Array | None = None  # the last batch's; what follows has an entry before its own
        self._hashes = self._bins = np.zeros(0)

    @property
    def n(self) -> int:
        return self.rows - self.missing - self.mistyped

    def update(self, array: pa.Array, hashes: RowHash, blocks: Blocks | None, cut: Cut | None) -> None:
        codes, dictionary, mistyped = buffers.texts(array)
        if self._dictionary is None or not same(self._dictionary, dictionary):
            self._dictionary = dictionary
            self._hashes = np.append(np.uint64(0), hash_text(dictionary, self._factor))
            self._bins = blocks.bins_of(self.field.name, dictionary) if blocks else np.zeros(0)
        places = np.add(codes, 1, out=buffers.scratch(len(codes), "values").view(np.int64))  # 0: missing
        memory = buffers.scratch(len(codes), "spread").view(np.uint64)
        hashes.add(np.take(self._hashes, places, out=memory, mode="clip"))
        self.rows += len(codes)
        self.mistyped += mistyped
        self.missing -= mistyped
        size = len(self._hashes)
        if cut is not None and cut.order is not None:
            places = places[cut.order]
        if cut is not None and cut.few and blocks is not None:
            parts = [np.bincount(places[first:last], minlength=size) for _, first, last in cut.parts]
            blocks.add_counts(self.field.name, parts, self._bins, cut)
            counts = np.sum(parts, axis=0)
        else:
            counts = np.bincount(places, minlength=size)
            if blocks is not None and cut is not None:
                blocks.add_categories(self.field.name, self._bins[places], cut)
        self.missing += int(counts[0])
        self.counts.update(self._dictionary, counts[1:])
        seen = np.flatnonzero(counts)
        seen = seen[seen > 0]
        self.distinct.update(self._hashes[seen], counts[seen])

    def merge(self, other: StringColumn) -> StringColumn:
        merged = StringColumn(self.field)
        _add_tallies(merged, self, other)
        merged.counts = self.counts.merge(other.counts)
        merged.distinct = self.distinct.merge(other.distinct)
        return merged

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """(what JSON holds, arrays by name)."""
        counts, arrays = self.counts.pack()
        distinct, hashes = self.distinct.pack()
        head = {name: getattr(self, name) for name in self._tallies}
        return head | {"counts": counts, "distinct": distinct}, arrays | {"distinct": hashes}

    @classmethod
    def unpack(cls, field: Field, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> StringColumn:
        column = cls(field)
        for name in cls._tallies:
            setattr(column, name, content[name])
        column.counts = Counts.unpack(content["counts"], arrays)
        column.distinct = Distinct.unpack(content["distinct"], arrays["distinct"])
        return column


Column = NumberColumn | StringColumn


def column_of(field: Field) -> Column:
    return StringColumn(field) if field.is_categorical else NumberColumn(field)


def _add_tallies(merged: Column, one: Column, other: Column) -> None:
    for name in merged._tallies:
        setattr(merged, name, getattr(one, name) + getattr(other, name))


def _pooled(one: tuple[int, float, float], other: tuple[int, float, float]) -> tuple[int, float, float]:
    """Count, mean and sum of squares of two samples (Chan, Golub, LeVeque 1983,
    doi 10.1080/00031305.1983.10483115)."""
    n = one[0] + other[0]
    if not one[0] or not other[0]:
        return one if one[0] else other
    delta = other[1] - one[1]
    return n, one[1] + delta * other[0] / n, one[2] + other[2] + delta * delta * one[0] * other[0] / n
