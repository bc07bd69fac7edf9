"""State RecordDecision: a version was rejected in the account that trains, and will not come. Whatever waits
for it here, waits no longer.

Environment: TABLE, PREFIX.
IAM: dynamodb:GetItem, PutItem on the table.
"""

from typing import Any

from evergreen import admission, events, names, settings
from evergreen.errors import AwsConflict, AwsUnavailable
from evergreen.ledger import Ledger, changed, history
from evergreen.telemetry import logger

LEDGER = Ledger(settings.required("TABLE"))
PREFIX = settings.required("PREFIX")


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> None:
    """{event: the registry's, of a version that is Rejected}; raises RecordMissing for a version that is not
    known yet."""
    model, version = record(event["event"])
    logger.info("rejected elsewhere", model=model, version=version)


def record(event: dict[str, Any]) -> tuple[str, int]:
    """Of a version that waits for its approval alone: what was taken out here is rejected there, too, and
    that is no news."""
    detail, at = event["detail"], events.time_of(event)
    model = detail["ModelPackageGroupName"].removeprefix(f"{PREFIX}-")
    version = detail["ModelPackageVersion"]
    key = names.package(version)
    package = LEDGER.need(model, key)
    if package["status"] != "PendingManualApproval":
        return model, version
    reason = detail.get("ApprovalDescription", "")
    row = history(
        model,
        at,
        "PackageRejected",
        f"v{version}",
        version=version,
        package_arn=package["package_arn"],
        reason=reason,
        by=admission.approved_by(detail),
        account=event["account"],
    )
    try:
        LEDGER.commit_once(row, changed(model, key, package, status="Rejected", reason=reason))
    except AwsConflict as conflict:
        raise AwsUnavailable(f"version {version} of {model} changed at the same time") from conflict
    return model, version
