"""Windows against blocks: the stated rate holds, shifts are found, and little data is admitted."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from jobs.monitor import ranks, series, tails
from jobs.monitor.calibrate import Calibration, calibrate
from jobs.monitor.profile import Edges, Profile, profile
from jobs.monitor.schema import Field, Schema

DAY = 86_400_000_000
SCHEMA = Schema(
    {"x": Field("x", "number"), "mood": Field("mood", "number"), "kind": Field("kind", "string")}, time="at"
)


def days(count: int, rng: np.random.Generator, first: int = 0, rows: int = 200, **change: float) -> pa.Table:
    """Rows of one day share a mood. `change`: `x` a shift in standard deviations, `rare` a share of rows that
    become `c`, `new` a share that becomes a category of its own, `gaps` a share without `x`, `far` a share
    with an absurd `x`."""
    day = np.repeat(np.arange(first, first + count), rows)
    x = rng.normal(size=len(day)) + change.get("x", 0.0)
    kind = rng.choice(["a", "b", "c"], len(day), p=[0.7, 0.29, 0.01]).astype(object)
    kind[rng.random(len(day)) < change.get("rare", 0.0)] = "c"
    kind[rng.random(len(day)) < change.get("new", 0.0)] = "new"
    x[rng.random(len(day)) < change.get("far", 0.0)] = 1e6
    gaps = rng.random(len(day)) < 0.02 + change.get("gaps", 0.0)
    return pa.table(
        {
            "at": pa.array(day * DAY + rng.integers(0, DAY, len(day)), pa.timestamp("us", "UTC")),
            "x": pa.array(x, mask=gaps),
            "mood": pa.array(rng.normal(size=count)[day - first] + 0.3 * rng.normal(size=len(day))),
            "kind": pa.array(kind.tolist(), pa.string()),
        }
    )


def verdict(before: pa.Table, now: pa.Table, schema: Schema = SCHEMA, **settings: object) -> Calibration:
    made = profile(before, schema, block=None)
    edges = series.fenced(Edges.of(made), made)
    return calibrate(profile(before, schema, edges=edges), profile(now, schema, edges=edges), **settings)


def drifted(found: Calibration) -> set[str]:
    return {
        f"{name} {part}"
        for name, parts in found.shifts.items()
        for part, shift in parts.items()
        if shift.drifted
    }


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"x": 0.2}, {"x distribution"}),
        ({"rare": 0.03}, {"kind distribution"}),
        ({"new": 0.03}, {"kind new", "kind distribution"}),
        ({"gaps": 0.05}, {"x missing"}),
        ({"far": 0.02}, {"x outliers", "x distribution"}),
    ],
)
def test_a_shift_is_found_where_it_is(change: dict[str, float], found: set[str]) -> None:
    rng = np.random.default_rng(4)
    result = verdict(days(40, rng), days(7, rng, first=40, **change))
    assert result.method == "blocks"
    assert drifted(result) and drifted(result) <= found
    for parts in result.shifts.values():
        for shift in parts.values():
            assert shift.drifted == (shift.effect >= shift.threshold and shift.p <= 0.01)


def test_the_stated_rate_holds_though_rows_of_a_day_are_alike() -> None:
    """The moods of seven days differ from those of forty by far more than rows would: an alarm at each
    window for a test of rows."""
    rng = np.random.default_rng(5)
    alarms = sum(bool(drifted(verdict(days(40, rng), days(7, rng, first=40), rate=0.1))) for _ in range(60))
    assert alarms <= 12  # 6 expected; more than 12 once in a hundred


@pytest.mark.parametrize("blocked", [True, False])
@pytest.mark.parametrize("categories", [10**9, 600])
def test_more_categories_than_bins_are_no_drift(blocked: bool, categories: int) -> None:
    """References that never come again, or 600 postcodes alike: the most frequent of the baseline are so by
    chance, and the window has fewer rows of them."""

    def rows(first: int, count: int, usual: float = 0.0) -> pa.Table:
        made = days(count, rng, first)
        kind = rng.integers(0, categories, len(made)).astype(str).astype(object)
        kind[rng.random(len(made)) < usual] = "usual"
        return made.set_column(3, "kind", pa.array(kind.tolist()))

    rng = np.random.default_rng(18)
    schema = SCHEMA if blocked else Schema(SCHEMA.fields)
    columns = {"length": 7, "columns": ["kind"]}
    calm = [verdict(rows(0, 40), rows(40, 7), schema, **columns) for _ in range(6)]
    assert not any(drifted(result) for result in calm)
    assert drifted(verdict(rows(0, 40, 0.3), rows(40, 7, 0.4), schema, **columns)) == {"kind distribution"}


@pytest.mark.parametrize("rows", [20, 2000])
def test_a_window_with_less_or_more_traffic_than_the_baseline_is_judged_alike(rows: int) -> None:
    rng = np.random.default_rng(6)
    calm = [verdict(days(30, rng), days(7, rng, first=30, rows=rows)) for _ in range(10)]
    assert sum(bool(drifted(result)) for result in calm) <= 1
    loud = verdict(days(30, rng), days(7, rng, first=30, rows=rows, x=1.5))
    assert "x distribution" in drifted(loud)


def test_one_day_is_judged_by_the_tail_of_the_days_before() -> None:
    rng = np.random.default_rng(7)
    result = verdict(days(60, rng), days(1, rng, first=60, x=1.0))
    assert result.method == "tail" and "60 blocks" in result.note
    assert drifted(result) == {"x distribution"}
    calm = [verdict(days(60, rng), days(1, rng, first=60)) for _ in range(30)]
    assert sum(bool(drifted(result)) for result in calm) <= 2


@pytest.mark.parametrize("blocks", [14, 17, 30])
def test_what_is_predicted_of_few_values_is_no_rarer_than_stated(blocks: int) -> None:
    """Where the tail begins is estimated from the same values: it counts among what they are spent on."""
    values = np.random.default_rng(1).exponential(size=(6000, blocks + 1))
    over = np.mean([one[-1] > tails.predicted(one[:-1], 0.03) for one in values])
    assert 0.01 < over <= 0.03


@pytest.mark.parametrize("length", [1, 7])
def test_days_without_any_variation_do_not_make_chance_drift(length: int) -> None:
    """Exactly every fifth row of the baseline is empty; the window's rows are so by chance, as often."""
    rng = np.random.default_rng(17)
    every = days(40, rng, rows=100)
    before = every.set_column(
        1, "x", pa.array(rng.normal(size=len(every)), mask=np.arange(len(every)) % 5 == 0)
    )

    def alarms(more: float) -> int:
        windows = [days(length, rng, first=40, rows=100, gaps=0.18 + more) for _ in range(40)]
        return sum("x missing" in drifted(verdict(before, window)) for window in windows)

    assert alarms(0.0) <= 2
    assert alarms(0.3) >= 39


def test_too_few_days_are_admitted_and_not_judged() -> None:
    rng = np.random.default_rng(8)
    result = verdict(days(4, rng), days(1, rng, first=4, x=3.0))
    assert (result.method, drifted(result)) == ("few", set())
    assert "4 blocks are too few" in result.summary()["note"]
    assert result.shifts["x"]["distribution"].effect > 0.5


def test_without_times_rows_are_compared_and_the_note_says_so() -> None:
    rng = np.random.default_rng(9)
    schema = Schema(SCHEMA.fields)
    result = verdict(days(5, rng), days(5, rng, x=0.3), schema)
    assert result.method == "rows" and "independent" in result.note
    assert "x distribution" in drifted(result)
    flat = Schema({name: SCHEMA.fields[name] for name in ("x", "kind")})
    calm = [verdict(days(5, rng), days(5, rng), flat) for _ in range(20)]
    assert sum(bool(drifted(result)) for result in calm) <= 2


def test_seasonal_columns_are_measured_and_do_not_drift() -> None:
    rng = np.random.default_rng(10)
    result = verdict(days(40, rng), days(7, rng, first=40, x=2.0), unwatched=["x"])
    assert drifted(result) == set()
    assert result.shifts["x"]["distribution"].p <= 0.01


def test_a_floor_keeps_small_shifts_from_being_called_drift() -> None:
    rng = np.random.default_rng(11)
    before, now = days(40, rng), days(7, rng, first=40, x=0.4)
    shift = verdict(before, now, floors={"distribution": 0.2}).shifts["x"]["distribution"]
    assert shift.p <= 0.01 and not shift.drifted and shift.threshold == 0.2


@pytest.mark.parametrize(("share", "is_drift"), [(0.006, False), (0.02, True)])
def test_a_few_rows_of_a_new_category_do_not_matter(share: float, is_drift: bool) -> None:
    """A route that is flown in summer only is six in a thousand: new, and no reason to tell."""
    rng = np.random.default_rng(18)
    before, now = days(40, rng), days(7, rng, first=40, rows=2000, new=share)
    shift = verdict(before, now).shifts["kind"]["new"]
    assert shift.p <= 0.01 and shift.drifted == is_drift


def test_neighbouring_days_that_are_alike_lower_the_alarm() -> None:
    """A slow wave: a week of it is far from the whole, as every week is."""
    rng = np.random.default_rng(12)

    def wave(first: int, count: int) -> pa.Table:
        table = days(count, rng, first=first)
        day = table["at"].cast(pa.int64()).to_numpy() // DAY
        return table.set_column(2, "mood", pa.array(np.sin(day / 9) + 0.3 * rng.normal(size=len(day))))

    result = verdict(wave(0, 90), wave(90, 7))
    assert not result.shifts["mood"]["distribution"].drifted


def test_shards_in_any_order_give_the_same_verdict() -> None:
    rng = np.random.default_rng(13)
    before, now = days(30, rng), days(7, rng, first=30, x=0.1)
    made = profile(before, SCHEMA, block=None)
    edges = series.fenced(Edges.of(made), made)
    reference = profile(before, SCHEMA, edges=edges)

    def merged(order: list[int]) -> Profile:
        shards = [profile(now.slice(start, 100), SCHEMA, edges=edges) for start in range(0, 1400, 100)]
        whole = shards[order[0]]
        for index in order[1:]:
            whole = whole.merge(shards[index])
        return whole

    results = [calibrate(reference, merged(list(rng.permutation(14)))) for _ in range(2)]
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "table",
    [
        days(1, np.random.default_rng(0)).slice(0, 0),
        days(1, np.random.default_rng(0)).slice(0, 1),
        days(1, np.random.default_rng(0), gaps=1.0),
        days(1, np.random.default_rng(0)).drop_columns(["x", "kind"]),
    ],
    ids=["empty", "one row", "all missing", "columns missing"],
)
@pytest.mark.parametrize("count", [1, 4, 12, 60])
def test_bad_windows_have_a_verdict(table: pa.Table, count: int) -> None:
    result = verdict(days(count, np.random.default_rng(1)), table)
    assert 0 <= result.p <= 1
    assert result.summary()["false_alarm_rate"] == 0.01


def test_a_baseline_without_values_has_a_verdict() -> None:
    empty = days(30, np.random.default_rng(1), gaps=1.0)
    assert 0 <= verdict(empty, days(7, np.random.default_rng(2), first=30)).p <= 1


def test_infinities_and_constants_have_a_verdict() -> None:
    rng = np.random.default_rng(3)
    before, now = days(30, rng), days(7, rng, first=30)
    constant = before.set_column(1, "x", pa.array(np.full(len(before), 3.0)))
    infinite = now.set_column(1, "x", pa.array(np.where(np.arange(len(now)) % 2, np.inf, -np.inf)))
    found = verdict(constant, infinite)
    assert found.shifts["x"]["distribution"].drifted


@pytest.mark.parametrize(("keys", "length", "sizes"), [(8, 7, 7), (30, 7, 7), (3, 7, 3), (2, 1, 1)])
def test_a_window_is_brought_to_its_length(keys: int, length: int, sizes: int) -> None:
    rng = np.random.default_rng(14)
    result = verdict(days(40, rng), days(keys, rng, first=40), length=length)
    assert result.length == sizes


def test_choices_hold_the_window_first_and_every_other_way_once() -> None:
    few = ranks.choices(5, 2, 100)
    assert few[0].tolist() == [0, 0, 0, 1, 1]
    assert len(np.unique(few, axis=0)) == len(few) == 10
    many = ranks.choices(60, 7, 100)
    assert many.shape == (100, 60) and (many.sum(axis=1) == 7).all()


def test_hours_are_blocks_too() -> None:
    rng = np.random.default_rng(15)
    edges = Edges.of(profile(days(5, rng), SCHEMA, block=None))
    hour = timedelta(hours=1)
    reference = profile(days(5, rng), SCHEMA, edges=edges, block=hour)
    window = profile(days(1, rng, first=5), SCHEMA, edges=edges, block=hour)
    assert calibrate(reference, window).blocks > 100


def test_part_of_a_block_is_not_judged_by_whole_ones() -> None:
    rng = np.random.default_rng(16)
    result = verdict(days(40, rng), days(1, rng, first=40, x=3.0), length=0)
    assert (result.method, drifted(result)) == ("short", set())
    assert "shorter than the baseline's blocks" in result.note
