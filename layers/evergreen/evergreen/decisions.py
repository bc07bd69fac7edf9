"""The decisions of the loop as pure functions of records: may this train, is the challenger better, what does
a signal call for. Each answers with a reason that a person can check. No clock is read here: a signal is
judged at its own time, however late it is delivered."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from . import metrics, times
from .units import spoken

DAY = timedelta(days=1)
QUALITY_CHECK = "model_quality_check"


@dataclass(frozen=True)
class Judgement:
    """Whether a challenger passed its gate, why, and its metrics as plain values."""

    passed: bool
    reason: str
    values: dict[str, float]


@dataclass(frozen=True)
class Signal:
    """Something that may call for an answer. `violations` are Model Monitor's, each with at least
    `constraint_check_type`; `version` is that of the model it was seen on."""

    kind: str  # violation or alarm
    at: datetime
    version: int | None = None
    violations: Sequence[dict[str, Any]] = ()
    labelled: int = 0
    deployment: str = ""
    name: str = ""


@dataclass(frozen=True)
class Situation:
    """What the ledger knows when a signal is judged. `trainings` are the times at which runs were admitted or
    asked for; `violated_before` counts the windows right before this one, of the same model, that had
    violations."""

    champion: dict[str, Any] | None
    trainings: Sequence[datetime] = ()
    running: str = ""
    violated_before: int = 0
    deploying: str = ""


@dataclass(frozen=True)
class Answer:
    """`action` is retrain, rollback, notify or leave."""

    action: str
    reason: str


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


def may_train(kind: str, retrain: dict[str, Any], at: datetime, trainings: Iterable[datetime]) -> str:
    """Why a cause of this kind may not train at `at`; empty where it may. A person, a program, new code and
    the schedule always may; a signal was weighed by respond; new data must keep the cool-down and the day's
    budget."""
    if kind in ("violation", "data") and kind not in retrain["on"]:
        return f"model.yaml does not retrain on {kind} (retrain.on: [{', '.join(retrain['on'])}])"
    if kind == "data":
        return _too_soon(retrain, at, trainings)
    return ""


def assess(signal: Signal, spec: dict[str, Any], now: Situation) -> Answer:
    """What a signal calls for."""
    if not now.champion:
        return Answer("leave", "no model is in service yet")
    if signal.kind == "alarm":
        return _assess_alarm(signal, spec["ship"], now)
    return _assess_violation(signal, spec, now)


def _assess_alarm(signal: Signal, ship: dict[str, Any], now: Situation) -> Answer:
    champion = now.champion or {}
    if signal.deployment != champion["deployment"]:
        if signal.deployment == now.deploying:
            return Answer("leave", f"{signal.name}: the deployment under way rolls back by itself")
        return Answer("leave", f"{signal.name} watches {signal.deployment}, which is not in service")
    since = signal.at - times.parse(champion["promoted_at"])
    seen = f"{signal.name} went off {_ago(since)} after version {champion['version']} came into service"
    if since > times.seconds(ship["probation"]):
        return Answer("notify", f"{seen}, past its probation of {spoken(ship['probation'])}")
    if not champion.get("previous"):
        return Answer("notify", f"{seen}, and there is no version before it to return to")
    if now.deploying:
        return Answer("notify", f"{seen}, but {now.deploying} is being deployed")
    return Answer("rollback", f"{seen}, within its probation of {spoken(ship['probation'])}")


def _assess_violation(signal: Signal, spec: dict[str, Any], now: Situation) -> Answer:
    retrain, champion = spec["retrain"], now.champion or {}
    seen = describe(signal.violations)
    if signal.version is not None and signal.version != champion["version"]:
        return Answer(
            "leave", f"{seen} on version {signal.version}; version {champion['version']} has replaced it"
        )
    if now.running:
        return Answer("leave", f"{seen}; run {now.running} is training already")
    if "violation" not in retrain["on"]:
        return Answer("notify", f"{seen}; model.yaml does not retrain on violations")
    weak = _too_weak(signal, spec, now)
    if weak:
        return Answer("notify", f"{seen}; {weak}")
    soon = _too_soon(retrain, signal.at, now.trainings)
    if soon:
        return Answer("leave", f"{seen}; {soon}")
    return Answer("retrain", seen)


def _too_weak(signal: Signal, spec: dict[str, Any], now: Situation) -> str:
    """A loss of quality, seen on enough labels, speaks for itself; anything else must repeat."""
    of_quality = any(found["constraint_check_type"] == QUALITY_CHECK for found in signal.violations)
    wanted = (spec["monitor"]["quality"] or {}).get("min_labels", 0)
    if of_quality and signal.labelled >= wanted:
        return ""
    windows, repeat = now.violated_before + 1, spec["retrain"]["repeat"]
    if windows >= repeat:
        return ""
    few = f"{signal.labelled} labels are fewer than {wanted}, and " if of_quality else ""
    return f"{few}this is window {windows} in a row of the {repeat} it takes to retrain"


def _too_soon(retrain: dict[str, Any], at: datetime, trainings: Iterable[datetime]) -> str:
    trainings = sorted(trainings)
    if trainings and trainings[-1] > at:
        return f"a training of {times.iso(trainings[-1])} came after it"
    cool_down = times.seconds(retrain["cool_down"])
    if trainings and at - trainings[-1] < cool_down:
        left = f"{_ago(at - trainings[-1])} after the last training"
        return f"{left}, within the cool-down of {spoken(retrain['cool_down'])}"
    today = sum(1 for training in trainings if at - training < DAY)
    if today >= retrain["per_day"]:
        return f"{today} trainings in 24 hours use up the budget of {retrain['per_day']}"
    return ""


def describe(violations: Sequence[dict[str, Any]]) -> str:
    """The first violations in a line, quality before everything else."""
    if not violations:
        return "violations without details"
    ordered = first_things_first(violations)
    shown = [_said(found) for found in ordered]
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
    return "; ".join(shown[:3]) + more


def first_things_first(violations: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Loss of quality, then what breaks a model (schema, completeness), then drift; the largest excess
    first."""
    order = {QUALITY_CHECK: 0, "missing_column_check": 1, "data_type_check": 1, "completeness_check": 2}

    def rank(found: dict[str, Any]) -> tuple[int, float, str]:
        value, threshold = found.get("value"), found.get("threshold")
        excess = (
            abs(value - threshold)
            if isinstance(value, int | float) and isinstance(threshold, int | float)
            else 0
        )
        return order.get(found["constraint_check_type"], 3), -excess, str(found.get("feature_name"))

    return sorted(violations, key=rank)


def _said(found: dict[str, Any]) -> str:
    return f"{found.get('feature_name')}: {found.get('description') or found['constraint_check_type']}"


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


def _ago(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours / 24:.1f} days" if abs(hours) >= 48 else f"{hours:.1f} h"
