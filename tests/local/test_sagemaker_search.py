"""Where a tuning job looks next."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.sagemaker import search
from local.sagemaker.search import Trial

RANGES = {
    "ContinuousParameterRanges": [
        {"Name": "rate", "MinValue": "0.0001", "MaxValue": "1", "ScalingType": "Logarithmic"},
        {"Name": "decay", "MinValue": "0", "MaxValue": "0.999", "ScalingType": "ReverseLogarithmic"},
        {"Name": "share", "MinValue": "-1", "MaxValue": "3"},
    ],
    "IntegerParameterRanges": [{"Name": "depth", "MinValue": "2", "MaxValue": "6"}],
    "CategoricalParameterRanges": [{"Name": "loss", "Values": ["a", "b", "c"]}],
}


def config(strategy, seed=7, ranges=RANGES, goal="Minimize"):
    objective = {"Type": goal, "MetricName": "loss"}
    return {
        "Strategy": strategy,
        "HyperParameterTuningJobObjective": objective,
        "ParameterRanges": ranges,
        "RandomSeed": seed,
    }


CUBE = search.Cube(config("Random"))


@given(st.lists(st.floats(0, 1), min_size=CUBE.size, max_size=CUBE.size))
def test_values_and_their_place_belong_together(point):
    drawn = CUBE.values(point)
    assert 0.0001 <= float(drawn["rate"]) <= 1
    assert 0 <= float(drawn["decay"]) <= 0.999
    assert -1 <= float(drawn["share"]) <= 3
    assert drawn["depth"] in "23456" and drawn["loss"] in "abc"
    back = CUBE.point(drawn)
    assert back[:3] == pytest.approx(point[:3], abs=1e-6)
    assert sorted(back[-3:]) == [0, 0, 1]
    assert CUBE.values(back) == pytest.approx(drawn) or CUBE.values(back)["depth"] == drawn["depth"]


def test_a_number_is_drawn_evenly_on_its_own_scale():
    found = search.of(config("Random"))
    rates = [math.log10(float(found.next([])["rate"])) for _ in range(2000)]
    shares = [sum(low <= rate < low + 1 for rate in rates) / 2000 for low in range(-4, 0)]
    assert all(0.2 < share < 0.3 for share in shares), shares


def loss(drawn):
    """A bowl around rate 0.03 and depth 4, deeper for b."""
    rate, depth = math.log10(float(drawn["rate"]) / 0.03), int(drawn["depth"]) - 4
    return rate**2 + 0.1 * depth**2 + {"a": 0.5, "b": 0.0, "c": 1.0}[drawn["loss"]]


def best(strategy, seed, jobs, parallel=1, goal="Minimize"):
    found, trials = search.of(config(strategy, seed, goal=goal)), []
    sign = 1 if goal == "Minimize" else -1
    for _ in range(jobs):
        # The last ones still run: their value is not known when the next begins.
        known = [
            Trial(t.drawn, t.value if n < len(trials) - parallel + 1 else None) for n, t in enumerate(trials)
        ]
        drawn = found.next(known)
        trials.append(Trial(drawn, sign * loss(drawn)))
    return min(sign * trial.value for trial in trials)


@pytest.mark.parametrize(("parallel", "goal"), [(1, "Minimize"), (3, "Maximize")])
def test_a_bayesian_search_comes_nearer_than_chance(parallel, goal):
    seeds = range(4)
    learnt = [best("Bayesian", seed, 20, parallel, goal) for seed in seeds]
    drawn = [best("Random", seed, 20) for seed in seeds]
    assert sum(learnt) < sum(drawn) / 2, (learnt, drawn)


def test_a_bayesian_search_tries_nothing_twice_while_there_is_something_else():
    ranges = {"CategoricalParameterRanges": [{"Name": "loss", "Values": ["a", "b", "c", "d"]}]}
    found, trials = search.of(config("Bayesian", ranges=ranges)), [Trial({"loss": v}, 1.0) for v in "aabbc"]
    assert found.next(trials) == {"loss": "d"}
    assert found.next([*trials, Trial({"loss": "d"}, 0.5)])["loss"] in "abcd"


def test_a_grid_ends():
    ranges = {
        "CategoricalParameterRanges": [{"Name": "x", "Values": ["1", "2"]}, {"Name": "y", "Values": ["3"]}]
    }
    found = search.of(config("Grid", ranges=ranges))
    assert [found.next([]) for _ in range(3)] == [{"x": "1", "y": "3"}, {"x": "2", "y": "3"}, None]
