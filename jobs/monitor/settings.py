"""model.yaml's `monitor` section as the analyser takes it: shares such as `1%` as numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from jobs.contract import JobError
from jobs.spec import Spec

NUMERIC = ("drift", "false_alarms", "tolerance", "ndcg", "l1", "min_rows", "min_labels")


def plain(spec: Spec) -> Spec:
    """Raises JobError for a value that is no number, by its place."""
    monitor = dict(spec.monitor)
    for section in ("data", "quality", "bias", "attribution"):
        content = monitor.get(section)
        if isinstance(content, dict):
            monitor[section] = _section(content, f"monitor.{section}")
    return replace(spec, monitor=monitor)


def _section(content: dict[str, Any], path: str) -> dict[str, Any]:
    """Without what is not there: a key that says nothing is no key."""
    found = {}
    for name, value in content.items():
        if value is None:
            continue
        if name == "detector" and isinstance(value, dict):
            value = _section(value, f"{path}.detector")
        found[name] = _number(value, f"{path}.{name}") if name in NUMERIC else value
    return found


def _number(value: Any, path: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value) if isinstance(value, str) else None
    if match:
        return float(match[1]) / 100
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise JobError(f"model.yaml: {path}: {value!r} is not a number")
    return value
