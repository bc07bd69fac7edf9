"""Is a window further from the baseline than the baseline's own blocks are from one another?

Rows of one day share their weather, their sales, their outage: tests that take rows for independent alarm on
every harmless week. So the unit is the block (a day, by default), and the only assumption is that without
drift a window's blocks could have been any of the blocks at hand. Then the window's place among all ways to
draw as many blocks from baseline and window together is a fair lottery (permutation test: Lehmann and Romano
2005, 15.2): its rate of false alarms is the stated one for any number of blocks, rows and features.

Four more things are allowed for. A window with fewer rows than whole blocks hold is noisier: draws are
thinned to its size. Blocks next to each other are alike (a storm lasts): a figure is divided by how much
more neighbouring blocks of the baseline vary than scattered ones do. And where there are too few ways to
draw for the stated rate (a one-day window), the tail is fitted on the baseline's blocks. Blocks that are
more alike than chance makes them (exactly every fiftieth row is empty) say nothing of a window that is left
to chance: what has drifted must also be rare among draws of rows.

Significance is not importance: a shift must also reach a floor in shares of rows to be called drift.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from math import comb
from typing import Any

from jobs.monitor import ranks, tails
from jobs.monitor.profile import Profile
from jobs.monitor.series import Evidence, Series, pooled

RATE = 0.01  # false alarms per window
FLOORS = {"distribution": 0.02, "missing": 0.01, "new": 0.01, "outliers": 0.01}  # shares of rows
LEAST_WAYS = 5  # ways to draw, times the rate: with fewer, the rarest draw is hardly rare enough
FIGURES = {
    "distribution": ("distance", "standard"),
    "missing": ("missing",),
    "new": ("new",),
    "outliers": ("outliers",),
}
NOTES = {
    "blocks": "",
    "tail": "{blocks} blocks cannot show how rare a window of {size} is at this rate: the tail of their own "
    "differences is extrapolated, and the window is judged as harshly as one block.",
    "rows": "There are no blocks of time to compare: rows are taken for independent, which they rarely are.",
    "few": "{blocks} blocks are too few to say by how much they differ without drift ({least} are needed): "
    "shifts are measured, and not judged.",
    "short": "The window is shorter than the baseline's blocks, and the hours of a day are unlike: shifts "
    "are measured, and not judged. A window of a whole day or more is.",
    "none": "There is nothing to compare.",
}


@dataclass(frozen=True)
class Shift:
    """One part of one column. `effect` and `threshold` are shares of rows (for `distribution`: the largest
    difference of distribution functions or of shares); `t` is in standard deviations of the draws, `p` holds
    for all parts of all columns together. `drifted`: not under the floor, and at least as rare as stated."""

    effect: float
    floor: float
    threshold: float
    t: float
    p: float
    drifted: bool
    watched: bool = True


@dataclass(frozen=True)
class Calibration:
    """`method`: `blocks` (exact), `tail` (extrapolated), `rows`, `few`, `short` or `none`. `note`: what
    a verdict that is less than exact rests on. `shifts` by column, then part."""

    method: str
    rate: float
    blocks: int
    length: int
    draws: int
    shifts: dict[str, dict[str, Shift]] = field(default_factory=dict, repr=False)

    @property
    def note(self) -> str:
        return NOTES[self.method].format(blocks=self.blocks, size=self.length, least=tails.LEAST_BLOCKS)

    @property
    def watched(self) -> list[Shift]:
        return [shift for parts in self.shifts.values() for shift in parts.values() if shift.watched]

    @property
    def p(self) -> float:
        """Of the rarest part of all."""
        return min((shift.p for shift in self.watched), default=1.0)

    @property
    def t_max(self) -> float:
        return max((shift.t for shift in self.watched), default=0.0)

    def summary(self) -> dict[str, Any]:
        """The `drift` entry of analysis.json."""
        return {
            "method": self.method,
            "p": round(self.p, 6),
            "threshold": self.rate,
            "t_max": round(self.t_max, 3),
            "false_alarm_rate": self.rate,
            "windows_in_null": self.draws,
            "baseline_blocks": self.blocks,
            "window_blocks": self.length,
            "note": self.note,
        }


def calibrate(
    reference: Profile,
    window: Profile,
    rate: float = RATE,
    floors: Mapping[str, float] = FLOORS,
    unwatched: Collection[str] = (),
    length: int | None = None,
    columns: Collection[str] | None = None,
    extra: Collection[Series] = (),
) -> Calibration:
    """The verdict on every column that both profiles have, or on `columns`. The window must be counted on the
    baseline's edges (`profile(..., edges=reference.blocks.edges)`); without blocks rows are compared.

    `unwatched` columns are measured and never drift (seasons). `length` is the window's in blocks (0:
    part of one). `extra` are further series of the same blocks, the baseline's first. Raises JobError as
    `series.pooled` does.
    """
    floors = {**FLOORS, **floors}
    series, blocks, size = pooled(reference, window, length, columns)
    series += [one for one in extra if len(one.counts) == blocks + size]
    if not series or not window.rows or not reference.rows:
        return Calibration("none", rate, blocks, size, 0)
    if reference.blocks is None or window.blocks is None or not len(window.blocks.keys):
        method, evidence = "rows", ranks.of_rows(series, rate, unwatched)
    elif length == 0:
        return Calibration("short", rate, blocks, size, 0, _measured(series, blocks, floors))
    elif comb(blocks + size, size) * rate >= LEAST_WAYS:
        keys = reference.blocks.keys, window.blocks.keys
        method, evidence = "blocks", ranks.of_blocks(series, blocks, size, rate, unwatched, keys)
    elif blocks >= tails.LEAST_BLOCKS:
        method, evidence = "tail", tails.of_blocks(series, blocks, rate, unwatched)
    else:
        return Calibration("few", rate, blocks, size, 0, _measured(series, blocks, floors))
    found = Calibration(method, rate, blocks, size, evidence.draws, _shifts(evidence, rate, floors))
    if method == "rows" or not any(shift.drifted for shift in found.watched):
        return found
    by_chance = ranks.of_rows([one.whole(blocks) for one in series], rate, unwatched)
    return replace(found, shifts=_shifts(evidence.and_also(by_chance), rate, floors))


def _shifts(evidence: Evidence, rate: float, floors: Mapping[str, float]) -> dict[str, dict[str, Shift]]:
    place = {key: index for index, key in enumerate(evidence.keys)}
    shifts: dict[str, dict[str, Shift]] = {}
    for name in dict.fromkeys(name for name, _ in evidence.keys):
        found = {}
        for part, figures in FIGURES.items():
            own = [place[name, figure] for figure in figures if (name, figure) in place]
            if own:
                found[part] = _shift(evidence, own, rate, floors[part])
        shifts[name] = found
    return shifts


def _shift(evidence: Evidence, own: list[int], rate: float, floor: float) -> Shift:
    """A distribution has two figures, and is as rare as the rarer. Its threshold is the distance's, or the
    distance at which a change of the same shape would be over the other's."""
    observed, thresholds = evidence.observed, evidence.thresholds
    effect, watched = float(observed[own[0]]), bool(evidence.watched[own[0]])
    rarest = min(own, key=lambda index: (evidence.p[index], -evidence.t[index]))
    limits = [effect * thresholds[index] / observed[index] for index in own if observed[index] > 0]
    limit = float(min(limits, default=thresholds[own[0]]))
    rare = bool(evidence.p[rarest] <= rate)
    if rare == (effect < limit):  # the limit is read off the draws: it may lie one draw beside the rank
        limit = effect
    return Shift(
        effect=effect,
        floor=floor,
        threshold=max(floor, limit),
        t=float(evidence.t[rarest]),
        p=float(evidence.p[rarest]),
        drifted=watched and rare and effect >= floor,
        watched=watched,
    )


def _measured(series: list[Series], blocks: int, floors: Mapping[str, float]) -> dict[str, dict[str, Shift]]:
    """Effects without a verdict."""
    shifts: dict[str, dict[str, Shift]] = {}
    for one in series:
        figures, _ = tails.single(one, blocks)
        shifts[one.name] = {
            part: Shift(float(figures[figure][0]), floors[part], 1.0, 0.0, 1.0, drifted=False, watched=False)
            for part, (figure, *_) in FIGURES.items()
            if figure in one.measured()
        }
    return shifts
