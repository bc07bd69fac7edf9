"""Distances against scipy's, and thresholds that know how a column's own weeks differ."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jobs import drift
from jobs.drift import Reference

DAY = 86_400_000_000
WEEK = timedelta(days=7)
ROWS = 6000


def learn(values: np.ndarray | list[str | None], kind: str = "number", **settings: object) -> Reference:
    """A reference over sixty days of rows."""
    times = np.linspace(0, 60 * DAY, len(values)).astype(np.int64)
    defaults: dict[str, object] = {"lookback": WEEK, "floor": 0.1, "nullable": True}
    return drift.learn("x", kind, values, times, **(defaults | settings))


def distance(reference: Reference, values: np.ndarray | list[str | None]) -> tuple[float, float]:
    return reference.distance(reference.counts(values)[0])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # scipy's p value, which is not asked for
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=60),
    st.lists(st.integers(-7, 7), min_size=1, max_size=60),
)
def test_numbers_with_ties_have_scipys_ks_distance(before: list[int], now: list[int]) -> None:
    plain, _ = distance(learn(np.array(before, float)), np.array(now, float))
    assert plain == pytest.approx(stats.ks_2samp(before, now, method="asymp").statistic)


def test_continuous_numbers_have_scipys_ks_distance_within_the_grid() -> None:
    rng = np.random.default_rng(0)
    before, now = rng.normal(size=ROWS), rng.normal(0.3, 1.2, 2000)
    plain, robust = distance(learn(before), now)
    assert plain == pytest.approx(stats.ks_2samp(before, now).statistic, abs=1 / drift.GRID)
    assert robust == pytest.approx(plain - 1.8 * np.sqrt((ROWS + 2000) / (ROWS * 2000)))


def test_a_value_that_moves_off_its_atom_is_seen_on_either_side() -> None:
    """Most hours have no rain at all: 0 is most of the distribution."""
    rain = np.where(np.arange(ROWS) % 10 == 0, 0.2, 0.0)
    reference = learn(rain)
    for shift in (-1e-6, 1e-6):
        assert distance(reference, rain + shift)[0] == pytest.approx(0.9, abs=0.11)


def test_categories_have_the_largest_difference_of_shares() -> None:
    reference = learn(["a"] * 3000 + ["b"] * 2000 + ["c"] * 1000, "string")
    plain, robust = distance(reference, ["a"] * 300 + ["b"] * 300 + ["new"] * 0)
    assert plain == pytest.approx(abs(300 / 600 - 2000 / 6000))
    assert robust == pytest.approx(plain - 1.8 * np.sqrt(6600 / (6000 * 600)))


def test_missing_and_unseen_values_are_counted_apart() -> None:
    reference = learn(["a", "b"] * 3000, "string")
    counts, missing, unseen = reference.counts(["a", None, "z", "b", None])
    assert (counts.tolist(), missing, unseen) == ([1, 1, 1], 2, 1)
    _, missing, _ = learn(np.arange(ROWS, dtype=float)).counts(np.array([1.0, np.nan, np.nan]))
    assert missing == 2


def test_listed_categories_leave_no_room_for_others() -> None:
    assert learn(["a", "b"] * 3000, "string", listed=("a", "b")).unseen_threshold == 0
    assert learn(["a", "b"] * 3000, "string").unseen_threshold == drift.UNSEEN_FLOOR


def test_the_threshold_is_what_the_columns_own_weeks_differ_by() -> None:
    """Weather: days resemble themselves, weeks differ without any drift."""
    rng = np.random.default_rng(1)
    calm = learn(rng.normal(size=ROWS))
    moody = learn(np.repeat(rng.normal(size=60), 100) + 0.1 * rng.normal(size=ROWS))
    assert calm.threshold == 0.1
    assert moody.threshold > 0.25
    trend = learn(np.linspace(0, 1, ROWS))
    assert trend.threshold > 0.8, "a trend within the training data is as wide as it gets"


def test_training_data_shorter_than_two_windows_keeps_the_floor() -> None:
    assert learn(np.linspace(0, 1, ROWS), lookback=timedelta(days=40)).threshold == 0.1


def test_completeness_knows_the_worst_week_of_the_training_data() -> None:
    values = np.ones(ROWS)
    values[:700] = np.nan  # a sensor was off in the first week
    reference = learn(values)
    assert reference.missing == pytest.approx(700 / ROWS)
    assert reference.missing_threshold == pytest.approx(1.0)
    assert learn(np.ones(ROWS), nullable=False).missing_threshold == 0


def test_nothing_to_compare_is_no_distance() -> None:
    assert distance(learn(np.ones(ROWS)), np.array([np.nan])) == (0.0, 0.0)
    assert distance(learn(np.full(ROWS, np.nan)), np.array([1.0])) == (0.0, 0.0)


def test_a_reference_survives_its_file() -> None:
    reference = learn(np.random.default_rng(2).normal(size=ROWS))
    again = Reference.of(reference.as_dict())
    assert again.as_dict() == reference.as_dict()
