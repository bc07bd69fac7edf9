"""Rows of data files, with what a model answered and what was true, as a window: a holdout, or a window that
no endpoint captured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.contract import JobError
from jobs.monitor import buffers
from jobs.monitor.bodies import PREDICTION, Layout, answer_layout, arrow_type
from jobs.monitor.schema import Schema
from jobs.monitor.window import Problems, Window
from jobs.spec import MULTICLASS


def window(rows: pa.Table | pa.RecordBatch, schema: Schema, answers: pa.Table | None = None) -> Window:
    """Rows with the columns of a schema. The model's answers are `answers`, or the columns `prediction` and
    `probability`; labels are the target's column. What is not there is missing in every row."""
    table = pa.table(rows) if isinstance(rows, pa.RecordBatch) else rows
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    size = table.num_rows
    layout = answer_layout(schema)
    if answers is None:
        answers = pa.table({name: _answer(columns, name, layout, size) for name in layout.columns})
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
        pa.nulls(size, pa.string()) if ids is None else ids.cast(pa.string()),
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


def pieces(batches: Iterable[pa.RecordBatch], schema: Schema, problems: Problems) -> Iterator[Window]:
    """The rows of data files, a window for each batch; `problems` is complete when the last one was given."""
    for batch in batches:
        piece = window(batch, schema)
        problems.unusable_labels += piece.problems.unusable_labels
        yield piece


def empty(schema: Schema) -> Window:
    return window(pa.table({}), schema)


def answers_of(task: str, answers: Sequence[dict[str, Any]]) -> pa.Table:
    """`{"prediction", "probability"}` (binary), `{"prediction", "probabilities"}` (multiclass) or
    `{"prediction"}` (regression) of each row. Raises JobError for an answer without `prediction`."""
    if any(not isinstance(answer, dict) or answer.get(PREDICTION) is None for answer in answers):
        raise JobError("the model's answers have no `prediction`")
    columns = {}
    for name in answer_layout(Schema({}, task=task)).columns:
        values = [answer.get(name) for answer in answers]
        if task != MULTICLASS:
            columns[name] = pa.array([_number(value) for value in values], pa.float64())
        elif name == PREDICTION:
            columns[name] = pa.array([str(value) for value in values], pa.string())
        else:
            columns[name] = pa.array(values)
    return pa.table(columns)


def _answer(columns: dict[str, pa.Array], name: str, layout: Layout, size: int) -> pa.Array:
    kind = layout.columns[name]
    if name not in columns:
        return pa.nulls(size, arrow_type(kind))
    return _floats(columns[name]) if kind == "number" else columns[name].cast(pa.string())


def _label(column: pa.Array | None, schema: Schema, size: int) -> pa.Array:
    """Numbers, finite ones; classes as text."""
    if schema.task == MULTICLASS:
        return pa.nulls(size, pa.string()) if column is None else column.cast(pa.string())
    if column is None:
        return pa.nulls(size, pa.float64())
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return _floats(column)


def _floats(column: pa.Array) -> pa.Array:
    values, _ = buffers.floats(column)
    return pa.array(values, mask=~np.isfinite(values))


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
