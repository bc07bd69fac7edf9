"""State RecordWindow: the verdict to the ledger, the figures to CloudWatch.

Environment: TABLE.
IAM: s3:GetObject on monitor/*; dynamodb:GetItem, PutItem on the table.
"""

import json
from typing import Any

from evergreen import artifacts, findings, names, settings
from evergreen.ledger import Ledger, history, put
from evergreen.telemetry import emit, logger

LEDGER = Ledger(settings.required("TABLE"))

# A record holds 400 KB: a thousand columns that all drift must not break it. The files have them all.
KEPT = 50


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{plan, execution} -> {status, violations: n, top: [up to 5], rows, labelled, signal}."""
    plan = event["plan"]
    analysis = artifacts.read_json(f"{plan['output']}analysis.json")
    verdict = record(plan, analysis, event["execution"])
    logger.info(
        "window analysed", model=plan["model"], window=plan["window"], violations=verdict["violations"]
    )
    figures(plan["model"], analysis)
    return verdict


def record(plan: dict[str, Any], analysis: dict[str, Any], execution: str) -> dict[str, Any]:
    """Write the window down, once. `signal` tells one finding from another: the same window analysed again,
    with labels that came late, is a new signal where it finds something new."""
    violations = findings.first_things_first(analysis["violations"])
    found = sorted({(v["feature_name"], v["constraint_check_type"]) for v in violations})
    key = plan["key"]
    result = {
        "status": analysis["status"],
        "verdict": analysis.get("verdict", ""),
        "rows": analysis["rows"],
        "labelled": analysis["labelled"],
        "violations": violations[:KEPT],
        "violation_count": len(violations),
        "quality": analysis.get("quality") or {},
        "skipped_lines": analysis.get("skipped_lines", 0),
        "signal": f"{plan['model']}/{key}/{names.digest(json.dumps(found), 6)}",
        "report": plan["output"],
    }
    about = plan["window"] | {"version": plan["version"], "cause": plan["cause"], "execution": execution}
    row = history(
        plan["model"], plan["window"]["end"], "WindowAnalyzed", f"{key}-{plan['name']}", **about, **result
    )
    window = put(plan["model"], f"WINDOW#{key}", about | result | {"name": plan["name"]})
    LEDGER.commit_once(row, window)
    return {
        "status": result["status"],
        "violations": len(violations),
        "top": [brief(violation) for violation in violations[:5]],
        "rows": result["rows"],
        "labelled": result["labelled"],
        "signal": result["signal"],
    }


def brief(violation: dict[str, Any]) -> dict[str, Any]:
    """A violation without what an event has no room for."""
    wanted = (
        "feature_name",
        "constraint_check_type",
        "description",
        "metric",
        "value",
        "threshold",
        "severity",
    )
    return {name: violation[name] for name in wanted if violation.get(name) is not None}


def figures(model: str, analysis: dict[str, Any]) -> None:
    """CloudWatch metrics: counts, quality and what the verdicts rest on by Model, drift by Model and Feature,
    bias by Model and Facet."""
    values = {
        "Rows": analysis["rows"],
        "LabelledRows": analysis["labelled"],
        "Violations": len(analysis["violations"]),
        "SkippedLines": analysis.get("skipped_lines", 0),
    }
    detector, estimate, attribution = (
        analysis.get(name) or {} for name in ("detector", "estimate", "attribution")
    )
    if detector.get("threshold"):  # from 1 on the model is worse
        values["Evidence"] = detector["value"] / detector["threshold"]
    if estimate:
        values[f"Estimated_{estimate['metric']}"] = estimate["value"]
    values |= {f"Attribution_{name}": attribution[name] for name in ("ndcg", "l1") if name in attribution}
    for name, figure in (analysis.get("quality") or {}).items():
        values[f"Quality_{name}"] = figure.get("value") if isinstance(figure, dict) else None
    emit(_numbers(values), Model=model)
    features = sorted((analysis.get("features") or {}).items(), key=lambda one: -(one[1].get("impact") or 0))
    for name, feature in [*features[:KEPT], ("prediction", analysis.get("prediction") or {})]:
        drift = {"Drift": feature.get("distance"), "Missing": feature.get("missing")}
        emit(_numbers(drift), Model=model, Feature=name)
    for facet, worst in largest_moves(analysis.get("bias") or {}).items():
        emit({"BiasMove": worst}, Model=model, Facet=facet)


def largest_moves(bias: dict[str, dict[str, Any]]) -> dict[str, float]:
    """By column, how far the group and metric that moved most have moved, in standard deviations: a metric
    for each of hundreds of figures would cost more than the model."""
    found: dict[str, float] = {}
    for group, metrics in bias.items():
        facet = group.partition("=")[0].partition(">")[0]
        for figure in metrics.values():
            if isinstance(figure.get("t"), int | float):
                found[facet] = max(found.get(facet, 0.0), figure["t"])
    return found


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in values.items() if isinstance(value, int | float)}
