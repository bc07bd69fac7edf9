"""A profile: what a table's columns hold, in one pass and bounded memory. Profiles of shards merge."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa

from jobs.contract import JobError
from jobs.monitor import buffers
from jobs.monitor.blocks import BINS, CATEGORIES, Blocks, Cut, Edges, Split
from jobs.monitor.columns import Column, NumberColumn, RowHash, StringColumn, column_of
from jobs.monitor.hashing import finish
from jobs.monitor.scan import BATCH, learnable
from jobs.monitor.schema import Schema
from jobs.monitor.sketch import Distinct

__all__ = ["Blocks", "Column", "Edges", "NumberColumn", "Profile", "StringColumn", "profile"]

DAY = timedelta(days=1)
FORMAT = 2


class Profile:
    """`duplicates` counts rows by the hash of all profiled columns; `span` is the first and last time
    (microseconds since 1970); `extra` are columns that the schema does not name, with their rows."""

    def __init__(self, schema: Schema, blocks: Blocks | None = None) -> None:
        self.schema = schema
        self.rows = 0
        self.columns: dict[str, Column] = {name: column_of(field) for name, field in schema.fields.items()}
        self.blocks = blocks
        self.duplicates = Distinct()
        self.span: tuple[int, int] | None = None
        self.extra: dict[str, int] = {}

    def merge(self, other: Profile) -> Profile:
        """Both profiles' rows. Counts, blocks and distinct values are the same in any order and grouping;
        quantiles are too, until more shards meet than a merged sketch collects, then within its epsilon.

        Raises JobError where the schemas or the edges differ.
        """
        for name in self.schema.fields.keys() | other.schema.fields.keys():
            if self.schema.fields.get(name) != other.schema.fields.get(name):
                raise JobError(f"profiles of different schemas do not merge: {name} differs")
        if (self.blocks is None) != (other.blocks is None):
            raise JobError("profiles merge only where both have blocks, or neither")
        merged = Profile(self.schema)
        merged.rows = self.rows + other.rows
        merged.columns = {name: self.columns[name].merge(other.columns[name]) for name in self.columns}
        merged.blocks = self.blocks.merge(other.blocks) if self.blocks and other.blocks else None
        merged.duplicates = self.duplicates.merge(other.duplicates)
        spans = [span for span in (self.span, other.span) if span]
        merged.span = (min(a for a, _ in spans), max(b for _, b in spans)) if spans else None
        merged.extra = {
            name: self.extra.get(name, 0) + other.extra.get(name, 0)
            for name in sorted(self.extra.keys() | other.extra.keys())
        }
        return merged

    def save(self, path: Path) -> None:
        """One .npz: arrays, and what is small as JSON in it."""
        arrays: dict[str, np.ndarray] = {}
        heads = []
        for index, (name, column) in enumerate(self.columns.items()):
            head, parts = column.pack()
            heads.append({"name": name, **head})
            arrays |= {f"column{index}.{key}": part for key, part in parts.items()}
        duplicates, arrays["duplicates"] = self.duplicates.pack()
        content: dict[str, Any] = {
            "format": FORMAT,
            "schema": self.schema.as_dict(),
            "rows": self.rows,
            "span": self.span,
            "extra": self.extra,
            "columns": heads,
            "duplicates": duplicates,
            "blocks": None,
        }
        if self.blocks:
            content["blocks"], parts = self.blocks.pack()
            arrays |= {f"blocks.{key}": part for key, part in parts.items()}
        arrays["json"] = np.frombuffer(json.dumps(content).encode(), np.uint8)
        with path.open("wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Raises JobError for what is not a profile of this version."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {key: stored[key] for key in stored.files}
            content = json.loads(arrays.pop("json").tobytes())
            if content["format"] != FORMAT:
                raise JobError(f"{path.name} was written by another version of the monitor: count it again")
            return cls._unpack(content, arrays)
        except (OSError, BadZipFile, ValueError, KeyError, EOFError, AttributeError) as error:
            raise JobError(f"{path.name} is not a profile: {error}") from error

    @classmethod
    def _unpack(cls, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> Profile:
        loaded = cls(Schema.from_dict(content["schema"]))
        loaded.rows, loaded.extra = content["rows"], content["extra"]
        loaded.span = tuple(content["span"]) if content["span"] else None
        for index, head in enumerate(content["columns"]):
            field = loaded.schema.fields[head["name"]]
            kind = StringColumn if field.is_categorical else NumberColumn
            loaded.columns[field.name] = kind.unpack(field, head, _under(arrays, f"column{index}."))
        loaded.duplicates = Distinct.unpack(content["duplicates"], arrays["duplicates"])
        if content["blocks"]:
            loaded.blocks = Blocks.unpack(content["blocks"], _under(arrays, "blocks."))
        return loaded


def profile(
    batches: Iterable[pa.RecordBatch],
    schema: Schema,
    edges: Edges | None = None,
    block: timedelta | None = DAY,
    bins: int = BINS,
    categories: int = CATEGORIES,
) -> Profile:
    """One pass over the batches, two threads. Columns that the schema does not name are only counted.

    Blocks need the schema's time column and `block`. They are counted on `edges`; where none are given, on
    those of a sample, for which `batches` should be something that can be read twice (a Scan, a table, a
    list). Raises JobError where it is not, and too large to be kept.
    """
    source = batches
    if isinstance(batches, pa.Table):
        batches = batches.to_batches()
    blocks = None
    if block and schema.time:
        if edges is None:
            batches, some = learnable(batches)
            edges = Edges.of(profile(some, schema, block=None), bins, categories)
        blocks = Blocks(edges, round(block.total_seconds() * 1e6))
    made = Profile(schema, blocks)
    before: Counted | None = None
    with ThreadPoolExecutor(1) as pool:
        for batch in _limited(batches):  # read, and split by time, while a thread counts the one before
            split = _split(made, batch)
            if before:
                before.complete(made.duplicates)
            before = _begin(made, batch, split, pool)
        if before:
            before.complete(made.duplicates)
    for name, rows in getattr(source, "extra", {}).items():
        made.extra[name] = made.extra.get(name, 0) + rows
    return made


@dataclass(frozen=True)
class Counted:
    """A batch that a thread is at work on: `work` are the columns that it has not begun."""

    work: deque[tuple[Any, ...]]
    thread: Future
    hashes: RowHash

    def complete(self, duplicates: Distinct) -> None:
        """Lends the thread a hand, then counts the rows. Raises what the thread raised."""
        _take(self.work)
        self.thread.result()
        duplicates.update(finish(self.hashes.values))


def _begin(made: Profile, batch: pa.RecordBatch, split: Split | None, pool: ThreadPoolExecutor) -> Counted:
    """Lets a thread take the batch's columns one by one, text first, as some of it takes longest. No column
    depends on another, so that the result does not depend on which thread was faster."""
    made.rows += len(batch)
    blocks, hashes = made.blocks, RowHash(len(batch))
    cut = blocks.cut(split) if blocks and split else None
    if blocks and not split:
        blocks.outside += len(batch)
    work: deque[tuple[Any, ...]] = deque()
    for name, column in made.columns.items():
        counted = blocks if blocks and name in blocks.edges else None
        index = batch.schema.get_field_index(name)
        if index >= 0:
            put = work.appendleft if isinstance(column, StringColumn) else work.append
            put((column, batch.column(index), hashes, counted, cut))
        else:
            _count_absent(column, len(batch), counted, cut)
    roles = {made.schema.id, made.schema.time, made.schema.target, *made.schema.protected}
    for name in batch.schema.names:
        if name not in made.columns and name not in roles:
            made.extra[name] = made.extra.get(name, 0) + len(batch)
    return Counted(work, pool.submit(_take, work), hashes)


def _take(work: deque[tuple[Any, ...]]) -> None:
    """Counts columns until none is left. Raises JobError that names the column."""
    while work:
        try:
            column, *arguments = work.popleft()
        except IndexError:  # the other thread was faster
            break
        try:
            column.update(*arguments)
        except pa.ArrowException as error:
            raise JobError(f"{column.field.name} cannot be read: {error}") from error


def _count_absent(column: Column, rows: int, blocks: Blocks | None, cut: Cut | None) -> None:
    column.rows += rows
    column.missing += rows
    column.absent += rows
    if blocks and cut:
        blocks.add_absent(column.field.name, cut)


def _split(made: Profile, batch: pa.RecordBatch) -> Split | None:
    """The batch's rows by block; None where it has no time. Notes its first and last time."""
    index = batch.schema.get_field_index(made.schema.time) if made.schema.time else -1
    if index < 0:
        return None
    times, known = buffers.microseconds(batch.column(index))
    present = times if known is None else times[known]
    if len(present):
        first, last = int(present.min()), int(present.max())
        made.span = (min(first, made.span[0]), max(last, made.span[1])) if made.span else (first, last)
    return made.blocks.split(times, known) if made.blocks else None


def _limited(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches of at most BATCH rows: a column of one fits into a core's cache, and memory stays flat."""
    for batch in batches:
        for first in range(0, len(batch), BATCH):
            yield batch.slice(first, BATCH)


def _under(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key[len(prefix) :]: array for key, array in arrays.items() if key.startswith(prefix)}
