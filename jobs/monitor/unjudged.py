"""Why a section of analysis.json is empty: nobody should take what was not looked at for what is in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobs.monitor.baseline import Baseline
from jobs.monitor.window import Window
from jobs.spec import BINARY, Spec

NO_HOLDOUT = "the baseline was made without a holdout"


def reasons(
    content: dict[str, Any],
    spec: Spec,
    baseline: Baseline,
    window: Window,
    code: Path | None,
    model: Path | None,
    pipeline: Path | None,
) -> dict[str, str]:
    """By section of `content`, which is analysis.json's. `window`: the sampled rows; the paths are those of
    `analyze.Given`, None for what was not given."""
    found = {
        "quality": _quality(baseline, content, window.ids.null_count) or _metric(content),
        "detector": _detector(baseline),
        "estimate": _estimate(spec, baseline, window),
        "bias": _bias(spec, baseline, content),
        "attribution": _attribution(baseline, content, code, model),
        "skew": _skew(window, content, pipeline),
        "rules": _rules(spec, code),
    }
    if not baseline.watch:
        found["prediction"] = NO_HOLDOUT
    if content["outliers"] is None:
        found["outliers"] = "rows far from everything seen are compared by day: neither side may lack times"
    judged = {name for name in found if not _is_empty(content.get(name))} - {"quality"}
    return {name: reason for name, reason in sorted(found.items()) if reason and name not in judged}


def _is_empty(section: Any) -> bool:
    """A section with nothing but a reason is empty too."""
    return not section or (isinstance(section, dict) and "reason" in section)


def _quality(baseline: Baseline, content: dict[str, Any], unnamed: int) -> str:
    if not baseline.watch:
        return NO_HOLDOUT
    if content["quality"]:
        return ""
    counted = content.get("labels") or {}
    causes = {
        "{:,} others have an id that was predicted again": counted.get("repeated_predictions"),
        "of {:,} more the label or the answer is not what the task has": counted.get("unscored"),
        "{:,} rows have no id by which a label could find them": unnamed,
        "{:,} labels are of ids that no row has": counted.get("unknown"),
    }
    said = [f"{content['labelled']} rows of the window can be scored by now, 2 are needed"]
    return "; ".join([*said, *(words.format(count) for words, count in causes.items() if count)])


def _metric(content: dict[str, Any]) -> str:
    """Why the metric that decides has no value though there are others."""
    name = content["watched"]
    if (content["quality"].get(name) or {}).get("value") is not None:
        return ""
    lacks = "the labels are all of one class, or the answers have no probabilities"
    return f"{name} is not defined on the {content['labelled']:,} labelled rows: {lacks}"


def _detector(baseline: Baseline) -> str:
    if not baseline.watch:
        return NO_HOLDOUT
    if not baseline.content.get("detector"):
        return "the holdout had no labelled rows"
    return "the answers have no probabilities, of which the loss that it watches is made"


def _estimate(spec: Spec, baseline: Baseline, window: Window) -> str:
    if spec.task != BINARY:
        return "an estimate without labels is made for binary classification alone"
    if not baseline.watch:
        return NO_HOLDOUT
    if not baseline.content.get("calibration"):
        return "the holdout had no labelled probabilities of both classes to learn from"
    if window.probability is None:
        return "no answer of the window has a probability"
    return "the metric cannot be estimated from probabilities"


def _bias(spec: Spec, baseline: Baseline, content: dict[str, Any]) -> str:
    if not spec.protected and not (spec.monitor.get("bias") or {}).get("facets"):
        return "model.yaml names no protected column"
    if not baseline.watch:
        return NO_HOLDOUT
    skipped = content.get("bias_skipped") or [{"reason": "the baseline has no groups"}]
    return "; ".join(dict.fromkeys(one["reason"] for one in skipped[:3]))


def _attribution(baseline: Baseline, content: dict[str, Any], code: Path | None, model: Path | None) -> str:
    said = (content.get("attribution") or {}).get("reason")
    if said:
        return said
    if baseline.explained is None:
        return "the baseline holds no attributions: it was made without the model"
    return f"{'the model' if model is None else 'its code'} was not given" if not (code and model) else ""


def _skew(window: Window, content: dict[str, Any], pipeline: Path | None) -> str:
    said = (content.get("skew") or {}).get("reason")
    if said:
        return said
    if not window.schema.id:
        return "model.yaml names no id by which rows could be joined"
    return "no features as the pipeline computed them were given" if pipeline is None else ""


def _rules(spec: Spec, code: Path | None) -> str:
    declared = spec.monitor.get("rules")
    if not declared or not any(declared.values()):
        return "model.yaml declares none"
    return "the model's folder was not given" if code is None else ""
