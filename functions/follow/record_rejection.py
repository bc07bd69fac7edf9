"""State RecordRejection: the account that serves took a version out, or did not let it in. This account has
the registry: the package is marked Rejected with the reason, so that it does not come back by itself.

Environment: TABLE.
IAM: sagemaker:UpdateModelPackage on the packages of our groups; dynamodb:GetItem, PutItem on the table.
"""

from typing import Any

from evergreen import events, names, registry, settings
from evergreen.errors import AwsConflict, AwsUnavailable
from evergreen.ledger import Ledger, Write, changed, history, put
from evergreen.telemetry import logger

LEDGER = Ledger(settings.required("TABLE"))
STATUS = {"DeploymentRolledBack": "RolledBack", "DeploymentRefused": "Refused"}
SAID = {"DeploymentRolledBack": "rolled back", "DeploymentRefused": "not shipped"}


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> None:
    """{event: DeploymentRolledBack or DeploymentRefused}; raises RecordMissing for a version that is not
    registered yet."""
    model, version, reason = record(event["event"])
    logger.warning(reason, model=model, version=version)


def record(event: dict[str, Any]) -> tuple[str, int, str]:
    """Once for each deployment: a late delivery must not undo what a person approved since. The registry
    first, as in RecordRollback."""
    model, cause = events.cause_of(event)
    kind, detail, at = event["detail-type"], event["detail"], events.time_of(event)
    version, deployment, reason = detail["version"], detail["deployment"], detail["reason"]
    key = names.package(version)
    package = LEDGER.need(model, key)
    known = LEDGER.get(model, f"DEPLOYMENT#{deployment}") or {}
    if known.get("status") == STATUS[kind]:
        return model, version, reason
    gone = {"status": STATUS[kind], "reason": reason}
    about = {"deployment": deployment, "version": version, "package_arn": package["package_arn"]}
    details = about | {"reason": reason, "cause": cause.as_dict(), "account": event["account"]}
    writes = [put(model, f"DEPLOYMENT#{deployment}", about | gone)]
    champion = LEDGER.get(model, "CHAMPION")
    if not is_in_service_again(champion, version, at):
        by_person = cause.kind == "person" and event["source"] == "evergreen.respond"
        by = cause.by if by_person else event["source"].replace(".", " ")
        registry.reject(package["package_arn"], f"{SAID[kind]}: {reason}", by)
        writes += [changed(model, key, package, **gone), *returned(model, champion, deployment, at)]
    try:
        LEDGER.commit_once(history(model, at, kind, deployment, **details), *writes)
    except AwsConflict as conflict:
        raise AwsUnavailable(f"version {version} of {model} changed at the same time") from conflict
    return model, version, reason


def is_in_service_again(champion: dict[str, Any] | None, version: int, at: str) -> bool:
    """Whether somebody approved the version again, and it has shipped, since it was taken out at `at`."""
    return champion is not None and champion["version"] == version and champion["promoted_at"] > at


def returned(model: str, champion: dict[str, Any] | None, deployment: str, at: str) -> list[Write]:
    """The champion before, where the one in service was taken out; without a champion before it, as in
    RecordReturn."""
    if not champion or champion["deployment"] != deployment or not champion["previous"]:
        return []
    previous = champion["previous"]
    key = names.package(previous["version"])
    again = previous | {"previous": None, "promoted_at": at}
    return [
        put(model, "CHAMPION", again, "#deployment = :gone", gone=deployment),
        changed(model, key, LEDGER.need(model, key), status="InService"),
    ]
