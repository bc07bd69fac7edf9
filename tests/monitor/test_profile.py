"""Profiles: right on what they count, the same for shards in any order, and calm about bad input."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from functools import reduce
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.contract import JobError
from jobs.monitor.profile import Edges, Profile, profile
from jobs.monitor.schema import Field, Schema

DAY = 86_400_000_000
FIRST = 20_000  # days since 1970


def schema(**more) -> Schema:
    fields = [
        Field("size", "number", minimum=-3, maximum=3),
        Field("count", "integer"),
        Field("place", "string", values=("a", "b")),
        Field("open", "boolean"),
    ]
    return Schema({field.name: field for field in fields}, time="at", **more)


def table(rows: int, seed: int = 0, days: int = 5, **columns) -> pa.Table:
    rng = np.random.default_rng(seed)
    content = {
        "size": pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.1),
        "count": pa.array(rng.poisson(4, rows)),
        "place": pa.array(rng.choice(["a", "b", "c", None], rows).tolist(), pa.string()),
        "open": pa.array((rng.random(rows) < 0.3).tolist(), mask=rng.random(rows) < 0.2),
        "at": pa.array(FIRST * DAY + rng.integers(0, days * DAY, rows), pa.timestamp("us", "UTC")),
    }
    return pa.table(content | columns)


def test_counts_what_the_table_holds():
    data = table(8_000)
    made = profile(data, schema())
    size, count, place, open_ = (made.columns[name] for name in ("size", "count", "place", "open"))
    values = np.array([value for value in data["size"].to_pylist() if value is not None])
    assert made.rows == 8_000
    assert (size.rows, size.missing, size.n) == (8_000, data["size"].null_count, len(values))
    assert size.mean == pytest.approx(values.mean())
    assert size.std == pytest.approx(values.std())
    assert size.sum == pytest.approx(values.sum())
    assert (size.min, size.max) == (values.min(), values.max())
    assert (size.below, size.above) == ((values < -3).sum(), (values > 3).sum())
    assert size.distinct.estimate() == pytest.approx(len(values), rel=0.07)
    assert count.distinct.estimate() == len(pc.unique(data["count"]))
    edges = np.array([-1.0, 0.0, 0.5])
    assert (
        size.histogram(edges).tolist()
        == np.diff(np.searchsorted(np.sort(values), edges, "right"), prepend=0, append=len(values)).tolist()
    )
    assert place.counts.as_dict() == {
        value: data["place"].to_pylist().count(value) for value in place.counts.values.to_pylist()
    }
    assert place.missing == data["place"].null_count
    assert set(open_.counts.as_dict()) == {"true", "false"}
    assert made.span == (pc.min(data["at"]).value, pc.max(data["at"]).value)


def test_a_block_is_a_day_on_the_given_edges():
    data = table(5_000)
    made = profile(data, schema())
    blocks, edges = made.blocks, made.blocks.edges
    days = data["at"].cast(pa.int64()).to_numpy() // DAY
    assert blocks.keys.tolist() == sorted(set(days.tolist()))
    assert blocks.rows.tolist() == np.bincount(days - FIRST).tolist()
    for index, day in enumerate(blocks.keys):
        part = data.filter(pa.array(days == day))
        sizes = part["size"].drop_null().to_numpy()
        assert blocks.missing["size"][index] == part["size"].null_count
        assert (
            blocks.counts["size"][index].cumsum()[:-1]
            == np.searchsorted(np.sort(sizes), edges.numbers["size"], "right")
        ).all()
        texts = part["place"].to_pylist()
        assert blocks.counts["place"][index].tolist() == [
            *(texts.count(name) for name in edges.categories["place"]),
            0,
        ]
    assert (blocks.total("size").sum(), blocks.outside) == (5_000 - data["size"].null_count, 0)


def test_blocks_are_the_same_whether_rows_are_in_order_or_not():
    data = table(40_000, days=9)
    edges = profile(data, schema()).blocks.edges
    one = profile(data.sort_by("at"), schema(), edges)
    other = profile(data, schema(), edges)
    for name in edges:
        assert (one.blocks.counts[name] == other.blocks.counts[name]).all()
        assert (one.blocks.missing[name] == other.blocks.missing[name]).all()
    assert one.duplicates.pack()[1].tolist() == other.duplicates.pack()[1].tolist()


def test_a_window_of_other_values_falls_into_the_outer_bins():
    edges = profile(table(1000), schema()).blocks.edges
    far = table(100, size=pa.array([1e9, -np.inf] * 50), place=pa.array(["elsewhere"] * 100))
    made = profile(far, schema(), edges)
    assert made.blocks.total("size")[[0, -1]].tolist() == [50, 50]
    assert made.blocks.total("place").tolist()[-1] == 100
    assert (made.columns["size"].infinite, made.columns["size"].above) == (50, 50)


def same(one: Profile, other: Profile) -> None:
    """What verdicts are made of is equal to the last row; sums of floats up to rounding."""
    assert (one.rows, one.span, one.extra) == (other.rows, other.span, other.extra)
    assert one.blocks.keys.tolist() == other.blocks.keys.tolist()
    assert one.duplicates.repeated() == other.duplicates.repeated()
    for name, column in one.columns.items():
        twin = other.columns[name]
        assert all(getattr(column, tally) == getattr(twin, tally) for tally in column._tallies)
        assert (one.blocks.counts[name] == other.blocks.counts[name]).all()
        assert column.distinct.estimate() == twin.distinct.estimate()
        if hasattr(column, "quantiles"):
            grid = np.linspace(0, 1, 51)
            np.testing.assert_array_equal(column.quantiles.quantile(grid), twin.quantiles.quantile(grid))
            assert column.mean == pytest.approx(twin.mean, rel=1e-9, abs=1e-9)
            assert column.std == pytest.approx(twin.std, rel=1e-9, abs=1e-9)
        else:
            assert column.counts.as_dict() == twin.counts.as_dict()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(0, 3000), min_size=1, max_size=6), st.randoms())
def test_shards_merge_to_the_same_profile_in_any_order_and_grouping(seed, cuts, random):
    data = table(3000, seed)
    edges = profile(data, schema()).blocks.edges
    bounds = sorted({0, *cuts, 3000})
    shards = [profile(data.slice(first, last - first), schema(), edges) for first, last in pairwise(bounds)]
    straight = reduce(Profile.merge, shards)
    random.shuffle(shards)
    while len(shards) > 1:
        place = random.randrange(len(shards) - 1)
        shards[place : place + 2] = [shards[place].merge(shards[place + 1])]
    same(straight, shards[0])
    same(straight, profile(data, schema(), edges))


def test_a_stored_profile_is_the_same(tmp_path):
    data = table(50_000)
    made = profile(data, schema(id="key", target="y", protected=("place",), task="regression"))
    made.save(tmp_path / "profile.npz")
    again = Profile.load(tmp_path / "profile.npz")
    same(made, again)
    assert again.schema == made.schema
    same(made.merge(again), again.merge(made))


def test_what_is_no_profile_is_refused_by_name(tmp_path):
    for content in (b"", b"PK\x03\x04", b"nonsense"):
        (tmp_path / "profile.npz").write_bytes(content)
        with pytest.raises(JobError, match=r"profile\.npz"):
            Profile.load(tmp_path / "profile.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(JobError, match=r"other\.npz"):
        Profile.load(tmp_path / "other.npz")
    with pytest.raises(JobError, match=r"none\.npz"):
        Profile.load(tmp_path / "none.npz")


def test_profiles_of_another_schema_do_not_merge_and_the_column_is_named():
    one = profile(table(10), schema())
    other = profile(table(10), schema().with_fields(Field("size", "string")))
    with pytest.raises(JobError, match="size"):
        one.merge(other)
    with pytest.raises(JobError, match="place"):
        one.merge(profile(table(10), schema().without(["place"])))


def test_profiles_on_other_edges_do_not_merge():
    with pytest.raises(JobError, match="edges"):
        profile(table(100), schema()).merge(profile(table(100, 1), schema()))


BAD = {
    "no rows": table(0),
    "one row": table(1),
    "all missing": pa.table({name: pa.nulls(50) for name in ("size", "count", "place", "open", "at")}),
    "one constant": table(50, size=pa.array([7.0] * 50)),
    "infinities": table(50, size=pa.array([math.inf, -math.inf] * 25)),
    "not a number": table(50, size=pa.array([math.nan] * 50)),
    "huge": table(50, size=pa.array([1e308, -1e308] * 25)),
    "other types": table(50, size=pa.array(["x"] * 50), place=pa.array([1] * 50), open=pa.array(["t"] * 50)),
    "lists": table(50, size=pa.array([[1]] * 50), place=pa.array([{"a": 1}] * 50)),
    "no columns": pa.table({"other": pa.array([1] * 50)}),
    "no time": table(50).drop_columns("at"),
    "other time": table(50, at=pa.array(["yesterday"] * 50)),
    "far times": table(3, at=pa.array([0, 2**60, -(2**60)], pa.timestamp("us", "UTC"))),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_counted_never_fatal(name, tmp_path):
    data = BAD[name]
    made = profile(data, schema(), profile(table(100), schema()).blocks.edges)
    assert made.rows == len(data)
    for column in made.columns.values():
        assert column.rows == len(data)
        accounted = column.n + column.missing + column.mistyped + getattr(column, "infinite", 0)
        assert accounted == len(data)
    assert made.blocks.rows.sum() + made.blocks.outside == len(data)
    same(made, made.merge(profile(table(0), schema(), made.blocks.edges)))
    made.save(tmp_path / "bad.npz")
    same(made, Profile.load(tmp_path / "bad.npz"))
    again = profile(data, schema())  # as its own baseline
    assert again.rows == len(data)


def test_values_of_another_type_are_counted_as_such():
    made = profile(
        table(
            6,
            size=pa.array(["1.5", "2", "x", None, " 3e2 ", "nan"]),
            count=pa.array([1.0, 2.5, math.nan, None, math.inf, 7.0]),
            place=pa.array([1, 2, 3, None, 5, 6]),
        ),
        schema(),
    )
    size, count, place = (made.columns[name] for name in ("size", "count", "place"))
    assert (size.n, size.mistyped, size.missing, size.max) == (3, 2, 1, 300.0)
    assert (count.n, count.mistyped, count.missing, count.infinite) == (2, 1, 2, 1)
    assert (place.n, place.mistyped, place.missing) == (0, 5, 1)


def test_absent_and_unknown_columns_are_counted():
    renamed = table(50).rename_columns(["size", "count", "spot", "open", "at"])
    made = profile(renamed, schema())
    place = made.columns["place"]
    assert (place.absent, place.missing, place.n) == (50, 50, 0)
    assert made.extra == {"spot": 50}
    both = made.merge(profile(table(70), schema(), made.blocks.edges))
    assert (both.columns["place"].absent, both.extra) == (50, {"spot": 50})


def test_times_of_any_kind_give_the_same_blocks():
    moments = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=7 * index) for index in range(40)]
    kinds = [
        pa.array(moments, pa.timestamp("us", "UTC")),
        pa.array(moments, pa.timestamp("ns", "UTC")),
        pa.array([moment.replace(tzinfo=None) for moment in moments], pa.timestamp("ms")),
        pa.array([moment.isoformat() for moment in moments]),
        pa.array([moment.isoformat().replace("+00:00", "Z") for moment in moments]),
        pa.array([moment.replace(tzinfo=None).isoformat() for moment in moments]).dictionary_encode(),
    ]
    spans = {profile(table(40, at=kind), schema()).span for kind in kinds}
    assert spans == {(round(moments[0].timestamp() * 1e6), round(moments[-1].timestamp() * 1e6))}
    broken = pa.array(["2024-02-30", "2024-01-01", "soon", None, "2024-01-01T00:00:00+01:00"])
    made = profile(table(5, at=broken), schema())
    assert (made.blocks.outside, made.blocks.rows.sum()) == (3, 2)


def test_duplicates_are_rows_with_all_features_the_same():
    data = table(4000)
    data = pa.concat_tables([data, data.slice(0, 400)])
    made = profile(data, schema())
    rows = data.drop_columns("at").to_pylist()
    different = len({tuple(row.values()) for row in rows})
    assert made.duplicates.repeated() == pytest.approx(1 - different / len(rows), abs=0.01)


def test_rare_categories_share_a_bin_and_listed_ones_keep_theirs():
    names = [f"c{index}" for index in range(1000)]
    data = table(1000, place=pa.array(names))
    edges = Edges.of(profile(data, schema(), block=None), categories=10)
    assert edges.categories["place"][:2] == ("a", "b")
    assert edges.bins("place") == 11
    assert profile(data, schema(), edges).blocks.total("place")[-1] == 992
    assert Edges.from_dict(edges.as_dict()) == edges


def test_an_iterator_is_kept_where_it_is_small_and_refused_where_it_is_not(monkeypatch):
    data = table(5000)
    same(profile(iter(data.to_batches()), schema()), profile(data, schema()))
    monkeypatch.setattr("jobs.monitor.scan.HELD", 1000)
    assert profile(data.to_batches(1000), schema()).rows == 5000, "a list is read twice"
    with pytest.raises(JobError, match="edges"):
        profile(iter(data.to_batches(1000)), schema())
