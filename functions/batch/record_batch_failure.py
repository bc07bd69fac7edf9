"""State RecordBatchFailure: files that could not be scored, with the reason. They are not tried again by
themselves: uploaded again, or asked for with BatchRequested, they are.

Environment: TABLE.
IAM: dynamodb:GetItem, PutItem on the table.
"""

from typing import Any

from evergreen import batches, explain, settings
from evergreen.ledger import Ledger, put
from evergreen.telemetry import emit, logger

LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """{plan, scored: those files that were, error: {Error, Cause}, execution} -> {reason}."""
    plan = event["plan"]
    reason = record(plan, event["scored"], explain.sentence(event["error"]), event["execution"])
    logger.warning(reason, model=plan["model"], batch=plan["batch"])
    emit({"FailedBatches": 1}, Model=plan["model"])
    return {"reason": reason}


def record(plan: dict[str, Any], scored: list[dict[str, Any]], reason: str, execution: str) -> str:
    """Write the failure of the other files down, once."""
    model, batch = plan["model"], plan["batch"]
    done = {each["name"] for each in scored}
    files = [each for each in plan["inputs"] if each["name"] not in done]
    row = batches.told(plan, "BatchFailed", files, execution, reason=reason)
    record = LEDGER.need(model, f"BATCH#{batch}") | {"status": batches.FAILED, "reason": reason}
    failed = batches.ended(LEDGER, plan, files, batches.FAILED)
    LEDGER.commit_once(row, put(model, f"BATCH#{batch}", record), *failed)
    return reason
