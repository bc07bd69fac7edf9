"""Is the challenger good enough, better than the champion, and fair, fast and small enough? The gate of
model.yaml over the figures of jobs/evaluate, as pure functions: every check is made, each with its figure,
its limit and where it lies, so that a person can check the verdict. docs/judging.md explains each.

Two rules carry the statistics. What the challenger gains must be shown: the lower end of the one-sided
interval of the paired difference at `gate.confidence` counts, not the value. What it must not lose or may not
exceed (slices, bias) is refused where the value lies beyond the limit and chance alone does not explain it,
at the same confidence over all slices or groups together (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from . import metrics, times, units

# So many failed checks are told in the reason, and listed of each column and metric. Step Functions hands a
# state 256 KB at most, and nothing catches more.
WORST = 5


@dataclass(frozen=True)
class Check:
    """One condition of the gate. `figure` (None where it could not be measured) against `limit`, in the
    metric's own unit; `rows` it rests on; `where`: the slice or group; `text`: all of it in a sentence."""

    check: str
    passed: bool
    text: str
    figure: float | None
    limit: float | None
    rows: int
    where: str = ""
    metric: str = ""


@dataclass(frozen=True)
class Judgement:
    """Whether a challenger passed its gate, why, its metrics as plain values, and every check."""

    passed: bool
    reason: str
    values: dict[str, float]
    checks: tuple[Check, ...]

    def listed(self) -> list[dict[str, Any]]:
        """The checks as plain data, for the ledger: of each column and metric the worst, and how many more
        failed. What passed is one of each."""
        listed = []
        for (kind, metric, column), found in groupby(self.checks, _kind):
            checks = list(found)
            listed += checks[:WORST]
            if left := checks[WORST:]:
                text = f"{metric} of {len(left)} more of {column} lies beyond the limit (evaluation.json)"
                rows = sum(check.rows for check in left)
                listed.append(Check(kind, False, text, None, left[0].limit, rows, column, metric))
        return [asdict(check) for check in listed]


def judge(evaluation: dict[str, Any], task: str, gate: dict[str, Any], watched: str = "") -> Judgement:
    """The gate of model.yaml over evaluation.json. It passes where every check does. `watched`: the metric of
    `monitor.quality`, where there is one."""
    name = gate["primary"]
    metric = metrics.TASKS[task][name]
    found = evaluation["challenger"]["metrics"]
    checks = [
        _rows(evaluation, gate),
        _newer(evaluation),
        _floor(evaluation, name, metric, gate["floor"]),
        _beaten(evaluation, name, gate["margin"]),
        *_watchable(evaluation, watched),
        *_slices(evaluation, name, gate),
        *_bias(evaluation, gate),
        *_serving(evaluation, gate),
    ]
    failed = [check.text for check in checks if not check.passed]
    values = {key: figure["value"] for key, figure in found.items() if figure["value"] is not None}
    told = [check.text for check in checks if check.check in ("floor", "champion", "constant")]
    left = len(failed) - WORST
    more = [f"and {left} more checks failed"] if left > 0 else []
    reason = "; ".join([*failed[:WORST], *more] or told)
    return Judgement(not failed, reason, values, tuple(checks))


def _kind(check: Check) -> tuple[str, str, str]:
    """What checks of a column's values, by one metric, have in common."""
    return check.check, check.metric, check.where.partition("=")[0]


def _rows(evaluation: dict[str, Any], gate: dict[str, Any]) -> Check:
    rows, least = evaluation["rows"], gate["min_rows"]
    passed = rows >= least
    text = f"{rows:,} held-out rows are {'enough' if passed else 'fewer'}: gate.min_rows is {least:,}"
    return Check("rows", passed, text, rows, least, rows)


def _newer(evaluation: dict[str, Any]) -> Check:
    """The exam is fair: neither model has seen its rows, nor any that are newer."""
    trained = evaluation["trained_until"]
    begins = times.parse(evaluation["from"])
    late = [who for who, until in trained.items() if until and times.parse(until) >= begins]
    text = f"the holdout begins at {evaluation['from']}, after all that either model was trained on"
    if late:
        text = (
            f"the holdout begins at {evaluation['from']}, but the {late[0]} was trained on rows until "
            f"{trained[late[0]]}: it may have seen the answers"
        )
    return Check("newer", not late, text, None, None, evaluation["rows"])


def _floor(evaluation: dict[str, Any], name: str, metric: metrics.Metric, floor: float) -> Check:
    figure, rows = evaluation["challenger"]["metrics"][name], evaluation["rows"]
    value = figure["value"]
    if value is None:
        return Check("floor", False, _undefined(evaluation, name), None, floor, rows, metric=name)
    passed = value >= floor if metric.higher_is_better else value <= floor
    limit = "floor" if metric.higher_is_better else "ceiling"
    verb = "passes" if passed else "misses"
    text = f"{name} {_interval(figure)} on {rows:,} held-out rows {verb} the gate's {limit}, {floor:g}"
    return Check("floor", passed, text, value, floor, rows, metric=name)


def _beaten(evaluation: dict[str, Any], name: str, margin: float) -> Check:
    """Whether the gain over the champion is shown to exceed `margin`; over the best constant prediction where
    there is no champion."""
    other = "champion" if evaluation["champion"] else "constant"
    who = f"the {other}" if evaluation["champion"] else "the best constant prediction"
    gain, rows = evaluation["gains"][other], evaluation["rows"]
    theirs = evaluation[other]["metrics"][name]["value"]
    if gain["at_least"] is None:
        text = f"the gain in {name} over {who} could not be computed on {rows:,} held-out rows"
        return Check(other, False, text, None, margin, rows, metric=name)
    passed = gain["at_least"] > margin
    verb = "beats" if passed else "is not shown to beat"
    text = (
        f"it {verb} {who}, {theirs:.4f} on the same rows, by more than {margin:g}: {gain['value']:+z.4f}, "
        f"at least {gain['at_least']:+z.4f} with {100 * evaluation['confidence']:g} % confidence"
    )
    return Check(other, passed, text, gain["at_least"], margin, rows, metric=name)


def _watchable(evaluation: dict[str, Any], watched: str) -> Iterable[Check]:
    """Windows are held to what the metric was on the holdout: were it nothing, no loss would be told."""
    is_other = watched and watched != evaluation["primary"]
    if is_other and evaluation["challenger"]["metrics"][watched]["value"] is None:
        text = f"{_undefined(evaluation, watched)}, and monitor.quality watches the model by it"
        yield Check("watched", False, text, None, None, evaluation["rows"], metric=watched)


def _undefined(evaluation: dict[str, Any], name: str) -> str:
    """That there is no such figure, and the first that the evaluation says of why."""
    why = f" ({evaluation['notes'][0]})" if evaluation["notes"] else ""
    return f"{name} could not be computed on the {evaluation['rows']:,} held-out rows{why}"


def _slices(evaluation: dict[str, Any], name: str, gate: dict[str, Any]) -> Iterable[Check]:
    """Against the champion: of each column the slice that loses most, and any other that loses too much."""
    if not evaluation["champion"]:
        return
    parts = [
        (column, value, part)
        for column, values in evaluation["gains"]["slices"].items()
        for value, part in values.items()
        if part["rows"] >= gate["slice_rows"] and part["value"] is not None and part["chance"] is not None
    ]
    by_chance = (1 - evaluation["confidence"]) / max(len(parts), 1)
    for column in gate["slices"]:
        limit = gate["slice_drop"]
        judged = [
            _slice(f"{column}={value}", part, name, limit, by_chance)
            for of, value, part in parts
            if of == column
        ]
        if not judged:
            text = f"{column} was not compared: no value has gate.slice_rows, {gate['slice_rows']:,}, rows"
            yield Check("slices", True, text, None, limit, evaluation["rows"], column, name)
        yield from _telling(judged)


def _slice(where: str, part: dict[str, Any], name: str, limit: float, by_chance: float) -> Check:
    loss = -part["value"]
    failed = loss > limit and part["chance"] < by_chance
    lost = f"loses {loss:.4f}" if loss > 0 else f"gains {-loss:.4f}"
    text = f"on {where}, {part['rows']:,} rows, it {lost} of {name}: {limit:g} may be lost"
    if loss > limit:
        text += f"; a chance of {part['chance']:.2g} where nothing is lost, {by_chance:.2g} would pass"
    return Check("slices", not failed, text, loss, limit, part["rows"], where, name)


def _bias(evaluation: dict[str, Any], gate: dict[str, Any]) -> Iterable[Check]:
    """Of each metric the group that lies farthest, and any other beyond the limit."""
    if not gate["bias"]:
        return
    limits, least = gate["bias"]["limits"], gate["bias"]["min_rows"]
    figures = [
        (metric, group, found)
        for group, found in evaluation["challenger"]["bias"].items()
        if min(found["rows"], found["rest"]) >= least
        for metric in found["metrics"]
        if metric in limits
    ]
    by_chance = (1 - evaluation["confidence"]) / max(len(figures), 1)
    for metric, limit in limits.items():
        judged = [
            _group(metric, group, found, limit, by_chance) for name, group, found in figures if name == metric
        ]
        if not judged:
            text = f"{metric} was not measured: no group has gate.bias.min_rows, {least:,}, rows"
            yield Check("bias", True, text, None, limit, evaluation["rows"], metric=metric)
        yield from _telling(judged, least=metric == "DI")


def _group(metric: str, group: str, found: dict[str, Any], limit: float, by_chance: float) -> Check:
    """`limit`: the largest distance from 0, or the smallest disparate impact, of which 1/r is as bad as r."""
    figure = found["metrics"][metric]
    value, chance = figure["value"], figure["chance"]
    if metric == "DI":
        distance = min(value, 1 / value) if value > 0 else 0.0
        beyond, allowed = distance < limit, f"{limit:g} to {1 / limit:g}" if limit else "any"
    else:
        distance = abs(value)
        beyond, allowed = distance > limit, f"-{limit:g} to {limit:g}"
    failed = beyond and chance is not None and chance < by_chance
    text = f"{metric} of {group} is {value:.3f} on {found['rows']:,} rows, {allowed} is allowed"
    if beyond:
        text += f"; a chance of {_shown(chance)} where there is no bias, {by_chance:.2g} would pass"
    return Check("bias", not failed, text, distance, limit, found["rows"], group, metric)


def _telling(judged: list[Check], *, least: bool = False) -> list[Check]:
    """Those that failed, by column, the worst first; the worst where none did. `least`: it has the smallest
    figure."""
    ordered = sorted(judged, key=lambda check: check.figure, reverse=not least)
    failed = [check for check in ordered if not check.passed]
    return sorted(failed, key=_kind) or ordered[:1]


def _serving(evaluation: dict[str, Any], gate: dict[str, Any]) -> Iterable[Check]:
    """Limits on what was measured of the serving container."""
    measured = evaluation["serving"]["challenger"]
    if gate["latency_p99"] is not None:
        taken, limit = measured["p99_ms"] / 1000, gate["latency_p99"]
        text = (
            f"99 % of {measured['requests']} requests were answered within {units.spoken(taken)}, "
            f"{units.spoken(limit)} is allowed"
        )
        yield Check("latency_p99", taken <= limit, text, taken, limit, measured["requests"])
    if gate["size"] is not None:
        size, limit = measured["artifact_bytes"], gate["size"]
        text = f"model.tar.gz has {units.sized(size)}, {units.sized(limit)} is allowed"
        yield Check("size", size <= limit, text, size, limit, evaluation["rows"])


def _interval(figure: dict[str, Any]) -> str:
    shown = f"{figure['value']:.4f}"
    if figure["low"] is None or figure["high"] is None:
        return shown
    return f"{shown} [{figure['low']:.4f}, {figure['high']:.4f}]"


def _shown(chance: float | None) -> str:
    return "unknown size" if chance is None else f"{chance:.2g}"
