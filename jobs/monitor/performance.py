"""How good the model is in a window: metrics with intervals, the detector's verdict on its life so far, what
kind of change it is, and an estimate for the rows whose label is not there yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from jobs.contract import format_time
from jobs.monitor import detector, estimate, losses, outcomes, quality, trend
from jobs.monitor.checks import violation
from jobs.monitor.detector import Settings
from jobs.monitor.history import MICROSECONDS, History, Series
from jobs.monitor.labels import Labels
from jobs.monitor.outcomes import Settled
from jobs.monitor.quality import LOWER_IS_BETTER, Scores
from jobs.monitor.state import State
from jobs.monitor.window import Window
from jobs.spec import BINARY, MULTICLASS, REGRESSION, Spec, duration

CHECK = "model_quality_check"
MIN_LABELS = 100
STRANGE = 0.01  # share of the labels that may be none
DAY = 86_400  # seconds
SHOWN_BLOCKS = 120


@dataclass
class Performance:
    """`figures` are the entries of analysis.json; `losses` and the rows that wait are the next window's."""

    figures: dict[str, Any]
    settled: Settled
    losses: dict[str, Any] | None = None
    violations: list[dict[str, Any]] = field(default_factory=list)


def watched(spec: Spec, known: dict[str, Any]) -> str:
    """The metric by which the model is judged: the monitor's, the gate's, or the first that the holdout has:
    `known` are its metrics."""
    chosen = (spec.monitor.get("quality") or {}).get("metric") or spec.gate.get("primary")
    names = quality.names(spec.task)
    return chosen or next(
        (name for name in names if (known.get(name) or {}).get("value") is not None), names[0]
    )


def reference(spec: Spec, holdout: Window) -> dict[str, Any]:
    """Entries of baseline.json, from the holdout's labelled rows."""
    rows = np.flatnonzero(outcomes.usable(holdout.answers, holdout.label, spec.task))
    if not len(rows):
        return {"quality": {}, "classes": [], "detector": None, "calibration": None}
    taken = rows.tolist()
    scores = outcomes.scores(holdout.answers.take(taken), holdout.label.take(taken), spec.task)
    times = holdout.times[rows]
    block = quality.blocks(times)
    fitted = estimate.fit(scores, block)
    measured = quality.intervals(scores, block)
    return {
        "quality": measured,
        "classes": list(scores.classes),
        "detector": _fit(spec, scores, times, watched(spec, measured)).as_dict(),
        "calibration": fitted.as_dict() if fitted else None,
    }


def assess(
    spec: Spec, content: dict[str, Any], window: Window, labels: Labels, state: State, span: tuple[int, int]
) -> Performance:
    """`content` is baseline.json's; `span` the window's [start, end) in microseconds."""
    classes = tuple(content.get("classes") or ())
    key = f"{span[0]}_{span[1]}"
    settled = outcomes.settle(window, labels, state.waiting, key, *span, classes)
    own, known = settled.own, content.get("quality") or {}
    metric = watched(spec, known)
    figures: dict[str, Any] = {
        "labelled": len(own),
        "watched": metric,
        "quality": {},
        "detector": None,
        "trend": None,
        "estimate": _estimate(metric, content, window),
        "labels": {
            "late": len(settled.late),
            "waiting": settled.waiting["taken"].null_count,
            "unusable": labels.unusable + outcomes.strange(labels.values, spec.task),
            "repeated_predictions": settled.repeated,
            "unscored": settled.unscored,
            "unknown": settled.unknown,
        },
    }
    found = Performance(figures, settled=settled, losses=state.losses)
    if len(own) > 1:
        for name, figure in quality.intervals(own.scores, quality.blocks(own.times)).items():
            then = known.get(name) or {}
            figures["quality"][name] = figure | {"baseline": then.get("value"), "reference": then or None}
    settings = Settings.from_dict(content["detector"]) if content.get("detector") else None
    if settings and all(losses.has(part.scores, settings.loss) for part in (own, settled.late)):
        _detect(found, settings, state, span)
    found.violations = [
        *_strange(spec, labels, figures["labels"]["unusable"]),
        *_foreign(spec, own.scores),
        *_violations(spec, figures),
    ]
    return found


def _fit(spec: Spec, scores: Scores, times: np.ndarray, metric: str) -> Settings:
    policy = spec.monitor.get("quality") or {}
    chosen = policy.get("detector") or {}
    lookback = spec.lookback.total_seconds()
    seconds = (
        int(duration(chosen["block"]).total_seconds()) if chosen.get("block") else min(DAY, int(lookback))
    )
    name = losses.name_for(metric, scores)
    loss = losses.of_rows(scores, name)
    cap = losses.cap(loss, name)
    mean = float((loss if cap is None else np.minimum(loss, cap)).mean())
    return detector.fit(
        loss,
        np.unique(times // (seconds * MICROSECONDS), return_inverse=True)[1],
        name=name,
        cap=cap,
        tolerance=losses.tolerance(policy, metric, name, mean),
        seconds=seconds,
        window_blocks=max(lookback / seconds, 1.0),
        false_alarms=float(chosen.get("false_alarms", detector.FALSE_ALARMS)),
        min_rows=int(chosen.get("min_rows", detector.MIN_ROWS)),
    )


def _detect(found: Performance, settings: Settings, state: State, span: tuple[int, int]) -> None:
    """The losses of this window join those before, and the detector looks at all of them."""
    history = History.from_dict(state.losses, settings.block)
    settled = found.settled
    own, late = ((part.requested, _capped(part.scores, settings)) for part in (settled.own, settled.late))
    history.add(span, state.baseline, own, late)
    found.losses = history.as_dict()
    ours = _until(history.series(state.baseline, settings.min_rows), span[1])
    detection = detector.run(settings, ours.means, ours.sizes)
    found.figures["detector"] = {
        "value": round(detection.value, 4),
        "threshold": round(detection.threshold, 4),
        "blocks": detection.blocks,
        "fired_at": _start(ours, detection.fired_at),
        "since": _start(ours, detection.since),
        "loss": settings.loss,
        "baseline": round(settings.mean, 6),
        "tolerance": round(settings.tolerance, 6),
        "days": [
            {"at": _iso(int(at)), "loss": round(float(mean), 6), "rows": int(rows)}
            for at, mean, rows in zip(ours.starts, ours.means, ours.sizes, strict=True)
        ][-SHOWN_BLOCKS:],
    }
    every = _until(history.series(None, settings.min_rows), span[1])
    shape = trend.trend(every.starts, every.means, every.sizes)
    found.figures["trend"] = shape.as_dict() | {
        "since": _iso(shape.since) if shape.since is not None else None
    }


def _violations(spec: Spec, figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Two ways to be worse: all at once (the whole interval of the window's metric lies beyond the tolerance)
    or for long (the detector). One violation says both."""
    policy = spec.monitor.get("quality") or {}
    if figures["labelled"] < int(policy.get("min_labels", MIN_LABELS)):
        return []
    name = figures["watched"]
    figure = figures["quality"].get(name) or {}
    reasons = []
    threshold = _limit(name, figure, policy.get("tolerance"))
    if threshold is not None and _is_beyond(name, figure, threshold):
        side = "over" if name in LOWER_IS_BETTER else "under"
        reasons.append(
            f"{name} {figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f}) on "
            f"{figures['labelled']:,} labelled rows lies {side} {threshold:.3f}: {figure['baseline']:.3f} on "
            f"the holdout, tolerance {policy['tolerance']}"
        )
    found = figures["detector"] or {}
    if found.get("fired_at"):
        shape = (figures["trend"] or {}).get("kind")
        how = f", {shape}" if shape in ("sudden", "gradual", "recurring") else ""
        reasons.append(
            f"the daily {found['loss']} has been over the baseline's {found['baseline']:.3f} plus "
            f"{found['tolerance']:.3f} since {found['since'][:10]}{how}: evidence {found['value']:.0f}, "
            f"{found['threshold']:.0f} is enough"
        )
    if not reasons:
        return []
    measured = figure.get("value")
    return [
        {
            "feature_name": name,
            "constraint_check_type": CHECK,
            "description": "; ".join(reasons),
            "metric": name,
            "value": measured if measured is not None else found.get("value"),
            "threshold": threshold if measured is not None else found.get("threshold"),
        }
    ]


def _strange(spec: Spec, labels: Labels, unusable: int) -> list[dict[str, Any]]:
    """A violation where labels are not what the task has: the model is not judged by them."""
    share = unusable / max(len(labels) + labels.unusable, 1)
    if share <= STRANGE:
        return []
    wanted = "0 or 1" if spec.task == BINARY else "numbers" if spec.task == REGRESSION else "classes"
    reason = f"{share:.1%} of the labels ({unusable:,}) are not {wanted}: they count for nothing"
    return [violation(spec.target or "label", "data_type_check", reason, "unusable", share, STRANGE)]


def _foreign(spec: Spec, scores: Scores) -> list[dict[str, Any]]:
    """A violation where rows are of classes that the model cannot answer with."""
    share = float((scores.label < 0).mean()) if spec.task == MULTICLASS and len(scores) > 1 else 0.0
    if share <= STRANGE:
        return []
    reason = f"{share:.1%} of the labels are of a class that the model does not know"
    return [violation(spec.target, "categorical_values_check", reason, "new", share, STRANGE)]


def _limit(name: str, figure: dict[str, Any], tolerance: float | None) -> float | None:
    if tolerance is None or figure.get("baseline") is None:
        return None
    return figure["baseline"] + float(tolerance) * (1 if name in LOWER_IS_BETTER else -1)


def _is_beyond(name: str, figure: dict[str, Any], threshold: float) -> bool:
    """The whole interval: one bad day does not make a bad week."""
    if figure.get("low") is None or figure.get("high") is None:
        return False
    return figure["low"] > threshold if name in LOWER_IS_BETTER else figure["high"] < threshold


def _estimate(metric: str, content: dict[str, Any], window: Window) -> dict[str, Any] | None:
    if not content.get("calibration") or window.probability is None:
        return None
    fitted = estimate.Calibration.from_dict(content["calibration"])
    days = len(np.unique(window.requested // (DAY * MICROSECONDS)))
    return estimate.estimate(metric, window.probability, window.prediction, days, fitted)


def _capped(scores: Scores, settings: Settings) -> np.ndarray:
    loss = losses.of_rows(scores, settings.loss)
    return loss if settings.cap is None else np.minimum(loss, settings.cap)


def _until(series: Series, end: int) -> Series:
    """A window that is analysed late must not know its future."""
    kept = series.starts < end
    return Series(series.starts[kept], series.means[kept], series.sizes[kept])


def _start(series: Series, index: int | None) -> str | None:
    return None if index is None else _iso(int(series.starts[index]))


def _iso(moment: int) -> str:
    return format_time(datetime.fromtimestamp(moment / MICROSECONDS, UTC))
