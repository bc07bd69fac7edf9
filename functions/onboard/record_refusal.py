"""State RecordRefusal: the reason goes to the ledger; the model in service stays as it is.

Environment: TABLE.
IAM: dynamodb:PutItem on the table.
"""

from typing import Any

from evergreen import events, explain, settings
from evergreen.ledger import Ledger, history
from evergreen.telemetry import logger

LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """{event, error: {Error, Cause}, execution} -> {reason}."""
    reason = record(event["event"], event["error"], event["execution"])
    logger.warning(reason)
    return {"reason": reason}


def record(event: dict[str, Any], error: dict[str, str], execution: str) -> str:
    """One row per version of the file, under the folder's name, whatever model.yaml calls itself."""
    reason = explain.sentence(error)
    model, cause = events.cause_of(event)
    _, digest, _, _ = events.published(event)
    row = history(
        model,
        cause.at,
        "OnboardingRefused",
        cause.id,
        digest=digest,
        cause=cause.as_dict(),
        reason=reason,
        execution=execution,
    )
    LEDGER.append(row)
    return reason
