"""The mean loss of each block of a model's life: the state that the detector and the trend are computed from.

State is the blocks, not the detector's sums: everything is computed anew from a few hundred numbers, so that
a window analysed twice, or after a later one, overwrites what it said and changes nothing else.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from jobs.contract import JobError, format_time, parse_time

KEPT_BLOCKS = 800  # two years of days: a season can be compared with the one before
MICROSECONDS = 1_000_000


@dataclass
class Block:
    """`own`: labelled rows and sum of losses as of the last window that held the whole block; `late`: the
    same by the window in which they came after that; `baseline`: whose losses these are."""

    baseline: str
    own: tuple[int, float] = (0, 0.0)
    late: dict[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return self.own[0] + sum(rows for rows, _ in self.late.values())

    @property
    def total(self) -> float:
        return self.own[1] + sum(total for _, total in self.late.values())


@dataclass(frozen=True)
class Series:
    """Blocks in order of time: start (int64 microseconds), mean loss, labelled rows."""

    starts: np.ndarray
    means: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)


class History:
    """`blocks` by start, in microseconds; all are `seconds` long."""

    def __init__(self, seconds: int, blocks: dict[int, Block] | None = None):
        self.seconds = seconds
        self.blocks = blocks or {}

    def add(
        self,
        window: tuple[int, int],
        baseline: str,
        own: tuple[np.ndarray, np.ndarray],
        late: tuple[np.ndarray, np.ndarray],
    ) -> None:
        """The labelled rows of a window [start, end) microseconds and those that came late, each as times
        and losses. Blocks are counted back from the window's end, so that all are whole where the window is
        a whole number of them; a part of one at its start counts only where the window has no whole one."""
        start, end = window
        key = f"{start}_{end}"
        length = self.seconds * MICROSECONDS
        for block in self.blocks.values():
            block.late.pop(key, None)
        for first, rows, total in _sums(*own, end, length):
            if first < start and end - start >= length:
                continue
            self.blocks[max(first, start)] = Block(baseline, (rows, total))
        for first, rows, total in self._placed(*late, end, length):
            self.blocks.setdefault(first, Block(baseline)).late[key] = (rows, total)
        for first in sorted(self.blocks)[:-KEPT_BLOCKS]:
            del self.blocks[first]

    def series(self, baseline: str | None, min_rows: int) -> Series:
        """Blocks of one baseline (None: of all); those with fewer labelled rows are joined with the next."""
        starts, means, sizes = [], [], []
        first, rows, total = None, 0, 0.0
        for start in sorted(self.blocks):
            block = self.blocks[start]
            if baseline not in (None, block.baseline):
                continue
            first = start if first is None else first
            rows, total = rows + block.rows, total + block.total
            if rows >= max(min_rows, 1):
                starts.append(first)
                means.append(total / rows)
                sizes.append(rows)
                first, rows, total = None, 0, 0.0
        return Series(np.array(starts, np.int64), np.array(means, float), np.array(sizes, np.int64))

    def as_dict(self) -> dict[str, Any]:
        return {
            "block_seconds": self.seconds,
            "blocks": {
                format_time(datetime.fromtimestamp(start / MICROSECONDS, UTC)): {
                    "baseline": block.baseline,
                    "own": [block.own[0], round(block.own[1], 9)],
                    "late": {key: [rows, round(total, 9)] for key, (rows, total) in block.late.items()},
                }
                for start, block in sorted(self.blocks.items())
            },
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any] | None, seconds: int) -> History:
        """What `as_dict` gave; an empty history for None and for blocks of another length. Raises JobError
        for what it did not give."""
        if not content:
            return cls(seconds)
        try:
            if content["block_seconds"] != seconds:
                return cls(seconds)
            blocks = {
                round(parse_time(start).timestamp() * MICROSECONDS): Block(
                    entry["baseline"],
                    (int(entry["own"][0]), float(entry["own"][1])),
                    {key: (int(rows), float(total)) for key, (rows, total) in entry["late"].items()},
                )
                for start, entry in content["blocks"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise JobError(f"the state before this window is not as it was written: {error}") from None
        return cls(seconds, blocks)

    def _placed(
        self, times: np.ndarray, losses: np.ndarray, end: int, length: int
    ) -> list[tuple[int, int, float]]:
        """Sums of late rows in the blocks that hold them already, or on the grid that ends at `end`."""
        known = sorted(self.blocks)
        sums: dict[int, tuple[int, float]] = {}
        for first, rows, total in _sums(times, losses, end, length):
            place = bisect_right(known, first + length // 2) - 1
            if place >= 0 and known[place] + length > first + length // 2:
                first = known[place]
            before = sums.get(first, (0, 0.0))
            sums[first] = (before[0] + rows, before[1] + total)
        return [(first, rows, total) for first, (rows, total) in sums.items()]


def _sums(times: np.ndarray, losses: np.ndarray, end: int, length: int) -> list[tuple[int, int, float]]:
    """(start, rows, sum of losses) of each block of the grid that has a block end at `end`."""
    if not len(times):
        return []
    back = (end - 1 - times) // length
    numbers, place = np.unique(back, return_inverse=True)
    rows, totals = np.bincount(place), np.bincount(place, losses)
    return [
        (end - (int(number) + 1) * length, int(count), float(total))
        for number, count, total in zip(numbers, rows, totals, strict=True)
    ]
