"""How far a window's values lie from the baseline's: one number per definition.

Distances between distributions of one number run over two Quantiles sketches, and are off by no more than
the sketches' own epsilon (none for small windows). The others run over aligned cells: `p` are the baseline's
rows per cell, `q` the window's, in any scale. Cells are made by `value_cells`, `quantile_cells`,
`equal_cells` or `category_cells`. All are without a unit; where one side has no rows there is no distance:
NaN.

Definitions are those of scipy and of Evidently 0.7 (`legacy/calculations/stattests`), logarithms natural.
"""

from __future__ import annotations

import math

import numpy as np

from jobs.monitor.buffers import positions
from jobs.monitor.columns import Column, NumberColumn, StringColumn
from jobs.monitor.sketch import Counts, Quantiles, paired

DECILES = 10
FEW_VALUES = 20  # up to so many distinct values each has a cell of its own
EMPTY = 1e-4  # share that an empty cell counts as where a logarithm is taken
LEAST_SD = 1e-3  # a baseline that hardly varies: as Evidently has it
Cells = tuple[np.ndarray, np.ndarray]


def ks(reference: Quantiles, window: Quantiles) -> float:
    """Kolmogorov-Smirnov: the largest difference of the distribution functions, 0 to 1. Both are read at
    every value that either has, from the right, so that ties count once and in full."""
    if not reference.n or not window.n:
        return math.nan
    return _largest_gap(*paired(reference, window))


def wasserstein(reference: Quantiles, window: Quantiles, sd: float) -> float:
    """The mean distance that a row has moved (the area between the distribution functions; Vallender 1974,
    doi 10.1137/1118101), in standard deviations of the reference."""
    if not reference.n or not window.n:
        return math.nan
    return _area(*paired(reference, window)) / max(sd, LEAST_SD)


def linf(p: np.ndarray, q: np.ndarray) -> float:
    """The largest difference of shares, 0 to 1."""
    if not p.sum() or not q.sum():
        return math.nan
    return float(np.abs(p / p.sum() - q / q.sum()).max())


def robust(distance: float, n: int, m: int) -> float:
    """A KS or L-infinity distance without what chance alone explains where rows are independent:
    max(0, L - 1.8 sqrt((n + m) / (n m))), n and m rows (Deequ's `Distance`, Model Monitor's `Robust`).
    The critical value of KS at 0.3 % is 1.8 times that root."""
    return max(0.0, distance - 1.8 * math.sqrt((n + m) / (n * m))) if n and m else math.nan


def psi(p: np.ndarray, q: np.ndarray) -> float:
    """Population stability index: sum of (p - q) log(p / q) over shares, empty cells counted as EMPTY
    (Siddiqi 2006, Credit Risk Scorecards, chapter 9). 0.1 and 0.25 are the usual marks, for ten cells."""
    if not p.sum() or not q.sum():
        return math.nan
    p, q = _filled(p), _filled(q)
    return float(((p - q) * np.log(p / q)).sum())


def kullback_leibler(p: np.ndarray, q: np.ndarray) -> float:
    """sum of p log(p / q), in nats; empty cells counted as EMPTY, so that it is finite."""
    if not p.sum() or not q.sum():
        return math.nan
    p, q = _filled(p), _filled(q)
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """The distance, not the divergence: the root of the mean Kullback-Leibler divergence (in nats) of both
    from their mean, 0 to 0.833 (Endres and Schindelin 2003, doi 10.1109/TIT.2003.813506)."""
    if not p.sum() or not q.sum():
        return math.nan
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    return math.sqrt(max(0.0, (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2))


def hellinger(p: np.ndarray, q: np.ndarray) -> float:
    """sqrt(1 - sum of sqrt(p q)), 0 to 1."""
    if not p.sum() or not q.sum():
        return math.nan
    return math.sqrt(max(0.0, 1.0 - float(np.sqrt(p / p.sum() * (q / q.sum())).sum())))


def value_cells(reference: Quantiles, window: Quantiles) -> Cells:
    """A cell per value that either has."""
    return _between(reference, window, np.unique(np.concatenate((reference.items()[0], window.items()[0]))))


def quantile_cells(reference: Quantiles, window: Quantiles, bins: int = DECILES) -> Cells:
    """Cells of about the same number of the reference's rows; one per value where it has few."""
    values = reference.items()[0]
    if np.count_nonzero(values[1:] != values[:-1]) < FEW_VALUES:
        return value_cells(reference, window)
    edges = np.unique(reference.quantile(np.arange(1, bins) / bins))
    return _between(reference, window, np.append(edges, np.inf))


def equal_cells(reference: Quantiles, window: Quantiles) -> Cells:
    """Equally wide cells over the range of both, as many as Sturges (1926) has for all rows: Evidently's.
    One value far out squeezes the rest into one cell: for comparisons, not for verdicts."""
    low, high = min(reference.minimum, window.minimum), max(reference.maximum, window.maximum)
    bins = math.ceil(math.log2(reference.n + window.n) + 1)
    edges = np.linspace(low, high, bins + 1)[1:-1]
    # numpy's bins are closed on the left: a value on an edge belongs above it
    return _between(reference, window, np.append(np.nextafter(edges, -np.inf), np.inf))


def category_cells(reference: Counts, window: Counts) -> Cells:
    """A cell per category of either, and one for all that sketches of very many have let go."""
    place = positions(window.values, reference.values, -1)
    known = place >= 0
    q = np.zeros(len(reference.counts), np.int64)
    q[place[known]] = window.counts[known]
    new = window.counts[~known]
    return (
        np.concatenate((reference.counts, np.zeros(len(new), np.int64), [reference.other])),
        np.concatenate((q, new, [window.other])),
    )


def between(reference: Column, window: Column) -> dict[str, float]:
    """Every distance of one column; empty where either side has no values."""
    if isinstance(reference, NumberColumn) and isinstance(window, NumberColumn):
        return _numbers(reference, window) if reference.n and window.n else {}
    if isinstance(reference, StringColumn) and isinstance(window, StringColumn):
        return _categories(reference, window) if reference.n > 0 and window.n > 0 else {}
    return {}


def _numbers(reference: NumberColumn, window: NumberColumn) -> dict[str, float]:
    before, now = reference.quantiles, window.quantiles
    both = paired(before, now)
    largest = _largest_gap(*both)
    return {
        "ks": largest,
        "linf": largest,
        "wasserstein": _area(*both) / max(reference.std, LEAST_SD),
        **_over_cells(*quantile_cells(before, now)),
    }


def _categories(reference: StringColumn, window: StringColumn) -> dict[str, float]:
    p, q = category_cells(reference.counts, window.counts)
    return {
        "linf": linf(p, q),
        **_over_cells(p, q),
        "new": float(q[p == 0].sum() / q.sum()),
        "vanished": float(p[q == 0].sum() / p.sum()),
    }


def _over_cells(p: np.ndarray, q: np.ndarray) -> dict[str, float]:
    return {
        "psi": psi(p, q),
        "jensen_shannon": jensen_shannon(p, q),
        "kullback_leibler": kullback_leibler(p, q),
        "hellinger": hellinger(p, q),
    }


def _largest_gap(_: np.ndarray, before: np.ndarray, now: np.ndarray) -> float:
    return float(np.abs(before - now).max())


def _area(points: np.ndarray, before: np.ndarray, now: np.ndarray) -> float:
    with np.errstate(over="ignore"):
        return float((np.abs(before - now)[:-1] * np.diff(points)).sum())


def _between(reference: Quantiles, window: Quantiles, edges: np.ndarray) -> Cells:
    """Rows with edges[i - 1] < x <= edges[i]; the last edge is at or above every value."""
    p, q = (np.diff(sketch.cdf(edges) * sketch.n, prepend=0.0) for sketch in (reference, window))
    return p, q


def _filled(counts: np.ndarray) -> np.ndarray:
    shares = counts / counts.sum()
    return np.where(shares > 0, shares, EMPTY)


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    present = p > 0
    return float((p[present] * np.log(p[present] / q[present])).sum())
