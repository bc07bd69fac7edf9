"""The `train.tune` section of model.yaml: what a SageMaker tuning job searches, and for which metric.

The limits are those of CreateHyperParameterTuningJob and of AWS's "Resource Limits for Automatic Model
Tuning", which would refuse the job after the data has been prepared. `config` is the request's
HyperParameterTuningJobConfig.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from . import metrics, units
from .schema import Key, Mistake, list_of, mapping, mapping_of, scalar

STRATEGIES = {"bayesian": "Bayesian", "random": "Random", "grid": "Grid"}
SCALES = {
    "auto": "Auto",
    "linear": "Linear",
    "log": "Logarithmic",
    "reverse_log": "ReverseLogarithmic",
}
GOALS = {"maximize": "Maximize", "minimize": "Minimize"}
MOST_JOBS, MOST_PARALLEL, MOST_RANGES, MOST_VALUES = 750, 100, 30, 30
# Of SageMaker's 100, static and searched ones together, less the one by which it names the objective and the
# two by which the training toolkit finds the script.
MOST_HYPERPARAMETERS = 97
# Seconds: the state TuneModel ends after 23 h, an hour of which is for instances to start.
LONGEST = 22 * 3600
# What a script prints of a metric of the gate: `validation:log_loss=0.412`
PRINTED = r"validation:{name}=([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"


def _pattern(value: Any) -> str:
    """A regular expression with the group that SageMaker reads the value from."""
    text = units.text(r".{1,500}", "a regular expression of at most 500 characters")(value)
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"{text!r} has {groups} groups: one is needed, the value, such as loss=([0-9.]+)")
    return text


def _metric(node: yaml.Node, path: str, mistakes: list[Mistake]) -> Any:
    """`metric: log_loss` is short for what a script prints of a metric of the task."""
    if node.id != "scalar":
        return _printed(node, path, mistakes)
    return scalar(units.text(r"\w+", "a metric's name"))(node, path, mistakes)


def _range(node: yaml.Node, path: str, mistakes: list[Mistake]) -> Any:
    """`loss: [a, b]` is short for a choice; anything else lies between `min` and `max`."""
    if node.id != "sequence":
        return _interval(node, path, mistakes)
    values = list_of(scalar(units.anything))(node, path, mistakes)
    if None in values:
        return None
    return {"type": "choice", "values": [str(value) for value in values]}


_printed = mapping(
    {
        "name": Key(scalar(units.text(r".{1,255}", "a metric's name"))),
        "regex": Key(scalar(_pattern)),
        "goal": Key(scalar(units.choice(tuple(GOALS)))),
    }
)
_interval = mapping(
    {
        "type": Key(scalar(units.choice(("number", "integer"))), None),
        "min": Key(scalar(units.number())),
        "max": Key(scalar(units.number())),
        "scale": Key(scalar(units.choice(tuple(SCALES))), "auto"),
    }
)
SECTION = mapping(
    {
        "strategy": Key(scalar(units.choice(tuple(STRATEGIES))), "bayesian"),
        "metric": Key(_metric, None),
        "ranges": Key(mapping_of(_range)),
        "jobs": Key(scalar(units.integer(1, MOST_JOBS)), None),
        "parallel": Key(scalar(units.integer(1, MOST_PARALLEL)), 1),
        "early_stopping": Key(scalar(units.boolean), False),
    }
)


def jobs(tune: dict[str, Any] | None) -> int:
    """How many training jobs a run has, at most; one where nothing is tuned."""
    if not tune:
        return 1
    if tune["strategy"] == "grid":
        found = [part for part in (tune["ranges"] or {}).values() if part and part["type"] == "choice"]
        return math.prod(len(part["values"]) for part in found)
    return tune["jobs"] or 1


def parallel(tune: dict[str, Any] | None) -> int:
    """How many of them run at once."""
    return min(tune["parallel"] or 1, jobs(tune)) if tune else 1


def longest(train: dict[str, Any]) -> float:
    """Seconds that its training jobs may take, as many at once as `parallel` says."""
    return -(-jobs(train.get("tune")) // parallel(train.get("tune"))) * train["timeout"]


def metric(tune: dict[str, Any], primary: str, task: str) -> dict[str, str]:
    """{name, regex, goal} of what is tuned: a metric of the task, the gate's own unless another is named, or
    what model.yaml describes."""
    name = tune["metric"] or primary
    if isinstance(name, dict):
        return name
    goal = "maximize" if metrics.TASKS[task][name].higher_is_better else "minimize"
    return {"name": f"validation:{name}", "regex": PRINTED.format(name=name), "goal": goal}


def config(tune: dict[str, Any], objective: dict[str, str]) -> dict[str, Any]:
    """HyperParameterTuningJobConfig. `objective` as `metric` gives it."""
    ranges: dict[str, list[dict[str, Any]]] = {}
    for name, found in tune["ranges"].items():
        if found["type"] == "choice":
            part = ranges.setdefault("CategoricalParameterRanges", [])
            part.append({"Name": name, "Values": found["values"]})
        else:
            kind = "IntegerParameterRanges" if found["type"] == "integer" else "ContinuousParameterRanges"
            ends = {"MinValue": str(found["min"]), "MaxValue": str(found["max"])}
            part = ranges.setdefault(kind, [])
            part.append({"Name": name, **ends, "ScalingType": SCALES[found["scale"]]})
    return {
        "Strategy": STRATEGIES[tune["strategy"]],
        "HyperParameterTuningJobObjective": {
            "Type": GOALS[objective["goal"]],
            "MetricName": objective["name"],
        },
        "ResourceLimits": {"MaxNumberOfTrainingJobs": jobs(tune), "MaxParallelTrainingJobs": parallel(tune)},
        "ParameterRanges": ranges,
        "TrainingJobEarlyStoppingType": "Auto" if tune["early_stopping"] else "Off",
        "RandomSeed": 7,  # the same run again searches the same values, as far as SageMaker can
    }


def contradictions(train: dict[str, Any], task: str | None) -> Iterator[tuple[str, str]]:
    """What is well formed and cannot be tuned: (path, reason) pairs. A part that has a mistake is None."""
    tune = train["tune"]
    fixed, ranges = train["hyperparameters"] or {}, tune["ranges"] or {}
    if tune["ranges"] == {}:
        yield "train.tune.ranges", "names no hyperparameter"
    if len(ranges) > MOST_RANGES:
        yield (
            "train.tune.ranges",
            f"{len(ranges)} hyperparameters are more than the {MOST_RANGES} of a search",
        )
    count = len(ranges) + len(fixed)
    if count > MOST_HYPERPARAMETERS:
        most = f"{MOST_HYPERPARAMETERS} that a tuned script may have"
        yield "train.hyperparameters", f"{count} with those of train.tune.ranges are more than the {most}"
    for name, found in ranges.items():
        path = f"train.tune.ranges.{name}"
        if name in fixed:
            yield path, f"has a value under train.hyperparameters too, {fixed[name]}: take one of them out"
        if found:
            yield from _range_contradictions(path, found)
    if task and isinstance(tune["metric"], str) and tune["metric"] not in metrics.TASKS[task]:
        known = f"a metric of {task} ({', '.join(metrics.TASKS[task])})"
        fix = "describe what the script prints: {name, regex, goal}"
        yield "train.tune.metric", f"{tune['metric']!r} is not {known}: take one, or {fix}"
    if all(ranges.values()) and tune["strategy"]:
        yield from _count_contradictions(train)


def _range_contradictions(path: str, found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if found["type"] == "choice":
        if not 1 <= len(found["values"]) <= MOST_VALUES:
            yield path, f"{len(found['values'])} values are not between 1 and {MOST_VALUES}"
        elif len(set(found["values"])) < len(found["values"]):
            yield path, "names a value twice"
        return
    low, high, scale = found["min"], found["max"], found["scale"]
    if low is None or high is None:
        return
    whole = isinstance(low, int) and isinstance(high, int)
    if low >= high:
        yield f"{path}.min", f"{low:g} is not less than max, {high:g}"
    if found["type"] == "integer" and not whole:
        yield f"{path}.type", f"{low:g} and {high:g} are not both whole numbers"
    if found["type"] is None and whole:
        yield path, "has whole numbers for its ends: say type: integer or type: number"
    if scale == "log" and low <= 0:
        yield f"{path}.scale", f"log needs a min of more than 0, not {low:g}"
    if scale == "reverse_log" and (found["type"] == "integer" or low < 0 or high >= 1):
        yield f"{path}.scale", "reverse_log needs numbers from 0 to less than 1"


def _count_contradictions(train: dict[str, Any]) -> Iterator[tuple[str, str]]:
    tune, timeout = train["tune"], train["timeout"]
    kinds = {name: found["type"] for name, found in tune["ranges"].items()}
    if tune["strategy"] == "grid":
        for name, kind in kinds.items():
            if kind != "choice":
                yield (
                    f"train.tune.ranges.{name}",
                    "a grid is of lists of values: give some, or another strategy",
                )
        if set(kinds.values()) != {"choice"}:
            return
        if tune["jobs"] and tune["jobs"] != jobs(tune):
            yield "train.tune.jobs", f"{tune['jobs']} is not the {jobs(tune)} of the grid: leave it out"
        elif jobs(tune) > MOST_JOBS:
            yield "train.tune.ranges", f"a grid of {jobs(tune)} is more than the {MOST_JOBS} jobs of a search"
    elif tune["jobs"] is None:
        yield "train.tune.jobs", f"is missing: how many trainings a {tune['strategy']} search may make"
        return
    if not tune["parallel"]:
        return
    if tune["parallel"] > jobs(tune):
        yield "train.tune.parallel", f"{tune['parallel']} at once are more than all {jobs(tune)}"
    if timeout and longest(train) > LONGEST:
        last = f"{jobs(tune)} trainings of up to {units.spoken(timeout)}, {tune['parallel']} at a time"
        yield "train.tune.jobs", f"{last}, may take longer than a run may ({units.spoken(LONGEST)})"
