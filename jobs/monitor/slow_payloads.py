"""Bodies read one by one, for batches that the fast reader refuses: says which body is broken and why, never
what it holds."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.monitor.bodies import CSV, JSON, STRUCT, Layout, Parsed, complete
from jobs.monitor.typed import from_text, from_values, is_unicode

Row = dict[str, Any]


def parse(bodies: list[str], content_type: str, layout: Layout) -> Parsed:
    rows: list[Row] = []
    counts = np.zeros(len(bodies), np.int64)
    broken: dict[int, str] = {}
    for index, body in enumerate(bodies):
        try:
            found = _rows(body, content_type, layout)
            if not found:
                raise ValueError("no rows")
        except ValueError as error:
            broken[index] = reason(error)
            continue
        counts[index] = len(found)
        rows += found
    return _typed(rows, counts, broken, layout, is_text=content_type == CSV)


def reason(error: ValueError) -> str:
    """Without the text that could not be read: it may be personal."""
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON ({error.msg} at column {error.colno})"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 (at byte {error.start})"
    return str(error)


def _rows(body: str, content_type: str, layout: Layout) -> list[Row]:
    if content_type == CSV:
        return _csv_rows(body, layout)
    if content_type == JSON:
        content = json.loads(body, strict=False)  # as lenient as the fast reader
        if isinstance(content, dict):
            content = content.get(layout.wrapper, [content])
        values = content if isinstance(content, list) else [content]
    else:
        values = [json.loads(line, strict=False) for line in body.split("\n") if line.strip()]
    return [_row(value, index, layout) for index, value in enumerate(values)]


def _row(value: Any, index: int, layout: Layout) -> Row:
    if isinstance(value, dict):
        return value
    if layout.bare and not isinstance(value, list):
        return {layout.positions[0]: value}
    raise ValueError(f"row {index} is no object with a value per column")


def _csv_rows(body: str, layout: Layout) -> list[Row]:
    try:
        lines = [line for line in csv.reader(io.StringIO(body.removeprefix("\ufeff"))) if line]
    except csv.Error:
        raise ValueError("not CSV") from None
    names = list(layout.positions)
    if layout.bare:
        return [dict(zip(names, line, strict=False)) for line in lines]
    if lines and set(names) <= set(lines[0]):
        names = lines.pop(0)
    for index, line in enumerate(lines):
        if len(line) != len(names):
            raise ValueError(f"row {index} has {len(line)} values, expected {len(names)}")
    return [dict(zip(names, line, strict=True)) for line in lines]


def _typed(
    rows: list[Row], counts: np.ndarray, broken: dict[int, str], layout: Layout, is_text: bool
) -> Parsed:
    columns, mistyped = {}, {}
    for name, kind in layout.columns.items():
        values = [row.get(name) for row in rows]
        if kind == STRUCT:
            columns[name], wrong = _structs(values)
        elif is_text:
            columns[name], wrong = from_text(pa.array(values, pa.string()), kind)
        else:
            columns[name], wrong = from_values(values, kind)
        mistyped |= {name: wrong} if wrong else {}
    extra: dict[str, int] = {}
    absent = set(layout.columns)
    for row in rows:
        if absent:
            absent -= row.keys()
        for name in row.keys() - layout.columns.keys():
            extra[name] = extra.get(name, 0) + (row[name] not in (None, ""))
    absent = set() if layout.bare and is_text else absent
    return Parsed(complete(columns, layout, len(rows)), counts, mistyped, extra, absent, broken)


def _structs(values: list[Any]) -> tuple[pa.Array, int]:
    """Numbers by class; what is no object of numbers is null."""
    taken = [value if _is_shares(value) else None for value in values]
    mistyped = sum(value is not None and kept is None for value, kept in zip(values, taken, strict=True))
    classes = dict.fromkeys(name for value in taken if value for name in value)
    if not classes:
        return pa.nulls(len(values)), mistyped
    kind = pa.struct([(name, pa.float64()) for name in classes])
    return pa.array(taken, kind), mistyped


def _is_shares(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(share, int | float) and not isinstance(share, bool) and is_unicode(name)
        for name, share in value.items()
    )
