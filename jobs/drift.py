"""How far two samples of one column lie apart, and how far apart a column's own windows lie.

A column is counted into cells. Numbers: the points of a quantile grid and the gaps between them, in order,
so that the largest difference of cumulative shares is the Kolmogorov-Smirnov distance with ties right
(exact up to GRID distinct values, within 1/GRID beyond). Categories: one cell each, one for all that the
baseline has not kept; the distance is the largest difference of shares. Both run from 0 to 1.

Deequ's and Model Monitor's `Robust` takes off what chance alone explains: max(0, L - 1.8 sqrt((n + m) / nm)).
That assumes independent rows. Rows of one day are not (they share their weather), so the threshold is also
at least the largest distance between one window of the training data and the rest of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

GRID = 256
CATEGORIES = 500
WINDOWS = 60
MIN_WINDOW_ROWS = 30
UNSEEN_FLOOR = 0.01  # share of rows with a category that training never saw, under which nothing is said
MISSING_SLACK = 0.05  # how many more missing values than in the worst window of the training data
UNSEEN = -2  # codes: a cell from 0, missing -1


@dataclass(frozen=True)
class Reference:
    """The baseline of one column. `cells` are grid points or categories; `shares` of the present rows
    per cell."""

    name: str
    type: str  # number, integer, string, boolean
    cells: tuple[Any, ...]
    shares: np.ndarray
    rows: int  # present, not missing
    missing: float  # share
    threshold: float  # robust distance from which the column has drifted
    missing_threshold: float
    unseen_threshold: float

    @property
    def is_categorical(self) -> bool:
        return self.type in ("string", "boolean")

    def as_dict(self) -> dict[str, Any]:
        return {
            **vars(self),
            "cells": list(self.cells),
            "shares": [round(float(share), 7) for share in self.shares],
        }

    @classmethod
    def of(cls, content: dict[str, Any]) -> Reference:
        return cls(**{**content, "cells": tuple(content["cells"]), "shares": np.array(content["shares"])})

    def counts(self, values: np.ndarray | list[str | None]) -> tuple[np.ndarray, int, int]:
        """Counts per cell, number of missing values, number of unseen categories."""
        codes = (
            _category_codes(values, self.cells) if self.is_categorical else _grid_codes(values, self.cells)
        )
        return _count(codes, len(self.shares)), int((codes == -1).sum()), int((codes == UNSEEN).sum())

    def distance(self, counts: np.ndarray) -> tuple[float, float]:
        """(L-infinity, robust distance) between the baseline and counted values; (0, 0) where there are
        none."""
        rows = int(counts.sum())
        if not rows or not self.rows:
            return 0.0, 0.0
        plain = _distance(self.shares, counts / rows, self.is_categorical)
        return plain, robust(plain, self.rows, rows)


def robust(distance: float, rows: int, others: int) -> float:
    return max(0.0, distance - 1.8 * float(np.sqrt((rows + others) / (rows * others))))


def learn(
    name: str,
    type_: str,
    values: np.ndarray | list[str | None],
    times: np.ndarray,
    lookback: timedelta,
    floor: float,
    nullable: bool,
    listed: tuple[Any, ...] | None = None,
) -> Reference:
    """The reference of a column. `values` (float with NaN, or text with None) in order of `times`
    (microseconds); `floor` is the least distance that counts as drift."""
    categorical = type_ in ("string", "boolean")
    if categorical:
        cells = _kept_categories(values, listed)
        codes, size = _category_codes(values, cells), len(cells) + 1
    else:
        cells = _grid(values)
        codes, size = _grid_codes(values, cells), 2 * len(cells) + 1
    total = _count(codes, size)
    rows = int(total.sum())
    natural = _natural(codes, size, _windows(times, lookback), categorical)
    return Reference(
        name=name,
        type=type_,
        cells=cells,
        shares=total / max(rows, 1),
        rows=rows,
        missing=float((codes == -1).mean()) if len(codes) else 0.0,
        threshold=round(max(floor, natural["distance"]), 4),
        missing_threshold=round(min(1.0, natural["missing"] + MISSING_SLACK), 4) if nullable else 0.0,
        unseen_threshold=0.0 if listed is not None else round(max(UNSEEN_FLOOR, natural["unseen"]), 4),
    )


def _grid(values: np.ndarray) -> tuple[float, ...]:
    present = values[~np.isnan(values)]
    distinct = np.unique(present)
    if len(distinct) > GRID:
        distinct = np.unique(np.quantile(present, np.linspace(0, 1, GRID + 1), method="closest_observation"))
    return tuple(float(value) for value in distinct)


def _grid_codes(values: np.ndarray, grid: tuple[float, ...]) -> np.ndarray:
    """0: under the first point; 2i + 1: at point i; 2i: between points i - 1 and i."""
    codes = np.searchsorted(grid, values, "left") + np.searchsorted(grid, values, "right")
    codes[np.isnan(values)] = -1
    return codes


def _kept_categories(values: list[str | None], listed: tuple[Any, ...] | None) -> tuple[str, ...]:
    if listed is not None:
        return tuple(_text(value) for value in listed)
    names, counts = np.unique([value for value in values if value is not None] or [""], return_counts=True)
    return tuple(str(name) for name in names[np.argsort(-counts, kind="stable")][:CATEGORIES])


def _category_codes(values: list[str | None], categories: tuple[Any, ...]) -> np.ndarray:
    code: dict[str | None, int] = {name: index for index, name in enumerate(categories)}
    code[None] = -1
    return np.fromiter((code.get(value, UNSEEN) for value in values), np.int64, len(values))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _count(codes: np.ndarray, size: int) -> np.ndarray:
    """Missing values are left out; an unseen category goes into the last cell."""
    codes = np.where(codes == UNSEEN, size - 1, codes)
    return np.bincount(codes[codes >= 0], minlength=size)


def _distance(shares: np.ndarray, others: np.ndarray, categorical: bool) -> float:
    difference = shares - others
    return float(np.abs(difference if categorical else np.cumsum(difference)).max())


def _windows(times: np.ndarray, lookback: timedelta) -> list[tuple[int, int]]:
    """Row ranges of up to WINDOWS windows of `lookback`, evenly spread; none where the data spans less
    than two."""
    length = int(lookback.total_seconds() * 1e6)
    if not len(times) or times[-1] - times[0] < 2 * length:
        return []
    starts = np.linspace(times[0], times[-1] - length, WINDOWS).astype(np.int64)
    firsts, lasts = np.searchsorted(times, starts), np.searchsorted(times, starts + length)
    return [(int(a), int(b)) for a, b in zip(firsts, lasts, strict=True) if b - a >= MIN_WINDOW_ROWS]


def _natural(
    codes: np.ndarray, size: int, windows: list[tuple[int, int]], categorical: bool
) -> dict[str, float]:
    """How much windows of the training data differ from the rest of it: the largest robust distance, share of
    missing values and share of categories that the rest does not have."""
    total = _count(codes, size)
    worst = {"distance": 0.0, "missing": float((codes == -1).mean()) if len(codes) else 0.0, "unseen": 0.0}
    for first, last in windows:
        part = codes[first:last]
        counts = _count(part, size)
        rest = total - counts
        worst["missing"] = max(worst["missing"], float((part == -1).mean()))
        if not counts.sum() or not rest.sum():
            continue
        plain = _distance(rest / rest.sum(), counts / counts.sum(), categorical)
        worst["distance"] = max(worst["distance"], robust(plain, int(rest.sum()), int(counts.sum())))
        if categorical:
            worst["unseen"] = max(worst["unseen"], float(counts[rest == 0].sum() / counts.sum()))
    return worst
