"""bias.json: the bias of the answers on the holdout in the layout of SageMaker Clarify's analysis.json, by
which the registry's bias report is read (Amazon SageMaker Developer Guide, "Analysis Results", bias
analysis)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.monitor.bias_metrics import NAMES
from jobs.spec import BINARY, Spec

VERSION = "1.0"
# Of labels alone. Clarify takes them of the training data; here, like the others, of the holdout.
PRE_TRAINING = ("CI", "DPL", "KL", "JS", "LP", "TVD", "KS", "CDDL")

Groups = Mapping[str, Mapping[str, Any]]


def bias(spec: Spec, groups: Groups) -> dict[str, Any]:
    """`groups`: `{"carrier=UA": {"metrics": {"DPPL": {"value"}}}}`, as in evaluation.json. Without groups the
    report says nothing but its version."""
    report: dict[str, Any] = {"version": VERSION}
    if not groups:
        return report
    positive = (spec.monitor.get("bias") or {}).get("positive", 1 if spec.task == BINARY else None)
    for section, names in (
        ("pre_training_bias_metrics", PRE_TRAINING),
        ("post_training_bias_metrics", tuple(name for name in NAMES if name not in PRE_TRAINING)),
    ):
        report[section] = {
            "label": spec.target,
            "label_value_or_threshold": _text(positive),
            "facets": _facets(groups, names),
        }
    return report


def _facets(groups: Groups, names: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
    facets: dict[str, list[dict[str, Any]]] = {}
    for group, part in groups.items():
        facet, _, value = group.partition("=")
        metrics = [
            {"name": name, "description": NAMES[name], "value": part["metrics"][name]["value"]}
            for name in names
            if name in part["metrics"]
        ]
        facets.setdefault(facet, []).append({"value_or_threshold": value, "metrics": metrics})
    return facets


def _text(positive: Any) -> str:
    if positive is None:
        return ""
    return ",".join(map(str, positive)) if isinstance(positive, list) else str(positive)
