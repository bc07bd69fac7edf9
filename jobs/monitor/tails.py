"""How rare a window is where there are too few blocks to count: the tail of the blocks' own differences.

Every block of the baseline is set against all others, the window against the whole baseline. Above a
figure's 80 % quantile the excess is taken for exponential (Pickands 1975, doi 10.1214/aos/1176343003, with
the shape 0: the figures are bounded, so that this is the cautious side), each block without its own part in
the fit. The rarest figure of a block is a figure again; its tail is not estimated but predicted, which k
excesses with a mean of m give as (1 + x / (k m))^-(k - 1), one being spent on where the tail begins: the
fewer blocks, the heavier.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from jobs.monitor.ranks import SEED
from jobs.monitor.series import Evidence, Series, compare, draw, thinned

LEAST_BLOCKS = 14
BODY = 0.8  # the share of the blocks below the tail
LEAST_EXCESS = {"standard": 0.5}
SMALL = 0.005  # least mean excess of figures that are shares of rows


def of_blocks(series: list[Series], blocks: int, rate: float, unwatched: Collection[str]) -> Evidence:
    """`series` hold the baseline's `blocks` first, then the window's, which count as one."""
    keys, null, observed = [], [], []
    for seed, one in enumerate(series):
        figures, own = single(one, blocks, SEED + seed)
        for name in one.measured():
            keys.append((one.name, name))
            null.append(own[name])
            observed.append(float(figures[name][0]))
    watched = np.array([name not in unwatched for name, _ in keys])
    return _evidence(keys, np.column_stack(null).astype(float), np.array(observed), watched, rate)


def single(one: Series, blocks: int, seed: int = SEED) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(the window's figures, those of every block of the baseline against the others)."""
    now, before = one.split(blocks)
    share = now.sum() * blocks / max(before.sum(), 1)
    pool = thinned(before, share, seed) if share < 1 else None
    days = draw(one.take(0, blocks), np.eye(blocks, dtype=np.float32), pool)
    seen = compare(one, *(side.sum(axis=0, keepdims=True).astype(float) for side in (now, before)))
    return seen.figures(days.spread()), days.figures(days.spread_without_own())


def _evidence(
    keys: list[tuple[str, str]], null: np.ndarray, observed: np.ndarray, watched: np.ndarray, rate: float
) -> Evidence:
    """`null` float[block, figure]."""
    least = np.array([LEAST_EXCESS.get(figure, SMALL) for _, figure in keys])
    blocks = len(null)
    start = np.quantile(null, BODY, axis=0)
    excesses = np.maximum(null - start, 0.0)
    tail = excesses > 0
    k, total = tail.sum(axis=0), excesses.sum(axis=0)
    share = np.where(k > 0, k / blocks, 1 / (blocks + 1))
    excess = np.maximum(total / np.maximum(k, 1), least)
    without_own = np.maximum((total - excesses) / np.maximum(k - tail, 1), least)
    below = np.column_stack([_below(values, values) for values in null.T]) / blocks
    surprise = _surprise(null, below, start, share, without_own)
    largest = surprise[:, watched].max(axis=1) if watched.any() else np.zeros(blocks)
    below = np.array([_below(*pair) for pair in zip(null.T, observed, strict=True)]) / (blocks + 1)
    p, bar = _predicted(largest, _surprise(observed, below, start, share, excess), rate)
    deviation = null.std(axis=0)
    return Evidence(
        keys=keys,
        observed=observed,
        thresholds=start + excess * np.maximum(bar + np.log(share), 0.0),
        t=(observed - null.mean(axis=0)) / np.where(deviation > 1e-12, deviation, np.inf),
        p=p,
        watched=watched,
        draws=blocks,
    )


def _surprise(
    values: np.ndarray, below: np.ndarray, start: np.ndarray, share: np.ndarray, excess: np.ndarray
) -> np.ndarray:
    """-log of the share of blocks with at least this value: counted in the body, exponential in the tail."""
    body = -np.log(np.maximum(1 - below, share))
    return np.where(values > start, -np.log(share) + (values - start) / excess, body)


def _predicted(largest: np.ndarray, surprise: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
    """(how often the most surprising figure of a block is at least as surprising, the surprise for which that
    is `rate`). `largest`: of each block of the baseline."""
    start, k, mean = _excess(largest)
    over = np.maximum(surprise - start, 0.0)
    tail = k / len(largest) * (1 + over / (k * mean)) ** -_freedom(k)
    body = 1 - _below(largest, surprise) / (len(largest) + 1)
    return np.where(over > 0, tail, body), predicted(largest, rate)


def predicted(values: np.ndarray, rate: float) -> float:
    """What one more value is over at `rate`, by the tail of those that were seen."""
    start, k, mean = _excess(values)
    return start + k * mean * ((rate * len(values) / k) ** (-1 / _freedom(k)) - 1)


def _freedom(k: int) -> int:
    """Of k excesses, whose start was estimated by the same values."""
    return max(k - 1, 1)


def _excess(values: np.ndarray) -> tuple[float, int, float]:
    """(where the tail begins, how many values lie in it, by how much on average)."""
    start = float(np.quantile(values, BODY))
    excesses = values[values > start] - start
    return start, max(len(excesses), 1), float(excesses.mean()) if len(excesses) else 1.0


def _below(values: np.ndarray, x: np.ndarray | float) -> np.ndarray:
    return np.searchsorted(np.sort(values), x, "left")
