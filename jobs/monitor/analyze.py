"""The verdict on a window: everything that was counted, against everything that the baseline knows.

Features are judged by their profile against the training data's, predictions against the holdout's; labelled
rows, groups and attributions against the holdout's. A part that cannot be judged says why and does not stop
the others.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jobs import contract
from jobs.contract import parse_time
from jobs.monitor import bias, datafiles, explained, formats, inputs, performance, report, rules, unjudged
from jobs.monitor.baseline import Baseline
from jobs.monitor.capture import Skipped
from jobs.monitor.labels import Labels, read_labels
from jobs.monitor.profile import Profile
from jobs.monitor.schema import Schema
from jobs.monitor.shard import Shard
from jobs.monitor.state import State
from jobs.monitor.window import Window
from jobs.monitor.wording import verdict
from jobs.spec import Spec

MIN_ROWS = 1000
# What matters first; within a check, what is furthest over its threshold for its weight in the model.
ORDER = (
    "model_quality_check",
    "missing_column_check",
    "data_type_check",
    "completeness_check",
    "categorical_values_check",
    "range_check",
    "custom_rule_check",
)
Violation = dict[str, Any]


@dataclass(frozen=True)
class Given:
    """Files beside what was counted, each of which may be absent: ground truth, the model's folder (for its
    rules), the extracted model (for attributions), the pipeline's features of the same rows (for skew)."""

    labels: Path | None = None
    code: Path | None = None
    model: Path | None = None
    pipeline: Path | None = None


@dataclass
class Analysis:
    """`content` is analysis.json; `state` what the next window needs."""

    content: dict[str, Any]
    profile: Profile
    baseline: Baseline
    state: State

    @property
    def sentence(self) -> str:
        """Model Monitor's exit messages, so that its users' tools read them."""
        content = self.content
        if content["status"] == "NoData":
            broken = content["skipped_lines"]
            many = f"; {broken} lines could not be read, such as {content['skipped'][0]}" if broken else ""
            return f"NoData: no request was captured in the window{many}."
        if content["status"] == "TooFewRows":
            few = f"{content['rows']} captured, at least {content['min_rows']} rows are needed"
            return f"TooFewRows: {few}."
        if content["violations"]:
            found = f"{len(content['violations'])} violations"
            return f"CompletedWithViolations: Job completed successfully with {found}."
        return "Completed: Job completed successfully with no violations."


def analyze(spec: Spec, baseline: Baseline, counted: Shard, state: State, given: Given) -> Analysis:
    """`state` is that of the windows before, and is changed."""
    rows, least = counted.profile.rows, int(spec.monitor.get("min_rows", MIN_ROWS))
    start, end = counted.window
    content: dict[str, Any] = {
        "status": "NoData" if not rows else "TooFewRows" if rows < least else "Completed",
        "model": spec.name,
        "task": spec.task,
        "baseline": baseline.digest,
        "window": {"start": start, "end": end},
        "rows": rows,
        "min_rows": least,
        "labelled": 0,
        "violations": [],
        "features": {},
        "prediction": None,
        "quality": {},
        "unjudged": {},
        "skipped_lines": counted.skipped,
        "skipped": counted.problems,
        "problems": counted.counted,
        "sampled": None if counted.sample.is_whole else counted.sample.table.num_rows,
    }
    if content["status"] == "Completed":
        _judge(content, spec, baseline, counted, state, given)
        content["violations"].sort(key=lambda found: importance(found, content["features"]))
    content["verdict"] = verdict(content)
    state.remember(_entry(content))
    return Analysis(content, counted.profile, baseline, state)


def importance(found: Violation, features: dict[str, Any]) -> tuple[int, float, float]:
    check, name = found["constraint_check_type"], found["feature_name"]
    impact = (features.get(name) or {}).get("impact") or 0.0
    excess = (found.get("value") or 0.0) - (found.get("threshold") or 0.0)
    return ORDER.index(check) if check in ORDER else len(ORDER), -impact, -abs(excess)


def write(folder: Path, analysis: Analysis, baseline: Path) -> None:
    """The window's folder. `baseline` is the folder whose constraints it was held to."""
    folder.mkdir(parents=True, exist_ok=True)
    contract.write_json(folder / "analysis.json", analysis.content)
    found = formats.violations(analysis.content["violations"])
    contract.write_json(folder / "constraint_violations.json", found)
    formats.write(folder / "statistics.json", formats.statistics(analysis.profile))
    if (baseline / "constraints.json").is_file():
        shutil.copy(baseline / "constraints.json", folder)
    analysis.profile.save(folder / "profile.npz")
    analysis.state.save(folder / "state")
    history = analysis.state.until(analysis.content["window"]["end"])
    columns = analysis.baseline.columns
    page = report.Page(analysis.content, columns, analysis.profile.columns, history)
    (folder / "report.html").write_text(report.render(page), encoding="utf-8")


def read(folder: Path, baseline: Path) -> report.Page:
    """The page of a window's folder. Raises JobError for files that `write` did not write."""
    content = contract.read_json(folder / "analysis.json")
    known = Baseline.load(baseline)
    state = State.load(folder / "state", known.digest)
    now = Profile.load(folder / "profile.npz").columns
    return report.Page(content, known.columns, now, state.until(content["window"]["end"]))


def _judge(
    content: dict[str, Any], spec: Spec, baseline: Baseline, counted: Shard, state: State, given: Given
) -> None:
    window = counted.sample.ordered().window(Schema.of(spec))
    weights = explained.weights_of(baseline.explained)
    for figures, violations in (
        inputs.judge(spec, baseline, counted, window, weights),
        inputs.compare_with_pipeline(window, given.pipeline),
        _quality(spec, baseline, counted, window, state, given.labels),
        _bias(spec, baseline, counted),
        _attribution(spec, baseline, window, given),
        _rules(spec, window, counted.profile, given.code),
    ):
        content |= figures
        content["violations"] += violations
    known = (given.code, given.model, given.pipeline)
    content["unjudged"] = unjudged.reasons(content, spec, baseline, window, *known)
    if not counted.sample.is_whole:  # metrics are those of the sample
        content["labelled"] = counted.sample.labelled


Part = tuple[dict[str, Any], list[Violation]]


def _quality(
    spec: Spec, baseline: Baseline, counted: Shard, window: Window, state: State, labels: Path | None
) -> Part:
    if not baseline.watch:
        return {}, []
    if labels:
        known = read_labels(labels, spec.task, Skipped())
    else:
        window = datafiles.named(window)
        rows, unusable = window.label.is_valid(), counted.counted.get("unusable_labels", 0)
        known = Labels(window.ids.filter(rows), window.label.filter(rows), unusable)
    start, end = (_microseconds(parse_time(moment)) for moment in counted.window)
    found = performance.assess(spec, baseline.content, window, known, state, (start, end))
    state.losses, state.waiting = found.losses, found.settled.waiting
    if not counted.sample.is_whole:  # the shards have asked for all rows' labels
        late = found.figures["labels"]["late"]
        found.figures["labels"]["unknown"] = max(counted.labels - counted.labels_met - late, 0)
    return found.figures, found.violations


def _bias(spec: Spec, baseline: Baseline, counted: Shard) -> Part:
    if not baseline.tallies:
        return {"bias": {}}, []
    settings = bias.Settings.of(spec)
    found = bias.compare(counted.tallies, baseline.tallies, settings)
    return {
        "bias": found.figures,
        "outcome": settings.outcome.words(),
        "bias_calibration": found.calibration,
        "bias_skipped": [*found.skipped, *counted.unlike],
    }, found.violations


def _attribution(spec: Spec, baseline: Baseline, window: Window, given: Given) -> Part:
    found = explained.compare(spec, baseline.explained, window, given.model, given.code)
    return {"attribution": found.figures}, found.violations


def _rules(spec: Spec, window: Window, profile: Profile, code: Path | None) -> Part:
    if not spec.monitor.get("rules") or code is None:
        return {"rules": []}, []
    with TemporaryDirectory() as folder:
        path = Path(folder, "profile.npz")
        profile.save(path)
        entries, violations = rules.run(spec, code, rules.rows_of(window), path)
    return {"rules": entries}, violations


def _entry(content: dict[str, Any]) -> dict[str, Any]:
    """What the windows after this one remember of it."""
    return {
        **content["window"],
        "baseline": content["baseline"],
        "status": content["status"],
        "rows": content["rows"],
        "labelled": content["labelled"],
        "quality": {
            name: {key: figure.get(key) for key in ("value", "low", "high")}
            for name, figure in content["quality"].items()
        },
        "drift": (content.get("drift") or {}).get("t_max"),
        "violated": sorted({found.get("metric") or found["feature_name"] for found in content["violations"]}),
    }


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)
