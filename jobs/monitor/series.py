"""A column over blocks of time, and what is measured when some of the blocks are set against the rest.

A draw is a choice of blocks. For each draw five figures say how the drawn blocks differ from the others:
`distance` (the largest difference of the distribution functions, or of shares), `standard` (the largest
difference of one cell in its own standard deviations: a rare category that doubles is as loud as a frequent
one that moves a little), and shares of rows gained: `missing` values, `new` categories that the rest does
not have, `outliers` beyond the baseline's far fences.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np

from jobs.contract import JobError
from jobs.monitor.blocks import Blocks, Edges
from jobs.monitor.columns import Column, NumberColumn
from jobs.monitor.profile import Profile
from jobs.monitor.sketch import Quantiles

FIGURES = ("distance", "standard", "missing", "new", "outliers")
FENCE = 3.0  # interquartile ranges beyond the quartiles: Tukey's "far out" (1977, chapter 2)
LEAST_SPREAD = 0.003  # standard deviation of a cell's share under which no difference is magnified further
EXACT = 2**24  # rows up to which float32 adds without error
UNEVEN = 1.1  # blocks of one side with so many times the other's rows are thinned to as many
Marked = tuple[Blocks, np.ndarray, np.ndarray]  # blocks, int64[row] key of its block, bool[row] beyond
Pair = tuple[str, np.ndarray, np.ndarray, np.ndarray | None]  # name, int64[block, cell] then and now, edges


@dataclass(frozen=True)
class Series:
    """`counts` int64[block, cell], the last cell for missing values. `ordered`: cells are bins of numbers in
    ascending order. `far` bool[cell - 1]: bins beyond the fences. `only`: the figures to measure. `chosen`:
    the categories with cells of their own are the baseline's most frequent, of more than there are cells."""

    name: str
    ordered: bool
    counts: np.ndarray
    far: np.ndarray
    only: tuple[str, ...] = FIGURES
    chosen: bool = False

    def take(self, first: int, last: int) -> Series:
        """Some of the blocks."""
        return replace(self, counts=self.counts[first:last])

    def whole(self, blocks: int) -> Series:
        """Two blocks: the first `blocks` together, and the others."""
        now, before = self.split(blocks)
        return replace(self, counts=np.stack([before.sum(axis=0), now.sum(axis=0)]))

    def split(self, blocks: int) -> tuple[np.ndarray, np.ndarray]:
        """The counts behind the first `blocks` blocks, and those of the first."""
        return self.counts[blocks:], self.counts[:blocks]

    def measured(self) -> list[str]:
        """The figures that this column has."""
        own = {"outliers"} if self.ordered and self.far.any() else set() if self.ordered else {"new"}
        held = {"distance", "standard", "missing"} | own
        return [figure for figure in self.only if figure in held]


@dataclass(frozen=True)
class Evidence:
    """What a null says of the observed figures, all in step with `keys` (column, figure). `thresholds`: the
    figure that is as rare as the stated rate; `t`: in standard deviations of the draws; `p`: how often the
    rarest of all watched figures is as rare as this one."""

    keys: list[tuple[str, str]]
    observed: np.ndarray
    thresholds: np.ndarray
    t: np.ndarray
    p: np.ndarray
    watched: np.ndarray
    draws: int

    def and_also(self, other: Evidence) -> Evidence:
        """What is rare by both: of the same series."""
        return replace(
            self,
            thresholds=np.maximum(self.thresholds, other.thresholds),
            t=np.minimum(self.t, other.t),
            p=np.maximum(self.p, other.p),
        )


@dataclass(frozen=True)
class Drawn:
    """`cells` float[draw, cell]: differences of shares, or of distribution functions. `shares`: the figures
    that are shares of rows, float[draw] each."""

    cells: np.ndarray
    shares: dict[str, np.ndarray]

    def figures(self, spread: np.ndarray) -> dict[str, np.ndarray]:
        """float[draw] by figure. `spread` is the cells' standard deviation, from `spread_of`."""
        size = np.abs(self.cells)
        return {"distance": size.max(axis=1), "standard": (size / spread).max(axis=1), **self.shares}

    def spread(self) -> np.ndarray:
        """float[cell]: the differences' standard deviation over the draws."""
        return np.sqrt(np.square(self.cells).mean(axis=0) + LEAST_SPREAD**2)

    def spread_without_own(self) -> np.ndarray:
        """float[draw, cell]: that of all other draws."""
        squares = np.square(self.cells)
        others = (squares.sum(axis=0) - squares) / max(len(squares) - 1, 1)
        return np.sqrt(others + LEAST_SPREAD**2)


def draw(series: Series, chosen: np.ndarray, pool: np.ndarray | None = None) -> Drawn:
    """`chosen` float32[draw, block] of 0 and 1. The chosen blocks' rows are taken from `pool`, where it is
    given: the same blocks with fewer rows."""
    kind = np.float32 if series.counts.sum() < EXACT else np.float64
    counts = series.counts.astype(kind)
    inside = chosen @ counts
    outside = counts.sum(axis=0) - inside
    return compare(series, inside if pool is None else chosen @ pool.astype(kind), outside)


def even(series: Series, blocks: int, seed: int) -> np.ndarray | None:
    """The blocks with about as many rows in each of the window's as in each of the baseline's first `blocks`,
    the larger ones thinned; None where they are alike. A small block is noisier than a large one, and would
    hardly count in a draw beside it."""
    now, before = series.split(blocks)
    sizes = [side.sum() / max(len(side), 1) for side in (before, now)]
    ratio = sizes[0] / max(sizes[1], 1)
    if 1 / UNEVEN <= ratio <= UNEVEN or not sizes[0]:
        return None
    if ratio > 1:
        before = thinned(before, 1 / ratio, seed)
    else:
        now = thinned(now, ratio, seed)
    return np.concatenate((before, now))


def compare(series: Series, inside: np.ndarray, outside: np.ndarray) -> Drawn:
    """float[draw, cell] rows inside and outside of each draw."""
    present, others = (side[:, :-1].sum(axis=1, keepdims=True) for side in (inside, outside))
    cells = inside[:, :-1] / np.maximum(present, 1) - outside[:, :-1] / np.maximum(others, 1)
    cells[(present[:, 0] < 0.5) | (others[:, 0] < 0.5)] = 0.0
    missing = [_share(side[:, -1], side.sum(axis=1)) for side in (inside, outside)]
    shares = {"missing": np.maximum(missing[0] - missing[1], 0.0)}
    if series.ordered:
        if series.far.any():
            shares["outliers"] = np.maximum(cells[:, series.far].sum(axis=1), 0.0)
        cells = np.cumsum(cells, axis=1)
    else:
        unknown = np.where(outside[:, :-1] < 0.5, inside[:, :-1], 0.0).sum(axis=1)
        shares["new"] = _share(unknown, present[:, 0])
        if series.chosen:  # the most frequent of many owe it to chance too: elsewhere the others have more
            cells[:, -1] = 0.0
    return Drawn(cells, shares)


def pooled(
    reference: Profile, window: Profile, length: int | None, columns: Collection[str] | None = None
) -> tuple[list[Series], int, int]:
    """(a series per column with the baseline's blocks first and the window's behind them, how many of
    either). Where either side has no blocks: one block each.

    The window's blocks are brought together into at most `length`: a week that starts at noon touches eight
    days. Columns that the two do not share, or that hold another type, are left out, and all but `columns`
    where they are given. Raises JobError for one that was not counted on the baseline's bins.
    """
    before, now = reference.blocks, window.blocks
    names = [
        name
        for name, column in reference.columns.items()
        if type(window.columns.get(name)) is type(column) and (columns is None or name in columns)
    ]
    groups = _grouped(now.rows, length) if now else []
    if before and now and groups and before.length == now.length and len(before.keys):
        pairs, blocks, size = _of_blocks(before, now, groups, names), len(before.keys), len(groups)
    else:
        edges = before.edges if before else Edges.of(reference)
        pairs, blocks, size = _of_profiles(reference, window, edges, names), 1, 1
    made = []
    for name, old, new, edges in pairs:
        column = reference.columns[name]
        far = np.zeros(0, bool) if edges is None else _far(column.quantiles, edges)
        counts = np.concatenate((old, new))
        made.append(Series(name, edges is not None, counts, far, chosen=_is_chosen(column, counts)))
    return made, blocks, size


def _is_chosen(column: Column, counts: np.ndarray) -> bool:
    """Whether a column has more categories than cells, which are one each, the others and the missing."""
    return not isinstance(column, NumberColumn) and len(column.counts.counts) > counts.shape[1] - 2


def beyond(name: str, before: Marked, now: Marked, length: int | None) -> Series:
    """A series of one figure: the share of some sampled rows that lie beyond something."""
    groups = _grouped(now[0].rows, length)
    sides = [_tallied(*before), *(_tallied(*now)[group].sum(axis=0, keepdims=True) for group in groups)]
    return Series(name, True, np.concatenate(sides), np.array([False, True]), only=("outliers",))


def _tallied(blocks: Blocks, keys: np.ndarray, is_beyond: np.ndarray) -> np.ndarray:
    """int64[block, 3]: rows within, rows beyond, none missing."""
    place = np.searchsorted(blocks.keys, keys)
    known = place < len(blocks.keys)
    known[known] = blocks.keys[place[known]] == keys[known]
    cells = place[known] * 3 + is_beyond[known]
    return np.bincount(cells, minlength=3 * len(blocks.keys)).reshape(-1, 3)


def fenced(edges: Edges, reference: Profile) -> Edges:
    """Edges with the far fences of every number among them: a baseline counted on these knows how the share
    of outliers differs from block to block."""
    numbers = {
        name: np.unique(np.concatenate((own, fences(reference.columns[name].quantiles))))
        for name, own in edges.numbers.items()
    }
    return Edges(numbers, edges.categories)


def fences(quantiles: Quantiles) -> np.ndarray:
    """(the greatest value under the low fence, the high fence): outliers are x <= low and x > high. Where the
    quartiles meet, the fences are the least and the greatest value seen."""
    if not quantiles.n:
        return np.zeros(0)
    low, high = (float(value) for value in quantiles.quantile(np.array([0.25, 0.75])))
    with np.errstate(over="ignore"):
        reach = FENCE * (high - low)
        bounds = (low - reach, high + reach) if reach > 0 else (quantiles.minimum, quantiles.maximum)
    found = np.array([np.nextafter(bounds[0], -np.inf), bounds[1]])
    return found[np.isfinite(found)]


def _far(quantiles: Quantiles, edges: np.ndarray) -> np.ndarray:
    """The bins beyond the fences; none where the edges do not have them."""
    marks, bins = fences(quantiles), np.arange(len(edges) + 1)
    if len(marks) < 2 or not np.isin(marks, edges).all():
        return np.zeros(len(bins), bool)
    return (bins <= np.searchsorted(edges, marks[0])) | (bins > np.searchsorted(edges, marks[1]))


def _of_blocks(before: Blocks, now: Blocks, groups: list[np.ndarray], names: list[str]) -> Iterator[Pair]:
    sides = [(blocks.counts, blocks.missing) for blocks in (before, now)]
    for name in names:
        edges = before.edges.numbers.get(name)
        same = (
            np.array_equal(edges, now.edges.numbers.get(name, []))
            if edges is not None
            else before.edges.categories.get(name) == now.edges.categories.get(name)
        )
        if name not in before.edges or not same:
            raise JobError(f"column `{name}` was counted on other bins than the baseline's: profile it again")
        old, new = (np.column_stack((counts[name], missing[name])) for counts, missing in sides)
        yield name, old, np.stack([new[group].sum(axis=0) for group in groups]), edges


def _of_profiles(reference: Profile, window: Profile, edges: Edges, names: list[str]) -> Iterator[Pair]:
    for name in names:
        old, new = (_one_block(side.columns[name], edges) for side in (reference, window))
        yield name, old, new, edges.numbers.get(name)


def _one_block(column: Column, edges: Edges) -> np.ndarray:
    """int64[1, cell]."""
    name = column.field.name
    if isinstance(column, NumberColumn):
        counts = column.histogram(edges.numbers[name])
    else:
        counts = column.counts.of(list(edges.categories[name]))
        counts = np.append(counts, column.n - counts.sum())
    return np.append(counts, column.rows - column.n)[None]


def _grouped(rows: np.ndarray, length: int | None) -> list[np.ndarray]:
    """Places of the window's blocks, brought together into at most `length` groups of about the same size."""
    places = np.flatnonzero(rows)
    if not length or len(places) <= length:
        return [np.array([place]) for place in places]
    if len(places) == length + 1:  # the first and the last are parts of a block
        return [places[[0, -1]], *(np.array([place]) for place in places[1:-1])]
    middle = np.cumsum(rows[places]) - rows[places] / 2
    group = np.minimum((middle * length / rows.sum()).astype(int), length - 1)
    return [places[group == index] for index in range(length) if (group == index).any()]


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.maximum(whole, 1)


def thinned(counts: np.ndarray, share: float, seed: int) -> np.ndarray:
    """int64[block, cell] with `share` of every block's rows, drawn without replacement, cell by cell."""
    rng = np.random.default_rng(seed)
    kept = counts.copy()
    rest = kept.sum(axis=1)
    wanted = np.rint(rest * share).astype(np.int64)
    for cell in range(kept.shape[1]):
        own = counts[:, cell]
        rest = rest - own
        kept[:, cell] = rng.hypergeometric(own, rest, wanted)
        wanted = wanted - kept[:, cell]
    return kept
