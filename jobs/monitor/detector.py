"""When has a model become worse? An e-detector on the mean loss of blocks of rows.

Blocks (days), not rows: the rows of a day share their weather, and a test on rows alarms in any stormy week.
A block's mean loss x is standardised by the baseline's, u = (x - mean - tolerance) / sd(n), where
sd(n)^2 = between^2 + within^2 / n for a block of n labelled rows, and clipped to [low, HIGH]:
z = clip(u) - low cannot be under 0, and its mean is at most `limit` while the model is no worse than
tolerated. Then

    M_t = (M_(t-1) + 1) (1 + lambda (z_t - limit))        averaged over bets: a low, a lambda < 1 / limit

is the mixture Shiryaev-Roberts e-detector of Shin, Ramdas, Rinaldo 2024 (E-detectors, doi
10.51387/23-NEJSDS51, section 4): M_t - t is a supermartingale, so that the mean time to a false alarm at
M >= c is at least c blocks, and at most w / c of the windows of w blocks raise one (Doob's inequality). That
holds where `limit` does, and where blocks do not depend on those before. `limit` is estimated: with two weeks
of baseline and no tolerance, 3 to 4 % of the weeks of real flights were in alarm, with a tenth 0.9 %.
Where to clip is a part of the bet. A little under the mean gives power against large changes: a block twice
as bad as usual may then multiply the bet by more than two. A small change is seen soonest by who looks at
whole blocks: clipped at -0.5, a Gaussian's mean holds 86 % of the information on its shift, at -1.5 98 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from jobs.monitor.bootstrap import CONFIDENCE, student

HIGH = 6.0  # standard deviations; what is worse counts as this
# A bet on small changes and one on large: where a block's loss is clipped, in standard deviations; lambda, as
# a share of 1 / limit; the bet's weight.
LOWS = np.array([-1.5, -0.5])
BETS = np.array([0.3, 0.5])
WEIGHTS = np.array([0.6, 0.4])
ROOF = 10.0  # M stays under this many thresholds, so that a model that recovers is believed within days
LEAST_BLOCKS = 5
FALSE_ALARMS = 0.01
MIN_ROWS = 20


@dataclass(frozen=True)
class Settings:
    """What the baseline says about blocks. `loss`: its name in losses.py; `cap`: of a row's loss, None where
    it is bounded; `mean`, `between`, `within`, `tolerance` in the loss's units; `limits` of z, one for each
    bet; `threshold` of M, in blocks; `block`: seconds; `min_rows`: fewer labelled rows are joined with the
    next block's."""

    loss: str
    cap: float | None
    mean: float
    between: float
    within: float
    tolerance: float
    limits: tuple[float, ...]
    blocks: int
    threshold: float
    block: int
    min_rows: int = MIN_ROWS

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Settings:
        return cls(**content | {"limits": tuple(content["limits"])})


@dataclass(frozen=True)
class Detection:
    """`value` of M after the last block; `fired_at`: index of the first block of this alarm, where M is over
    the threshold; `since`: index of the block from which the losses are best explained as worse."""

    value: float
    threshold: float
    blocks: int
    fired_at: int | None
    since: int | None

    @property
    def has_fired(self) -> bool:
        return self.fired_at is not None


def fit(
    loss: np.ndarray,
    block: np.ndarray,
    *,
    name: str,
    cap: float | None,
    tolerance: float,
    seconds: int,
    window_blocks: float,
    false_alarms: float = FALSE_ALARMS,
    min_rows: int = MIN_ROWS,
) -> Settings:
    """From the holdout's rows: their losses, and the number of each one's block. `false_alarms`: at most this
    share of the windows of `window_blocks` blocks raise a false alarm, however long it is watched."""
    capped = loss if cap is None else np.minimum(loss, cap)
    sizes = np.bincount(block)
    kept = sizes > 0
    sizes, means = sizes[kept], np.bincount(block, capped)[kept] / sizes[kept]
    mean = float(capped.mean())
    within = float(capped.var())
    between = max(float(means.var(ddof=1) - (within / sizes).mean()), 0.0) if len(means) > 1 else 0.0
    settings = Settings(
        loss=name,
        cap=cap,
        mean=mean,
        between=math.sqrt(between),
        within=math.sqrt(within),
        tolerance=tolerance,
        limits=(),
        blocks=len(means),
        threshold=max(window_blocks, 1.0) / false_alarms,
        block=seconds,
        min_rows=min_rows,
    )
    return replace(settings, limits=_limits(settings, means, sizes))


def run(settings: Settings, means: Sequence[float], sizes: Sequence[int]) -> Detection:
    """All blocks in order of time: a few hundred numbers, so that nothing but them need be kept."""
    by_block = factors(settings, np.asarray(means, float), np.asarray(sizes, float))
    values = trajectory(by_block, settings.threshold * ROOF)
    is_over = values >= settings.threshold
    fired_at = since = None
    if len(values) and is_over[-1]:
        under = np.flatnonzero(~is_over)
        fired_at = int(under[-1]) + 1 if len(under) else 0
        since = _since(by_block[: fired_at + 1])
    last = float(values[-1]) if len(values) else 0.0
    return Detection(last, settings.threshold, len(values), fired_at, since)


def trajectory(by_block: np.ndarray, roof: float = math.inf) -> np.ndarray:
    """M after each block, of `factors`: (blocks, bets)."""
    capital = np.zeros(by_block.shape[1])
    values = np.empty(len(by_block))
    for index, factor in enumerate(by_block):
        capital = (capital + 1) * factor
        values[index] = WEIGHTS @ capital
        if values[index] > roof:
            capital *= roof / values[index]
            values[index] = roof
    return values


def standardised(settings: Settings, means: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """u of each block: how many of its standard deviations it is worse than tolerated."""
    sd = np.sqrt(settings.between**2 + settings.within**2 / np.maximum(sizes, 1))
    floor = max(settings.tolerance, 1e-6 * (abs(settings.mean) + 1e-6))
    return (means - settings.mean - settings.tolerance) / np.where(sd > 0, sd, floor)


def factors(settings: Settings, means: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(blocks, bets): what each bet is multiplied by."""
    return 1 + BETS * (_clipped(settings, means, sizes) / np.array(settings.limits) - 1)


def _clipped(settings: Settings, means: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(blocks, bets): z."""
    return np.clip(standardised(settings, means, sizes)[:, None], LOWS, HIGH) - LOWS


def _limits(settings: Settings, means: np.ndarray, sizes: np.ndarray) -> tuple[float, ...]:
    """The mean of z where the blocks are as the baseline's and the whole tolerance is used up, plus what few
    blocks leave open (Student's upper bound); never under half of a Gaussian's clipped mean. Under
    LEAST_BLOCKS blocks there is no bound to be had: twice the mean or the Gaussian's."""
    excess = _clipped(replace(settings, tolerance=0.0), means, sizes)
    count, mean = len(excess), excess.mean(0)
    normal = NormalDist()
    gaussian = np.array([normal.pdf(low) - low * (1 - normal.cdf(low)) for low in LOWS])
    if count < LEAST_BLOCKS:
        return tuple((np.maximum(gaussian, mean) * 2).tolist())
    slack = student(count - 1, (1 + CONFIDENCE) / 2) * excess.std(0, ddof=1) / math.sqrt(count)
    return tuple((np.maximum(mean, gaussian / 2) + slack).tolist())


def _since(by_block: np.ndarray) -> int:
    """The start that makes the product of factors, averaged over the bets, largest."""
    logs = np.log(by_block)[::-1].cumsum(0)[::-1]
    peak = logs.max(1, keepdims=True)
    return int(np.argmax(peak[:, 0] + np.log(np.exp(logs - peak) @ WEIGHTS)))
