"""The drift verdict on real years: false alarms and power beside other rules on the same windows; equal
scores beside Evidently's and scipy's; the time of a decision.

Windows without drift are days drawn by chance out of a year: some for the baseline, others for the window;
or stretches of days that follow one another, as a service meets them. For power the window's rows are
changed.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.monitor import distances
from jobs.monitor.calibrate import RATE, calibrate
from jobs.monitor.columns import NumberColumn, StringColumn
from jobs.monitor.profile import profile
from jobs.monitor.schema import Schema
from tests.bench import data, environments
from tests.bench.drift_years import Year, decide, drifted, peers, profiles

REPEATS = 1000
OF_A_DAY = 2  # times as many: their tail is extrapolated, and a year has no more than 365
CHANGED = 60
SEED = int(os.environ.get("BENCH_SEED", "101"))
SCORES = Path(__file__).parent / "peers" / "drift_scores.py"
WINDOWS = ((90, 1, 0), (90, 7, 0), (90, 30, 0), (90, 7, 300), (30, 1, 0), (30, 7, 0), (14, 1, 0), (14, 7, 0))
STRETCHES = ((12, 7), (40, 7), (30, 3))
Draw = Callable[[np.random.Generator], tuple[pa.Table, pa.Table]]
Change = Callable[[pa.Table, np.random.Generator], pa.Table]


def some(share: float, column: str, value: str | float | None) -> Change:
    """`share` of the rows get a value, or lose theirs."""

    def change(table: pa.Table, rng: np.random.Generator) -> pa.Table:
        kind = table[column].type
        hit = pa.array(rng.random(table.num_rows) < share)
        changed = pc.if_else(hit, pa.scalar(value, kind), table[column])
        return table.set_column(table.column_names.index(column), column, changed)

    return change


def moved(column: str, sd: float) -> Change:
    """Every row moves by so many standard deviations."""

    def change(table: pa.Table, rng: np.random.Generator) -> pa.Table:
        by = sd * pc.stddev(table[column]).as_py()
        changed = pc.add(table[column].cast(pa.float64()), by)
        return table.set_column(table.column_names.index(column), column, changed)

    return change


POWER: dict[str, dict[str, tuple[str, Change]]] = {
    "flights": {
        "carrier mix +5 % (UA)": ("carrier", some(0.05, "carrier", "UA")),
        "carrier mix +5 % (AS)": ("carrier", some(0.05, "carrier", "AS")),
        "carrier mix +2 % (AS)": ("carrier", some(0.02, "carrier", "AS")),
        "distance +0.1 sd": ("distance", moved("distance", 0.1)),
        "5 % of temp missing": ("temp", some(0.05, "temp", None)),
        "5 % of carrier missing": ("carrier", some(0.05, "carrier", None)),
        "2 % of dest new": ("dest", some(0.02, "dest", "ZZZ")),
        "1 % of distance absurd": ("distance", some(0.01, "distance", 1e6)),
    },
    "stops": {
        "neighborhood +5 %": ("neighborhood", some(0.05, "neighborhood", "Kenwood")),
        "lat +0.1 sd": ("lat", moved("lat", 0.1)),
        "5 % of lat missing": ("lat", some(0.05, "lat", None)),
    },
}


def run() -> None:
    false_alarms()
    power()
    scores()
    decision()


def false_alarms(repeats: int = REPEATS) -> None:
    """`repeats` windows a row, `OF_A_DAY` times as many of single days. Alarms share days or weeks: the
    standard error says how well the share among all draws from this year is known, not among all years."""
    print(f"False alarms at a stated {RATE:.0%}")
    print(
        "data     baseline  window    rows   windows   ours   error  Evidently  PSI>0.1  Robust 0.1  method"
    )
    for name in POWER:
        year = Year.of(name)
        for baseline, window, rows in WINDOWS:
            what = f"{baseline:4} days {window:4} days {rows or 'all':>6}"
            count = repeats * OF_A_DAY if window == 1 else repeats
            _alarms(name, year, what, window, count, partial(_days, year, baseline, window, rows))
        for stretches, window in STRETCHES:
            what = f"{stretches:4} x {window:<2} {window:4} in a row  all"
            draw = partial(_stretches, year, stretches, window)
            _alarms(name, year, what, window, repeats, draw)


def _alarms(name: str, year: Year, what: str, window: int, repeats: int, draw: Draw) -> None:
    rng = np.random.default_rng(SEED)
    ours, theirs, method = 0, dict.fromkeys(("evidently", "psi", "robust"), 0), ""
    for _ in range(repeats):
        pair = profiles(year.schema, *draw(rng))
        found = calibrate(*pair, length=window)
        ours, method = ours + bool(drifted(found)), found.method
        theirs = {rule: theirs[rule] + alarm for rule, alarm in peers(*pair).items()}
    shares = "  ".join(f"{count / repeats:9.3f}" for count in theirs.values())
    share = ours / repeats
    error = math.sqrt(share * (1 - share) / repeats)
    print(f"{name:8} {what}  {repeats:8}  {share:5.3f}  {error:5.4f}  {shares}   {method}", flush=True)


def _days(
    year: Year, baseline: int, window: int, rows: int, rng: np.random.Generator
) -> tuple[pa.Table, pa.Table]:
    return year.draw(baseline, window, rng, rows)


def _stretches(
    year: Year, stretches: int, window: int, rng: np.random.Generator
) -> tuple[pa.Table, pa.Table]:
    return year.draw_stretches(window, stretches, rng)


def power(repeats: int = CHANGED) -> None:
    print(f"\nPower at a stated {RATE:.0%}: share of {repeats} changed windows in which the column is named")
    print(
        "data     change                      90 days, 7   30 days, 7   12 weeks, 1   90 days, 1   "
        "Evidently  Robust 0.1"
    )
    for name, changes in POWER.items():
        year = Year.of(name)
        draws = (
            (7, partial(_days, year, 90, 7, 0)),
            (7, partial(_days, year, 30, 7, 0)),
            (7, partial(_stretches, year, 12, 7)),
            (1, partial(_days, year, 90, 1, 0)),
        )
        for what, (column, change) in changes.items():
            cells, theirs = [], {"evidently": 0, "robust": 0}
            for place, (window, draw) in enumerate(draws):
                rng = np.random.default_rng(SEED)
                found = 0
                for _ in range(repeats):
                    before, now = draw(rng)
                    pair = profiles(year.schema, before, change(now, rng))
                    found += column in drifted(calibrate(*pair, length=window))
                    if not place:
                        alarms = peers(*pair)
                        theirs = {rule: theirs[rule] + alarms[rule] for rule in theirs}
                cells.append(found / repeats)
            shown = "   ".join(f"{cell:10.2f}" for cell in cells)
            beside = "   ".join(f"{count / repeats:9.2f}" for count in theirs.values())
            print(f"{name:8} {what:26} {shown}   {beside}", flush=True)


def scores() -> None:
    """Every definition that agrees with a peer's, on a million rows."""
    first, second = data.files(2)
    tables = [pq.read_table(path) for path in (first, second)]
    theirs = environments.run("evidently", SCORES.read_text(), first, second)
    schema = Schema.infer(tables[0].schema, time="time")
    before, now = (profile(table, schema, block=None).columns for table in tables)
    worst: dict[str, tuple[float, str]] = {}
    for name, their in theirs.items():
        for key, value in _ours(before[name], now[name]).items():
            if key in their:
                gap = abs(value - their[key])
                worst[key] = max(worst.get(key, (0.0, "")), (gap, name))
    print("\nLargest difference of a score from Evidently's (ks: scipy's), 20 columns of a million rows")
    for key, (gap, name) in worst.items():
        print(f"{key:18} {gap:.5f}  ({name})   bound 0.003: {'kept' if gap <= 0.003 else 'MISSED'}")


def _ours(before: NumberColumn | StringColumn, now: NumberColumn | StringColumn) -> dict[str, float]:
    """In the peers' cells. Evidently fills empty cells with 0.0001 only where no cell is that rare: there,
    and only there, do logarithms of shares agree. Its Hellinger of numbers has other cells than its PSI."""
    made: dict[str, float] = {}
    if isinstance(before, NumberColumn):
        few = before.distinct.estimate() <= distances.FEW_VALUES
        cells = (distances.value_cells if few else distances.equal_cells)(before.quantiles, now.quantiles)
        made["ks"] = distances.ks(before.quantiles, now.quantiles)
        made["wasserstein"] = distances.wasserstein(before.quantiles, now.quantiles, before.std)
    else:
        cells = distances.category_cells(before.counts, now.counts)
        made["hellinger"] = distances.hellinger(*cells)
    made["jensen_shannon"] = distances.jensen_shannon(*cells)
    if min(side[side > 0].min() / side.sum() for side in cells) > distances.EMPTY:
        made["psi"] = distances.psi(*cells)
        made["kullback_leibler"] = distances.kullback_leibler(*cells)
    return {key: value for key, value in made.items() if not math.isnan(value)}


def decision() -> None:
    """Milliseconds from two profiles, and from two tables, to a verdict on 13 columns."""
    year = Year.of("flights")
    before, now = year.draw(90, 7, np.random.default_rng(SEED))
    pair = profiles(year.schema, before, now)
    print("\nTime of a decision, 13 columns, 90 days against 7 (median of 9)")
    for what, act in (
        ("from profiles", lambda: calibrate(*pair, length=7)),
        ("from tables", lambda: decide(year.schema, before, now, 7)),
    ):
        taken = []
        for _ in range(9):
            start = time.perf_counter()
            act()
            taken.append(time.perf_counter() - start)
        print(f"{what:16} {1000 * statistics.median(taken):6.0f} ms")
