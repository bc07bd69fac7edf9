"""State RecordOnboarding: from here on the ledger knows the digest.

Environment: TABLE, BUCKET.
IAM: s3:GetObject on models/*; dynamodb:GetItem, PutItem on the table.
"""

import json
from typing import Any

from evergreen import artifacts, scheduling, settings, times
from evergreen import spec as specification
from evergreen.errors import AwsConflict
from evergreen.ledger import Ledger, Write, history, put
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")
LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{model, digest, cause, execution} -> {}."""
    record(event["model"], event["digest"], event["cause"], event["execution"])
    logger.info("onboarded", model=event["model"], digest=event["digest"])
    return {}


def record(model: str, digest: str, cause: dict[str, str], execution: str) -> None:
    """The specification by its digest for ever, and as the current one unless a newer one came meanwhile."""
    text = artifacts.read(BUCKET, f"models/{model}/{digest}/model.yaml").decode()
    spec = specification.parse(text, folder=model)
    anchors = scheduling.anchors(spec, times.parse(cause["at"]), LEDGER.get(model, "SPEC"))
    item = {
        "digest": digest,
        "spec": json.dumps(spec),
        "published_at": cause["at"],
        "anchors": anchors,
        "cause": cause,
        "execution": execution,
    }
    newer = "attribute_not_exists(pk) OR #published_at <= :at"
    listed = {"name": model, "task": spec["task"], "digest": digest, "published_at": cause["at"]}
    row = history(model, cause["at"], "ModelOnboarded", cause["id"], digest=digest, cause=cause)
    every = put(model, f"SPEC#{digest}", item)
    try:
        LEDGER.commit_once(
            row,
            every,
            put(model, "SPEC", item, newer, at=cause["at"]),
            Write(model, model, listed, pk="MODELS"),
        )
    except AwsConflict:  # a newer digest is current already
        LEDGER.commit_once(row, every)
