"""Data files as record batches: Parquet, CSV and Arrow, one batch in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.contract import JobError
from jobs.monitor.buffers import int64_array
from jobs.monitor.schema import Schema

BATCH = 1 << 17
SAMPLED = 1 << 16  # about so many rows are what bins are learned from
SAMPLED_GROUPS = 16  # row groups that they are taken from, at most
THINNED = 8  # one row of so many, where nobody knows how many there are
LEAST = 1 << 12  # rows that are left of a batch, if it has them
HELD = 64 << 20  # bytes that are kept of what can be read but once
SUFFIXES = (".parquet", ".csv", ".arrow", ".feather", ".arrows")
READ_BUFFER = 1 << 20


class Scan:
    """Batches of one or more files, as often as asked. With a schema only its columns and its time are read,
    text as dictionaries; `extra` has what else the files hold, and `skipped` the broken rows of CSV files.
    `whole`: all columns are read; the schema says what is text in CSV files though it looks like numbers."""

    def __init__(self, files: list[Path], schema: Schema | None = None, whole: bool = False) -> None:
        self.files = files
        self.schema = schema
        self.whole = whole
        self.extra: dict[str, int] = {}
        self.skipped: dict[str, int] = {}

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        self.extra, self.skipped = {}, {}
        for path in self.files:
            with _named(path):
                yield from self._batches(path)

    @property
    def arrow_schema(self) -> pa.Schema:
        """The columns of all files, each with its type in the first file that has it."""
        fields: dict[str, pa.Field] = {}
        for path in self.files:
            with _named(path):
                for field in _schema_of(path):
                    fields.setdefault(field.name, field)
        return pa.schema(list(fields.values()))

    def sample(self) -> Iterator[pa.RecordBatch]:
        """About SAMPLED rows, evenly from all over the files; of many row groups, from some of them."""
        if any(_kind(path) != ".parquet" for path in self.files):
            yield from (_thinned(batch, THINNED) for batch in self)
            return
        groups = []
        for path in self.files:
            with _named(path):
                metadata = pq.read_metadata(path)
            groups += [(path, at, metadata.row_group(at).num_rows) for at in range(metadata.num_row_groups)]
        wanted = min(len(groups), SAMPLED_GROUPS)
        chosen = [groups[index * len(groups) // wanted] for index in range(wanted)]
        step = sum(rows for _, _, rows in chosen) // SAMPLED
        for path, group, _ in chosen:
            with _named(path):
                for batch in self._parquet(path, [group], use_threads=True):  # nobody counts meanwhile
                    yield _thinned(batch, step)

    def _batches(self, path: Path) -> Iterator[pa.RecordBatch]:
        if _kind(path) == ".parquet":
            yield from self._parquet(path)
        elif _kind(path) == ".csv":
            yield from self._csv(path)
        else:
            yield from self._arrow(path)

    def _parquet(
        self, path: Path, groups: list[int] | None = None, use_threads: bool = False
    ) -> Iterator[pa.RecordBatch]:
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=READ_BUFFER)
        schema = file.schema_arrow
        wanted = self._wanted(schema.names, file.metadata.num_rows)
        texts = [name for name in wanted if _is_dictionary_worth(schema.field(name).type)]
        file = pq.ParquetFile(
            path, metadata=file.metadata, read_dictionary=texts, pre_buffer=False, buffer_size=READ_BUFFER
        )
        groups = list(range(file.metadata.num_row_groups)) if groups is None else groups
        yield from file.iter_batches(BATCH, row_groups=groups, columns=wanted, use_threads=use_threads)

    def _csv(self, path: Path) -> Iterator[pa.RecordBatch]:
        """Typed as long as every cell is of its column's type. From the first that is not, everything is read
        as text, so that the profile counts what is mistyped."""
        given = 0
        try:
            for batch in self._read_csv(path, typed=True):
                yield batch
                given += len(batch)
            return
        except pa.ArrowInvalid:
            if self.schema is None:
                raise
        for batch in self._read_csv(path, typed=False):
            skip = min(given, len(batch))
            given -= skip
            if skip < len(batch):
                yield batch.slice(skip)

    def _read_csv(self, path: Path, typed: bool) -> Iterator[pa.RecordBatch]:
        from pyarrow import csv

        self.skipped.pop(str(path), None)

        def skip(row: Any) -> str:
            self.skipped[str(path)] = self.skipped.get(str(path), 0) + 1
            return "skip"

        names = _schema_of(path).names
        with csv.open_csv(
            path,
            read_options=csv.ReadOptions(block_size=16 << 20),
            parse_options=csv.ParseOptions(invalid_row_handler=skip, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=self._csv_types(names, typed),
                include_columns=self._wanted(names, None),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        ) as reader:
            yield from reader

    def _csv_types(self, names: list[str], typed: bool) -> dict[str, pa.DataType]:
        if self.schema is None:
            return {}
        types = dict.fromkeys([self.schema.id] if self.whole else names, pa.string())
        for name, field in self.schema.fields.items():
            if field.type == "string":
                types[name] = pa.dictionary(pa.int32(), pa.string())
            elif typed:
                types[name] = pa.bool_() if field.type == "boolean" else pa.float64()
        return types

    def _arrow(self, path: Path) -> Iterator[pa.RecordBatch]:
        with pa.memory_map(str(path)) as source:
            for batch in _ipc(path, source):
                wanted = self._wanted(batch.schema.names, len(batch))
                yield _widened(batch.select(wanted))

    def _wanted(self, names: list[str], rows: int | None) -> list[str]:
        """The columns to read; the others are noted in `extra`."""
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise pa.ArrowInvalid(f"two of its columns are called `{twice}`")
        if self.schema is None or self.whole:
            return list(names)
        schema = self.schema
        known = {*schema.fields, schema.time}
        silent = {schema.id, schema.target, *schema.protected}
        for name in names:
            if name not in known and name not in silent:
                self.extra[name] = self.extra.get(name, 0) + (rows or 1)
        return [name for name in names if name in known]


def scan(source: Path | Iterable[Path], schema: Schema | None = None, whole: bool = False) -> Scan:
    """A file, a folder (its data files, in order of their names) or several of either; as `Scan` reads them.

    Raises JobError where there are none.
    """
    sources = [source] if isinstance(source, Path) else list(source)
    files = []
    for path in sources:
        if path.is_dir():
            files += sorted(found for found in path.rglob("*") if _kind(found) in SUFFIXES)
        elif path.is_file() and _kind(path) in SUFFIXES:
            files.append(path)
        else:
            raise JobError(f"{path} is neither a folder nor a {', '.join(SUFFIXES)} file")
    if not files:
        raise JobError(f"{', '.join(map(str, sources))} has no {', '.join(SUFFIXES)} file")
    return Scan(files, schema, whole)


def joined(batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Batches of one or more files as one table."""
    return together([pa.Table.from_batches([batch]) for batch in batches])


def together(tables: list[pa.Table]) -> pa.Table:
    """Rows of several tables: columns in any order, null where a table lacks one. Raises JobError where they
    hold a column as types that nothing unites."""
    with suppress(pa.ArrowException):  # where text is a dictionary in some and not in others
        return pa.concat_tables(tables, promote_options="permissive")
    try:
        return pa.concat_tables(map(_decoded, tables), promote_options="permissive")
    except pa.ArrowException as error:
        raise JobError(f"the data files do not fit together: {str(error).splitlines()[0]}") from error


def _decoded(table: pa.Table) -> pa.Table:
    """With text in the place of dictionaries."""
    kinds = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in table.schema.types]
    return table.cast(pa.schema(zip(table.column_names, kinds, strict=True)))


def learnable(batches: Iterable[pa.RecordBatch]) -> tuple[Iterable[pa.RecordBatch], Iterable[pa.RecordBatch]]:
    """(the batches; some rows of them, to learn bins from). What can be read but once is kept, up to HELD
    bytes; raises JobError beyond."""
    if isinstance(batches, Scan):
        return batches, _gathered(batches.sample())
    if iter(batches) is batches:
        batches = _held(batches)
    batches = list(batches)
    step = sum(len(batch) for batch in batches) // SAMPLED
    return batches, _gathered(_thinned(batch, step) for batch in batches)


def _gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in fewer batches, of up to BATCH rows where their types allow it: a small one takes
    almost as long to count."""
    held: list[pa.RecordBatch] = []
    for batch in map(_widened, batches):
        rows = sum(map(len, held)) + len(batch)
        if held and (rows > BATCH or batch.schema != held[0].schema):
            yield from _combined(held)
            held = []
        held.append(batch)
    yield from _combined(held)


def _combined(held: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    return pa.Table.from_batches(held).combine_chunks().to_batches() if held else []


def _widened(batch: pa.RecordBatch) -> pa.RecordBatch:
    """With places for the texts of all files: pandas keeps those of one in 8 bits, where they are few."""
    schema = batch.schema
    for at, field in enumerate(schema):
        if pa.types.is_dictionary(field.type) and field.type.index_type.bit_width < 32:
            wide = pa.dictionary(pa.int32(), field.type.value_type, field.type.ordered)
            schema = schema.set(at, field.with_type(wide))
    return batch if schema == batch.schema else batch.cast(schema)


def _held(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    size = 0
    for batch in batches:
        size += batch.nbytes
        if size > HELD:
            raise JobError(
                "bins are learned before anything is counted: give `edges`, or what can be read twice"
            )
        yield batch


def _thinned(batch: pa.RecordBatch, step: int) -> pa.RecordBatch:
    """Every step-th row, of a short batch every one: rows are often in order of time, and the first of them
    say nothing of the last."""
    step = min(step, len(batch) // LEAST)
    return batch.take(int64_array(np.arange(0, len(batch), step))) if step > 1 else batch


def _is_dictionary_worth(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _kind(path: Path) -> str:
    return path.suffix.lower()  # `ROWS.CSV` is a file like any other


def _schema_of(path: Path) -> pa.Schema:
    if _kind(path) == ".parquet":
        return pq.read_schema(path)
    if _kind(path) == ".csv":
        from pyarrow import csv

        tolerant = csv.ParseOptions(invalid_row_handler=lambda row: "skip", newlines_in_values=True)
        with csv.open_csv(path, parse_options=tolerant) as reader:
            return reader.schema
    with pa.memory_map(str(path)) as source:
        return _ipc(path, source).schema


def _ipc(path: Path, source: Any) -> Any:
    if _kind(path) == ".arrows":
        return pa.ipc.open_stream(source)
    reader = pa.ipc.open_file(source)
    return _Batches(reader)


class _Batches:
    """An Arrow file's batches, which its reader gives only by number."""

    def __init__(self, reader: Any) -> None:
        self.reader, self.schema = reader, reader.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for index in range(self.reader.num_record_batches):
            yield self.reader.get_batch(index)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of a file name it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise JobError(f"{path.name} cannot be read: {str(error).splitlines()[0]}") from error
