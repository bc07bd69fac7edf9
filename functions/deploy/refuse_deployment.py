"""State RefuseDeployment: what staging showed, or a person said, keeps the version out of production. The
package is marked Rejected with the reason, so that it does not come back by itself.

Environment: TABLE.
IAM: sagemaker:UpdateModelPackage on the packages of our groups; dynamodb:GetItem, PutItem on the table.
"""

from typing import Any

from evergreen import explain, names, registry, settings, staging, times
from evergreen.ledger import Ledger, put
from evergreen.telemetry import logger

LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """{plan, error: {Error, Cause}} -> {reason}."""
    plan = event["plan"]
    reason = refuse(plan, explain.sentence(event["error"]))
    logger.warning(reason, model=plan["model"], version=plan["version"])
    return {"reason": reason}


def refuse(plan: dict[str, Any], reason: str) -> str:
    """Once; the champion never noticed."""
    model, deployment = plan["model"], plan["deployment"]
    started = LEDGER.need(model, f"DEPLOYMENT#{deployment}")
    if started["status"] == "Refused":
        return started["reason"]
    registry.reject(plan["packageArn"], f"not shipped: {reason}", "evergreen deploy")
    key, gone = names.package(plan["version"]), {"status": "Refused", "reason": reason}
    LEDGER.commit_once(
        staging.row(plan, times.normal(plan["approvedAt"]), "DeploymentRefused", reason=reason),
        put(model, key, LEDGER.need(model, key) | gone),
        put(model, f"DEPLOYMENT#{deployment}", started | gone),
    )
    return reason
