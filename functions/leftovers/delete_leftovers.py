"""DeleteLeftovers: the SageMaker model and the endpoint configs of deployments that nothing returns to any
more are deleted: rolled back, refused, dropped, or replaced twice. It looks at all deployments of a model
whenever one has ended: what one event missed, the next one finds. What that event is about stays until then,
for whoever asks why, and for a batch that is being scored.

Environment: TABLE, PREFIX.
IAM: dynamodb:GetItem, Query, PutItem on the table; sagemaker:DescribeEndpoint on our endpoints;
sagemaker:DeleteEndpointConfig, DeleteModel on our endpoint configs and models; sqs:SendMessage on the
dead-letter queue (Lambda's own call, for an event that has failed three times).
"""

from typing import Any

from evergreen import aws, names, settings
from evergreen.errors import AwsConflict, AwsNotFound
from evergreen.ledger import Ledger, changed, history
from evergreen.telemetry import logger

PREFIX = settings.required("PREFIX")
LEDGER = Ledger(settings.required("TABLE"))
OVER = ("Promoted", "RolledBack", "Refused", "Dropped")


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> None:
    """A deployment of ours ended; nothing waits for an answer."""
    detail = event["detail"]
    deleted = sweep(detail["model"], detail["deployment"])
    logger.info("leftovers deleted", model=detail["model"], deployments=deleted)


def sweep(model: str, latest: str) -> list[str]:
    """The deployments that were cleared. None while the endpoint changes, or serves two versions at once
    because an update and its rollback failed: there every config may be in use."""
    # Before the champion is read: what is promoted in between must not look replaced.
    over = [each for each in LEDGER.query(model, "DEPLOYMENT#") if each["status"] in OVER]
    kept = {latest, *needed(model)}
    status, config = served(names.endpoint(PREFIX, model))
    if status not in ("InService", ""):
        return []
    leftovers = [each for each in over if "cleared" not in each and each["deployment"] not in kept]
    return [each["deployment"] for each in leftovers if clear(model, each, config)]


def needed(model: str) -> list[str]:
    """The deployments in service and to return to."""
    champion = LEDGER.get(model, "CHAMPION") or {}
    return [each["deployment"] for each in (champion, champion.get("previous")) if each]


def served(endpoint: str) -> tuple[str, str]:
    """(status, config) of an endpoint; empty where there is none."""
    try:
        found = aws.call("sagemaker", "describe_endpoint", EndpointName=endpoint)
    except AwsNotFound:
        return "", ""
    return found["EndpointStatus"], found["EndpointConfigName"]


def clear(model: str, record: dict[str, Any], config: str) -> bool:
    """Delete what a deployment made, and write it down once; False where an endpoint is still on it: a
    shadow that could not be taken off, a staging endpoint that could not be deleted."""
    deployment = record["deployment"]
    staging = names.staging(deployment)
    configs = (deployment, staging, names.shadow(deployment))
    if config in configs or served(staging)[0]:
        return False
    for each in configs:
        delete("delete_endpoint_config", EndpointConfigName=each)
    delete("delete_model", ModelName=deployment)
    row = history(
        model,
        record["approved_at"],
        "LeftoversDeleted",
        deployment,
        version=record["version"],
        deployment=deployment,
        package_arn=record["package_arn"],
        cause=record["plan"]["cause"],
        reason=f"it was {record['status']}, and nothing returns to it",
    )
    try:
        return LEDGER.commit_once(row, changed(model, f"DEPLOYMENT#{deployment}", record, cleared=True))
    except AwsConflict:  # what it came to has changed: the next event looks again
        return False


def delete(operation: str, **name: str) -> None:
    """Of a thing that may never have been made, or is gone already."""
    try:
        aws.call("sagemaker", operation, **name)
    except AwsNotFound:
        logger.debug("nothing to delete", operation=operation, **name)
