"""model.yaml as the analyser takes it: shares such as `1%` as numbers; what it cannot work with is refused,
as nobody has checked a model.yaml that was not published."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jobs.contract import JobError
from jobs.monitor import quality
from jobs.spec import Spec

TYPES = ("number", "integer", "string", "boolean")
NUMERIC = ("drift", "false_alarms", "tolerance", "ndcg", "l1", "min_rows", "min_labels")


def plain(spec: Spec) -> Spec:
    """Raises JobError for a value that is no number, a type or a metric that does not exist, by its place."""
    for feature in spec.features.values():
        _known(feature.type, TYPES, f"features.{feature.name}")
    monitor = {name: _number(value, f"monitor.{name}") if name in NUMERIC else value
               for name, value in spec.monitor.items() if value is not None}  # fmt: skip
    for section in ("data", "quality", "bias", "attribution"):
        content = monitor.get(section)
        if isinstance(content, dict):
            monitor[section] = _section(content, f"monitor.{section}")
    metric = (monitor.get("quality") or {}).get("metric")
    if metric is not None and spec.task:
        _known(metric, quality.names(spec.task), "monitor.quality.metric")
    return replace(spec, monitor=monitor)


def _section(content: dict[str, Any], path: str) -> dict[str, Any]:
    """Without what is not there: a key that says nothing is no key."""
    found = {}
    for name, value in content.items():
        if value is None:
            continue
        if name == "detector" and isinstance(value, dict):
            value = _section(value, f"{path}.detector")
        if name == "limits" and isinstance(value, dict):
            value = {metric: _number(limit, f"{path}.limits.{metric}") for metric, limit in value.items()}
        found[name] = _number(value, f"{path}.{name}") if name in NUMERIC else value
    return found


def _known(value: Any, names: Sequence[str], path: str) -> None:
    if value not in names:
        raise JobError(f"model.yaml: {path}: {value!r} is none of {', '.join(names)}")


def _number(value: Any, path: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value) if isinstance(value, str) else None
    if match:
        return float(match[1]) / 100
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise JobError(f"model.yaml: {path}: {value!r} is not a number")
    return value
