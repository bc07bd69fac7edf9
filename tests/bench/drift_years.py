"""Windows drawn from real years, from tables to a verdict, and the rules of peers on the same windows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa

from jobs.monitor import distances
from jobs.monitor.calibrate import RATE, Calibration, calibrate
from jobs.monitor.profile import Edges, Profile, profile
from jobs.monitor.schema import Schema
from jobs.monitor.series import fenced
from tests.bench.real import load

DAY = timedelta(days=1)
LEAST_ROWS = 50  # of a day that counts


@dataclass(frozen=True)
class Year:
    """A data set in days: `first[d]` to `first[d + 1]` are the rows of day d."""

    table: pa.Table
    schema: Schema
    first: np.ndarray

    @classmethod
    def of(cls, name: str) -> Year:
        table, schema = load(name)
        days = table["time"].cast(pa.int64()).to_numpy() // int(DAY.total_seconds() * 1e6)
        return cls(table, schema, np.searchsorted(days, np.arange(days[0], days[-1] + 2)))

    def take(self, days: np.ndarray) -> pa.Table:
        rows = np.concatenate([np.arange(self.first[day], self.first[day + 1]) for day in days])
        return self.table.take(pa.array(rows))

    def draw(
        self, baseline: int, window: int, rng: np.random.Generator, rows: int = 0
    ) -> tuple[pa.Table, pa.Table]:
        """Days by chance, some for the baseline, others for the window; `rows` of the window's, by chance."""
        usable = np.flatnonzero(np.diff(self.first) > LEAST_ROWS)
        picked = rng.permutation(usable)[: baseline + window]
        before, now = self.take(np.sort(picked[:baseline])), self.take(np.sort(picked[baseline:]))
        if rows and rows < now.num_rows:
            now = now.take(pa.array(np.sort(rng.permutation(now.num_rows)[:rows])))
        return before, now

    def draw_stretches(
        self, length: int, baseline: int, rng: np.random.Generator
    ) -> tuple[pa.Table, pa.Table]:
        """Stretches of `length` days that follow one another: `baseline` of them by chance, and one more."""
        days = len(self.first) - 2
        first = int(rng.integers(0, days % length + 1))
        picked = rng.permutation(days // length)[: baseline + 1]
        stretches = [np.arange(length) + first + length * place for place in picked]
        return self.take(np.sort(np.concatenate(stretches[:-1]))), self.take(stretches[-1])


def profiles(schema: Schema, before: pa.Table, now: pa.Table) -> tuple[Profile, Profile]:
    made = profile(before, schema, block=None)
    edges = fenced(Edges.of(made), made)
    return profile(before, schema, edges, DAY), profile(now, schema, edges, DAY)


def drifted(found: Calibration) -> set[str]:
    """Columns."""
    return {name for name, parts in found.shifts.items() if any(shift.drifted for shift in parts.values())}


def decide(schema: Schema, before: pa.Table, now: pa.Table, length: int, rate: float = RATE) -> Calibration:
    return calibrate(*profiles(schema, before, now), rate, length=length)


def peers(reference: Profile, window: Profile) -> dict[str, bool]:
    """Whether any column alarms by the defaults of others, on the same profiles. Evidently's: the Wasserstein
    distance of numbers, Jensen-Shannon of text, over 0.1. The scores are its own: see `drift_scores`."""
    alarms = dict.fromkeys(("evidently", "psi", "robust"), False)
    for name, before in reference.columns.items():
        now = window.columns[name]
        apart = distances.between(before, now)
        if not apart:
            continue
        alarms["evidently"] |= apart.get("wasserstein", apart["jensen_shannon"]) > 0.1
        alarms["psi"] |= apart["psi"] > 0.1
        alarms["robust"] |= distances.robust(apart["linf"], before.n, now.n) > 0.1
    return alarms
