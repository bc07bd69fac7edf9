"""What kind of change a series of blocks shows: a step, a slope, or a season that was here before.

Least squares of three shapes on the block means: a level (nothing happens), a level with a step at some
block, a level with a slope from some block on. A shape counts where it gains more over the level than noise
does (Schwarz's criterion with the change point as a parameter: Yao 1988, doi 10.1016/0167-7152(88)90118-6,
with PENALTY times its penalty). A change is recurring where a period ago the series was as far from its usual
level, on the same side, and between then and now it was not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

Kind = Literal["sudden", "gradual", "recurring", "none"]
PERIODS = (364.0, 28.0, 7.0)  # days: year (as whole weeks, so that weekdays meet), month, week
LEAST = 8  # blocks
EDGE = 2  # blocks before and after a change
PENALTY = 2.0
SEASON_SHARE = 0.5  # of the present departure that must have been there a period ago
STEP_BLOCKS = 3  # a slope that is over within so many blocks is a step


@dataclass(frozen=True)
class Trend:
    """`since`: start of the first changed block, microseconds; `direction` from there; `period`: days, where
    it is recurring."""

    kind: Kind
    since: int | None = None
    direction: Literal["up", "down"] | None = None
    period: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


NONE = Trend("none")


def trend(
    starts: np.ndarray, means: np.ndarray, sizes: np.ndarray, periods: Sequence[float] = PERIODS
) -> Trend:
    """Of blocks in order of time: start in microseconds, mean, rows (a mean of more rows weighs more)."""
    if len(means) < LEAST or np.ptp(means) == 0:
        return NONE
    day = (starts - starts[0]) / 86_400e6
    weight = sizes / sizes.mean()
    level = _error(np.ones((len(means), 1)), means, weight)
    steps = {at: _error(_step(at, len(means)), means, weight) for at in range(EDGE, len(means) - EDGE)}
    slopes = {at: _error(_slope(day, at), means, weight) for at in range(0, len(means) - EDGE - 1)}
    step, slope = min(steps, key=steps.get), min(slopes, key=slopes.get)
    error = min(steps[step], slopes[slope])
    gain = len(means) * math.log(max(level, 1e-300) / max(error, 1e-300 * level, 1e-300))
    if gain < PENALTY * 2 * math.log(len(means)):
        return NONE
    is_step = steps[step] <= slopes[slope] or len(means) - 1 - slope <= STEP_BLOCKS
    at = step if is_step else slope
    period = _period(day, means, weight, at, periods)
    before, after = np.average(means[: at or 1]), np.average(means[at:], weights=weight[at:])
    kind = "recurring" if period else "sudden" if is_step else "gradual"
    return Trend(kind, int(starts[at]), "up" if after > before else "down", period)


def _period(
    day: np.ndarray, means: np.ndarray, weight: np.ndarray, at: int, periods: Sequence[float]
) -> float | None:
    """The first period a whole one of which lies before the change, and after which this departure was there
    already."""
    now = np.average(means[at:], weights=weight[at:])
    width = max(day[-1] - day[at], 1.0)
    for period in periods:
        if width > period / 2:
            continue
        is_then = (day >= day[at] - period) & (day <= day[-1] - period)
        is_between = (day > day[-1] - period) & (day < day[at])
        if is_then.sum() < EDGE or is_between.sum() < LEAST:
            continue
        usual = float(np.median(means[is_between]))
        noise = 1.4826 * float(np.median(np.abs(means[is_between] - usual)))
        then = float(np.average(means[is_then], weights=weight[is_then]))
        returned = (then - usual) / (now - usual) if now != usual else 0.0
        is_clear = abs(then - usual) > 2 * noise / math.sqrt(is_then.sum())
        if returned >= SEASON_SHARE and is_clear:
            return period
    return None


def _step(at: int, size: int) -> np.ndarray:
    return np.column_stack([np.ones(size), np.arange(size) >= at])


def _slope(day: np.ndarray, at: int) -> np.ndarray:
    return np.column_stack([np.ones(len(day)), np.maximum(day - day[at], 0.0)])


def _error(shape: np.ndarray, means: np.ndarray, weight: np.ndarray) -> float:
    """Weighted mean squared distance of the means from their best fit."""
    root = np.sqrt(weight)
    fitted, *_ = np.linalg.lstsq(shape * root[:, None], means * root, rcond=None)
    return float((weight * (means - shape @ fitted) ** 2).mean())
