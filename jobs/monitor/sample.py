"""Whole rows of a window, for what counts alone cannot answer: metrics, attributions, rules, outlying rows.

Up to KEPT rows all are kept. Beyond, those with the least hash of their id are: a uniform sample that does
not depend on the order or the grouping of shards (bottom-k: Cohen and Kaplan 2007, doi
10.1145/1281100.1281133). Rows with a label are sampled again on their own, as they are few where labels come
late.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.contract import JobError
from jobs.monitor.buffers import fixed
from jobs.monitor.hashing import finish, hash_text, multiplier, spread
from jobs.monitor.scan import together
from jobs.monitor.schema import Schema
from jobs.monitor.window import Problems, Window

KEPT = 250_000
ID, TIME, REQUESTED, LABEL, HASH = "id", "time", "requested", "label", "hash"
ROW = "row."  # prefixes of a window's columns in a sample: names of features are anybody's
ANSWER = "answer."


class Sample:
    """`table`: id, time and requested (int64 microseconds), label, hash (uint64), the request's columns as
    `row.<name>` and the answer's as `answer.<name>`. `rows` and `labelled` are how many it was drawn from."""

    def __init__(self, table: pa.Table, rows: int, labelled: int, kept: int = KEPT) -> None:
        self.table, self.rows, self.labelled, self.kept = table, rows, labelled, kept

    @classmethod
    def of(cls, window: Window, kept: int = KEPT) -> Sample:
        columns = {
            ID: window.ids,
            TIME: pa.array(window.times),
            REQUESTED: pa.array(window.requested),
            LABEL: window.label,
            HASH: pa.array(_hashes(window)),
        }
        columns |= {ROW + name: window.table[name] for name in window.table.column_names}
        columns |= {ANSWER + name: window.answers[name] for name in window.answers.column_names}
        return cls(pa.table(columns), len(window), window.labelled, kept)._pruned()

    def merge(self, other: Sample) -> Sample:
        table = together([self.table, other.table])
        kept = min(self.kept, other.kept)
        merged = Sample(table, self.rows + other.rows, self.labelled + other.labelled, kept)
        return merged._pruned(slack=1)

    def ordered(self) -> Sample:
        """Pruned for good, in order of the requests: the same rows in the same order, however merged."""
        pruned = self._pruned()
        order = [(REQUESTED, "ascending"), (HASH, "ascending")]
        return Sample(pruned.table.sort_by(order), self.rows, self.labelled, self.kept)

    @property
    def is_whole(self) -> bool:
        return self.table.num_rows == self.rows

    def uniform(self) -> pa.Table:
        """A uniform sample of all rows, labelled or not."""
        return self.table if self.is_whole else self.table.filter(pa.array(self._least(self._hashes())))

    def with_labels(self) -> pa.Table:
        """A uniform sample of the labelled rows. An id that was predicted more than once counts with its last
        prediction."""
        known = self.table.filter(self.table[LABEL].is_valid())
        if not self.is_whole and known.num_rows > self.kept:
            known = known.filter(pa.array(self._least(_uint64(known[HASH]))))
        hashes = _uint64(known[HASH])
        order = np.lexsort((_int64(known[REQUESTED]), hashes))
        last = np.append(hashes[order][1:] != hashes[order][:-1], True) if len(order) else order.astype(bool)
        return known.take(pa.array(np.sort(order[last])))

    def window(self, schema: Schema, rows: pa.Table | None = None) -> Window:
        """The sample, or some of its rows, as a window."""
        table = self.table if rows is None else rows

        def part(prefix: str) -> pa.Table:
            names = [name for name in table.column_names if name.startswith(prefix)]
            return table.select(names).rename_columns([name.removeprefix(prefix) for name in names])

        return Window(
            schema,
            part(ROW),
            part(ANSWER),
            table[ID].combine_chunks(),
            _int64(table[TIME]),
            _int64(table[REQUESTED]),
            table[LABEL].combine_chunks(),
            Problems(),
        )

    def save(self, path: Path) -> None:
        metadata = {"rows": str(self.rows), "labelled": str(self.labelled), "kept": str(self.kept)}
        pq.write_table(self.table.replace_schema_metadata(metadata), path, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> Sample:
        """Raises JobError for what is not a sample."""
        try:
            table = pq.ParquetFile(path).read()
            content = {key.decode(): int(value) for key, value in (table.schema.metadata or {}).items()}
            return cls(
                table.replace_schema_metadata(None), content["rows"], content["labelled"], content["kept"]
            )
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise JobError(f"{path.name} is not a window's sample: {error}") from error

    def _pruned(self, slack: int = 0) -> Sample:
        """Without the rows that no sample needs. `slack` samples' worth of them may stay."""
        if self.table.num_rows <= self.kept * (1 + slack):
            return self
        hashes = self._hashes()
        is_kept = self._least(hashes)
        is_labelled = np.flatnonzero(_bools(self.table[LABEL].is_valid()))
        is_kept[is_labelled[self._least(hashes[is_labelled])]] = True
        return Sample(self.table.filter(pa.array(is_kept)), self.rows, self.labelled, self.kept)

    def _least(self, hashes: np.ndarray) -> np.ndarray:
        """bool per row: among the least `kept` hashes."""
        if len(hashes) <= self.kept:
            return np.ones(len(hashes), bool)
        return hashes < np.partition(hashes, self.kept)[self.kept]

    def _hashes(self) -> np.ndarray:
        return _uint64(self.table[HASH])


def _hashes(window: Window) -> np.ndarray:
    """uint64 per row, of its id; of its time and place where it has none."""
    hashes = hash_text(window.ids, multiplier("id"))
    if window.ids.null_count:
        place = np.arange(len(hashes), dtype=np.uint64) + window.requested.astype(np.uint64)
        without = _bools(window.ids.is_null())
        hashes = np.where(without, finish(spread(place, multiplier("time"))), hashes)
    return hashes


def _bools(mask: pa.Array | pa.ChunkedArray) -> np.ndarray:
    whole = mask.combine_chunks() if isinstance(mask, pa.ChunkedArray) else mask
    return fixed(whole.cast(pa.int8()), np.int8).astype(bool)


def _uint64(column: pa.ChunkedArray) -> np.ndarray:
    return fixed(column.combine_chunks(), np.uint64)


def _int64(column: pa.ChunkedArray) -> np.ndarray:
    return fixed(column.combine_chunks(), np.int64)
