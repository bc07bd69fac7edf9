"""Has the model become less even between groups than it was at its baseline?

Every metric of bias_metrics is reported for every group with its 95 % interval. A verdict needs three
things: the metric moved away from where there is no bias by more than a floor; the move is larger than what
the baseline's own days differ by, over all groups and metrics together (max-T: one stated false-alarm rate
per window); and there are enough rows. Model Monitor's own rule (further from there than the baseline, by
however little) is written beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.contract import JobError
from jobs.monitor.bias_figures import by_group, plain, resampled
from jobs.monitor.bias_metrics import NAMES, neutral
from jobs.monitor.bias_null import Null
from jobs.monitor.groups import MAX_CLASSES, Layout, Outcome, facet_of, largest, with_stratum
from jobs.monitor.tally import Tally
from jobs.spec import BINARY, REGRESSION, Spec

CHECK = "bias_drift_check"
MIN_ROWS = 100  # of a group, and of everyone else
FALSE_ALARMS = 0.01  # per window, over all groups and metrics
FLOOR = 0.05  # a move that matters, of a difference between two shares
FLOORS = {"DI": 0.2, "DCA": 0.2, "DCR": 0.2, "TE": 0.5, "KL": 0.1}  # of ratios, and of what is not bounded
JUDGED = ("DPPL", "DI", "AD", "RD", "SD", "DAR", "DRR")
Columns = dict[str, pa.Array | pa.ChunkedArray]
Skipped = list[dict[str, Any]]


@dataclass(frozen=True)
class Settings:
    """model.yaml's `monitor.bias`. `facets`: column -> its groups, a threshold, or None for all its values;
    `limits`: metric -> the largest distance from 0 (of DI: the smallest ratio) that is never a violation."""

    facets: dict[str, Any]
    outcome: Outcome
    classes: bool = False  # the label has more than two values
    metrics: tuple[str, ...] = JUDGED
    limits: dict[str, float] = field(default_factory=dict)
    min_rows: int = MIN_ROWS
    drift: float = FLOOR
    stratum: str = ""
    false_alarms: float = FALSE_ALARMS

    @classmethod
    def of(cls, spec: Spec) -> Settings:
        """Raises JobError for a metric that does not exist."""
        chosen = {
            name: value for name, value in (spec.monitor.get("bias") or {}).items() if value is not None
        }
        facets = chosen.get("facets") or list(spec.protected)
        if not isinstance(facets, dict):
            facets = dict.fromkeys(facets)
        metrics = tuple(chosen.get("metrics") or JUDGED)
        limits = dict(chosen.get("limits") or {})
        for name in (*metrics, *limits):
            if name not in NAMES:
                raise JobError(
                    f"model.yaml: monitor.bias names {name!r}, which is none of {', '.join(NAMES)}"
                )
        positive = chosen.get("positive")
        return cls(
            facets=facets,
            outcome=_outcome(spec.task, positive),
            classes=spec.task not in (BINARY, REGRESSION),
            metrics=metrics,
            limits={name: float(value) for name, value in limits.items()},
            min_rows=int(chosen.get("min_rows", MIN_ROWS)),
            drift=float(chosen.get("drift", FLOOR)),
            stratum=chosen.get("group") or "",
            false_alarms=float(chosen.get("false_alarms", FALSE_ALARMS)),
        )

    def floor(self, metric: str) -> float:
        return FLOORS.get(metric, FLOOR) * self.drift / FLOOR


@dataclass
class Comparison:
    """`figures`: group (`carrier=UA`) -> metric -> {value, low, high, baseline, rows, t, model_monitor};
    `skipped`: groups without a verdict and why; `calibration`: what the verdict's threshold rests on."""

    figures: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    skipped: Skipped = field(default_factory=list)
    violations: list[dict[str, Any]] = field(default_factory=list)
    calibration: dict[str, Any] = field(default_factory=dict)


def layouts(
    settings: Settings, columns: Columns, label: pa.Array | np.ndarray, skipped: Skipped
) -> list[Layout]:
    """What is counted, decided on the baseline's rows. Facets that cannot be compared go to `skipped`."""
    outcome = settings.outcome
    classes: tuple[str, ...] = ()
    if settings.classes and isinstance(label, pa.Array):
        classes = largest(label, MAX_CLASSES)
    found = []
    for name, chosen in settings.facets.items():
        try:
            layout = Layout(facet_of(_one(columns, name), name, chosen), outcome, classes=classes)
            if settings.stratum:
                layout = with_stratum(layout, settings.stratum, _one(columns, settings.stratum))
        except JobError as error:
            skipped.append({"facet": name, "rows": 0, "reason": str(error)})
        else:
            found.append(layout)
    return found


def tallies(
    planned: Sequence[Layout],
    columns: Columns,
    label: pa.Array | np.ndarray,
    prediction: pa.Array | np.ndarray,
    times: np.ndarray,
    skipped: Skipped,
) -> list[Tally]:
    """One for each layout whose columns are there; the others go to `skipped`. `times` in microseconds."""
    found = []
    for layout in planned:
        try:
            found.append(Tally.of(layout, columns, label, prediction, times))
        except JobError as error:
            skipped.append({"facet": layout.facet.column, "rows": 0, "reason": str(error)})
    return found


def reference(baseline: Sequence[Tally]) -> dict[str, dict[str, dict[str, Any]]]:
    """The baseline's own figures: group -> metric -> {value, low, high, rows}."""
    return {group: found for tally in baseline for group, found in by_group(tally, resampled(tally)).items()}


def compare(window: Sequence[Tally], baseline: Sequence[Tally], settings: Settings) -> Comparison:
    """The window against the baseline, whose layouts it was counted by."""
    result = Comparison()
    known = {tally.layout: tally for tally in baseline}
    pairs = [(tally, known[tally.layout]) for tally in window if tally.layout in known]
    null = Null([before for _, before in pairs], [now for now, _ in pairs], settings.metrics)
    for index, (now, before) in enumerate(pairs):
        measured, past = by_group(now, resampled(now)), plain(before)
        for position, group in enumerate(now.layout.facet.groups):
            rows = min(_smaller(now, position), _smaller(before, position))
            if rows < settings.min_rows:
                result.skipped.append(_too_few(group, now, before, position, settings.min_rows))
                continue
            result.figures[group] = _against(measured[group], past[group])
            null.add(index, position, result.figures[group])
    threshold = null.threshold(settings.false_alarms)
    result.calibration = {**null.summary(), "threshold": threshold, "false_alarm_rate": settings.false_alarms}
    for group, figures in result.figures.items():
        for name, entry in figures.items():
            result.violations += _judge(group, name, entry, threshold, settings)
    return result


def _against(now: dict[str, Any], before: dict[str, float]) -> dict[str, dict[str, Any]]:
    """`model_monitor`: whether Model Monitor would call it a violation."""
    return {
        name: {
            **entry,
            "baseline": before.get(name),
            "t": None,
            "model_monitor": name in before and _away(name, entry["value"]) > _away(name, before[name]),
        }
        for name, entry in now.items()
    }


def _judge(
    group: str, name: str, entry: dict[str, Any], threshold: float | None, settings: Settings
) -> list[dict[str, Any]]:
    value, before, interval = entry["value"], entry["baseline"], f"{entry['low']:.3f} to {entry['high']:.3f}"
    limit = settings.limits.get(name)
    if limit is not None and _beyond(name, entry, limit):
        reason = f"{name} ({NAMES[name]}) of {group} is {value:.3f} ({interval}), beyond the limit {limit:g}"
        return [_violation(group, name, value, limit, reason)]
    if name not in settings.metrics or before is None or entry["t"] is None or threshold is None:
        return []
    further = _away(name, value) - _away(name, before)
    if further <= settings.floor(name) or entry["t"] <= threshold:
        return []
    reason = (
        f"{name} ({NAMES[name]}) of {group} is {value:.3f} ({interval}), at the baseline {before:.3f}: "
        f"further from {neutral(name):g} by {further:.3f}, {entry['t']:.1f} standard deviations of windows "
        f"like the baseline's ({threshold:.1f} are needed)"
    )
    side = 1 if value > neutral(name) else -1
    usual = before + side * threshold * abs(value - before) / entry["t"]
    matters = neutral(name) + side * (_away(name, before) + settings.floor(name))
    edge = max(usual, matters) if side > 0 else min(usual, matters)
    return [_violation(group, name, value, round(float(edge), 5), reason)]


def _violation(group: str, metric: str, value: float, threshold: float, reason: str) -> dict[str, Any]:
    column = group.partition("=")[0].partition(">")[0]
    return {
        "feature_name": column,
        "constraint_check_type": CHECK,
        "description": reason,
        "metric": metric,
        "value": value,
        "threshold": threshold,
        "facet": column,
        "facet_value": group[len(column) + 1 :],
    }


def _away(metric: str, value: float) -> float:
    return abs(value - neutral(metric))


def _beyond(metric: str, entry: dict[str, Any], limit: float) -> bool:
    """Whether the whole interval lies outside; of a ratio r, 1/r is as bad as r."""
    low, high = (min(limit, 1 / limit), max(limit, 1 / limit)) if metric == "DI" else (-limit, limit)
    return entry["high"] < low or entry["low"] > high


def _smaller(tally: Tally, position: int) -> int:
    """Rows of the group or of everyone else, whichever are fewer."""
    rows = tally.counts.sum((0, 2, 3, 4))
    return int(min(rows[position], rows.sum() - rows[position]))


def _too_few(group: str, now: Tally, before: Tally, position: int, least: int) -> dict[str, Any]:
    counted = int(now.counts[:, position].sum())
    where = "the window" if _smaller(now, position) < least else "the baseline"
    return {
        "facet": group,
        "rows": counted,
        "reason": f"{where} has {min(_smaller(now, position), _smaller(before, position))} rows in the "
        f"smaller of {group} and the rest, {least} are needed",
    }


def _outcome(task: str, positive: Any) -> Outcome:
    if positive is None:
        return Outcome(("1",)) if task == BINARY else Outcome()
    if task == REGRESSION:
        return Outcome(threshold=float(positive))
    return Outcome(tuple(str(value) for value in (positive if isinstance(positive, list) else [positive])))


def _one(columns: Columns, name: str) -> pa.Array:
    if name not in columns:
        raise JobError(f"the data has no column {name!r}, by which bias is measured")
    column = columns[name]
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
