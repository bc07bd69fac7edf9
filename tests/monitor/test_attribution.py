"""Attributions: Shapley's axioms on functions whose values are known, figures as Model Monitor's, the model's
own script in a process of its own."""

from itertools import combinations
from math import factorial

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import ndcg_score

from jobs.contract import JobError
from jobs.monitor import attribution, explainer, shapley
from jobs.monitor.attribution import Explained, Settings, compare, ndcg
from jobs.monitor.tally import DAY
from jobs.spec import BINARY, Feature, Spec

FEATURES = ("heavy", "light", "none")
SPEC = Spec(
    "m",
    BINARY,
    "y",
    "id",
    "t",
    {name: Feature(name, "number", nullable=name == "none") for name in FEATURES},
    "inference.py",
)
SCRIPT = """
def model_fn(model_dir):
    return {"heavy": 3.0, "light": 1.0}

def predict_fn(rows, model):
    return [{"prediction": sum(row[name] * weight for name, weight in model.items())} for row in rows]
"""


def test_a_linear_model_is_explained_exactly():
    rng = np.random.default_rng(0)
    rows, partner = rng.normal(size=(20, 4)), rng.normal(size=(1, 4))
    weights = np.array([[3.0, 0.0], [-1.0, 2.0], [0.0, 0.0], [0.5, 1.0]])
    found = shapley.values(rows, partner, lambda matrix: matrix @ weights, pairs=1)
    np.testing.assert_allclose(found, (rows - partner)[:, :, None] * weights, atol=1e-12)


def test_values_add_up_to_the_prediction():
    rng = np.random.default_rng(1)
    rows, background = rng.normal(size=(30, 5)), rng.normal(size=(1, 5))
    found = shapley.values(rows, background, _curved, pairs=2)
    np.testing.assert_allclose(found.sum(1), _curved(rows) - _curved(background), atol=1e-12)


def test_the_mean_of_many_permutations_is_shapleys_value():
    rng = np.random.default_rng(2)
    row, background = rng.normal(size=(1, 4)), rng.normal(size=(1, 4))
    found = shapley.values(np.repeat(row, 2000, 0), background, _curved, pairs=1).mean(0)
    np.testing.assert_allclose(found[:, 0], _exact(row[0], background[0]), atol=0.05)


def test_one_feature_has_it_all():
    found = shapley.values(np.array([[2.0], [3.0]]), np.array([[1.0]]), lambda matrix: matrix * 2.0)
    assert found[:, 0, 0].tolist() == [2.0, 4.0]


@pytest.mark.parametrize(("rows", "features"), [(1, 1), (10_000, 13), (10_000, 500), (250, 20_000), (5, 0)])
def test_the_plan_keeps_to_its_evaluations(rows, features):
    count, pairs = shapley.plan(rows, features)
    assert 1 <= count <= min(rows, shapley.ROWS)
    assert pairs >= 1
    assert count == 1 or 2 * count * pairs * features <= shapley.EVALUATIONS


def test_ndcg_is_scikit_learns():
    rng = np.random.default_rng(3)
    for _ in range(20):
        before, now = rng.random(8), rng.random(8)
        assert ndcg(now, before) == pytest.approx(ndcg_score([before], [now]))
    assert ndcg([0.1, 0.2, 0.7], [0.7, 0.5, 0.05]) == pytest.approx(0.69, abs=0.005)  # the guide's example


def test_swapping_the_two_heaviest_of_ten_is_seen_by_l1_alone():
    weights = 0.6 ** np.arange(10)
    before, now = _explained(weights), _explained(weights[[1, 0, *range(2, 10)]], seed=1)
    found = compare(now, before, Settings())
    assert found.figures["ndcg"] > 0.9
    assert [violation["metric"] for violation in found.violations] == ["l1"]
    violation = found.violations[0]
    assert violation["constraint_check_type"] == "feature_attribution_drift_check"
    assert violation["feature_name"] in ("f0", "f1")


def test_what_l1_may_be_is_the_larger_of_model_yamls_and_of_what_chance_reaches():
    """Between the two nothing is violated, and the figure says why."""
    weights = 0.6 ** np.arange(10)
    before, now = _explained(weights), _explained(weights[[1, 0, *range(2, 10)]], seed=1)
    declared = compare(now, before, Settings())
    assert declared.figures["threshold"] == declared.violations[0]["threshold"] == 0.3
    chance = compare(now, before, Settings(l1=0.0))
    usual = chance.figures["threshold"]
    assert 0 < usual < 0.3 and chance.violations[0]["threshold"] == usual
    assert f"is over 0.3 and the {usual:.3f} that windows" in declared.violations[0]["description"]
    lenient = compare(now, before, Settings(l1=0.9))
    assert (lenient.figures["threshold"], lenient.violations) == (0.9, [])
    assert usual < lenient.figures["l1"] < 0.9


def test_a_reversed_order_is_seen_by_both():
    weights = 0.4 ** np.arange(4)
    found = compare(_explained(weights[::-1], seed=1), _explained(weights), Settings())
    assert {violation["metric"] for violation in found.violations} == {"ndcg", "l1"}


def test_windows_without_drift_alarm_at_most_at_the_stated_rate():
    settings = Settings(l1=0.0, false_alarms=0.05)
    weights = 0.7 ** np.arange(6)
    alarms = 0
    for seed in range(60):
        before = _explained(weights, seed=2 * seed, rows=750, days=14, spread=0.3)
        now = _explained(weights, seed=2 * seed + 1, rows=250, days=7, spread=0.3)
        alarms += bool(compare(now, before, settings).violations)
    assert alarms <= 6


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (Explained(("a", "b"), np.ones((100, 2)), np.zeros(100)), "other features: a, b, c, d"),
        (Explained(("d", "c"), np.ones((100, 2)), np.zeros(100)), "another order"),
        (Explained(("c", "d"), np.ones((3, 2)), np.zeros(3)), "3 rows of the window"),
        (Explained(("c", "d"), np.zeros((100, 2)), np.zeros(100)), "alike"),
        (Explained(("c", "d"), np.full((100, 2), np.nan), np.zeros(100)), "not finite"),
        (Explained(("c", "d"), np.ones((100, 2)), np.zeros(100), "script"), "not comparable"),
    ],
)
def test_what_cannot_be_compared_says_why(now, words):
    before = Explained(("c", "d"), np.ones((100, 2)), np.zeros(100))
    found = compare(now, before, Settings())
    assert words in found.figures["reason"]
    assert found.violations == []


def test_attributions_are_stored(tmp_path):
    explained = _explained(np.array([1.0, 2.0]))
    explained.save(tmp_path / "attribution.npz")
    stored = Explained.load(tmp_path / "attribution.npz")
    assert (stored.features, stored.method) == (explained.features, "sampled")
    np.testing.assert_array_equal(stored.values, explained.values)
    (tmp_path / "attribution.npz").write_text("nothing")
    with pytest.raises(JobError, match=r"attribution\.npz"):
        Explained.load(tmp_path / "attribution.npz")


def test_the_models_script_is_asked(tmp_path):
    (tmp_path / "inference.py").write_text(SCRIPT)
    table, times = _table(400)
    background = explainer.pick_background(table, SPEC)
    assert len(background) == explainer.BACKGROUND
    explained = explainer.explain(tmp_path, tmp_path, SPEC, table, times, background)
    assert (explained.features, explained.method, len(explained)) == (FEATURES, "sampled", shapley.ROWS)
    assert set(explained.days) == {0, 1, 2, 3}
    np.testing.assert_allclose(attribution.shares(explained.values), [0.75, 0.25, 0], atol=0.05)


def test_a_script_may_explain_itself(tmp_path):
    ours = (
        "\ndef explain_fn(rows, model):\n    return [{'heavy': [2.0, -2.0], 'light': -1.0} for row in rows]\n"
    )
    (tmp_path / "inference.py").write_text(SCRIPT + ours)
    table, times = _table(60)
    explained = explainer.explain(tmp_path, tmp_path, SPEC, table, times, table)
    assert explained.method == "script"
    assert explained.values[0].tolist() == [4.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("raise ValueError('no such file')", "could not explain: ValueError: no such file"),
        (SCRIPT + "\ndef explain_fn(rows, model):\n    return []\n", "0 explanations of 60 rows"),
        (
            SCRIPT + "\ndef explain_fn(rows, model):\n    return [{'x': 1}] * len(rows)\n",
            "a dictionary of features",
        ),
        ("import time\ntime.sleep(60)", "stopped after 2 seconds"),
        ("import os\nos.kill(os.getpid(), 11)", "SIGSEGV"),
    ],
)
def test_a_script_that_fails_is_quoted(tmp_path, script, words):
    (tmp_path / "inference.py").write_text(script)
    table, times = _table(60)
    with pytest.raises(JobError, match=words):
        explainer.explain(
            tmp_path, tmp_path, SPEC, table, times, table, timeout=2 if "sleep" in script else 60
        )


def test_rows_that_the_container_would_refuse_are_left_out(tmp_path):
    table, _ = _table(4)
    table = table.set_column(0, "heavy", pa.array([None, 1.0, None, 2.0]))
    assert explainer.answerable(table, SPEC).tolist() == [1, 3]
    with pytest.raises(JobError, match="'light'"):
        explainer.pick_background(table.drop(["light"]), SPEC)
    with pytest.raises(JobError, match="no row of the baseline"):
        explainer.pick_background(table.slice(0, 1), SPEC)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([{"prediction": 1, "probability": 0.7}], [[0.7]]),
        ([{"prediction": 4.5}, {"prediction": 3}], [[4.5], [3]]),
        ([{"prediction": "a", "probabilities": {"b": 0.4, "a": 0.6}}], [[0.6, 0.4]]),
        ([{"prediction": "b"}, {"prediction": "a"}], [[0, 1], [1, 0]]),
    ],
)
def test_outputs(answers, expected):
    assert explainer.outputs(answers).tolist() == expected


def _curved(matrix):
    matrix = matrix.astype(float)
    return (matrix[:, 0] * matrix[:, 1] + np.maximum(matrix[:, 2], 0) * matrix[:, 0] + matrix[:, 3] ** 2)[
        :, None
    ]


def _exact(row, partner):
    """Shapley's formula, over all coalitions."""
    size = len(row)
    values = np.zeros(size)
    for feature in range(size):
        others = [index for index in range(size) if index != feature]
        for count in range(size):
            weight = factorial(count) * factorial(size - count - 1) / factorial(size)
            for chosen in combinations(others, count):
                without, with_it = partner.copy(), partner.copy()
                without[list(chosen)] = row[list(chosen)]
                with_it[[*chosen, feature]] = row[[*chosen, feature]]
                values[feature] += weight * (_curved(with_it[None]) - _curved(without[None]))[0, 0]
    return values


def _explained(weights, seed=0, rows=750, days=14, spread=0.0):
    rng = np.random.default_rng(seed)
    day = np.arange(rows) % days
    level = np.exp(rng.normal(0, spread, (days, len(weights))))
    values = rng.exponential(1.0, (rows, len(weights))) * weights * level[day]
    return Explained(tuple(f"f{index}" for index in range(len(weights))), values, day)


def _table(rows):
    rng = np.random.default_rng(4)
    table = pa.table({name: rng.normal(size=rows) for name in FEATURES})
    return table, np.arange(rows) * 4 * DAY // rows
