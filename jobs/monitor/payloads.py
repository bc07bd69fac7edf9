"""Bodies of requests and responses as columns: JSON lines, JSON and CSV, thousands of bodies in one call of
an Arrow reader. Where a body is not what the reader takes, its batch is read again body by body, and the
broken ones are named.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv
from pyarrow import json as arrow_json

from jobs.monitor import slow_payloads
from jobs.monitor.bodies import CSV, JSON, STRUCT, Layout, Parsed, arrow_type, complete
from jobs.monitor.buffers import fixed, text_buffers
from jobs.monitor.typed import OUTCOME, Irregular, from_text, settle

BLOCK = 1 << 20  # bytes that a reader's thread takes at a time
BOM = "\ufeff"
NEWLINE = ord("\n")
NUMBERS = ("number", "integer", OUTCOME)


def parse(bodies: pa.Array, content_type: str, layout: Layout) -> Parsed:
    """Rows of bodies (large_string, none null, at least one) of one content type. Never raises for what a
    body holds."""
    try:
        return _parse(bodies, content_type, layout)
    except (Irregular, ValueError, NotImplementedError):  # pa.ArrowInvalid is a ValueError
        return slow_payloads.parse(bodies.to_pylist(), content_type, layout)


def _parse(bodies: pa.Array, content_type: str, layout: Layout) -> Parsed:
    first = bodies[0].as_py().lstrip()
    if content_type == CSV:
        return _csv(bodies, layout)
    if layout.bare and first[:1].isdigit():
        return _numbers(bodies, layout)
    if content_type != JSON:
        return _json_lines(bodies, layout)
    if first.startswith("["):
        return _wrapped(pc.binary_join_element_wise(f'{{"{layout.wrapper}":', bodies, "}", ""), layout)
    if layout.wrapper in json.loads(first):
        return _wrapped(bodies, layout)
    parsed = _json_lines(_on_one_line(bodies), layout)
    if layout.wrapper in parsed.extra:
        raise Irregular("bodies of several shapes")
    return parsed


def _json_lines(bodies: pa.Array, layout: Layout) -> Parsed:
    counts, text = _rows_per_body(bodies), _joined(bodies)
    table = _read_json(text, _schema(layout))
    if table.num_rows != counts.sum() or not counts.all():
        raise Irregular("rows and lines differ")
    return _settled(table, counts, layout, text)


def _numbers(bodies: pa.Array, layout: Layout) -> Parsed:
    """A number per line: the first column."""
    name = layout.positions[0]
    lines = pc.split_pattern(pc.utf8_trim_whitespace(bodies), "\n")
    column, mistyped = settle(lines.flatten().cast(pa.float64()), layout.columns[name])
    counts = fixed(pc.list_value_length(lines), np.int32).astype(np.int64)
    absent = set(layout.columns) - {name}
    return Parsed(complete({name: column}, layout, len(column)), counts, {name: mistyped}, {}, absent)


def _wrapped(bodies: pa.Array, layout: Layout) -> Parsed:
    """`{"instances": [row, ...]}` per body."""
    text = _joined(_on_one_line(bodies))
    table = _read_json(text, pa.schema([(layout.wrapper, pa.list_(pa.struct(list(_schema(layout)))))]))
    if table.num_rows != len(bodies):
        raise Irregular("bodies of several shapes")
    lists = table[layout.wrapper].combine_chunks()
    if lists.null_count or not pa.types.is_list(lists.type):
        raise Irregular("no list of rows")
    rows = lists.flatten()
    if not pa.types.is_struct(rows.type) or rows.null_count:
        raise Irregular("a row is no object")
    counts = fixed(pc.list_value_length(lists), np.int32).astype(np.int64)
    if not counts.all():
        raise Irregular("no rows")
    table = pa.Table.from_arrays(rows.flatten(), names=[column.name for column in rows.type])
    return _settled(table, counts, layout, text)


def _csv(bodies: pa.Array, layout: Layout) -> Parsed:
    line, newline, _ = bodies[0].as_py().partition("\n")
    cells = line.removeprefix(BOM).rstrip("\r").split(",")
    names: Sequence[str] = layout.positions
    if layout.bare:
        names = [*names, *(f"\t{place}" for place in range(len(cells)))][: len(cells)]
    elif set(names) <= set(cells):
        if len(set(cells)) < len(cells) or not pc.all(pc.starts_with(bodies, line + newline)).as_py():
            raise Irregular("headers differ")
        names, bodies = cells, _without_start(bodies, len((line + newline).encode()))
    counts, text = _rows_per_body(bodies), _joined(bodies)
    table = _read_csv(text, names, layout)
    if table.num_rows != counts.sum() or not counts.all():
        raise Irregular("rows and lines differ")
    columns, mistyped, extra = {}, {}, {}
    for name in names:
        column, kind = table[name].combine_chunks(), layout.columns.get(name)
        if kind is None:
            extra[name] = len(column) - column.null_count
            continue
        settled = from_text if pa.types.is_string(column.type) else settle
        columns[name], wrong = settled(column, kind)
        mistyped[name] = wrong
    if layout.bare:
        extra = {}
    absent = set() if layout.bare else set(layout.columns) - set(columns)
    return Parsed(complete(columns, layout, table.num_rows), counts, _counted(mistyped), extra, absent)


def _read_csv(text: pa.Buffer, names: Sequence[str], layout: Layout) -> pa.Table:
    """Numbers as numbers, all else as text; where a number is none, everything as text."""
    numbers = [name for name in names if layout.columns.get(name) in NUMBERS]
    for kind in (pa.float64(), pa.string()):
        types = dict.fromkeys(names, pa.string()) | dict.fromkeys(numbers, kind)
        convert = csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)
        read = csv.ReadOptions(column_names=list(names), block_size=max(BLOCK, 2 * _longest_line(text)))
        try:
            return csv.read_csv(pa.BufferReader(text), read_options=read, convert_options=convert)
        except pa.ArrowInvalid:
            if pa.types.is_string(kind):
                raise
    raise AssertionError("text reads as text")


def _read_json(text: pa.Buffer, schema: pa.Schema) -> pa.Table:
    """With the declared types; where a value has another one, with the reader's own, which takes a column
    that is of another type throughout."""
    read = arrow_json.ReadOptions(block_size=max(BLOCK, 2 * _longest_line(text)))
    try:
        options = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer")
        return arrow_json.read_json(pa.BufferReader(text), read, options)
    except pa.ArrowInvalid:
        return arrow_json.read_json(pa.BufferReader(text), read)


def _settled(table: pa.Table, counts: np.ndarray, layout: Layout, text: pa.Buffer) -> Parsed:
    columns, mistyped, extra, absent = {}, {}, {}, set()
    for name in table.column_names:
        column, kind = table[name].combine_chunks(), layout.columns.get(name)
        if kind is None:
            extra[name] = len(column) - column.null_count
        elif kind == STRUCT:
            columns[name] = column
        else:
            columns[name], mistyped[name] = settle(column, kind)
    for name in layout.columns:
        column = columns.get(name)
        is_empty = column is None or column.null_count == len(column)
        if is_empty and not mistyped.get(name) and not _names(text, name):
            absent.add(name)
    parsed = complete(columns, layout, table.num_rows)
    return Parsed(parsed, counts, _counted(mistyped), extra, absent)


def _schema(layout: Layout) -> pa.Schema:
    return pa.schema([(name, arrow_type(kind)) for name, kind in layout.columns.items() if kind != STRUCT])


def _counted(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def _names(text: pa.Buffer, name: str) -> bool:
    """Whether JSON text holds the key, as it is or escaped."""
    content = text.to_pybytes()
    return any(json.dumps(name, ensure_ascii=ascii_).encode() in content for ascii_ in (False, True))


def _rows_per_body(bodies: pa.Array) -> np.ndarray:
    """int64 lines per body that are not blank; a body of white space has 0."""
    offsets, content = text_buffers(bodies)
    starts, ends = offsets[:-1], offsets[1:]
    counts = (ends > starts).astype(np.int64)
    breaks = np.flatnonzero(content == NEWLINE)
    if len(breaks):
        following = content[np.minimum(breaks + 1, len(content) - 1)]
        body = np.searchsorted(ends, breaks, side="right")
        is_inside = (breaks + 1 < ends[body]) & (following != NEWLINE) & (following != ord("\r"))
        is_inside &= breaks > starts[body]
        counts += np.bincount(body[is_inside], minlength=len(bodies))
    return counts


def _joined(bodies: pa.Array) -> pa.Buffer:
    """The text of all bodies, each on lines of its own; without a copy where each ends its line."""
    offsets, content = text_buffers(bodies)
    ends = offsets[1:]
    if len(content) and (ends > offsets[:-1]).all() and (content[ends - 1] == NEWLINE).all():
        return pa.py_buffer(content)
    whole = pa.LargeListArray.from_arrays(pa.array([0, len(bodies)], pa.int64()), bodies)
    return pc.binary_join(whole, pa.scalar("\n", bodies.type))[0].as_buffer()


def _on_one_line(bodies: pa.Array) -> pa.Array:
    """JSON with line breaks between its tokens, as JSON without: a string cannot hold one."""
    if not pc.any(pc.match_substring(bodies, "\n")).as_py():
        return bodies
    return pc.replace_substring(pc.replace_substring(bodies, "\r", " "), "\n", " ")


def _without_start(bodies: pa.Array, size: int) -> pa.Array:
    return pc.binary_slice(bodies.cast(pa.large_binary()), size).cast(bodies.type)


def _longest_line(text: pa.Buffer) -> int:
    breaks = np.flatnonzero(np.frombuffer(text, np.uint8) == NEWLINE)
    return int(np.diff(np.concatenate(([-1], breaks, [text.size]))).max())
