"""A window of a model in service: its requests as a typed table, the answers, and the labels known by now,
joined by the row's id. Bounded memory: `batches` gives a window in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.monitor.bodies import (
    PREDICTION,
    PROBABILITY,
    Layout,
    Parsed,
    answer_layout,
    complete,
    request_layout,
)
from jobs.monitor.buffers import fixed, floats
from jobs.monitor.capture import Chunk, Events, Reader, Skipped, chunks
from jobs.monitor.encodings import parse_side
from jobs.monitor.labels import Labels, read_labels
from jobs.monitor.schema import Schema
from jobs.monitor.typed import microseconds
from jobs.spec import MULTICLASS


@dataclass
class Problems:
    """What was wrong with a window's lines and values. `mistyped` values are null in the table; `extra`
    columns are not in it; `absent` columns were in no request at all."""

    skipped: Skipped = field(default_factory=Skipped)
    mistyped: dict[str, int] = field(default_factory=dict)
    mistyped_answers: dict[str, int] = field(default_factory=dict)
    extra: dict[str, int] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    repeated_events: int = 0  # lines of an event that was captured before
    repeated_labels: int = 0
    contradicted_labels: int = 0
    unusable_labels: int = 0


@dataclass
class Window:
    """n rows, in step. `table`: features and protected columns, typed per schema; `answers`: `prediction`
    (float64, or string where the task has classes) and `probability` (float64) or `probabilities` (struct);
    `ids`: string, null where a row has none; `times`: int64 microseconds, the row's own or its request's;
    `requested`: its request's; `label`: as `prediction`, null where unknown."""

    schema: Schema
    table: pa.Table
    answers: pa.Table
    ids: pa.Array
    times: np.ndarray
    requested: np.ndarray
    label: pa.Array
    problems: Problems

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labelled(self) -> int:
        return len(self.label) - self.label.null_count

    @cached_property
    def prediction(self) -> np.ndarray | pa.Array:
        """float64 with NaN where it is missing; a string array where the task has classes."""
        column = self.answers[PREDICTION].combine_chunks()
        return column if self.schema.task == MULTICLASS else floats(column)[0]

    @cached_property
    def probability(self) -> np.ndarray | None:
        """Of the positive class, float64, NaN where it is missing; None where the model gives none."""
        if PROBABILITY not in self.answers.column_names:
            return None
        column = self.answers[PROBABILITY].combine_chunks()
        return None if column.null_count == len(column) else floats(column)[0]

    @property
    def watched(self) -> tuple[str, pa.Array]:
        """(type, values) of what is profiled of an answer: the probability where there is one, else the
        number or the class."""
        if self.schema.task == MULTICLASS:
            return "string", self.answers[PREDICTION].combine_chunks()
        name = PREDICTION if self.probability is None else PROBABILITY
        return "number", self.answers[name].combine_chunks()


def read(
    capture: Path, labels: Path | None, schema: Schema, start: datetime, end: datetime
) -> tuple[Window, Labels]:
    """The whole window at once, and the labels, which know who was not asked for."""
    problems = Problems()
    known = read_labels(labels, schema.task, problems.skipped)
    pieces = list(batches(capture, known, schema, start, end, problems))
    return join(pieces, schema, problems), known


def batches(
    capture: Path, labels: Labels, schema: Schema, start: datetime, end: datetime, problems: Problems
) -> Iterator[Window]:
    """The window in pieces of some ten thousand rows, in order of the files; at least one, which may be
    empty. All share `problems`, which is complete when the last one was given."""
    problems.repeated_labels, problems.contradicted_labels = labels.repeated, labels.contradicted
    problems.unusable_labels = labels.unusable
    requests, answers = request_layout(schema), answer_layout(schema)
    reader = Reader(_microseconds(start), _microseconds(end))
    problems.absent = set(schema.fields)
    is_empty = True
    for events in _ahead(reader.events, chunks(capture)):
        problems.skipped.extend(events.skipped)
        if events.table.num_rows:
            is_empty = False
            yield _piece(events, labels, schema, requests, answers, problems)
    problems.repeated_events = reader.repeated
    if is_empty:
        problems.absent = set()
        yield _empty(schema, requests, answers, labels, problems)


def join(pieces: list[Window], schema: Schema, problems: Problems) -> Window:
    """One window of consecutive pieces; at least one."""
    if len(pieces) == 1:
        return pieces[0]
    return Window(
        schema,
        pa.concat_tables([piece.table for piece in pieces]),
        pa.concat_tables([piece.answers for piece in pieces], promote_options="permissive"),
        pa.concat_arrays([piece.ids for piece in pieces]),
        np.concatenate([piece.times for piece in pieces]),
        np.concatenate([piece.requested for piece in pieces]),
        pa.concat_arrays([piece.label for piece in pieces]),
        problems,
    )


def _ahead(work: Callable[[Chunk], Events], pending: Iterable[Chunk]) -> Iterator[Events]:
    """The work on each chunk, in order; the next one is under way while the caller uses this one."""
    with ThreadPoolExecutor(1) as thread:
        running: Future[Events] | None = None
        for chunk in pending:
            following = thread.submit(work, chunk)
            if running:
                yield running.result()
            running = following
        if running:
            yield running.result()


def _piece(
    events: Events, labels: Labels, schema: Schema, requests: Layout, answers: Layout, problems: Problems
) -> Window:
    sent = parse_side(events.table, "input", requests)
    got = parse_side(events.table, "output", answers)
    is_whole = _whole_events(sent, got, events, problems.skipped)
    table, replies = _of_events(sent, is_whole), _of_events(got, is_whole)
    counts = np.where(is_whole, sent.counts, 0)
    event = np.repeat(np.arange(len(counts)), counts)
    _add(problems.mistyped, sent.mistyped)
    _add(problems.mistyped_answers, got.mistyped)
    _add(problems.extra, {name: count for name, count in sent.extra.items() if name != schema.target})
    problems.absent &= sent.absent
    requested = fixed(events.table["time"].combine_chunks(), np.int64)[event]
    ids = _ids(table, events, schema, counts, event)
    return Window(
        schema,
        _read_columns(table, schema),
        replies,
        ids,
        _times(table, schema, requested),
        requested,
        labels.of(ids),
        problems,
    )


def _whole_events(sent: Parsed, got: Parsed, events: Events, skipped: Skipped) -> np.ndarray:
    """bool per event: request and response could be read and have as many rows. The others are skipped."""
    is_whole = (sent.counts == got.counts) & (sent.counts > 0)
    for index in np.flatnonzero(~is_whole).tolist():
        why = f"{sent.counts[index]} rows and {got.counts[index]} predictions"
        if index in sent.broken:
            why = f"request: {sent.broken[index]}"
        elif index in got.broken:
            why = f"response: {got.broken[index]}"
        skipped.add(events.where(index), why)
    return is_whole


def _of_events(parsed: Parsed, is_whole: np.ndarray) -> pa.Table:
    if is_whole.all():
        return parsed.table
    rows = np.flatnonzero(np.repeat(is_whole, parsed.counts))
    return parsed.table.take(pa.array(rows))


def _ids(table: pa.Table, events: Events, schema: Schema, counts: np.ndarray, event: np.ndarray) -> pa.Array:
    """A row's own id; its request's (inferenceId, else eventId) where it has none and is alone in it."""
    own = table[schema.id].combine_chunks() if schema.id else pa.nulls(len(event), pa.string())
    if not own.null_count:
        return own
    request = pc.coalesce(events.table["inference"], events.table["event"]).combine_chunks()
    is_alone = pa.array((counts == 1)[event])
    return pc.coalesce(own, pc.if_else(is_alone, request.take(pa.array(event)), None))


def _read_columns(table: pa.Table, schema: Schema) -> pa.Table:
    """Features and protected columns: the id and the time only where they are one of these."""
    kept = {*schema.fields, *schema.protected}
    return table.select([name for name in table.column_names if name in kept])


def _times(table: pa.Table, schema: Schema, requested: np.ndarray) -> np.ndarray:
    if not schema.time:
        return requested
    own = microseconds(table[schema.time].combine_chunks())
    if own.null_count:
        own = pc.coalesce(own, pa.array(requested))
    return fixed(own, np.int64)


def _empty(schema: Schema, requests: Layout, answers: Layout, labels: Labels, problems: Problems) -> Window:
    table, replies = complete({}, requests, 0), complete({}, answers, 0)
    none, ids = np.zeros(0, np.int64), pa.array([], pa.string())
    return Window(schema, _read_columns(table, schema), replies, ids, none, none, labels.of(ids), problems)


def _add(total: dict[str, int], more: dict[str, int]) -> None:
    for name, count in more.items():
        total[name] = total.get(name, 0) + count


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)
