"""What is looked for in the bodies of requests and responses, and what was found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from jobs.monitor.schema import Schema
from jobs.monitor.typed import ANY, ARROW, OUTCOME
from jobs.spec import BINARY, MULTICLASS

JSON_LINES, JSON, CSV = "application/jsonlines", "application/json", "text/csv"
STRUCT = "struct"  # an object of numbers by class: left as the reader found it
PREDICTION, PROBABILITY, PROBABILITIES = "prediction", "probability", "probabilities"
ANSWERED = (PREDICTION, PROBABILITY, PROBABILITIES)


@dataclass(frozen=True)
class Layout:
    """`columns`: declared type by name; `wrapper`: the key of the list in a JSON body; `positions`: columns
    of a CSV body without a header; `bare`: a body may be values without names (`0.13`), in this order."""

    columns: dict[str, str]
    wrapper: str
    positions: tuple[str, ...]
    bare: bool = False


@dataclass
class Parsed:
    """`table`: the rows of all bodies, in order, a column per layout column; `counts`: rows per body (int64,
    0 where it is broken); `extra`: values per column that the layout does not name; `absent`: columns that no
    body names; `broken`: reason by body, never its content."""

    table: pa.Table
    counts: np.ndarray
    mistyped: dict[str, int] = field(default_factory=dict)
    extra: dict[str, int] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    broken: dict[int, str] = field(default_factory=dict)


def request_layout(schema: Schema) -> Layout:
    """A request's row: the features, the protected columns, its id and its time."""
    columns = {name: entry.type for name, entry in schema.fields.items()}
    others = [*schema.protected, schema.id, schema.time]
    columns |= {name: ANY for name in others if name and name not in columns}
    return Layout(columns, "instances", tuple(schema.fields))


def answer_layout(schema: Schema) -> Layout:
    """A response's row. A prediction is a number (of a binary task perhaps a truth value), or a class as
    text."""
    if schema.task == MULTICLASS:
        columns = {PREDICTION: ANY, PROBABILITIES: STRUCT}
        return Layout(columns, "predictions", (PREDICTION,), bare=True)
    columns = {PREDICTION: OUTCOME if schema.task == BINARY else "number", PROBABILITY: "number"}
    return Layout(columns, "predictions", (PREDICTION, PROBABILITY), bare=True)


def arrow_type(kind: str) -> pa.DataType:
    return pa.null() if kind == STRUCT else ARROW.get(kind, pa.string())


def complete(columns: dict[str, pa.Array], layout: Layout, rows: int) -> pa.Table:
    """The layout's columns in its order, null where nothing was found."""
    arrays = [
        columns[name] if name in columns else pa.nulls(rows, arrow_type(kind))
        for name, kind in layout.columns.items()
    ]
    return pa.Table.from_arrays(arrays, names=list(layout.columns))
