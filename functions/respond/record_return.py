"""State RecordReturn: the champion before is champion again, and the package that failed is Rejected.

Environment: TABLE.
IAM: sagemaker:UpdateModelPackage on the packages of our groups; dynamodb:GetItem, PutItem on the table.
"""

from typing import Any

from evergreen import names, registry, settings
from evergreen.ledger import Ledger, history, put, release
from evergreen.telemetry import emit, logger

LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{decision, execution} -> {version: the one in service}."""
    decision = event["decision"]
    version = record(decision, event["execution"])
    logger.warning("returned to the version before", model=decision["model"], version=version)
    emit({"ChampionVersion": version}, Model=decision["model"])
    return {"version": version}


def record(decision: dict[str, Any], execution: str) -> int:
    """Reject in the registry, then put the champion before back, once. It comes back without a champion
    before it, so that a second alarm calls a person."""
    model, back, cause, reason = (decision[name] for name in ("model", "rollback", "cause", "reason"))
    champion = LEDGER.need(model, "CHAMPION")
    if champion["deployment"] != back["deployment"]:  # killed after its side effect, and retried
        return champion["version"]
    by = cause["by"] if cause["kind"] == "person" else "evergreen respond"
    registry.reject(back["packageArn"], f"rolled back: {reason}", by)
    previous = champion["previous"]
    # Its rollback alarms went when it was replaced; the monitor's windows begin anew.
    again = previous | {"previous": None, "alarms": [], "promoted_at": cause["at"]}
    bad, good = names.package(champion["version"]), names.package(previous["version"])
    started = LEDGER.need(model, f"DEPLOYMENT#{back['deployment']}")
    gone = {"status": "RolledBack", "reason": reason}
    about = {"deployment": back["deployment"], "package_arn": back["packageArn"], "cause": cause}
    LEDGER.commit_once(
        history(
            model,
            cause["at"],
            "DeploymentRolledBack",
            back["deployment"],
            version=champion["version"],
            reason=reason,
            **about,
        ),
        history(
            model,
            cause["at"],
            "ModelDeployed",
            f"{previous['deployment']}-again",
            version=previous["version"],
            run=previous["run"],
            package_arn=previous["package_arn"],
            deployment=previous["deployment"],
            approved_by=previous["approved_by"],
            metrics=previous["metrics"],
            cause=cause,
        ),
        put(model, "CHAMPION", again),
        put(model, bad, LEDGER.need(model, bad) | gone),
        put(model, good, LEDGER.need(model, good) | {"status": "InService"}),
        put(model, f"DEPLOYMENT#{back['deployment']}", started | gone),
        release(model, "deploy", execution),
    )
    return previous["version"]
