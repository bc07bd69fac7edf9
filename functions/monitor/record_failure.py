"""State RecordFailure: a window that could not be analysed is not a clean one.

Environment: TABLE.
IAM: dynamodb:GetItem, PutItem on the table.
"""

from typing import Any

from evergreen import explain, settings
from evergreen.ledger import Ledger, history, put
from evergreen.telemetry import emit, logger

LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """{plan, error: {Error, Cause}, execution} -> {reason}."""
    plan = event["plan"]
    reason = record(plan, explain.sentence(event["error"]), event["execution"])
    logger.warning(reason, model=plan["model"], window=plan["window"])
    emit({"FailedWindows": 1}, Model=plan["model"])
    return {"reason": reason}


def record(plan: dict[str, Any], reason: str, execution: str) -> str:
    """Write the failure down; a verdict that was recorded before the failure stays."""
    model, key = plan["model"], plan["key"]
    result = {"status": "Failed", "reason": reason, "rows": plan["rows"], "labelled": 0, "violations": []}
    about = plan["window"] | {"version": plan["version"], "cause": plan["cause"], "execution": execution}
    # An id of its own: the verdict may have been written before the announcement of it failed.
    row = history(
        model, plan["window"]["end"], "WindowAnalyzed", f"{key}-{plan['name']}-failed", **about, **result
    )
    writes = []
    known = LEDGER.get(model, f"WINDOW#{key}")
    if known and known["status"] == "Analyzing" and known["execution"] == execution:
        writes.append(put(model, f"WINDOW#{key}", about | result | {"name": plan["name"]}))
    LEDGER.commit_once(row, *writes)
    return reason
