"""State FindOutputs: a transform job that fails has written the outputs of those files that it could score.

Environment: BUCKET.
IAM: s3:ListBucketVersions on the bucket (prefix batch/*).
"""

from datetime import datetime
from typing import Any

from evergreen import artifacts, settings, times
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{plan, since: when the execution began} -> {inputs: those of the plan whose output is there}."""
    plan = event["plan"]
    found = [each for each in plan["inputs"] if is_there(plan, each["name"], times.parse(event["since"]))]
    logger.info("outputs found", model=plan["model"], batch=plan["batch"], found=len(found))
    return {"inputs": found}


def is_there(plan: dict[str, Any], name: str, since: datetime) -> bool:
    """Whether the job has written a file's output: one of an earlier version may lie there."""
    key = f"{plan['output']}{name}.out"
    newest = next((each for each in artifacts.versions(BUCKET, key) if each["Key"] == key), None)
    return newest is not None and newest["LastModified"] >= since
