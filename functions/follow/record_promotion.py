"""State RecordPromotion: the account that serves has a new champion. This ledger, of the account that trains,
has it too: the next challenger is judged against it, on rows that it has not seen.

Environment: TABLE.
IAM: dynamodb:GetItem, PutItem on the table.
"""

from typing import Any

from evergreen import deployments, events, names, settings
from evergreen.errors import AwsConflict, AwsUnavailable
from evergreen.ledger import ABSENT, Ledger, Write, changed, history, put
from evergreen.telemetry import logger

LEDGER = Ledger(settings.required("TABLE"))
NOT_CARRIED = ("pk", "sk", "status", "approval", "reason")


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> None:
    """{event: ModelDeployed}; raises RecordMissing for a version that is not registered yet."""
    model, version = record(event["event"])
    logger.info("deployed elsewhere", model=model, version=version)


def record(event: dict[str, Any]) -> tuple[str, int]:
    """The deployment, once. Events come in any order: one that was rolled back since, or that another one
    has followed, does not become the champion."""
    model, cause = events.cause_of(event)
    detail, at = event["detail"], events.time_of(event)
    version, deployment = detail["version"], detail["deployment"]
    package = LEDGER.need(model, names.package(version))
    row = history(
        model,
        at,
        "ModelDeployed",
        deployment,
        version=version,
        deployment=deployment,
        run=package["run"],
        package_arn=package["package_arn"],
        metrics=package["metrics"],
        cause=cause.as_dict(),
        account=event["account"],
    )
    if LEDGER.get(model, f"DEPLOYMENT#{deployment}"):  # known already, or rolled back before this was heard
        LEDGER.append(row)
        return model, version
    about = {"deployment": deployment, "version": version, "package_arn": package["package_arn"]}
    writes = [put(model, f"DEPLOYMENT#{deployment}", about | {"status": "Promoted"}, ABSENT)]
    champion = LEDGER.get(model, "CHAMPION")
    if champion and champion["promoted_at"] > at:
        writes.append(changed(model, names.package(version), package, status="Replaced"))
    else:
        writes += crowned(model, package, detail, at, champion)
    try:
        LEDGER.commit_once(row, *writes)
    except AwsConflict as conflict:
        raise AwsUnavailable(f"version {version} of {model} changed at the same time") from conflict
    return model, version


def crowned(
    model: str, package: dict[str, Any], detail: dict[str, Any], at: str, before: dict[str, Any] | None
) -> list[Write]:
    """The champion, what it replaces, and both packages."""
    champion = {name: value for name, value in package.items() if name not in NOT_CARRIED}
    champion |= {
        "endpoint": detail.get("endpoint"),  # none where the model scores batches
        "deployment": detail["deployment"],
        "promoted_at": at,
        "previous": deployments.predecessor(before, package["version"]),
    }
    unchanged = "#deployment = :before" if before else ABSENT
    seen = {"before": before["deployment"]} if before else {}
    writes = [
        put(model, "CHAMPION", champion, unchanged, **seen),
        changed(model, names.package(package["version"]), package, status="InService"),
    ]
    if before and before["version"] != package["version"]:
        key = names.package(before["version"])
        writes.append(changed(model, key, LEDGER.need(model, key), status="Replaced"))
    return writes
