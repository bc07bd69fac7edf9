"""Distances against scipy's, ties and all."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from jobs.monitor import distances
from jobs.monitor.columns import column_of
from jobs.monitor.profile import profile
from jobs.monitor.schema import Field, Schema
from jobs.monitor.sketch import Quantiles

few = st.lists(st.integers(-5, 5), min_size=1, max_size=60)


def sketch(values: np.ndarray | list[float]) -> Quantiles:
    made = Quantiles()
    made.update(np.asarray(values, float))
    return made


def column(values: list | np.ndarray, kind: str = "number"):
    schema = Schema({"x": Field("x", kind)})
    table = pa.table({"x": pa.array(values, pa.string() if kind == "string" else pa.float64())})
    return profile(table, schema).columns["x"]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # scipy's p value, which is not asked for
@settings(max_examples=100, deadline=None)
@given(few, few)
def test_ks_and_wasserstein_are_scipys_with_ties(before: list[int], now: list[int]) -> None:
    p, q = sketch(before), sketch(now)
    assert distances.ks(p, q) == pytest.approx(stats.ks_2samp(before, now, method="asymp").statistic)
    assert distances.wasserstein(p, q, 1.0) == pytest.approx(stats.wasserstein_distance(before, now))


def test_an_integer_column_keeps_the_distance_that_deequ_loses() -> None:
    """Three values, a true distance of 0.196: Deequ's `Robust` says 0."""
    before, now = np.repeat([0.0, 1, 2], [4000, 3000, 3000]), np.repeat([0.0, 1, 2], [2040, 4960, 3000])
    plain = distances.ks(sketch(before), sketch(now))
    assert plain == pytest.approx(0.196)
    assert distances.robust(plain, 10_000, 10_000) == pytest.approx(0.196 - 1.8 * math.sqrt(2e-4))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=30))
def test_distances_over_cells_are_scipys(rows: list[tuple[int, int]]) -> None:
    p, q = np.array(rows).T
    if not p.sum() or not q.sum():
        assert math.isnan(distances.psi(p, q)) and math.isnan(distances.linf(p, q))
        return
    assert distances.jensen_shannon(p, q) == pytest.approx(distance.jensenshannon(p, q), abs=1e-7)
    filled = [np.where(side > 0, side / side.sum(), distances.EMPTY) for side in (p, q)]
    assert distances.kullback_leibler(p, q) == pytest.approx(stats.entropy(*filled))
    assert distances.psi(p, q) == pytest.approx(
        sum((a - b) * math.log(a / b) for a, b in zip(*filled, strict=True))
    )
    likeness = sum(math.sqrt(a / p.sum() * b / q.sum()) for a, b in rows)
    assert distances.hellinger(p, q) == pytest.approx(math.sqrt(max(0.0, 1 - likeness)), abs=1e-7)


def test_large_sketches_stay_within_their_epsilon() -> None:
    rng = np.random.default_rng(0)
    before, now = rng.normal(size=300_000), rng.normal(0.1, 1.1, 200_000)
    p, q = sketch(before), sketch(now)
    bound = p.epsilon + q.epsilon
    assert 0 < bound < 3e-3
    assert distances.ks(p, q) == pytest.approx(stats.ks_2samp(before, now).statistic, abs=bound)
    exact = stats.wasserstein_distance(before, now)
    assert distances.wasserstein(p, q, 1.0) == pytest.approx(exact, abs=3e-3)


def test_equal_cells_are_numpys_sturges_bins() -> None:
    rng = np.random.default_rng(1)
    before, now = rng.normal(size=3000), rng.normal(1, 2, 1000)
    edges = np.histogram_bin_edges(np.concatenate((before, now)), bins="sturges")
    p, q = distances.equal_cells(sketch(before), sketch(now))
    assert p.tolist() == np.histogram(before, edges)[0].tolist()
    assert q.tolist() == np.histogram(now, edges)[0].tolist()


def test_quantile_cells_are_deciles_of_the_reference() -> None:
    p, q = distances.quantile_cells(sketch(np.arange(1000.0)), sketch(np.full(10, 1e9)))
    assert p.tolist() == [100] * 10
    assert q.tolist() == [0] * 9 + [10]


def test_few_values_have_a_cell_each() -> None:
    p, q = distances.quantile_cells(sketch([0, 0, 1]), sketch([1, 2]))
    assert (p.tolist(), q.tolist()) == ([2, 1, 0], [0, 1, 1])


def test_categories_are_aligned_and_new_ones_are_named_apart() -> None:
    before, now = ["a"] * 6 + ["b"] * 3 + ["c"], ["a", "b", "z", "z"]
    found = distances.between(column(before, "string"), column(now, "string"))
    assert found["linf"] == pytest.approx(0.5)
    assert found["new"] == pytest.approx(0.5)
    assert found["vanished"] == pytest.approx(0.1)


@pytest.mark.parametrize("empty", [[], [None, None], [math.nan], [math.inf]])
def test_nothing_to_compare_has_no_distance(empty: list) -> None:
    assert distances.between(column([1.0, 2.0]), column(empty)) == {}
    assert distances.between(column(empty), column([1.0, 2.0])) == {}


def test_columns_of_another_type_have_no_distance() -> None:
    assert distances.between(column([1.0]), column(["1"], "string")) == {}
    assert distances.between(column([1.0]), column_of(Field("x", "number"))) == {}


def test_a_constant_column_has_finite_distances() -> None:
    found = distances.between(column([3.0] * 50), column([3.0, 4.0]))
    assert found["ks"] == pytest.approx(0.5)
    assert all(math.isfinite(value) for value in found.values())
