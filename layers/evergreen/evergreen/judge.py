"""Is the challenger good enough, and better than the champion? The gate of model.yaml over the figures of
jobs/evaluate, as a pure function with a reason that a person can check."""

from dataclasses import dataclass
from typing import Any

from . import metrics


@dataclass(frozen=True)
class Judgement:
    """Whether a challenger passed its gate, why, and its metrics as plain values."""

    passed: bool
    reason: str
    values: dict[str, float]


def judge(evaluation: dict[str, Any], task: str, gate: dict[str, Any]) -> Judgement:
    """The gate of model.yaml over the figures of jobs/evaluate: enough rows, over the floor, better than the
    champion on the same rows by the margin, and on no slice much worse."""
    name, metric = gate["primary"], metrics.TASKS[task][gate["primary"]]
    found = evaluation["challenger"]["metrics"]
    values = {key: figure["value"] for key, figure in found.items() if figure.get("value") is not None}
    rows = evaluation["rows"]
    if rows < gate["min_rows"]:
        return Judgement(
            False, f"{rows} held-out rows are fewer than gate.min_rows, {gate['min_rows']}", values
        )
    if name not in values:
        return Judgement(False, f"{name} could not be computed on the {rows} held-out rows", values)
    shown = f"{name} {_figure(found[name])} on {rows} held-out rows"
    if _gain(metric, values[name], gate["floor"]) < 0:
        limit = "floor" if metric.higher_is_better else "ceiling"
        return Judgement(False, f"{shown} misses the gate's {limit}, {gate['floor']:g}", values)
    champion = evaluation.get("champion")
    if not champion:
        return Judgement(True, f"{shown} passes the gate's floor, {gate['floor']:g}; no champion yet", values)
    against = champion["metrics"].get(name) or {}
    if against.get("value") is None:
        return Judgement(False, f"{shown}: the champion's {name} could not be computed to compare", values)
    gain = _gain(metric, values[name], against["value"])
    versus = f"{shown} against the champion's {_figure(against)}"
    if gain <= gate["margin"]:
        wanted = f"by more than {gate['margin']:g}" if gate["margin"] else "at all"
        return Judgement(False, f"{versus}: it is not better {wanted} ({gain:+.4f})", values)
    worst = _worst_slice(evaluation, name, metric, gate)
    if worst:
        return Judgement(False, f"{versus}, but {worst}", values)
    return Judgement(True, f"{versus}: better by {gain:.4f}", values)


def _gain(metric: metrics.Metric, value: float, reference: float) -> float:
    return value - reference if metric.higher_is_better else reference - value


def _worst_slice(evaluation: dict[str, Any], name: str, metric: metrics.Metric, gate: dict[str, Any]) -> str:
    """The slice on which the challenger falls behind the champion by more than gate.slice_drop, in words."""
    losses = []
    for column in gate["slices"]:
        before = evaluation["champion"].get("slices", {}).get(column, {})
        for value, part in evaluation["challenger"].get("slices", {}).get(column, {}).items():
            now, then = (
                side.get("metrics", {}).get(name, {}).get("value") for side in (part, before.get(value, {}))
            )
            if part["rows"] >= gate["slice_rows"] and now is not None and then is not None:
                losses.append((_gain(metric, now, then), f"{column}={value}", now, then))
    if not losses or min(losses)[0] >= -gate["slice_drop"]:
        return ""
    gain, where, now, then = min(losses)
    return (
        f"on {where} it falls from {then:.4f} to {now:.4f}, by more than {gate['slice_drop']:g} ({gain:+.4f})"
    )


def _figure(figure: dict[str, Any]) -> str:
    shown = f"{figure['value']:.4f}"
    if figure.get("low") is None or figure.get("high") is None:
        return shown
    return f"{shown} [{figure['low']:.4f}, {figure['high']:.4f}]"
