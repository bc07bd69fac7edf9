"""What the model looks at, learned once: SHAP values of rows of the holdout, which are both the monitor's
baseline and the report that is registered with the package. explanation.json has the layout of SageMaker
Clarify's analysis.json (Amazon SageMaker Developer Guide, "Analysis Results", SHAP analysis), which the
registry's Explainability report is read by; `method`, `rows`, `shares` and `reason` are ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jobs import importance
from jobs.contract import JobError
from jobs.monitor import attribution, explained, quality
from jobs.monitor.window import Window
from jobs.spec import Spec

VERSION = "1.0"  # Clarify's


def learn(spec: Spec, model: Path, code: Path, holdout: Window, folder: Path) -> dict[str, Any]:
    """The content of explanation.json; SHAP values go to the baseline's `folder` for the monitor. Where the
    model gives none, permutation importance; where it gives neither, the reason. `model` is extracted."""
    try:
        reference = explained.learn(spec, model, code, holdout)
        if not np.isfinite(reference.values.values).all():
            raise JobError("the model's attributions are not finite")
        reference.save(folder)
        return of_values(reference)
    except JobError as error:
        reason = str(error)
    print(f"attributions will not be watched: {reason}")
    metric = spec.gate.get("primary") or quality.names(spec.task)[0]
    try:
        values = importance.measure(spec, model, code, holdout, metric)
    except JobError as error:
        return {"version": VERSION, "explanations": {}, **_ours(None, 0, {}, f"{reason}; {error}")}
    rows = len(importance.usable(spec, holdout))
    return of_importance(tuple(spec.features), values, metric, rows, reason)


def of_values(reference: explained.Reference) -> dict[str, Any]:
    """Mean |SHAP| of each feature in the unit of the prediction (the sum over the outputs of a model with
    several), heaviest first."""
    values = reference.values
    means = dict(zip(values.features, values.values.mean(0).tolist(), strict=True))
    reason = (
        None if any(means.values()) else "the model answers every row alike: there is nothing to attribute"
    )
    return {
        "version": VERSION,
        "explanations": {"kernel_shap": {"label0": {"global_shap_values": _ranked(means)}}},
        **_ours(f"shap_{values.method}", len(values), reference.weights, reason),
    }


def of_importance(
    features: tuple[str, ...], values: np.ndarray, metric: str, rows: int, reason: str
) -> dict[str, Any]:
    """`values` (features,) is the loss of `metric` without each; `reason` why there are no SHAP values."""
    shares = attribution.shares(values[None])
    found = dict(zip(features, values.tolist(), strict=True))
    return {
        "version": VERSION,
        "explanations": {"permutation_importance": {"metric": metric, "values": _ranked(found)}},
        **_ours("permutation_importance", rows, dict(zip(features, shares.tolist(), strict=True)), reason),
    }


def _ours(method: str | None, rows: int, shares: dict[str, float], reason: str | None) -> dict[str, Any]:
    return {"method": method, "rows": rows, "shares": _ranked(shares), "reason": reason}


def _ranked(values: dict[str, float]) -> dict[str, float]:
    """Heaviest first, as they are read."""
    return {name: round(float(values[name]), 6) for name in sorted(values, key=lambda name: -values[name])}
