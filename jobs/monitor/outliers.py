"""Rows that are like nothing seen before, though each of their values may be usual. Two scores, as either is
blind to what the other sees: an isolation forest (Liu, Ting, Zhou 2008, doi 10.1109/ICDM.2008.17) from
scikit-learn, for rows between the clusters; the Mahalanobis distance (1936), for columns that always agree
and now do not, and for what lies beyond everything, where a forest has no cuts.

The baseline keeps a sample of encoded rows, not a model: the forest is grown again from it where it is
needed, always the same one. By construction RARE of the baseline's rows count as outliers; how that share
differs from block to block is known, so that a window's share is judged as a feature's is (see `calibrate`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa

from jobs.contract import JobError
from jobs.monitor.blocks import Blocks
from jobs.monitor.buffers import floats, microseconds, positions, text_array, texts
from jobs.monitor.columns import NumberColumn, StringColumn
from jobs.monitor.profile import Profile
from jobs.monitor.series import Series, beyond

if TYPE_CHECKING:  # it takes a second to import: only where rows are scored
    from sklearn.ensemble import IsolationForest

NAME = "whole rows"
RARE = 0.005
KEPT = 20_000  # rows of the baseline
SCORED = 20_000  # rows of a window
TREES = 100
CATEGORIES = 255  # beyond, a category is as rare as one that was never seen
LIMIT = 20.0  # standard deviations: further out is as far
TINY = 1e-9
FORMAT = 1


@dataclass(frozen=True)
class Encoder:
    """A row as numbers: a number is itself, the median where it is missing; a category its share of the
    baseline's rows (0: never seen), so that what is rare lies at an end. `shares` is empty for numbers."""

    name: str
    median: float
    categories: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()

    @classmethod
    def of(cls, column: NumberColumn | StringColumn) -> Encoder:
        name = column.field.name
        if isinstance(column, NumberColumn):
            return cls(name, float(column.quantiles.quantile(0.5)) if column.n else 0.0)
        held = column.counts.as_dict(CATEGORIES)
        shares = tuple(rows / max(column.rows, 1) for rows in held.values())
        return cls(
            name, (column.missing + column.mistyped) / max(column.rows, 1), tuple(held), (*shares, 0.0)
        )

    def encode(self, table: pa.Table) -> np.ndarray:
        """float64[row]; the median, or the share of missing values, where the table has no such column."""
        if self.name not in table.column_names:
            return np.full(table.num_rows, self.median)
        column = table[self.name].combine_chunks()
        if not self.shares:
            values, _ = floats(column)
            return np.nan_to_num(values, nan=self.median, posinf=1e300, neginf=-1e300)
        codes, dictionary, _ = texts(column)
        place = positions(dictionary, text_array(list(self.categories)), len(self.categories))
        return np.append(np.array(self.shares)[place], self.median)[codes]


@dataclass
class Outliers:
    """`rows` float32[row, column] of the baseline, `keys` int64[row] of their blocks."""

    encoders: list[Encoder]
    rows: np.ndarray
    keys: np.ndarray

    @classmethod
    def learn(cls, table: pa.Table, reference: Profile) -> Outliers:
        """From the baseline's rows (a sample of them will do) and its profile."""
        schema = reference.schema
        picked = np.unique(np.linspace(0, table.num_rows - 1, min(KEPT, table.num_rows)).astype(np.int64))
        table = table.take(pa.array(picked))
        encoders = [Encoder.of(column) for column in reference.columns.values()]
        made = cls(encoders, np.zeros((0, len(encoders)), np.float32), np.zeros(0, np.int64))
        made.rows, made.keys = made._encode(table), np.zeros(table.num_rows, np.int64)
        if reference.blocks and schema.time in table.column_names:
            times, _ = microseconds(table[schema.time].combine_chunks())
            made.keys = times // reference.blocks.length
        return made

    @cached_property
    def cuts(self) -> np.ndarray:
        """float[score]: half of the outliers by either."""
        return np.quantile(self._scores(self.rows), 1 - RARE / 2, axis=0)

    @cached_property
    def marks(self) -> np.ndarray:
        """bool[row] of the baseline."""
        return self._beyond(self.rows)

    def mark(self, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """(int64 places of the rows that were scored, bool whether each is an outlier)."""
        if not table.num_rows or not len(self.rows):
            return np.zeros(0, np.int64), np.zeros(0, bool)
        picked = np.unique(np.linspace(0, table.num_rows - 1, min(SCORED, table.num_rows)).astype(np.int64))
        rows = self._encode(table.take(pa.array(picked)))
        return picked, self._beyond(rows)

    def series(
        self, before: Blocks, now: Blocks, times: np.ndarray, is_outlier: np.ndarray, length: int | None
    ) -> Series:
        """For `calibrate(extra=)`: `times` int64 microseconds of the window's scored rows."""
        own = before, self.keys, self.marks
        return beyond(NAME, own, (now, times // now.length, is_outlier), length)

    def save(self, path: Path) -> None:
        content = {"format": FORMAT, "encoders": [vars(encoder) for encoder in self.encoders]}
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                rows=self.rows,
                keys=self.keys,
                json=np.frombuffer(json.dumps(content).encode(), np.uint8),
            )

    @classmethod
    def load(cls, path: Path) -> Outliers:
        """Raises JobError for what `save` did not write."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                content = json.loads(stored["json"].tobytes())
                encoders = [
                    Encoder(one["name"], one["median"], tuple(one["categories"]), tuple(one["shares"]))
                    for one in content["encoders"]
                ]
                return cls(encoders, stored["rows"], stored["keys"])
        except (OSError, BadZipFile, ValueError, KeyError, EOFError) as error:
            raise JobError(f"{path.name} is not a sample of the baseline's rows: {error}") from error

    def _encode(self, table: pa.Table) -> np.ndarray:
        columns = [encoder.encode(table) for encoder in self.encoders]
        limit = np.finfo(np.float32).max
        return np.clip(np.column_stack(columns), -limit, limit).astype(np.float32)

    def _beyond(self, rows: np.ndarray) -> np.ndarray:
        return (self._scores(rows) > self.cuts).any(axis=1)

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        """float[row, score]: the greater, the easier to set apart, and the further out."""
        centre, scale, turn = self._axes
        standard = np.clip((rows - centre) / scale, -LIMIT, LIMIT)
        return np.column_stack((-self._forest.score_samples(rows), np.square(standard @ turn).sum(axis=1)))

    @cached_property
    def _axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(mean and standard deviation of each column, principal axes over the deviation along each)."""
        rows = self.rows.astype(float)
        centre, scale = rows.mean(axis=0), rows.std(axis=0)
        scale[scale < TINY] = 1.0
        standard = np.clip((rows - centre) / scale, -LIMIT, LIMIT)
        values, axes = np.linalg.eigh(np.cov(standard, rowvar=False, ddof=0).reshape(2 * [rows.shape[1]]))
        varies = values > TINY
        return centre, scale, axes[:, varies] / np.sqrt(values[varies])

    @cached_property
    def _forest(self) -> IsolationForest:
        from sklearn.ensemble import IsolationForest

        return IsolationForest(n_estimators=TREES, max_samples=256, random_state=0).fit(self.rows)
