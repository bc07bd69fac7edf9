"""State RecordRollback: the champion stays; the package is marked Rejected with the reason, so that it does
not come back by itself.

Environment: TABLE.
IAM: sagemaker:UpdateModelPackage on the packages of our groups; dynamodb:GetItem, PutItem on
the table.
"""

from typing import Any

from evergreen import explain, names, registry, settings
from evergreen.ledger import Ledger, history, put, release
from evergreen.telemetry import logger

LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """{plan, error: null|{Error, Cause}, endpoint: null|{status, config, reason}, execution} -> {reason}."""
    plan = event["plan"]
    reason = record(plan, why(plan, event.get("error"), event.get("endpoint")), event["execution"])
    logger.warning(reason, model=plan["model"], version=plan["version"])
    return {"reason": reason}


def why(plan: dict[str, Any], error: dict[str, str] | None, endpoint: dict[str, str] | None) -> str:
    """The reason in a sentence: what a state caught, or what SageMaker says of the endpoint."""
    if error:
        return explain.sentence(error)
    endpoint = endpoint or {}
    said = endpoint.get("reason") or "SageMaker gave no reason"
    return f"endpoint {plan['endpoint']} is {endpoint.get('status')} without {plan['deployment']}: {said}"


def record(plan: dict[str, Any], reason: str, execution: str) -> str:
    """Reject in the registry first: once the lock is free, a late approval event must find it rejected."""
    model, version, deployment = plan["model"], plan["version"], plan["deployment"]
    started = LEDGER.need(model, f"DEPLOYMENT#{deployment}")
    if started["status"] == "RolledBack":
        return started["reason"]
    registry.reject(plan["packageArn"], f"rolled back: {reason}", "evergreen deploy")
    key = names.package(version)
    writes = [
        put(model, key, LEDGER.need(model, key) | {"status": "RolledBack", "reason": reason}),
        put(model, f"DEPLOYMENT#{deployment}", started | {"status": "RolledBack", "reason": reason}),
    ]
    holder = LEDGER.get(model, "LOCK#deploy")
    if holder and holder["owner"] == execution:
        writes.append(release(model, "deploy", execution))
    row = history(
        model,
        started["approved_at"],
        "DeploymentRolledBack",
        deployment,
        version=version,
        package_arn=plan["packageArn"],
        deployment=deployment,
        cause=plan["cause"],
        reason=reason,
    )
    LEDGER.commit_once(row, *writes)
    return reason
