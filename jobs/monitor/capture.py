"""Data capture files as columns: an event per line, read some megabytes at a time.

A line is AWS's: `captureData.endpointInput` and `.endpointOutput` (data, encoding, observedContentType) and
`eventMetadata` (eventId, inferenceTime, inferenceId where the caller gave one). An Arrow reader takes a
whole chunk; a chunk with a broken line is read line by line, and that line is counted, quoted by its place
and its reason, and skipped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from jobs.monitor.buffers import fixed
from jobs.monitor.hashing import hash_text, multiplier
from jobs.monitor.slow_payloads import reason
from jobs.monitor.typed import is_unicode, microseconds

CHUNK = 8 << 20  # bytes of capture files that are in memory at once
BLOCK = 1 << 20
SHOWN_PROBLEMS = 5
HOUR = 3_600_000_000  # microseconds
NEWLINE = ord("\n")

_SIDE = pa.struct([("data", pa.string()), ("encoding", pa.string()), ("observedContentType", pa.string())])
_METADATA = pa.struct([(name, pa.string()) for name in ("eventId", "inferenceId", "inferenceTime")])
_LINE = pa.schema(
    [
        ("captureData", pa.struct([("endpointInput", _SIDE), ("endpointOutput", _SIDE)])),
        ("eventMetadata", _METADATA),
    ]
)
_NEEDED = {  # column of an event: its place in the line
    "input": ("captureData", "endpointInput", "data"),
    "output": ("captureData", "endpointOutput", "data"),
    "event": ("eventMetadata", "eventId"),
    "time": ("eventMetadata", "inferenceTime"),
    "input_encoding": ("captureData", "endpointInput", "encoding"),
    "output_encoding": ("captureData", "endpointOutput", "encoding"),
}
_OPTIONAL = {
    "input_type": ("captureData", "endpointInput", "observedContentType"),
    "output_type": ("captureData", "endpointOutput", "observedContentType"),
    "inference": ("eventMetadata", "inferenceId"),
}


@dataclass
class Skipped:
    """What could not be read, and where; never its content."""

    lines: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, where: str, why: str) -> None:
        self.lines += 1
        if len(self.problems) < SHOWN_PROBLEMS:
            self.problems.append(f"{where}: {why}")

    def extend(self, later: Skipped) -> None:
        self.lines += later.lines
        self.problems = [*self.problems, *later.problems][:SHOWN_PROBLEMS]


@dataclass(frozen=True)
class Chunk:
    """Whole lines of consecutive files: name and number of the first line of each part, and its bytes, which
    end in a line break."""

    parts: tuple[tuple[str, int, bytes], ...]

    @property
    def text(self) -> bytes:
        return b"".join(content for _, _, content in self.parts)

    def lines(self) -> Iterator[tuple[str, bytes]]:
        """(file:line, text) of the lines that are not blank."""
        for name, first, content in self.parts:
            for number, line in enumerate(content.split(b"\n"), first):
                if line.strip():
                    yield f"{name}:{number}", line


@dataclass
class Events:
    """Columns input, input_type, input_encoding, the same for output, event, inference (strings) and time
    (int64 microseconds): requests that lie in the window. `where(i)` is the place of event i; `skipped` are
    the lines that are not among them because they could not be read."""

    table: pa.Table
    where: Callable[[int], str]
    skipped: Skipped


class Reader:
    """The events of a folder's files in [start, end) microseconds. An event that was captured twice counts
    once: both lines carry its id and its time, and so lie within an hour's files of each other."""

    def __init__(self, start: int, end: int):
        self._start, self._end = start, end
        self._seen: list[tuple[int, np.ndarray]] = []  # newest hour and sorted hashes of a chunk's event ids
        self.repeated = 0

    def events(self, chunk: Chunk) -> Events:
        skipped = Skipped()
        table, places = read_lines(chunk, _LINE, _NEEDED | _OPTIONAL, set(_NEEDED), skipped)
        time = microseconds(table["time"].combine_chunks())
        table = table.set_column(table.column_names.index("time"), "time", time)
        for index in np.flatnonzero(_bools(time.is_null())):
            skipped.add(places(int(index)), "inferenceTime is not an ISO 8601 time")
        moments = fixed(time.fill_null(self._end), np.int64)
        rows = np.flatnonzero((moments >= self._start) & (moments < self._end))
        rows = rows[self._is_new(table["event"].combine_chunks().take(pa.array(rows)), moments[rows])]
        if len(rows) < table.num_rows:
            table = table.take(pa.array(rows))
        return Events(table, lambda index: places(int(rows[index])), skipped)

    def _is_new(self, ids: pa.Array, moments: np.ndarray) -> np.ndarray:
        """bool per event: neither in an earlier chunk nor earlier in this one."""
        hashes = hash_text(ids, multiplier("eventId"))
        if not len(hashes):
            return np.zeros(0, bool)
        unique, first = np.unique(hashes, return_index=True)
        is_new = np.zeros(len(hashes), bool)
        is_new[first] = True
        oldest = moments.min() // HOUR
        self._seen = [(newest, seen) for newest, seen in self._seen if newest >= oldest - 1]
        for _, seen in self._seen:
            place = np.minimum(np.searchsorted(seen, hashes), len(seen) - 1)
            is_new &= seen[place] != hashes
        self._seen.append((int(moments.max() // HOUR), unique))
        self.repeated += len(hashes) - int(is_new.sum())
        return is_new


def files_of(folder: Path | None) -> dict[str, Path]:
    """Every file under the folder by its name there (which begins with the hour), in order."""
    found = sorted(path for path in folder.rglob("*") if path.is_file()) if folder else ()
    return {str(path.relative_to(folder)): path for path in found}


def chunks(folder: Path | None, size: int = CHUNK) -> Iterator[Chunk]:
    """The files of a folder, in pieces of about `size` bytes that end where a line ends."""
    parts: list[tuple[str, int, bytes]] = []
    held = 0
    for name, path in files_of(folder).items():
        first = 1
        with path.open("rb") as lines:
            while content := lines.read(size - held):
                content += b"" if content.endswith(b"\n") else lines.readline()
                content += b"" if content.endswith(b"\n") else b"\n"
                parts.append((name, first, content))
                first += content.count(b"\n")
                held += len(content)
                if held >= size:
                    yield Chunk(tuple(parts))
                    parts, held = [], 0
    if parts:
        yield Chunk(tuple(parts))


def read_lines(
    chunk: Chunk,
    schema: pa.Schema,
    columns: dict[str, tuple[str, ...]],
    needed: set[str],
    skipped: Skipped,
) -> tuple[pa.Table, Callable[[int], str]]:
    """One row of text columns per readable line, and the place of row i. `columns` gives each column's path
    in the line; a line without a needed one is skipped."""
    text = chunk.text
    breaks = np.flatnonzero(np.frombuffer(text, np.uint8) == NEWLINE)
    lengths = np.diff(breaks, prepend=-1)
    lines = int(np.count_nonzero(lengths > 1))
    options = arrow_json.ReadOptions(block_size=max(BLOCK, 2 * int(lengths.max(initial=0))))
    try:
        _check_encoding(text)
        parsing = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        table = arrow_json.read_json(pa.BufferReader(text), options, parsing)
    except (pa.ArrowInvalid, NotImplementedError):
        return _read_slowly(chunk, columns, needed, skipped)
    while any(pa.types.is_struct(column.type) for column in table.columns):
        table = table.flatten()
    found = table.select([".".join(path) for path in columns.values()]).rename_columns(list(columns))
    if table.num_rows != lines or any(found[name].null_count for name in needed):
        return _read_slowly(chunk, columns, needed, skipped)
    return found, _Places(chunk)


def _check_encoding(text: bytes) -> None:
    """Raises pa.ArrowInvalid where text is not UTF-8: the reader does not look."""
    ends = pa.py_buffer(np.array([0, len(text)], np.int64))
    pa.LargeStringArray.from_buffers(1, ends, pa.py_buffer(text)).validate(full=True)


class _Places:
    """The places of a chunk's lines, listed when one is asked for."""

    def __init__(self, chunk: Chunk):
        self._chunk, self._names = chunk, []

    def __call__(self, index: int) -> str:
        self._names = self._names or [where for where, _ in self._chunk.lines()]
        return self._names[index]


def _read_slowly(
    chunk: Chunk, columns: dict[str, tuple[str, ...]], needed: set[str], skipped: Skipped
) -> tuple[pa.Table, Callable[[int], str]]:
    values: dict[str, list[str | None]] = {name: [] for name in columns}
    places: list[str] = []
    for where, line in chunk.lines():
        try:
            content = json.loads(line, strict=False)  # as lenient as the fast reader
            row = {name: _text_at(content, path, name in needed) for name, path in columns.items()}
        except ValueError as error:
            skipped.add(where, reason(error))
            continue
        places.append(where)
        for name, value in row.items():
            values[name].append(value)
    arrays = [pa.array(column, pa.string()) for column in values.values()]
    return pa.Table.from_arrays(arrays, names=list(columns)), places.__getitem__


def _text_at(content: Any, path: tuple[str, ...], is_needed: bool) -> str | None:
    """The value at the path, as text. Raises ValueError that names the first step that is not there."""
    for step in path:
        content = content.get(step) if isinstance(content, dict) else None
        if content is None:
            if is_needed:
                raise ValueError(f"no {step}")
            return None
    content = content if isinstance(content, str) else json.dumps(content)
    if not is_unicode(content):
        raise ValueError(f"{path[-1]} is not Unicode")
    return content


def _bools(mask: pa.Array) -> np.ndarray:
    return fixed(pc.cast(mask, pa.int8()), np.int8).astype(bool)
