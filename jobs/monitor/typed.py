"""Columns as the monitor counts them: one Arrow type per declared type; a value of another type is null
and counted, never fatal.

| declared | Arrow | taken |
|---|---|---|
| number | float64 | a JSON number; NaN is missing, infinities stay |
| integer | float64 | a whole JSON number, `3.0` too, so that nulls and sketches need no second type |
| boolean | bool | `true`, `false`; from CSV also `1`, `0` |
| outcome | float64 | as a number; `true` is 1, `false` 0 |
| string | string | text; from CSV any cell that is not empty |
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

OUTCOME = "outcome"  # of a binary task
ARROW = {
    "number": pa.float64(),
    "integer": pa.float64(),
    OUTCOME: pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
}
TIMESTAMP = pa.timestamp("us", "UTC")
ANY = "any"  # an id or a time: text as it is, a number in its shortest form
TRUE, FALSE = ["true", "True", "TRUE", "1"], ["false", "False", "FALSE", "0"]


class Irregular(Exception):
    """Data that the fast reader does not take: the slow one says what is wrong with it, row by row."""


def settle(column: pa.Array, kind: str) -> tuple[pa.Array, int]:
    """A column that a reader typed by itself, as `kind`; and how many of its values are of another type.

    Raises Irregular where the reader's own typing lost the text (it takes some text for times).
    """
    given = column.type
    if pa.types.is_null(given):
        return pa.nulls(len(column), ARROW.get(kind, pa.string())), 0
    if kind in ("number", "integer", OUTCOME):
        if kind == OUTCOME and pa.types.is_boolean(given):
            return column.cast(pa.float64()), 0
        if not (pa.types.is_integer(given) or pa.types.is_floating(given)):
            return _none_fits(column, pa.float64())
        column = column.cast(pa.float64(), safe=False)
        return whole(column) if kind == "integer" else (column, 0)
    if kind == "boolean":
        return (column, 0) if pa.types.is_boolean(given) else _none_fits(column, pa.bool_())
    if pa.types.is_string(given):
        return column, 0
    if pa.types.is_temporal(given):
        raise Irregular("text that was read as times")
    if kind == ANY and (pa.types.is_integer(given) or pa.types.is_floating(given)):
        return pa.array([text(value) for value in column.to_pylist()], pa.string()), 0
    return _none_fits(column, pa.string())


def whole(column: pa.Array) -> tuple[pa.Array, int]:
    """float64 without fractions: values that are not whole (infinities included) become null and count as
    mistyped; NaN is missing."""
    fits = pc.equal(column, pc.floor(column))
    fits = pc.and_(fits, pc.is_finite(column))
    wrong = pc.and_(pc.invert(fits), pc.invert(pc.is_nan(column)))
    count = pc.sum(wrong).as_py() or 0
    return (pc.if_else(wrong, None, column), count) if count else (column, 0)


def from_values(values: Iterable[Any], kind: str) -> tuple[pa.Array, int]:
    """Python values, one by one: the slow way, for data that no reader takes whole."""
    taken, mistyped = [], 0
    for value in values:
        fits = None if value is None else _fit(value, kind)
        mistyped += value is not None and fits is None
        taken.append(fits)
    try:
        return pa.array(taken, ARROW.get(kind, pa.string())), mistyped
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can write and UTF-8 cannot
        kept = [value if value is None or is_unicode(value) else None for value in taken]
        return pa.array(kept, pa.string()), mistyped + kept.count(None) - taken.count(None)


def is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def from_text(cells: pa.Array, kind: str) -> tuple[pa.Array, int]:
    """CSV cells; an empty cell is missing."""
    cells = pc.if_else(pc.equal(cells, ""), None, cells)
    if kind not in ("number", "integer", OUTCOME, "boolean"):
        return cells, 0
    trimmed = pc.utf8_trim_whitespace(cells)
    if kind == OUTCOME:
        trimmed = truths(trimmed)
    if kind == "boolean":
        is_true, is_false = (pc.is_in(trimmed, value_set=pa.array(words)) for words in (TRUE, FALSE))
        column = pc.if_else(is_true, True, pc.if_else(is_false, False, None))
        return column, column.null_count - cells.null_count
    try:
        column = trimmed.cast(pa.float64())
    except pa.ArrowInvalid:
        column = pa.array([_float(cell) for cell in trimmed.to_pylist()], pa.float64())
    mistyped = column.null_count - cells.null_count
    if kind != "integer":
        return column, mistyped
    column, fractions = whole(column)
    return column, mistyped + fractions


def truths(cells: pa.Array) -> pa.Array:
    """Text without truth values: `1` and `0` in their place, anything else as it is."""
    for words, number in ((TRUE, "1"), (FALSE, "0")):
        cells = pc.if_else(pc.is_in(cells, value_set=pa.array(words, cells.type)), number, cells)
    return cells


def microseconds(column: pa.Array) -> pa.Array:
    """int64 microseconds since 1970 of ISO 8601 text (UTC where it has no zone) or of numbers of seconds;
    null where a value is no time."""
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), pa.int64())
    if not pa.types.is_string(column.type):
        return pa.array([_moment(value) for value in column.to_pylist()], pa.int64())
    try:
        return column.cast(TIMESTAMP).cast(pa.int64())
    except pa.ArrowInvalid:
        pass
    try:
        return column.cast(pa.timestamp("us")).cast(pa.int64())
    except pa.ArrowInvalid:
        return pa.array([_moment(value) for value in column.to_pylist()], pa.int64())


def text(value: Any) -> str | None:
    """An id, a label or a class as text: `7.0` and `7` are the same one."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else None


def _fit(value: Any, kind: str) -> Any:
    if kind == ANY:
        return text(value)
    if kind == "string":
        return value if isinstance(value, str) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if (isinstance(value, bool) and kind != OUTCOME) or not isinstance(value, int | float):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return None if kind == "integer" and not (math.isnan(value) or value.is_integer()) else value


def _none_fits(column: pa.Array, kind: pa.DataType) -> tuple[pa.Array, int]:
    return pa.nulls(len(column), kind), len(column) - column.null_count


def _float(cell: str | None) -> float | None:
    try:
        return None if cell is None else float(cell)
    except ValueError:
        return None


def _moment(value: Any) -> int | None:
    try:
        if isinstance(value, str) and _float(value) is None:
            moment = datetime.fromisoformat(value)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return round(moment.timestamp() * 1e6)
        return None if value is None else round(float(value) * 1e6)
    except (ValueError, TypeError, OverflowError):
        return None
