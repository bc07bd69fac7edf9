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
    wanted = ("feature_name", "constraint_check_type", "description", "metric", "value", "threshold")
    return {name: violation[name] for name in wanted if violation.get(name) is not None}


def figures(model: str, analysis: dict[str, Any]) -> None:
    """CloudWatch metrics: counts and quality by Model, drift by Model and Feature."""
    values = {
        "Rows": analysis["rows"],
        "LabelledRows": analysis["labelled"],
        "Violations": len(analysis["violations"]),
        "SkippedLines": analysis.get("skipped_lines", 0),
    }
    for name, figure in (analysis.get("quality") or {}).items():
        if isinstance(figure, dict) and isinstance(figure.get("value"), int | float):
            values[f"Quality_{name}"] = figure["value"]
    emit(values, Model=model)
    for name, feature in (analysis.get("features") or {}).items():
        if isinstance(feature.get("distance"), int | float):
            emit({"Drift": feature["distance"]}, Model=model, Feature=name)
