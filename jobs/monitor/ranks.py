"""The place of a window among all ways to draw as many blocks (or rows): a permutation test of many figures.

Each figure is replaced by its rank among its own draws, ties in order of its standardised size; the best
rank of a draw is compared with the best ranks of the others (single-step min-p: Westfall and Young 1993,
2.4). A feature with wild days does not cover up one with quiet days, and how features move together is
accounted for.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations
from math import comb, isfinite
from statistics import NormalDist

import numpy as np

from jobs.monitor.series import Evidence, Series, compare, draw, even

DRAWS = 2000
CONTIGUOUS = 200  # windows of the baseline that say how alike neighbours are
GAPS = 1.5  # neighbours span at most so many times their number
LEAST_WINDOWS = 3  # of neighbours in the baseline
CAUTION = 0.6  # standard errors that neighbours are taken to be more alike than they seem
MOST_ROWS = 10**9  # numpy's limit for draws without replacement
FREEDOM = 11.0  # at most: weeks have heavier tails than Gauss's law, however many were seen
SEED = 20130101
SHAPE = 0.999  # of the gap between two ranks, that the standardised size may fill


def of_blocks(
    series: list[Series],
    blocks: int,
    size: int,
    rate: float,
    unwatched: Collection[str],
    keys: tuple[np.ndarray, np.ndarray],
) -> Evidence:
    """`series` hold the baseline's `blocks` first, then the window's `size`. `keys`: of the baseline's blocks
    and of the window's, one apart where two blocks follow one another."""
    chosen = choices(blocks + size, size, max(DRAWS, round(20 / rate)))
    neighbours = _neighbours(*keys, size)
    named, columns, carries = [], [], []
    for seed, one in enumerate(series):
        drawn = draw(one, chosen, even(one, blocks, SEED + seed))
        figures = drawn.figures(drawn.spread())
        carry = _carry(one.take(0, blocks), size, *neighbours, rate / len(series)) if neighbours else {}
        for name in one.measured():
            named.append((one.name, name))
            columns.append(figures[name])
            carries.append(carry.get(name, 1.0))
    return _evidence(named, np.column_stack(columns), np.array(carries), rate, unwatched)


def of_rows(series: list[Series], rate: float, unwatched: Collection[str]) -> Evidence:
    """One block each, baseline and window: rows are drawn from all rows, without replacement."""
    keys, columns, draws = [], [], max(DRAWS, round(20 / rate))
    for seed, one in enumerate(series):
        rng = np.random.default_rng(SEED + seed)
        total, rows = one.counts.sum(axis=0), int(one.counts[1:].sum())
        if total.sum() < MOST_ROWS:
            inside = rng.multivariate_hypergeometric(total, rows, draws, method="marginals")
        else:
            inside = np.minimum(rng.multinomial(rows, total / total.sum(), draws), total)
        inside[0] = one.counts[1:].sum(axis=0)
        drawn = compare(one, inside.astype(float), (total - inside).astype(float))
        figures = drawn.figures(drawn.spread())
        for name in one.measured():
            keys.append((one.name, name))
            columns.append(figures[name])
    return _evidence(keys, np.column_stack(columns), np.ones(len(keys)), rate, unwatched)


def choices(total: int, size: int, draws: int) -> np.ndarray:
    """float32[draw, block] of 0 and 1: the last `size` blocks first, then every other way to choose so many,
    or as many ways as asked for, by chance."""
    last = tuple(range(total - size, total))
    if comb(total, size) <= draws:
        picked = np.array([last, *(way for way in combinations(range(total), size) if way != last)])
    else:
        order = np.random.default_rng(SEED).random((draws, total), np.float32)
        picked = np.argpartition(order, size - 1, axis=1)[:, :size]
        picked[0] = last
    return _marked(picked, total)


def _evidence(
    keys: list[tuple[str, str]],
    values: np.ndarray,
    carry: np.ndarray,
    rate: float,
    unwatched: Collection[str],
) -> Evidence:
    """`values` float[draw, figure], the first draw is the observed one."""
    values = values.astype(float)
    observed = values[0].copy()
    values[0] /= carry
    draws = len(values)
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    scale = np.where(deviation > 1e-12, deviation, np.inf)
    score = np.column_stack([_score(*one) for one in zip(values.T, mean, scale, strict=True)])
    watched = np.array([name not in unwatched for name, _ in keys])
    best = np.sort(score[:, watched].max(axis=1)) if watched.any() else np.full(draws, np.inf)
    p = (draws - np.searchsorted(best, score[0] - 1e-9)) / draws
    bar = float(best[max(draws - 1 - int(rate * draws), 0)])
    edges = np.array([_edge(*one, bar) for one in zip(values.T, mean, scale, strict=True)])
    return Evidence(keys, observed, edges * carry, (values[0] - mean) / scale, p, watched, draws)


def _score(values: np.ndarray, mean: float, scale: float) -> np.ndarray:
    """float[draw], the rarer the greater: minus the number of draws that are at least as large, and between 0
    and 1 for the standardised size."""
    as_large = len(values) - np.searchsorted(np.sort(values), values, "left")
    t = (values - mean) / scale
    return (0.5 + t / (1 + np.abs(t)) / 2) * SHAPE - as_large


def _edge(values: np.ndarray, mean: float, scale: float, bar: float) -> float:
    """The least value whose score would be over the bar."""
    if not isfinite(bar):
        return 0.0
    as_large = int(np.ceil(-bar))
    ordered = np.sort(values[1:])[::-1]
    above = float(ordered[min(max(as_large - 2, 0), len(ordered) - 1)])  # over this, fewer are as large
    if as_large > 1 or not isfinite(scale):
        return above
    size = 2 * min((bar + as_large) / SHAPE, 1 - 1e-9) - 1
    return max(above, mean + scale * size / (1 - abs(size)))


def _neighbours(baseline: np.ndarray, window: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Choices of neighbouring blocks of the baseline, and of scattered ones. None where the window's are no
    neighbours, or the baseline holds too few windows of neighbours to tell."""
    blocks = len(baseline)
    if size < 2 or blocks < LEAST_WINDOWS * size or not _together(window[0], window[-1], size):
        return None
    starts = np.arange(blocks - size + 1)
    starts = starts[_together(baseline[starts], baseline[starts + size - 1], size)]
    windows = len(np.unique(starts // size)) if len(starts) else 0
    if windows < LEAST_WINDOWS:
        return None
    starts = starts[np.unique(np.linspace(0, len(starts) - 1, CONTIGUOUS).astype(int))]
    return _marked(starts[:, None] + np.arange(size), blocks), choices(blocks, size, CONTIGUOUS)[1:]


def _together(first: np.ndarray, last: np.ndarray, size: int) -> np.ndarray:
    """Whether `size` blocks between two keys follow one another, a few gaps aside."""
    return last - first < GAPS * size


def _carry(
    baseline: Series, size: int, together: np.ndarray, scattered: np.ndarray, rate: float
) -> dict[str, float]:
    """By how much a window of neighbours varies more than one of scattered blocks: the root of the ratio of
    mean squares. The excess is known from few windows. So it is widened, as a deviation in units of one that
    was estimated follows Student's law, not Gauss's; and taken for larger than it seems by a part of its
    standard error (a mean square of k values is known to a share of sqrt(2 / k))."""
    apart = draw(baseline, scattered)
    spread = apart.spread()
    near, far = draw(baseline, together).figures(spread), apart.figures(spread)
    windows = len(baseline.counts) / size
    wider, error = _widened(rate, min(windows - 1, FREEDOM)) ** 2, CAUTION * np.sqrt(2 / windows)
    carry = {}
    for name in near:
        chance = float(np.square(far[name]).mean())
        excess = max(float(np.square(near[name]).mean()) / chance - 1, 0.0) if chance > 0 else 0.0
        carry[name] = float(np.sqrt(1 + wider * excess + error * (1 + excess)))
    return carry


def _widened(rate: float, freedom: float) -> float:
    """Student's quantile at `rate` over Gauss's (Wallace 1959, doi 10.1214/aoms/1177706102)."""
    z = NormalDist().inv_cdf(1 - rate)
    squared = (z * (8 * freedom + 3) / (8 * freedom + 1)) ** 2
    return float(np.sqrt(freedom * np.expm1(squared / freedom))) / z


def _marked(picked: np.ndarray, total: int) -> np.ndarray:
    chosen = np.zeros((len(picked), total), np.float32)
    np.put_along_axis(chosen, picked, 1.0, axis=1)
    return chosen
