"""Which hyperparameters a tuning job tries next: by a grid, at random, or by Bayesian optimisation.

SageMaker does not say how its Bayesian search works in detail ("Gaussian processes", its guide). This one is
the textbook's: a Gaussian process over the unit cube (Matern 5/2, scikit-learn's), and of many random points
the one with the greatest expected improvement (Jones, Schonlau, Welch 1998).
"""

import itertools
import math
import random
import warnings
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from .store import Record

Drawn = dict[str, str]  # values as the strings that hyperparameters are
POINTS = 512  # among which the improvement is greatest


class Trial(NamedTuple):
    """What was tried, and what came of it; None while that is not known."""

    drawn: Drawn
    value: float | None


class Search(Protocol):
    def next(self, trials: list[Trial]) -> Drawn | None:
        """The values to try after `trials`; None where there are no others."""


def of(config: Record) -> Search:
    """The search that a HyperParameterTuningJobConfig describes."""
    strategy = {"Grid": Grid, "Random": Random, "Bayesian": Bayesian}[config["Strategy"]]
    return strategy(config)


class Grid:
    """Each combination of the values once."""

    def __init__(self, config: Record) -> None:
        ranges = _ranges(config, "Categorical")
        combinations = itertools.product(*(item["Values"] for item in ranges))
        names = [item["Name"] for item in ranges]
        self._left: Iterator[Drawn] = (dict(zip(names, each, strict=True)) for each in combinations)

    def next(self, trials: list[Trial]) -> Drawn | None:
        return next(self._left, None)


class Random:
    """Values from all over the ranges, each on its own scale."""

    def __init__(self, config: Record) -> None:
        self._cube, self._source = Cube(config), random.Random(config.get("RandomSeed"))

    def next(self, trials: list[Trial]) -> Drawn:
        return self._cube.values([self._source.random() for _ in range(self._cube.size)])


class Bayesian:
    """At random until there is something to learn from; then where most is to be gained."""

    def __init__(self, config: Record) -> None:
        self._cube, self._source = Cube(config), random.Random(config.get("RandomSeed"))
        self._sign = 1 if config["HyperParameterTuningJobObjective"]["Type"] == "Maximize" else -1
        # As many as it takes for a length in each direction to mean something.
        self._first = sum(map(len, config.get("ParameterRanges", {}).values())) + 2

    def next(self, trials: list[Trial]) -> Drawn:
        points = [[self._source.random() for _ in range(self._cube.size)] for _ in range(POINTS)]
        known = [trial.value for trial in trials if trial.value is not None]
        if len(known) < self._first:
            return self._cube.values(points[0])
        # What still runs counts as average, so that the same place is not tried twice meanwhile.
        usual = sum(known) / len(known)
        tried = [self._cube.point(trial.drawn) for trial in trials]
        values = [self._sign * (usual if trial.value is None else trial.value) for trial in trials]
        drawn = [self._cube.values(point) for point in points]
        before = [trial.drawn for trial in trials]
        candidates = [each for each in drawn if each not in before] or drawn
        gains = improvements(tried, values, [self._cube.point(each) for each in candidates])
        return candidates[max(range(len(candidates)), key=gains.__getitem__)]


def improvements(tried: list[list[float]], values: list[float], points: list[list[float]]) -> list[float]:
    """The expected improvement at each point over the greatest of `values`, in their unit."""
    # Here and not above: only a Bayesian search needs what takes a second to import.
    from scipy.stats import norm
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern, WhiteKernel

    kernel = Matern([0.5] * len(points[0]), (0.05, 20), nu=2.5) + WhiteKernel(1e-2, (1e-5, 1))
    process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound: a direction of no effect
        process.fit(tried, values)
    mean, deviation = process.predict(points, return_std=True)
    gain, deviation = mean - max(values), deviation + 1e-12
    return list(gain * norm.cdf(gain / deviation) + deviation * norm.pdf(gain / deviation))


class Cube:
    """The ranges as a unit cube: a dimension for each number on its scale, one for each value of a choice."""

    def __init__(self, config: Record) -> None:
        self._choices = {item["Name"]: item["Values"] for item in _ranges(config, "Categorical")}
        self._integers = {item["Name"] for item in _ranges(config, "Integer")}
        self._numbers: dict[str, tuple[float, float, str]] = {}
        for item in [*_ranges(config, "Continuous"), *_ranges(config, "Integer")]:
            # Each integer stands for the interval around it, so that the ends are as likely as the rest.
            wide = 0.499 if item["Name"] in self._integers else 0.0
            ends = float(item["MinValue"]) - wide, float(item["MaxValue"]) + wide
            self._numbers[item["Name"]] = (*ends, item.get("ScalingType", "Auto"))
        self.size = len(self._numbers) + sum(map(len, self._choices.values()))

    def values(self, point: list[float]) -> Drawn:
        """What stands at a point; of a choice the value whose coordinate is the greatest."""
        rest, drawn = iter(point), {}
        for name, (low, high, scaling) in self._numbers.items():
            inner, outer = _SCALES.get(scaling, _SCALES["Linear"])
            start, end = inner(low), inner(high)
            value = min(high, max(low, outer(start + next(rest) * (end - start))))
            drawn[name] = str(round(value)) if name in self._integers else repr(value)
        for name, values in self._choices.items():
            drawn[name] = max((next(rest), value) for value in values)[1]
        return drawn

    def point(self, drawn: Drawn) -> list[float]:
        """Where the values stand; a choice is 1 in its value's dimension and 0 in the others."""
        point = []
        for name, (low, high, scaling) in self._numbers.items():
            inner, _ = _SCALES.get(scaling, _SCALES["Linear"])
            start, end = inner(low), inner(high)
            point.append((inner(float(drawn[name])) - start) / ((end - start) or 1.0))
        for name, values in self._choices.items():
            point += [float(drawn[name] == value) for value in values]
        return point


# There and back. `Auto`, for which SageMaker chooses, is linear here.
_SCALES = {
    "Linear": (lambda value: value, lambda value: value),
    "Logarithmic": (math.log, math.exp),
    "ReverseLogarithmic": (lambda value: -math.log(1 - value), lambda value: 1 - math.exp(-value)),
}


def _ranges(config: Record, kind: str) -> list[Record]:
    return config.get("ParameterRanges", {}).get(f"{kind}ParameterRanges", [])
