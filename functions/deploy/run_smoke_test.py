"""State RunSmokeTest: rows of the holdout, sent to the staging endpoint, are answered as when the model was
judged, in time, and a row that makes no sense does the endpoint no harm.

Environment: TABLE.
IAM: s3:GetObject on runs/*/evaluation/*; sagemaker:InvokeEndpoint on our staging endpoints;
dynamodb:GetItem, PutItem on the table.
"""

import json
import time
from typing import Any

from evergreen import artifacts, aws, settings, smoke, staging, times
from evergreen.errors import AwsDenied, AwsNotFound, AwsRejected, SamplesMissing
from evergreen.ledger import Ledger
from evergreen.smoke import Reply, Verdict
from evergreen.telemetry import logger

LEDGER = Ledger(settings.required("TABLE"))

JSON_LINES = "application/jsonlines"
# The container does not count these among the deployment's answers (jobs/answers.py).
MARK = "evergreen-smoke-test"
# Rows are sent until the time is up: a slow model is judged by fewer. (The function has 110 s. A call is made
# once and may take 25: the last of the rows, the malformed one and the one after it come on top.)
BUDGET_SECONDS = 30


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{plan} -> {passed, reason}, as it is in the ledger; raises SamplesMissing."""
    plan = event["plan"]
    verdict = test(plan["staging"])
    row = staging.row(
        plan,
        times.normal(plan["approvedAt"]),
        "SmokeTested",
        passed=verdict.passed,
        reason=verdict.reason,
        figures=verdict.figures,
    )
    if not LEDGER.append(row):  # killed after its side effect, and retried: what was written down counts
        before = LEDGER.need(plan["model"], row.sk)
        return {"passed": before["passed"], "reason": before["reason"]}
    logger.info(verdict.reason, model=plan["model"], version=plan["version"], passed=verdict.passed)
    return {"passed": verdict.passed, "reason": verdict.reason}


def test(stage: dict[str, Any]) -> Verdict:
    """One row a request, as they come from outside; the first one warms the container up and is not timed."""
    samples = read(stage["samples"])
    endpoint, (first, *_) = stage["endpoint"], samples
    until = time.monotonic() + BUDGET_SECONDS
    ask(endpoint, first["row"])
    replies = []
    for sample in samples:
        replies.append(ask(endpoint, sample["row"]))
        if time.monotonic() > until:
            break
    malformed, afterwards = ask(endpoint, {}), ask(endpoint, first["row"])
    expected = [sample["answer"] for sample in samples]
    return smoke.judge(expected, replies, malformed, afterwards, stage["latency"])


def read(uri: str) -> list[dict[str, Any]]:
    """[{"row": {column: value}, "answer": what the judged model answered}] of the run's evaluation."""
    try:
        lines = artifacts.read(*artifacts.split(uri)).splitlines()
    except (AwsNotFound, AwsDenied) as error:  # S3 denies what is not there to who may not list
        why = "a run from before there was staging kept none: train the version again"
        raise SamplesMissing(f"there are no rows to test with at {uri} ({error.code}); {why}") from error
    return [json.loads(line) for line in lines]


def ask(endpoint: str, row: dict[str, Any]) -> Reply:
    """One row's answer, or the status that the container gave instead."""
    start = time.monotonic()
    try:
        answer = aws.call(
            "sagemaker-runtime",
            "invoke_endpoint",
            EndpointName=endpoint,
            ContentType=JSON_LINES,
            Accept=JSON_LINES,
            CustomAttributes=MARK,
            Body=json.dumps(row).encode(),
        )
    except AwsRejected as error:
        if error.code != "ModelError":
            raise
        status = error.__cause__.response.get("OriginalStatusCode") or 500
        return Reply(status, None, time.monotonic() - start)
    body = answer["Body"].read()
    seconds = time.monotonic() - start
    try:
        return Reply(200, json.loads(body), seconds)
    except ValueError:
        return Reply(200, f"{len(body)} bytes that are no JSON", seconds)
