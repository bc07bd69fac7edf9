"""Predictions and what became of them: rows of a window beside their labels, and those that still wait for
one. A label that comes after its window was analysed counts in the window in which it came."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.contract import JobError
from jobs.monitor.bodies import PREDICTION, PROBABILITIES, PROBABILITY
from jobs.monitor.buffers import fixed, floats, texts
from jobs.monitor.labels import Labels
from jobs.monitor.quality import Scores
from jobs.monitor.window import Window
from jobs.spec import BINARY, MULTICLASS, REGRESSION

KEPT_DAYS = 120  # a label that comes later than this is not waited for
KEPT_ROWS = 500_000  # the newest ones
DAY = 86_400_000_000  # microseconds
ROUNDING = 0.01  # by which the probabilities of an answer may miss 1 together
_KEYS = ("id", "requested", "time", "taken")


@dataclass(frozen=True)
class Outcomes:
    """Labelled rows: `scores`, and in step `requested` and `times` (int64 microseconds)."""

    scores: Scores
    requested: np.ndarray
    times: np.ndarray

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class Settled:
    """`own`: labelled rows of the window; `late`: of earlier ones, labelled since; `waiting`: the table of
    rows without a label, for the next window; `repeated`: rows whose id was predicted again later (the last
    one counts); `unscored`: labelled rows whose prediction could not be used; `unknown`: labels of nobody."""

    own: Outcomes
    late: Outcomes
    waiting: pa.Table
    repeated: int
    unscored: int
    unknown: int


def settle(
    window: Window,
    labels: Labels,
    waiting: pa.Table | None,
    key: str,
    start: int,
    end: int,
    classes: tuple[str, ...] = (),
) -> Settled:
    """Join labels to the window's rows and to those that waited. `key` names the window [start, end)
    microseconds: rows that it has taken before are taken again, so that analysing it twice changes nothing.
    `classes`: those that the baseline knows."""
    own = _table(window)
    repeated = own.num_rows
    own = _last(own)
    repeated -= own.num_rows
    earlier = _earlier(waiting, own, key, start)
    labelled, unscored, found = [], 0, []
    for part in (own, earlier):
        label = labels.of(part["id"].combine_chunks())
        outcome, dropped = _outcomes(part, label, window.schema.task, classes)
        labelled.append(outcome)
        unscored += dropped
        mark = pc.if_else(label.is_valid(), key, pa.scalar(None, pa.string()))
        found.append(part.set_column(part.column_names.index("taken"), "taken", mark))
    return Settled(*labelled, _kept(found, end), repeated, unscored, labels.unknown)


def save(waiting: pa.Table, path: Path) -> None:
    pq.write_table(waiting, path, compression="zstd")


def load(path: Path) -> pa.Table | None:
    """None where there is no such file. Raises JobError for one that is not as `save` writes it."""
    if not path.is_file():
        return None
    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowInvalid, OSError):
        raise JobError(f"{path.name}, the rows that wait for labels, is not Parquet") from None
    if not {*_KEYS, PREDICTION} <= set(table.column_names):
        raise JobError(f"{path.name} is not a table of rows that wait for labels")
    return table


def scores(answers: pa.Table, label: pa.Array, task: str, classes: tuple[str, ...] = ()) -> Scores:
    """Scores of rows that all have a label: every answer usable (see `usable`)."""
    if task == MULTICLASS:
        return _multiclass(answers, label, classes)
    values = floats(label)[0]
    predicted = floats(answers[PREDICTION].combine_chunks())[0]
    if task == REGRESSION:
        return Scores(task, values, predicted)
    probability = _probability(answers)
    if probability is not None:
        predicted = np.where(np.isnan(predicted), probability >= 0.5, predicted)
    return Scores(task, values.astype(int), (predicted > 0).astype(int), probability)


def usable(answers: pa.Table, label: pa.Array, task: str) -> np.ndarray:
    """bool per row: a label (0 or 1 in a binary task) beside a prediction that can be compared with it, with
    probabilities that are some (of several classes, together 1)."""
    fits = ~_nulls(label)
    if task == MULTICLASS:
        fits &= ~_nulls(answers[PREDICTION].combine_chunks())
        shares = _shares(answers)
        return fits if shares is None else fits & ~_nulls(shares) & _is_whole(_matrix(shares))
    predicted = floats(answers[PREDICTION].combine_chunks())[0]
    if task != BINARY:
        return fits & np.isfinite(predicted)
    values = floats(label)[0]
    fits &= (values == 0) | (values == 1)
    probability = _probability(answers)
    if probability is None:
        return fits & np.isin(predicted, (0.0, 1.0))
    return fits & (probability >= 0) & (probability <= 1)


def strange(label: pa.Array, task: str) -> int:
    """How many labels a binary task cannot have."""
    return int((~np.isin(floats(label)[0], (0.0, 1.0))).sum()) if task == BINARY else 0


def _outcomes(part: pa.Table, label: pa.Array, task: str, classes: tuple[str, ...]) -> tuple[Outcomes, int]:
    rows = np.flatnonzero(usable(part, label, task))
    taken = pa.array(rows)
    chosen = part.take(taken)
    requested, times = (fixed(chosen[name].combine_chunks(), np.int64) for name in ("requested", "time"))
    found = scores(chosen, label.take(taken), task, classes)
    return Outcomes(found, requested, times), len(label) - label.null_count - len(rows)


def _probability(answers: pa.Table) -> np.ndarray | None:
    if PROBABILITY not in answers.column_names:
        return None
    column = answers[PROBABILITY].combine_chunks()
    return None if column.null_count == len(column) else floats(column)[0]


def _shares(answers: pa.Table) -> pa.Array | None:
    """A number by class, null where an answer has none; None where no answer has."""
    if PROBABILITIES not in answers.column_names:
        return None
    column = answers[PROBABILITIES].combine_chunks()
    return column if pa.types.is_struct(column.type) and column.null_count < len(column) else None


def _matrix(shares: pa.Array) -> np.ndarray:
    """(rows, classes) in the order of the struct's fields; 0 for a class that an answer leaves out."""
    columns = [np.nan_to_num(floats(column)[0]) for column in shares.flatten()]
    return np.column_stack(columns) if columns else np.zeros((len(shares), 0))


def _is_whole(matrix: np.ndarray) -> np.ndarray:
    """bool per row. Probabilities that are too large together would make every loss look small."""
    return ((matrix >= 0) & (matrix <= 1)).all(1) & (np.abs(matrix.sum(1) - 1) <= ROUNDING)


def _multiclass(answers: pa.Table, label: pa.Array, classes: tuple[str, ...]) -> Scores:
    shares = _shares(answers)
    named = [entry.name for entry in shares.type] if shares is not None else []
    predicted = answers[PREDICTION].combine_chunks()
    known = tuple(sorted({*named, *classes})) or tuple(
        sorted({*pc.unique(predicted).to_pylist(), *pc.unique(label).to_pylist()})
    )
    matrix = None
    if shares is not None:
        matrix = np.zeros((len(shares), len(known)))
        matrix[:, [known.index(name) for name in named]] = _matrix(shares)
    codes = {name: code for code, name in enumerate(known)}
    return Scores(MULTICLASS, _codes(label, codes), _codes(predicted, codes), matrix, known)


def _codes(column: pa.Array, codes: dict[str, int]) -> np.ndarray:
    """Codes of classes, -1 for one that is not among them."""
    index, dictionary, _ = texts(column)
    return np.array([*(codes.get(name, -1) for name in dictionary.to_pylist()), -1])[index]


def _table(window: Window) -> pa.Table:
    """The rows that a label can find, in order of their requests."""
    columns = {name: window.answers[name] for name in window.answers.column_names}
    columns |= {
        "id": window.ids,
        "requested": pa.array(window.requested),
        "time": pa.array(window.times),
        "taken": pa.nulls(len(window), pa.string()),
    }
    rows = np.flatnonzero(~_nulls(window.ids))
    order = rows[np.argsort(window.requested[rows], kind="stable")]
    return pa.table(columns).take(pa.array(order))


def _last(table: pa.Table) -> pa.Table:
    """The last row of each id."""
    codes = fixed(table["id"].combine_chunks().dictionary_encode().indices, np.int32)
    last = np.full(codes.max(initial=-1) + 1, -1)
    last[codes] = np.arange(len(codes))
    return table if len(last) == len(codes) else table.take(pa.array(np.sort(last)))


def _earlier(waiting: pa.Table | None, own: pa.Table, key: str, start: int) -> pa.Table:
    """Rows of earlier windows that no other window has taken and that were not predicted again."""
    if waiting is None:
        return own.slice(0, 0)
    is_free = pc.or_(waiting["taken"].is_null(), pc.equal(waiting["taken"], key).fill_null(False))
    is_new = pc.invert(pc.is_in(waiting["id"], value_set=own["id"].combine_chunks()))
    is_early = pc.less(waiting["requested"], start)
    return waiting.filter(pc.and_(pc.and_(is_free, is_new), is_early))


def _kept(parts: list[pa.Table], end: int) -> pa.Table:
    """Rows for the next window: without a label, or taken by this one (it may be analysed again)."""
    table = pa.concat_tables(parts, promote_options="permissive")
    table = table.filter(pc.greater_equal(table["requested"], end - KEPT_DAYS * DAY))
    if table.num_rows > KEPT_ROWS:
        newest = pc.select_k_unstable(table, KEPT_ROWS, [("requested", "descending")])
        table = table.take(newest)
    return table


def _nulls(column: pa.Array) -> np.ndarray:
    return fixed(pc.cast(column.is_null(), pa.int8()), np.int8).astype(bool)
