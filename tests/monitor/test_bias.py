"""Bias: smclarify's values, one false-alarm rate per window, and input that is not as it should be."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs.contract import JobError
from jobs.monitor import bias, tally
from jobs.monitor.bias import Settings
from jobs.monitor.bias_metrics import NAMES, measure, neutral
from jobs.monitor.groups import Facet, Layout, Outcome, facet_of
from jobs.monitor.tally import DAY, Tally
from jobs.spec import BINARY, MULTICLASS, REGRESSION, Spec

ORACLE = json.loads((Path(__file__).parent / "oracles" / "smclarify_bias.json").read_text())
POSITIVE = Outcome(("1",))


@pytest.mark.parametrize("case", ORACLE["tables"])
def test_equals_smclarify(case):
    counts = np.zeros((3, 4, 3, 3), np.int64)
    counts[..., :2, :2] = case["counts"]
    found = measure(counts)
    assert found.keys() == case["metrics"]["0"].keys()
    for name, (values, _) in found.items():
        expected = [case["metrics"][str(group)][name] for group in range(3)]
        np.testing.assert_allclose(values, expected, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("case", ORACLE["classes"])
def test_distances_of_several_classes_equal_smclarify(case):
    classes = np.array(case["counts"])
    found = measure(np.zeros((3, 1, 3, 3), np.int64), classes, ("KL", "JS", "LP", "TVD", "KS"))
    for name, (values, _) in found.items():
        expected = [case["metrics"][str(group)][name] for group in range(3)]
        np.testing.assert_allclose(values, expected, atol=1e-12, err_msg=name)


def test_a_class_that_a_group_lacks_counts_by_the_guides_formulas():
    found = measure(np.zeros((2, 1, 3, 3), np.int64), np.array([[5, 5], [10, 0]]), ("KL", "TVD", "JS"))
    assert np.isnan(found["KL"][0][1])  # ln(0.5 / 0)
    assert found["KL"][0][0] == pytest.approx(np.log(2))
    assert found["TVD"][0].tolist() == [0.5, 0.5]


def test_rows_are_counted_by_day_group_label_and_prediction():
    layout = Layout(Facet("sex", ("f", "m")), POSITIVE)
    counted = Tally.of(
        layout,
        {"sex": pa.array(["f", "f", "m", None, "x"])},
        pa.array([1.0, 0.0, None, 1.0, 1.0]),
        np.array([1.0, np.nan, 0.0, 1.0, 0.0]),
        np.array([0, DAY - 1, DAY, 5 * DAY, -1]),
    )
    assert counted.days.tolist() == [-1, 0, 1, 5]
    found = {tuple(map(int, cell)): int(counted.counts[tuple(cell)]) for cell in np.argwhere(counted.counts)}
    assert found == {
        (1, 0, 0, 1, 1): 1,
        (1, 0, 0, 0, 2): 1,
        (2, 1, 0, 2, 0): 1,
        (3, 2, 0, 1, 1): 1,
        (0, 2, 0, 1, 0): 1,
    }


def test_shards_merge_in_any_order(tmp_path):
    columns, label, predicted, times = _window(3000, days=6)
    layout = Layout(Facet("sex", ("f", "m")), POSITIVE, stratum="city", strata=("a", "b"))
    whole = Tally.of(layout, columns, label, predicted, times)
    rng = np.random.default_rng(0)
    shards = [
        Tally.of(
            layout,
            {name: column.take(pa.array(rows)) for name, column in columns.items()},
            label[rows],
            predicted[rows],
            times[rows],
        )
        for rows in np.array_split(rng.permutation(3000), 4)
    ]
    merged = shards[2].merge(shards[0].merge(shards[3])).merge(shards[1])
    tally.save([merged], tmp_path / "bias.npz")
    (stored,) = tally.load(tmp_path / "bias.npz")
    assert stored.layout == layout
    np.testing.assert_array_equal(stored.days, whole.days)
    np.testing.assert_array_equal(stored.counts, whole.counts)


def test_a_tally_of_other_groups_does_not_merge():
    columns, label, predicted, times = _window(100)
    ours = Tally.of(Layout(Facet("sex", ("f", "m")), POSITIVE), columns, label, predicted, times)
    theirs = Tally.of(Layout(Facet("sex", ("f",)), POSITIVE), columns, label, predicted, times)
    with pytest.raises(JobError, match="sex"):
        ours.merge(theirs)


def test_what_is_no_tally_is_named(tmp_path):
    (tmp_path / "bias.npz").write_text("nothing")
    with pytest.raises(JobError, match=r"bias\.npz"):
        tally.load(tmp_path / "bias.npz")


def test_bias_that_grew_is_found_with_its_group_and_metric():
    settings = Settings({"sex": None}, POSITIVE)
    result = _compare(settings, _window(20_000), _window(20_000, seed=1, unfair=0.15))
    found = {(violation["facet_value"], violation["metric"]) for violation in result.violations}
    assert ("f", "DPPL") in found
    assert ("m", "DPPL") in found
    violation = next(one for one in result.violations if one["metric"] == "DPPL")
    assert violation["constraint_check_type"] == "bias_drift_check"
    assert violation["feature_name"] == "sex"
    assert "sex=" in violation["description"]
    for one in result.violations:  # beyond what would have been allowed, on the side to which it moved
        centre = neutral(one["metric"])
        assert abs(one["value"] - centre) > abs(one["threshold"] - centre)
        assert (one["value"] - centre) * (one["threshold"] - centre) > 0


def test_bias_that_turned_round_names_the_edge_that_it_crossed():
    settings = Settings({"sex": None}, POSITIVE)
    result = _compare(settings, _window(20_000, unfair=-0.05), _window(20_000, seed=1, unfair=0.2))
    assert result.violations
    for one in result.violations:
        centre = neutral(one["metric"])
        assert abs(one["value"] - centre) > abs(one["threshold"] - centre)


def test_bias_that_shrank_is_no_violation():
    settings = Settings({"sex": None}, POSITIVE)
    result = _compare(settings, _window(20_000, unfair=0.15), _window(20_000, seed=1))
    assert result.figures["sex=f"]["DPPL"]["t"] > result.calibration["threshold"]
    assert result.violations == []


def test_windows_without_drift_alarm_at_most_at_the_stated_rate():
    """Days differ (a weather of their own), so that rows alone would alarm; 12 groups, 7 metrics."""
    settings = Settings({"group": None}, POSITIVE, drift=0.0, false_alarms=0.05)
    alarms = 0
    for seed in range(60):
        before, now = _days(2 * seed, 30), _days(2 * seed + 1, 7)
        alarms += bool(_compare(settings, before, now).violations)
    assert alarms <= 6  # binomial(60, .05) exceeds it in 3 % of cases


def test_a_wild_day_among_wild_days_is_no_drift():
    """Every sixth day is wild, and the window is one of these: they hide behind the deviation that they have
    widened themselves."""
    settings = Settings({"group": None}, POSITIVE, min_rows=20, drift=0.01)
    alarms = 0
    for seed in range(24):
        columns, *others = _days(seed, 61, wild=6)
        before, now = (
            ({"group": columns["group"][part]}, *(values[part] for values in others))
            for part in (slice(0, 60 * 400), slice(60 * 400, None))
        )
        alarms += bool(_compare(settings, before, now).violations)
    assert alarms <= 2  # one in a hundred windows, all of them among the wild: 1.4 of these


def test_a_limit_is_a_violation_only_where_the_whole_interval_is_beyond():
    window = _window(20_000, unfair=0.1)
    for limit, expected in ((0.05, True), (0.098, False)):
        settings = Settings({"sex": None}, POSITIVE, limits={"DPPL": limit})
        result = _compare(settings, window, window)
        assert bool(result.violations) is expected
    settings = Settings({"sex": None}, POSITIVE, limits={"DI": 0.8})
    assert _compare(settings, window, window).violations[0]["metric"] == "DI"


def test_model_monitors_rule_is_beside_the_verdict():
    settings = Settings({"sex": None}, POSITIVE)
    result = _compare(settings, _window(2000), _window(2000, seed=3))
    rules = [entry["model_monitor"] for entry in result.figures["sex=f"].values()]
    assert result.violations == []
    assert any(rules)


def test_a_small_group_has_no_verdict_and_says_so():
    columns, label, predicted, times = _window(5000)
    columns = {
        **columns,
        "sex": pa.array(["x" if row < 50 else "f" if row % 2 else "m" for row in range(5000)]),
    }
    result = _compare(Settings({"sex": None}, POSITIVE), (columns, label, predicted, times), _window(5000))
    assert "sex=x" not in result.figures
    assert any("sex=x" in entry["reason"] and entry["facet"] == "sex=x" for entry in result.skipped)


def test_without_labels_only_what_needs_none_is_measured():
    columns, _, predicted, times = _window(5000)
    result = _compare(
        Settings({"sex": None}, POSITIVE), _window(5000), (columns, np.full(5000, np.nan), predicted, times)
    )
    assert set(result.figures["sex=f"]) == {"CI", "DPPL", "DI"}


def test_a_baseline_of_one_day_is_calibrated_by_rows_with_caution():
    settings = Settings({"sex": None}, POSITIVE)
    result = _compare(settings, _window(5000, days=1), _window(5000, seed=1, days=1))
    assert result.calibration["drawn"] == "rows"
    assert result.violations == []


@pytest.mark.parametrize("rows", [0, 1])
def test_an_empty_window_and_one_row(rows):
    columns, label, predicted, times = _window(2000)
    small = (
        {name: column[:rows] for name, column in columns.items()},
        label[:rows],
        predicted[:rows],
        times[:rows],
    )
    result = _compare(Settings({"sex": None}, POSITIVE), (columns, label, predicted, times), small)
    assert (result.figures, result.violations) == ({}, [])
    assert result.skipped


def test_a_protected_column_that_is_gone_is_named():
    skipped: list = []
    columns, label, predicted, times = _window(100)
    planned = bias.layouts(Settings({"sex": None, "age": None}, POSITIVE), columns, label, skipped)
    assert [layout.facet.column for layout in planned] == ["sex"]
    assert "'age'" in skipped[0]["reason"]
    assert bias.tallies(planned, {"city": columns["city"]}, label, predicted, times, skipped) == []
    assert "'sex'" in skipped[1]["reason"]


def test_a_constant_protected_column_is_named():
    skipped: list = []
    columns = {"sex": pa.array(["f"] * 50)}
    assert bias.layouts(Settings({"sex": None}, POSITIVE), columns, np.zeros(50), skipped) == []
    assert "sex has 1 values" in skipped[0]["reason"]


@pytest.mark.parametrize(
    ("column", "chosen", "groups"),
    [
        (pa.array([float(value) for value in range(100)]), None, ["age>49.5"]),
        (pa.array([1, 2, 2, None]), None, ["age=2", "age=1"]),
        (pa.array([True, False, True]), None, ["age=true", "age=false"]),
        (pa.array([1.0, np.inf, 50.0]), 40, ["age>40"]),
        (pa.array(["b", "a", "b"]), ["a"], ["age=a"]),
        (pa.array(["b", "a", "b"]).dictionary_encode(), None, ["age=b", "age=a"]),
    ],
)
def test_groups(column, chosen, groups):
    facet = facet_of(column, "age", chosen)
    assert facet.groups == groups
    codes = facet.codes(column)
    assert set(codes.tolist()) <= set(range(len(groups) + 1))
    assert 0 in codes


def test_a_label_of_several_classes():
    rng = np.random.default_rng(0)
    label = pa.array(np.array(["a", "b", "c"])[rng.integers(0, 3, 4000)].tolist())
    columns, _, _, times = _window(4000)
    settings = Settings.of(_spec(MULTICLASS))
    skipped: list = []
    planned = bias.layouts(settings, columns, label, skipped)
    (counted,) = bias.tallies(planned, columns, label, label, times, skipped)
    assert set(bias.reference([counted])["sex=f"]) == {"CI", "KL", "JS", "LP", "TVD", "KS"}
    declared = Settings.of(_spec(MULTICLASS, {"positive": ["b"]}))
    planned = bias.layouts(declared, columns, label, skipped)
    (counted,) = bias.tallies(planned, columns, label, label, times, skipped)
    assert bias.reference([counted])["sex=f"]["AD"]["value"] == 0


def test_settings_come_from_model_yaml():
    settings = Settings.of(
        _spec(REGRESSION, {"facets": {"age": 40}, "positive": 10, "drift": 0.1, "group": "city"})
    )
    assert settings.outcome.threshold == 10
    assert settings.floor("DI") == pytest.approx(0.4)
    assert settings.floor("RD") == pytest.approx(0.1)
    with pytest.raises(JobError, match="XYZ"):
        Settings.of(_spec(BINARY, {"metrics": ["XYZ"]}))


def test_conditional_disparity_needs_a_stratum():
    settings = Settings({"sex": None}, POSITIVE, stratum="city")
    result = _compare(settings, _window(5000), _window(5000))
    assert set(result.figures["sex=f"]) == set(NAMES)


def _compare(settings, before, now):
    skipped: list = []
    planned = bias.layouts(settings, before[0], before[1], skipped)
    baseline = bias.tallies(planned, *before, skipped)
    return bias.compare(bias.tallies(planned, *now, skipped), baseline, settings)


def _window(rows, seed=0, days=14, unfair=0.0):
    """(columns, label, prediction, times); `unfair` is the share of m's positive predictions less f's."""
    rng = np.random.default_rng(seed)
    woman = rng.random(rows) < 0.5
    label = (rng.random(rows) < 0.3).astype(float)
    predicted = (rng.random(rows) < 0.3 + unfair * np.where(woman, -0.5, 0.5)).astype(float)
    columns = {
        "sex": pa.array(np.where(woman, "f", "m").tolist()),
        "city": pa.array(np.array(["a", "b", "c"])[rng.integers(0, 3, rows)].tolist()),
    }
    return columns, label, predicted, np.arange(rows) * days * DAY // max(rows, 1)


def _days(seed, days, per_day=400, wild=0):
    """Days that share a weather: the level of all groups moves, and each group's a little; every so many
    days, if `wild`, by much."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 6, (days, per_day))
    own = rng.normal(0, 0.3, (days, 6))
    if wild:
        own[::wild] *= 6
    level = rng.normal(0, 0.3, (days, 1)) + own[np.arange(days)[:, None], group]
    label = (rng.random((days, per_day)) < 1 / (1 + np.exp(1 - level))).astype(float)
    predicted = (rng.random((days, per_day)) < 1 / (1 + np.exp(1 - level - 2 * label))).astype(float)
    names = np.array(list("abcdef"))[group].reshape(-1)
    times = np.repeat(np.arange(days) * DAY, per_day)
    return {"group": pa.array(names.tolist())}, label.reshape(-1), predicted.reshape(-1), times


def _spec(task, chosen=None):
    return Spec("m", task, "y", "id", "t", {}, "inference.py", ("sex",), monitor={"bias": chosen or {}})
