"""RenewCard: the page of a version is stored again after something happened to it: it was registered,
approved, rejected, deployed or rolled back. It is made of the ledger and the registry, never of the event:
late and repeated events do no harm. What came into service takes another version's place, so that the pages
of the champion and of the one before it are renewed too.

Environment: TABLE, BUCKET, PREFIX.
IAM: dynamodb:GetItem, Query on the table; sagemaker:DescribeModelPackage on the packages of our groups;
s3:GetObject on runs/*/evaluation/* and runs/*/card/*; s3:PutObject on runs/*/card/*; sqs:SendMessage on the
dead-letter queue (Lambda's own call, for an event that has failed three times).
"""

import re
from typing import Any

from evergreen import card, names, settings
from evergreen.errors import AwsNotFound, EventInvalid, RecordMissing
from evergreen.ledger import Ledger
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")
PREFIX = settings.required("PREFIX")
LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> None:
    """An event of ours or the registry's that names a package; nothing waits for an answer. Raises
    RecordMissing, for Lambda to try again, where the ledger has yet to hear of it."""
    model, version = package_of(event)
    if not_yet := behind(model, event):
        raise RecordMissing(not_yet)
    for each in touched(model, version):
        try:
            key = card.renew(LEDGER, BUCKET, PREFIX, model, each)
        except (RecordMissing, AwsNotFound) as missing:
            logger.info("no card to renew", model=model, version=each, reason=str(missing))
        else:
            logger.info("card renewed", model=model, version=each, key=key)


def behind(model: str, event: dict[str, Any]) -> str:
    """What the ledger has yet to hear of; empty where it has. An account that trains for another one hears of
    a deployment by the very same event."""
    deployment = (event.get("detail") or {}).get("deployment")
    if not deployment:
        return ""
    status = (LEDGER.get(model, f"DEPLOYMENT#{deployment}") or {}).get("status")
    is_over = event.get("detail-type") != "ModelDeployed"
    if status is None or (is_over and status not in ("RolledBack", "Refused")):
        return f"the ledger has {deployment} as {status}, before {event.get('detail-type')}"
    return ""


def touched(model: str, version: int) -> list[int]:
    """The version of the event, the one in service and the one that it replaced."""
    champion = LEDGER.get(model, "CHAMPION") or {}
    others = (champion, champion.get("previous") or {})
    return sorted({version, *(other["version"] for other in others if other)})


def package_of(event: dict[str, Any]) -> tuple[str, int]:
    """(model, version) of the package's ARN, which each of the events has."""
    detail = event.get("detail") or {}
    arn = detail.get("packageArn") or detail.get("ModelPackageArn") or ""
    match = re.search(rf":model-package/{re.escape(PREFIX)}-({names.MODEL.pattern})/(\d+)$", arn)
    if not match:
        raise EventInvalid(f"{arn!r} is no version of a model package group of ours ({PREFIX}-<model>)")
    return match[1], int(match[2])
