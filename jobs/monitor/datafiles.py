"""Rows of data files, with what a model answered and what was true, as a window: a holdout, or a window that
no endpoint captured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.contract import JobError
from jobs.monitor import buffers
from jobs.monitor.bodies import PREDICTION, PROBABILITIES, STRUCT, answer_layout, arrow_type
from jobs.monitor.schema import Schema
from jobs.monitor.typed import OUTCOME, text, truths
from jobs.monitor.window import Problems, Window
from jobs.spec import BINARY, MULTICLASS


def window(rows: pa.Table | pa.RecordBatch, schema: Schema, answers: pa.Table | None = None) -> Window:
    """Rows with the columns of a schema. The model's answers are `answers`, or the columns `prediction` and
    `probability`; labels are the target's column. What is not there is missing in every row."""
    table = pa.table(rows) if isinstance(rows, pa.RecordBatch) else rows
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    size = table.num_rows
    if answers is None:
        answers = pa.table(
            {
                name: _answer(columns.get(name, pa.nulls(size, arrow_type(kind))), name, kind)
                for name, kind in answer_layout(schema).columns.items()
            }
        )
    ids = columns.get(schema.id)
    times = np.zeros(size, np.int64)
    if schema.time in columns:
        times, known = buffers.microseconds(columns[schema.time])
        times = times if known is None else np.where(known, times, 0)
    label = _label(columns.get(schema.target), schema, size)
    given = len(columns[schema.target]) - columns[schema.target].null_count if schema.target in columns else 0
    kept = [name for name in dict.fromkeys((*schema.fields, *schema.protected)) if name in columns]
    return Window(
        schema,
        table.select(kept),
        answers,
        pa.nulls(size, pa.string()) if ids is None else as_text(ids, schema.id),
        times,
        times,
        label,
        Problems(unusable_labels=given - len(label) + label.null_count),
    )


def named(window: Window) -> Window:
    """With an id for each labelled row that has none: its place, as its label is beside it already."""
    places = pa.array(np.arange(len(window))).cast(pa.string())
    unnamed = pc.and_(window.ids.is_null(), window.label.is_valid())
    return replace(
        window, ids=pc.if_else(unnamed, pc.binary_join_element_wise("row", places, " "), window.ids)
    )


def pieces(
    batches: Iterable[pa.RecordBatch],
    schema: Schema,
    problems: Problems,
    span: tuple[datetime, datetime] | None = None,
) -> Iterator[Window]:
    """The rows of data files, a window for each batch; `problems` is complete when the last one was given.
    Where a span [start, end) is given, rows of other times do not count."""
    for batch in batches:
        piece = window(batch if span is None else _within(batch, schema, *span), schema)
        problems.unusable_labels += piece.problems.unusable_labels
        yield piece


def _within(batch: pa.RecordBatch, schema: Schema, start: datetime, end: datetime) -> pa.RecordBatch:
    """The rows from `start` until before `end`, and those without a time."""
    if schema.time not in batch.schema.names:
        return batch
    times, known = buffers.microseconds(batch.column(schema.time))
    first, last = (round(moment.timestamp() * 1e6) for moment in (start, end))
    is_kept = (times >= first) & (times < last)
    return batch.filter(pa.array(is_kept if known is None else is_kept | ~known))


def empty(schema: Schema) -> Window:
    return window(pa.table({}), schema)


def answers_of(task: str, answers: Sequence[dict[str, Any]]) -> pa.Table:
    """`{"prediction", "probability"}` (binary), `{"prediction", "probabilities"}` (multiclass) or
    `{"prediction"}` (regression) of each row. Raises JobError for an answer without `prediction`, and for
    `probabilities` that do not name their classes."""
    if any(not isinstance(answer, dict) or answer.get(PREDICTION) is None for answer in answers):
        raise JobError("the model's answers have no `prediction`")
    shares = [answer.get(PROBABILITIES) for answer in answers] if task == MULTICLASS else []
    if any(not isinstance(share, dict | None) for share in shares):
        raise JobError(
            '`probabilities` of the model\'s answers must be a number by class: {"a": 0.9, "b": 0.1}'
        )
    columns = {}
    for name in answer_layout(Schema({}, task=task)).columns:
        values = [answer.get(name) for answer in answers]
        if task != MULTICLASS:
            columns[name] = pa.array([_number(value) for value in values], pa.float64())
        elif name == PREDICTION:
            columns[name] = pa.array([text(value) for value in values], pa.string())
        else:
            columns[name] = pa.array(values)
    return pa.table(columns)


def _answer(column: pa.Array, name: str, kind: str) -> pa.Array:
    if kind == STRUCT:
        return _shares(column, name)
    if kind == OUTCOME:
        return _truths(column)
    return _floats(column) if kind == "number" else as_text(column, name)


def _shares(column: pa.Array, name: str) -> pa.Array:
    """A number by class: a struct or a map, or JSON text, as a CSV file holds it. Raises JobError for what is
    neither."""
    if pa.types.is_struct(column.type) or pa.types.is_null(column.type):
        return column
    given = column.to_pylist()
    try:
        rows = [json.loads(row) if isinstance(row, str) else row and dict(row) for row in given]
        classes = sorted(set().union(*filter(None, rows)))
        return pa.array(rows, pa.struct([(one, pa.float64()) for one in classes]))
    except (TypeError, ValueError, pa.ArrowException):
        wanted = 'a number by class: a struct, a map, or JSON text such as {"a": 0.9, "b": 0.1}'
        raise JobError(f"the column `{name}` is not {wanted}") from None


def as_text(column: pa.Array, name: str) -> pa.Array:
    """Ids or classes; numbers as in requests (Arrow writes 1e10 as `1e+10`), NaN is missing. Raises JobError
    for a type that has no text."""
    if pa.types.is_floating(column.type):
        known = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        return pa.array([text(value) for value in known.to_pylist()], pa.string())
    try:
        return column.cast(pa.string())
    except pa.ArrowException:
        raise JobError(f"the column `{name}` is of type {column.type}: text or numbers are needed") from None


def _label(column: pa.Array | None, schema: Schema, size: int) -> pa.Array:
    """Numbers, finite ones; classes as text."""
    if schema.task == MULTICLASS:
        return pa.nulls(size, pa.string()) if column is None else as_text(column, schema.target)
    if column is None:
        return pa.nulls(size, pa.float64())
    return _truths(column) if schema.task == BINARY else _floats(column)


def _truths(column: pa.Array) -> pa.Array:
    """Of a binary task: 0 and 1, or truth values, also as text."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return _floats(truths(column) if buffers.is_text(column.type) else column)


def _floats(column: pa.Array) -> pa.Array:
    values, _ = buffers.floats(column)
    return pa.array(values, mask=~np.isfinite(values))


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
