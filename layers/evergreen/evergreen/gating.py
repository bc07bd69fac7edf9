"""The `gate` section of model.yaml: what a challenger must show before it is registered. judge.py applies
it."""

from collections.abc import Callable, Iterator
from typing import Any

from . import metrics, units
from .schema import Key, list_of, mapping, mapping_of, scalar

HOUR, DAY = 3600, 86400
# Of jobs/monitor/bias_metrics: those of predictions, of which chance can be told.
BIAS_METRICS = ("DPPL", "DI", "AD", "RD", "SD", "DAR", "DRR")
# In the unit of what is predicted, so that no loss of it is small or large by itself.
UNBOUNDED = ("rmse", "mae")

_column = scalar(units.text(r"\S.*", "a column's name"))
_rows = scalar(units.integer(1, 10**9))
_bias = mapping(
    {
        "limits": Key(mapping_of(scalar(units.number(0)))),
        "min_rows": Key(_rows, 100),
    }
)
SECTION = mapping(
    {
        "primary": Key(scalar(units.text(r"\w+", "a metric's name"))),
        "floor": Key(scalar(units.number())),
        "margin": Key(scalar(units.number()), 0.0),
        "confidence": Key(scalar(units.number(0.5, 0.999)), 0.9),
        "holdout": Key(scalar(units.duration(HOUR, 3650 * DAY))),
        "min_rows": Key(_rows, 200),
        "slices": Key(list_of(_column), []),
        "slice_drop": Key(scalar(units.number(0)), 0.05),
        "slice_rows": Key(_rows, 200),
        "bias": Key(_bias, None),
        "latency_p99": Key(scalar(units.duration(0.001, 60)), None),
        "size": Key(scalar(units.size), None),
        "approval": Key(scalar(units.choice(("auto", "person"))), "person"),
    }
)


def contradictions(
    gate: dict[str, Any], spec: dict[str, Any], given: Callable[[str], bool]
) -> Iterator[tuple[str, str]]:
    """What is well formed and cannot be meant: (path, reason) pairs. A part that has a mistake is None.
    `given`: whether a path is written in the file."""
    known = metrics.TASKS[spec["task"]]
    name = gate["primary"]
    if name and name not in known:
        yield "gate.primary", f"{name!r} is not a metric of {spec['task']}: one of {', '.join(known)}"
    metric = known.get(name or "")
    if metric and gate["floor"] is not None and not metric.low <= gate["floor"] <= metric.high:
        yield "gate.floor", f"{gate['floor']:g} is not {metric.bounds()}"
    if name == "recall":
        fix = "take f1 or pr_auc, which a false alarm costs something"
        yield "gate.primary", f"recall is 1 where every row is called positive, and nothing beats that: {fix}"
    if metric and name in UNBOUNDED and gate["slices"] and not given("gate.slice_drop"):
        yield "gate.slices", f"say in gate.slice_drop how much {name} a slice may lose, in its own unit"
    if gate["bias"]:
        yield from _bias_contradictions(gate["bias"], spec)


def _bias_contradictions(bias: dict[str, Any], spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    watched = (spec["monitor"] or {}).get("bias") or {}
    for name, limit in (bias["limits"] or {}).items():
        if name not in BIAS_METRICS:
            yield f"gate.bias.limits.{name}", f"is not a limit of the gate: one of {', '.join(BIAS_METRICS)}"
        elif name == "DI" and limit is not None and limit > 1:
            fix = "give the smaller of the two ratios: 0.8 allows 0.8 to 1.25"
            yield "gate.bias.limits.DI", f"{limit:g} is more than 1, where there is no bias: {fix}"
    if not spec["protected"] and not watched.get("facets"):
        yield "gate.bias", "has no group to compare: name columns in `protected`"
    if spec["task"] != "binary_classification" and watched.get("positive") is None:
        fix = "say in monitor.bias.positive which outcome is meant"
        yield "gate.bias", f"a {spec['task']} has no positive outcome of its own: {fix}"
