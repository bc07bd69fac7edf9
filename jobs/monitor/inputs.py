"""What the model was asked and what it answered, against the baseline: columns, whole rows, and the same rows
as the pipeline computed them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from jobs.contract import JobError, parse_time
from jobs.monitor import checks, outliers, shard, skew, verdict
from jobs.monitor.baseline import Baseline
from jobs.monitor.checks import violation
from jobs.monitor.profile import Profile
from jobs.monitor.series import Series
from jobs.monitor.shard import Shard
from jobs.monitor.window import Window
from jobs.spec import Spec

Violation = dict[str, Any]


def judge(
    spec: Spec, baseline: Baseline, counted: Shard, window: Window, weights: dict[str, float]
) -> tuple[dict[str, Any], list[Violation]]:
    """Entries of analysis.json. `window`: the shard's sample of rows; `weights`: each feature's share of what
    the model looks at."""
    profile = counted.profile
    start, end = (parse_time(moment) for moment in counted.window)
    extra, marked = _whole_rows(baseline, profile, window, end - start)
    watched = shard.watched(baseline.schema) if baseline.watch else ""
    settings = verdict.Settings.of(spec)
    found = verdict.judge(baseline.train, profile, settings, end - start, baseline.holdout, watched, extra)
    for name, figures in found.features.items():
        figures["weight"] = round(weights[name], 6) if name in weights else None
        figures["impact"] = _impact(figures, weights.get(name, 0.0) if weights else 1.0)
    if found.prediction is not None:
        found.prediction["impact"] = _impact(found.prediction, 1.0)
    _untimed(found.drift, profile)
    before, now = baseline.train.duplicates.repeated(), profile.duplicates.repeated()
    return {
        "features": found.features,
        "prediction": found.prediction,
        "drift": found.drift,
        "outliers": marked,
        "duplicates": {"share": round(now, 6), "baseline": round(before, 6)},
    }, _once([*_unknown(spec, baseline), *_answered(baseline, counted, watched, found.violations)])


def _answered(
    baseline: Baseline, counted: Shard, watched: str, violations: list[Violation]
) -> Iterator[Violation]:
    """The violations, with what is wrong with the answers; values that are missing for that are said once."""
    columns = counted.profile.columns
    said: list[Violation] = []
    if baseline.holdout is not None and watched in columns:
        before = baseline.holdout.columns[watched]
        said = checks.answers(before, columns[watched], baseline.watch, counted.mistyped_answers)
    yield from said
    for one in violations:
        is_gap = one["constraint_check_type"] == "completeness_check"
        if not (said and is_gap and one["feature_name"] == watched):
            yield one


def _untimed(drift: dict[str, Any], profile: Profile) -> None:
    """Rows that are in no block took no part in the verdict on drift."""
    outside = profile.blocks.outside if profile.blocks else 0
    if outside:
        drift["note"] = (
            f"{outside:,} rows have no time by which they could be judged. {drift['note']}".strip()
        )


def compare_with_pipeline(window: Window, pipeline: Path | None) -> tuple[dict[str, Any], list[Violation]]:
    """Training-serving skew, where the pipeline's features of some of the rows are at hand."""
    if pipeline is None or not window.schema.id:
        return {"skew": None}, []
    try:
        table = skew.read(pipeline, window.ids, window.schema)
    except JobError as error:
        return {"skew": {"reason": str(error)}}, []
    found, violations = skew.compare(window.table, window.ids, table, window.schema)
    return {"skew": found}, violations


def _whole_rows(
    baseline: Baseline, profile: Profile, window: Window, span: timedelta
) -> tuple[list[Series], dict[str, Any] | None]:
    """How many rows are far from everything seen, to be judged beside the columns."""
    before, now = baseline.train.blocks, profile.blocks
    if baseline.outliers is None or before is None or now is None:
        return [], None
    picked, is_outlier = baseline.outliers.mark(window.table)
    if not len(picked):
        return [], None
    length = verdict.blocks_of(baseline.train, span)
    made = baseline.outliers.series(before, now, window.times[picked], is_outlier, length)
    return [made], {
        "share": round(float(is_outlier.mean()), 6),
        "baseline": outliers.RARE,
        "rows": len(picked),
    }


def _unknown(spec: Spec, baseline: Baseline) -> Iterator[Violation]:
    for name in spec.features:
        if name not in baseline.train.columns:
            reason = f"{name} is in model.yaml but not in the baseline: evaluate the model again"
            yield violation(name, "extra_column_check", reason)


def _once(found: list[Violation]) -> list[Violation]:
    """A column that is not there has no values either; rows that are unlike all others need no mention where
    a column says what is unlike."""
    absent = {one["feature_name"] for one in found if one["constraint_check_type"] == "missing_column_check"}
    kept = [
        one
        for one in found
        if one["feature_name"] not in absent or one["constraint_check_type"] == "missing_column_check"
    ]
    columns = [one for one in kept if one["feature_name"] != outliers.NAME]
    return columns or kept


def _impact(figures: dict[str, Any], weight: float) -> float:
    """How much a change matters: its effect, as a share of what it takes to be drift, times the weight."""
    effect, threshold = figures.get("distance"), figures.get("threshold")
    if effect is None or not threshold:
        return 0.0
    return round(weight * effect / threshold, 6)
