"""Rows counted by group, label and prediction, per day: all that the bias metrics need of a window. Tallies
of shards merge by adding; their size depends on the groups, not on the rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.contract import JobError
from jobs.monitor.groups import Facet, Layout, Outcome, encode

DAY = 86_400_000_000  # microseconds
STATES = 3
FORMAT = 1
CHUNK = 65536  # rows whose intermediate arrays stay in a core's cache
WORKERS = 2


class Tally:
    """`counts`: int64 (days, groups and the rest, strata and the rest, label, prediction); `classes`: int64
    (days, groups and the rest, classes and the rest); `days`: ascending, since 1970."""

    def __init__(self, layout: Layout, days: np.ndarray, counts: np.ndarray, classes: np.ndarray) -> None:
        self.layout, self.days, self.counts, self.classes = layout, days, counts, classes

    @classmethod
    def of(
        cls,
        layout: Layout,
        columns: dict[str, pa.Array | pa.ChunkedArray],
        label: pa.Array | np.ndarray,
        prediction: pa.Array | np.ndarray,
        times: np.ndarray,
    ) -> Tally:
        """Counts n rows. `columns` has the facet's and the stratum's; `times` are microseconds since 1970.
        Raises JobError where a column is not there."""
        chosen = {name: _column(columns, name) for name in layout.columns}
        days, position = _days(times)
        places = (len(days), len(layout.facet.groups) + 1)
        counts = np.zeros((*places, len(layout.strata) + 1, STATES, STATES), np.int64)
        classes = np.zeros((*places, len(layout.classes) + 1 if layout.classes else 0), np.int64)

        def count(first: int) -> tuple[np.ndarray, np.ndarray]:
            rows = slice(first, first + CHUNK)
            part = {name: column[rows] for name, column in chosen.items()}
            place = position[_day(times[rows]) - days[0]] * places[1] + layout.facet.codes(
                part[layout.facet.column]
            )
            return _count(layout, place, part, label[rows], prediction[rows], counts.shape, classes.shape)

        with ThreadPoolExecutor(WORKERS) as pool:
            for some, of_classes in pool.map(count, range(0, len(times), CHUNK)):
                counts += some
                classes += of_classes
        return cls(layout, days, counts, classes)

    @property
    def rows(self) -> int:
        return int(self.counts.sum())

    def merge(self, other: Tally) -> Tally:
        """Both tallies' rows, the same in any order and grouping. Raises JobError for different layouts."""
        if self.layout != other.layout:
            raise JobError(f"tallies of {self.layout.facet.column} with different groups do not merge")
        days = np.union1d(self.days, other.days)
        return Tally(
            self.layout,
            days,
            _spread(self.counts, self.days, days) + _spread(other.counts, other.days, days),
            _spread(self.classes, self.days, days) + _spread(other.classes, other.days, days),
        )

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return asdict(self.layout), {"days": self.days, "counts": self.counts, "classes": self.classes}

    @classmethod
    def unpack(cls, head: dict[str, Any], arrays: dict[str, np.ndarray]) -> Tally:
        facet, outcome = head["facet"], head["outcome"]
        layout = Layout(
            Facet(facet["column"], tuple(facet["values"]), facet["threshold"]),
            Outcome(tuple(outcome["values"]), outcome["threshold"]),
            head["stratum"],
            tuple(head["strata"]),
            tuple(head["classes"]),
        )
        return cls(layout, arrays["days"], arrays["counts"], arrays["classes"])


def save(tallies: Sequence[Tally], path: Path) -> None:
    """One .npz: arrays, and the layouts as JSON in it."""
    heads, arrays = [], {}
    for index, tally in enumerate(tallies):
        head, parts = tally.pack()
        heads.append(head)
        arrays |= {f"{index}.{name}": part for name, part in parts.items()}
    content = json.dumps({"format": FORMAT, "tallies": heads}).encode()
    with path.open("wb") as file:
        np.savez_compressed(file, json=np.frombuffer(content, np.uint8), **arrays)


def load(path: Path) -> list[Tally]:
    """Raises JobError for what `save` of this version did not write."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            content = json.loads(stored["json"].tobytes())
            if content["format"] != FORMAT:
                raise JobError(f"{path.name} holds tallies of format {content['format']}, not {FORMAT}")
            return [
                Tally.unpack(
                    head, {name: stored[f"{index}.{name}"] for name in ("days", "counts", "classes")}
                )
                for index, head in enumerate(content["tallies"])
            ]
    except (OSError, ValueError, KeyError, EOFError, TypeError) as error:
        raise JobError(f"{path.name} holds no tallies: {error}") from error


def _count(
    layout: Layout,
    place: np.ndarray,
    columns: dict[str, pa.Array],
    label: pa.Array | np.ndarray,
    prediction: pa.Array | np.ndarray,
    shape: tuple[int, ...],
    classes_shape: tuple[int, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """`counts` and `classes` of some rows; `place` is their day and group in one number."""
    cell = place
    if layout.stratum:
        cell = cell * shape[2] + encode(columns[layout.stratum], layout.strata)
    cell = cell * STATES + layout.outcome.states(label)
    cell = cell * STATES + layout.outcome.states(prediction)
    counts = np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape)
    classes = np.zeros(classes_shape, np.int64)
    if layout.classes:
        code = encode(label, layout.classes, missing=-1)
        known = code >= 0
        flat = np.bincount((place * classes_shape[2] + code)[known], minlength=int(np.prod(classes_shape)))
        classes = flat.reshape(classes_shape)
    return counts, classes


def _day(times: np.ndarray) -> np.ndarray:
    """Days since 1970. Exact: microseconds fit into a float64, whose division is five times as fast."""
    return np.floor(times / DAY).astype(np.int64)


def _days(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(ascending days; the position in them of each day since the first)."""
    if not len(times):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first, last = (int(day) for day in _day(np.array([times.min(), times.max()])))
    present = np.zeros(last - first + 1, bool)
    for start in range(0, len(times), CHUNK):
        present[_day(times[start : start + CHUNK]) - first] = True
    return np.flatnonzero(present) + first, np.cumsum(present) - 1


def _spread(counts: np.ndarray, days: np.ndarray, onto: np.ndarray) -> np.ndarray:
    spread = np.zeros((len(onto), *counts.shape[1:]), np.int64)
    spread[np.searchsorted(onto, days)] = counts
    return spread


def _column(columns: dict[str, pa.Array | pa.ChunkedArray], name: str) -> pa.Array:
    if name not in columns:
        raise JobError(f"the data has no column {name!r}, by which bias is measured")
    column = columns[name]
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
