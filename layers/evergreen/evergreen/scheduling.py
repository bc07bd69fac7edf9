"""When a model is trained, monitored and asked for batches by itself: the schedules of model.yaml."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from . import serving, times, units

KINDS = ("train", "batch", "monitor")


def expressions(spec: Mapping[str, Any]) -> dict[str, str]:
    """EventBridge Scheduler's expression of each kind; empty for one that is not asked for."""
    return {
        "train": spec["retrain"]["schedule"] or "",
        "batch": _batch(spec["serve"]["batch"]),
        "monitor": units.rate(spec["monitor"]["every"]),
    }


def _batch(asked: Mapping[str, Any] | None) -> str:
    return asked["on"] if asked and asked["on"] != serving.ON_INPUT else ""


def kinds(spec: Mapping[str, Any], current: Mapping[str, Any] | None) -> list[str]:
    """The kinds of schedules that a model has: one for batches where it asks for it, or did before."""
    batches = [
        expressions(each)["batch"] for each in (spec, json.loads(current["spec"]) if current else spec)
    ]
    return [kind for kind in KINDS if kind != "batch" or any(batches)]


def anchors(spec: Mapping[str, Any], at: datetime, current: Mapping[str, Any] | None) -> dict[str, str]:
    """From when on each kind counts its periods: from this publication, or still from that of the SPEC record
    `current` where it asked for the same. Else a model that is published every day would never come to the
    end of a week, and days between two windows would be nobody's."""
    before = expressions(json.loads(current["spec"])) if current else {}
    kept = (current or {}).get("anchors", {})
    asked = expressions(spec)
    return {
        kind: kept[kind] if kind in kept and before[kind] == asked[kind] else times.iso(at) for kind in KINDS
    }


def start(expression: str, anchor: str, at: datetime) -> str:
    """The end of the first whole period of a rate that is later than `at`: Scheduler would fire one without a
    start at once, and onboarding itself asks for a training. Empty for a cron expression, which names its
    times itself."""
    period = units.period(expression)
    if not period:
        return ""
    began = times.parse(anchor)
    return times.iso(began + period * ((at - began) // period + 1))
