"""The groups between which bias is measured: which column, which values, and what of a label or a prediction
counts as positive. They are chosen on the baseline's rows and kept with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.contract import JobError
from jobs.monitor.bias_metrics import NEGATIVE, POSITIVE, UNKNOWN
from jobs.monitor.buffers import floats, texts

MAX_GROUPS = 20  # of a facet, the largest first; the others are together one that is not judged
MAX_STRATA = 20
MAX_CLASSES = 50
FEW_NUMBERS = 10  # a numeric facet of at most as many values is compared value by value


@dataclass(frozen=True)
class Outcome:
    """What of a label or a prediction counts as positive: above `threshold`, or one of `values` (as text).
    Neither: a task with several classes of which none was declared, where only distances are defined."""

    values: tuple[str, ...] = ()
    threshold: float | None = None

    def words(self) -> str:
        """`more than 1500`, `billing or other`; empty where nothing was declared."""
        return " or ".join(self.values) if self.threshold is None else f"more than {self.threshold:.15g}"

    def states(self, column: pa.Array | np.ndarray) -> np.ndarray:
        """int8 per row: NEGATIVE, POSITIVE or UNKNOWN."""
        if self.threshold is not None:
            numbers = _numbers(column)
            found = (numbers > self.threshold).astype(np.int8)
            found[np.isnan(numbers)] = UNKNOWN
            return found
        if isinstance(column, np.ndarray) or not _is_text(column.type):
            numbers = _numbers(column)
            accepted = [float(value) for value in self.values if _is_number(value)]
            found = np.zeros(len(numbers), np.int8)
            for value in accepted:
                found[numbers == value] = POSITIVE
            found[np.isnan(numbers) if self.values else slice(None)] = UNKNOWN
            return found
        codes, dictionary, _ = texts(column)
        table = np.array(
            [POSITIVE if name in self.values else NEGATIVE for name in dictionary.to_pylist()], np.int8
        )
        if not self.values:
            table[:] = UNKNOWN
        return np.append(table, np.int8(UNKNOWN))[codes]


@dataclass(frozen=True)
class Facet:
    """A protected column and the groups it makes: one per value, or the rows above `threshold`."""

    column: str
    values: tuple[str, ...] = ()
    threshold: float | None = None

    @property
    def groups(self) -> list[str]:
        if self.threshold is not None:
            return [f"{self.column}>{self.threshold:g}"]
        return [f"{self.column}={value}" for value in self.values]

    def codes(self, column: pa.Array) -> np.ndarray:
        """int64 per row: the group, or len(groups) for the rest, rows without a value among them."""
        rest = len(self.groups)
        if self.threshold is not None:
            return np.where(_numbers(column) > self.threshold, 0, rest)
        return encode(column, self.values)


@dataclass(frozen=True)
class Layout:
    """What is counted of a facet: `strata` are the values of column `stratum`, in each of which CDD is
    taken; `classes` are the label's, where it has more than two."""

    facet: Facet
    outcome: Outcome
    stratum: str = ""
    strata: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.facet.column, self.stratum) if self.stratum else (self.facet.column,)


def encode(column: pa.Array | np.ndarray, values: Sequence[str], missing: int | None = None) -> np.ndarray:
    """int64 per row: the position of its value in `values`, len(values) where it is another or, unless
    `missing` says otherwise, none. Numbers are compared as numbers: 1 and 1.0 are the same."""
    rest = len(values)
    none = rest if missing is None else missing
    if not isinstance(column, np.ndarray) and (_is_text(column.type) or pa.types.is_boolean(column.type)):
        codes, dictionary, _ = texts(column)
        position = {value: index for index, value in enumerate(values)}
        table = [position.get(name, rest) for name in dictionary.to_pylist()]
        return np.array([*table, none])[codes]
    numbers = _numbers(column)
    found = np.where(np.isnan(numbers), none, rest)
    for index, value in enumerate(values):
        if _is_number(value):
            found[numbers == float(value)] = index
    return found


def largest(column: pa.Array, most: int) -> tuple[str, ...]:
    """The most frequent values as text, the largest first, ties by name; missing ones do not count."""
    if _is_text(column.type) or pa.types.is_boolean(column.type):
        codes, dictionary, _ = texts(column)
        names = dictionary.to_pylist()
        counts = np.bincount(codes[codes >= 0], minlength=len(names))
    else:
        numbers = _numbers(column)
        unique, counts = np.unique(numbers[np.isfinite(numbers)], return_counts=True)
        names = [f"{value:g}" for value in unique]
    ordered = sorted(zip(-counts, names, strict=True))
    return tuple(name for count, name in ordered[:most] if count)


def facet_of(column: pa.Array, name: str, chosen: Sequence[Any] | float | None) -> Facet:
    """A facet as declared, or, where nothing is (`chosen` None), of its largest values; of numbers with more
    than FEW_NUMBERS values, those above the median. Raises JobError for a column without two groups."""
    if isinstance(chosen, int | float) and not isinstance(chosen, bool):
        return Facet(name, threshold=float(chosen))
    if chosen:
        return Facet(name, values=tuple(_text(value) for value in chosen)[:MAX_GROUPS])
    if _is_text(column.type) or pa.types.is_boolean(column.type):
        values = largest(column, MAX_GROUPS)
    else:
        numbers = _numbers(column)
        numbers = numbers[np.isfinite(numbers)]
        if len(np.unique(numbers)) > FEW_NUMBERS:
            return Facet(name, threshold=float(np.median(numbers)))
        values = largest(column, FEW_NUMBERS)
    if len(values) < 2:
        raise JobError(f"protected column {name} has {len(values)} values: there is nothing to compare")
    return Facet(name, values=values)


def with_stratum(layout: Layout, name: str, column: pa.Array) -> Layout:
    return replace(layout, stratum=name, strata=largest(column, MAX_STRATA))


def _numbers(column: pa.Array | np.ndarray) -> np.ndarray:
    """float64, NaN where missing; truth values are 0 and 1."""
    if isinstance(column, np.ndarray):
        return column.astype(np.float64, copy=False)
    if pa.types.is_boolean(column.type):
        column = pc.cast(column, pa.int8())
    return floats(column)[0]


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
