"""analyze: is this window of requests and predictions what the model was trained for, and is it still
right?

Inputs: `capture` (data capture files), `baseline`, `code`, `labels` (ground truth files, may be absent).
Environment: WINDOW_START and WINDOW_END, UTC; requests made in [start, end) count. Outputs in `report/`:
analysis.json, and Model Monitor's statistics.json, constraints.json and constraint_violations.json.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from jobs import baseline, capture, contract, formats, metrics, predictions
from jobs import spec as model_spec
from jobs.capture import Captured, Skipped
from jobs.drift import Reference
from jobs.spec import MULTICLASS, Feature, Spec

MIN_ROWS = 1000
MIN_LABELS = 100
Violation = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """One feature of the window: numbers with NaN, or text with None. `mistyped` values count as missing."""

    values: np.ndarray | list[str | None]
    mistyped: int
    present: bool


def main() -> None:
    spec = model_spec.load(contract.input_dir("code"))
    start, end = contract.time_setting("WINDOW_START"), contract.time_setting("WINDOW_END")
    if start is None or end is None:
        raise contract.JobError("the environment has no WINDOW_START and WINDOW_END")
    folder, report = contract.input_dir("baseline"), contract.output_dir("report")
    skipped = Skipped()
    captured = capture.read_window(contract.input_dir("capture"), spec, start, end, skipped)
    labels = capture.read_labels(contract.optional_input_dir("labels"), skipped)
    analysis, columns = analyze(spec, _baseline(folder), captured, labels, (start, end))
    analysis |= {"skipped_lines": skipped.lines, "skipped": skipped.problems}
    contract.write_json(report / "analysis.json", analysis)
    contract.write_json(report / "constraint_violations.json", formats.violations(analysis["violations"]))
    shown = {name: (spec.features[name].type, column.values) for name, column in columns.items()}
    contract.write_json(report / "statistics.json", formats.statistics(shown, len(captured.rows)))
    if (folder / "constraints.json").is_file():
        shutil.copy(folder / "constraints.json", report)
    message = sentence(analysis)
    contract.write_message(message)
    print(message)


def analyze(
    spec: Spec,
    content: dict[str, Any],
    captured: Captured,
    labels: dict[str, str],
    window: tuple[datetime, datetime],
) -> tuple[dict[str, Any], dict[str, Column]]:
    """The content of analysis.json, and the window's columns. `content` is baseline.json's."""
    references, predicted = baseline.references(content)
    columns = {feature.name: column_of(captured.rows, feature) for feature in spec.features.values()}
    least = int(spec.monitor.get("min_rows", MIN_ROWS))
    rows = len(captured.rows)
    analysis: dict[str, Any] = {
        "status": "NoData" if not rows else "TooFewRows" if rows < least else "Completed",
        "model": spec.name,
        "window": {"start": contract.format_time(window[0]), "end": contract.format_time(window[1])},
        "rows": rows,
        "min_rows": least,
        "labelled": 0,
        "violations": [],
        "features": {},
        "prediction": None,
        "quality": {},
    }
    if analysis["status"] != "Completed":
        return analysis, columns
    seasonal = set(spec.monitor.get("data", {}).get("seasonal", ()))
    found = [*_extra_columns(captured.rows, spec)]
    for name, column in columns.items():
        figures, violations = _compare(name, column, references.get(name), seasonal)
        analysis["features"][name] = figures
        found += violations
    watched = predictions.monitored(spec.task, captured.answers)
    column = Column(watched, mistyped=0, present=_has_values(watched))
    analysis["prediction"], violations = _compare(baseline.PREDICTION, column, predicted, seasonal)
    analysis["labelled"], analysis["quality"] = _quality(spec, content, captured, labels)
    found += [*violations, *_quality_violations(spec, analysis)]
    analysis["violations"] = sorted(found, key=_importance)
    return analysis, columns


def column_of(rows: list[dict[str, Any]], feature: Feature) -> Column:
    name, mistyped = feature.name, 0
    present = any(name in row for row in rows)
    values: list[Any] = []
    for row in rows:
        value = row.get(name)
        typed = None if value is None else _typed(value, feature.type)
        mistyped += value is not None and typed is None
        values.append(typed)
    return Column(values if feature.is_categorical else np.array(values, float), mistyped, present)


def sentence(analysis: dict[str, Any]) -> str:
    """Model Monitor's exit messages, so that its users' tools read them."""
    count = len(analysis["violations"])
    if analysis["status"] == "NoData":
        return "NoData: no request was captured in the window."
    if analysis["status"] == "TooFewRows":
        return (
            f"TooFewRows: {analysis['rows']} rows were captured, at least {analysis['min_rows']} are needed."
        )
    if count:
        return f"CompletedWithViolations: Job completed successfully with {count} violations."
    return "Completed: Job completed successfully with no violations."


def _compare(
    name: str, column: Column, reference: Reference | None, seasonal: set[str]
) -> tuple[dict[str, Any], list[Violation]]:
    """Figures and violations of one column: its presence, types, completeness, categories and
    distribution."""
    if reference is None:
        reason = f"{name} is in model.yaml but not in the baseline: evaluate the model again"
        return {}, [_violation(name, "extra_column_check", reason)]
    if not column.present:
        return {"type": reference.type}, [
            _violation(name, "missing_column_check", f"no request carried {name}")
        ]
    counts, missing, unseen = reference.counts(column.values)
    rows = max(len(column.values), 1)
    plain, distance = reference.distance(counts)
    missing_share, unseen_share = (missing - column.mistyped) / rows, unseen / rows
    figures = {
        "type": reference.type,
        "statistic": "linf" if reference.is_categorical else "ks",
        "plain": round(plain, 4),
        "distance": round(distance, 4),
        "threshold": reference.threshold,
        "missing": round(missing_share, 4),
        "missing_baseline": round(reference.missing, 4),
        "unseen": round(unseen_share, 4),
        "seasonal": name in seasonal,
    }
    found = []
    if column.mistyped:
        reason = f"{column.mistyped:,} of {rows:,} values are not of type {reference.type}"
        found.append(_violation(name, "data_type_check", reason, "mistyped", column.mistyped / rows, 0.0))
    if missing_share > reference.missing_threshold:
        reason = (
            f"{missing_share:.1%} of the values are missing, up to {reference.missing_threshold:.1%} is usual"
        )
        found.append(
            _violation(
                name, "completeness_check", reason, "missing", missing_share, reference.missing_threshold
            )
        )
    if unseen_share > reference.unseen_threshold:
        reason = f"{unseen_share:.1%} of the rows have a category that training never saw"
        found.append(
            _violation(
                name, "categorical_values_check", reason, "unseen", unseen_share, reference.unseen_threshold
            )
        )
    if distance > reference.threshold and name not in seasonal:
        reason = f"robust distance {distance:.3f} from the baseline is over {reference.threshold:.3f}"
        found.append(
            _violation(name, "baseline_drift_check", reason, "distance", distance, reference.threshold)
        )
    return figures, found


def _extra_columns(rows: list[dict[str, Any]], spec: Spec) -> Iterator[Violation]:
    known = {*spec.features, *spec.extra_columns, spec.id, spec.time, spec.target}
    for name in sorted({name for row in rows for name in row} - known):
        yield _violation(name, "extra_column_check", f"requests carry {name}, which model.yaml does not name")


def _quality(
    spec: Spec, content: dict[str, Any], captured: Captured, labels: dict[str, str]
) -> tuple[int, dict[str, Any]]:
    """Number of labelled rows, and each metric on them beside the holdout's. An id that was predicted
    more than once counts with its last prediction."""
    row_of = {id_: index for index, id_ in enumerate(captured.ids) if id_ in labels}
    usable = {
        id_: index for id_, index in row_of.items() if spec.task == MULTICLASS or _is_number(labels[id_])
    }
    if len(usable) < 2:
        return len(usable), {}
    rows = list(usable.values())
    scores = predictions.to_scores(
        spec.task,
        [labels[id_] for id_ in usable],
        [captured.answers[row] for row in rows],
        content.get("classes", ()),
    )
    block = metrics.blocks(np.array([_moment(captured, row, spec) for row in rows]))
    reference = content["quality"]
    return len(rows), {
        name: figure | {"baseline": reference.get(name, {}).get("value")}
        for name, figure in metrics.intervals(scores, block).items()
    }


def _quality_violations(spec: Spec, analysis: dict[str, Any]) -> Iterator[Violation]:
    """A violation needs the whole interval beyond the tolerance: one bad day does not make a bad week."""
    policy = spec.monitor.get("quality") or {}
    name = policy.get("metric")
    figure = analysis["quality"].get(name)
    if not figure or analysis["labelled"] < int(policy.get("min_labels", MIN_LABELS)):
        return
    value, low, high, reference = (figure[key] for key in ("value", "low", "high", "baseline"))
    if None in (value, low, high, reference):
        return
    lower_is_better = name in metrics.LOWER_IS_BETTER
    threshold = reference + policy["tolerance"] * (1 if lower_is_better else -1)
    if (low > threshold) if lower_is_better else (high < threshold):
        side = "over" if lower_is_better else "under"
        reason = (
            f"{name} {value:.3f} ({low:.3f} to {high:.3f}) on {analysis['labelled']:,} labelled rows lies "
            f"{side} {threshold:.3f}: {reference:.3f} on the holdout, tolerance {policy['tolerance']}"
        )
        yield _violation(name, "model_quality_check", reason, name, value, threshold)


def _violation(
    name: str,
    check: str,
    description: str,
    metric: str | None = None,
    value: float | None = None,
    threshold: float | None = None,
) -> Violation:
    return {
        "feature_name": name,
        "constraint_check_type": check,
        "description": description,
        "metric": metric,
        "value": None if value is None else round(float(value), 6),
        "threshold": None if threshold is None else round(float(threshold), 6),
    }


def _importance(violation: Violation) -> tuple[int, float]:
    """Quality first, then broken data, then drift by how far it is over its threshold."""
    order = ["model_quality_check", "missing_column_check", "data_type_check", "completeness_check"]
    check = violation["constraint_check_type"]
    rank = order.index(check) if check in order else len(order)
    return rank, -((violation["value"] or 0.0) - (violation["threshold"] or 0.0))


def _typed(value: Any, kind: str) -> Any:
    """The value as the analysis counts it, or None where it is of another type."""
    if kind == "string":
        return value if isinstance(value, str) else None
    if kind == "boolean":
        return str(value).lower() if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if kind == "number" or float(value).is_integer() else None


def _has_values(watched: np.ndarray | list[str]) -> bool:
    return not isinstance(watched, np.ndarray) or not np.isnan(watched).all()


def _is_number(text: str) -> bool:
    try:
        return np.isfinite(float(text))
    except ValueError:
        return False


def _moment(captured: Captured, row: int, spec: Spec) -> int:
    """Microseconds of the row's own time, or of the request where the row has none."""
    moment = captured.times[row]
    with suppress(KeyError, TypeError, ValueError):
        moment = contract.parse_time(captured.rows[row][spec.time])
    return round(moment.timestamp() * 1e6)


def _baseline(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "baseline.json").read_text())
    except FileNotFoundError:
        raise contract.JobError(
            "the baseline has no baseline.json: it is written where the model is evaluated"
        ) from None
    except ValueError as error:
        raise contract.JobError(f"the baseline's baseline.json is not JSON: {error}") from None
