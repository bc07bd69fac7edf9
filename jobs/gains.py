"""By how much is the challenger better, and how sure is that? The paired block bootstrap.

Both models answered the same rows, so that each replicate draws the same days for both and takes the
difference: what makes a day hard for everyone cancels out. One-sided bounds and chances are Student's t on
the bootstrap's standard error, which is widened by sqrt(n / (n - 1)), as n days vary less than what they were
drawn from (Hesterberg 2015, What Teachers Should Know About the Bootstrap, doi 10.1080/00031305.2015.1089789,
"t interval with bootstrap standard error" and "narrowness bias"). Percentiles of a thousand replicates would
not reach the small chances that many slices share.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from jobs.monitor import bootstrap, quality
from jobs.monitor.quality import LOWER_IS_BETTER, number

Figure = dict[str, float | None]


def gain(
    name: str, ours: Figure, theirs: Figure, drawn: np.ndarray, blocks: int, confidence: float
) -> Figure:
    """Of metric `name`, positive where the challenger is better. `drawn`: replicates of the difference,
    challenger less the other. `at_least`: the lower end of the one-sided interval at `confidence`."""
    found = _two_sided(name, ours, theirs, drawn, blocks)
    at_least = None
    if found["value"] is not None and blocks > 1:
        reach = float(special.stdtrit(blocks - 1, confidence)) * standard_error(drawn, blocks)
        at_least = number(found["value"] - reach)
    return found | {"at_least": at_least}


def loss_chance(name: str, ours: Figure, theirs: Figure, drawn: np.ndarray, blocks: int) -> Figure:
    """`chance`: how likely so low a gain is where there is no loss, one-sided."""
    found = _two_sided(name, ours, theirs, drawn, blocks)
    value = found["value"]
    chance = None if value is None else tail(-value, standard_error(drawn, blocks), blocks)
    return found | {"chance": chance}


def tail(distance: float, error: float, blocks: int) -> float | None:
    """The chance of `distance` or more where 0 is true, by Student's t; None where nothing was resampled."""
    if blocks < 2 or not math.isfinite(error):
        return None
    if error == 0:
        return 0.0 if distance > 0 else 1.0
    return number(special.stdtr(blocks - 1, -distance / error))


def standard_error(drawn: np.ndarray, blocks: int) -> float:
    """Of what was drawn; NaN where it is defined in less than half of the replicates."""
    finite = drawn[np.isfinite(drawn)]
    if len(finite) < len(drawn) / 2 or blocks < 2:
        return math.nan
    return float(finite.std(ddof=1)) * math.sqrt(blocks / (blocks - 1))


def column(task: str, name: str) -> int:
    """Where a metric stands in the replicates of `quality.replicate`."""
    return quality.names(task).index(name)


def _two_sided(name: str, ours: Figure, theirs: Figure, drawn: np.ndarray, blocks: int) -> Figure:
    if ours["value"] is None or theirs["value"] is None:
        return {"value": None, "low": None, "high": None}
    sign = -1 if name in LOWER_IS_BETTER else 1
    finite = sign * drawn[np.isfinite(drawn)]
    low, high = np.quantile(finite, bootstrap.levels(blocks)) if len(finite) else (None, None)
    value = sign * (ours["value"] - theirs["value"])
    return {"value": number(value), "low": number(low), "high": number(high)}
