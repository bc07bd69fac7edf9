"""When has a model become worse? An e-detector on the mean loss of blocks of rows.

Blocks (days), not rows: the rows of a day share their weather, and a test on rows alarms in any stormy week.
A block's mean loss x is standardised by the baseline's, u = (x - mean - tolerance) / sd(n), where
sd(n)^2 = between^2 + within^2 / n for a block of n labelled rows, and clipped to [LOW, HIGH]:
z = clip(u) - LOW cannot be under 0, and its mean is at most `limit` while the model is no worse than
tolerated. Then

    M_t = (M_(t-1) + 1) (1 + lambda (z_t - limit))        averaged over several lambda < 1 / limit

is the mixture Shiryaev-Roberts e-detector of Shin, Ramdas, Rinaldo 2024 (E-detectors, doi
10.51387/23-NEJSDS51, section 4): M_t - t is a supermartingale, so that the mean time to a false alarm at
M >= c is at least c blocks, and at most w / c of the windows of w blocks raise one (Doob's inequality). That
holds where `limit` does, and where blocks do not depend on those before. `limit` is estimated: with two weeks
of baseline and no tolerance, 3 to 4 % of the weeks of real flights were in alarm, with a tenth 0.9 %.
Clipping a little under the mean is what gives power: a block twice as bad as usual may then multiply the bet
by more than two, where the raw mean, which could have been zero, may not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jobs.monitor.bootstrap import CONFIDENCE, student

LOW, HIGH = -0.5, 6.0  # standard deviations between which a block's loss counts
BETS = np.array([0.06, 0.12, 0.25, 0.5])  # lambda, as shares of 1 / limit: from small changes to large
ROOF = 10.0  # M stays under this many thresholds, so that a model that recovers is believed within days
LEAST_BLOCKS = 5
FALSE_ALARMS = 0.01
MIN_ROWS = 20


@dataclass(frozen=True)
class Settings:
    """What the baseline says about blocks. `loss`: its name in losses.py; `cap`: of a row's loss, None where
    it is bounded; `mean`, `between`, `within`, `tolerance` in the loss's units; `limit` of z; `threshold` of
    M, in blocks; `block`: seconds; `min_rows`: fewer labelled rows are joined with the next block's."""

    loss: str
    cap: float | None
    mean: float
    between: float
    within: float
    tolerance: float
    limit: float
    blocks: int
    threshold: float
    block: int
    min_rows: int = MIN_ROWS

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Settings:
        return cls(**content)


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
        limit=1.0,
        blocks=len(means),
        threshold=max(window_blocks, 1.0) / false_alarms,
        block=seconds,
        min_rows=min_rows,
    )
    return Settings(**{**asdict(settings), "limit": _limit(settings, means, sizes)})


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
        values[index] = capital.mean()
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
    excess = np.clip(standardised(settings, means, sizes), LOW, HIGH) - LOW
    return 1 + BETS * (excess[:, None] / settings.limit - 1)


def _limit(settings: Settings, means: np.ndarray, sizes: np.ndarray) -> float:
    """The mean of z where the blocks are as the baseline's and the whole tolerance is used up, plus what few
    blocks leave open (Student's upper bound); never under half of a Gaussian's, whose clipped mean is 0.70.
    Under LEAST_BLOCKS blocks there is no bound to be had: twice the mean or the Gaussian's."""
    tolerated = Settings(**{**asdict(settings), "tolerance": 0.0})
    excess = np.clip(standardised(tolerated, means, sizes), LOW, HIGH) - LOW
    count = len(excess)
    gaussian = 0.698
    if count < LEAST_BLOCKS:
        return max(gaussian, float(excess.mean())) * 2
    slack = student(count - 1, (1 + CONFIDENCE) / 2) * float(excess.std(ddof=1)) / math.sqrt(count)
    return max(float(excess.mean()), gaussian / 2) + slack


def _since(by_block: np.ndarray) -> int:
    """The start that makes the product of factors, averaged over the bets, largest."""
    logs = np.log(by_block)[::-1].cumsum(0)[::-1]
    peak = logs.max(1, keepdims=True)
    return int(np.argmax(peak[:, 0] + np.log(np.exp(logs - peak).mean(1))))
