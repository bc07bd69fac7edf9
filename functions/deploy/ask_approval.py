"""State AskApproval: a person is asked whether the staged version may go on. The run waits with a task token,
which stays in the ledger; the API gives it back with the answer.

Environment: TABLE, BUS.
IAM: dynamodb:GetItem, PutItem on the table; events:PutEvents on our bus.
"""

import json
from typing import Any

from evergreen import aws, names, settings, staging, times
from evergreen.errors import AwsUnavailable
from evergreen.ledger import Ledger, put
from evergreen.telemetry import logger

BUS = settings.required("BUS")
LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> None:
    """{plan, smoke: {passed, reason}, token}; what the state answers is what the API sends with the token."""
    plan, smoke = event["plan"], event["smoke"]
    package = LEDGER.need(plan["model"], names.package(plan["version"]))
    request = request_of(plan, package, smoke["reason"])
    remember(plan, request, event["token"])
    announce(request)
    logger.info("a person is asked", model=plan["model"], version=plan["version"])


def request_of(plan: dict[str, Any], package: dict[str, Any], smoke: str) -> dict[str, Any]:
    """What a person needs to decide, and where: the detail of the event."""
    model, version, deployment = plan["model"], plan["version"], plan["deployment"]
    return {
        "model": model,
        "version": version,
        "packageArn": plan["packageArn"],
        "deployment": deployment,
        "endpoint": plan["staging"]["endpoint"],
        "metrics": package["metrics"],
        "judgement": package["reason"],
        "smoke": smoke,
        "card": f"/models/{model}/versions/{version}/card",
        "approval": f"/models/{model}/deployments/{deployment}/approval",
        # By the machine's clock, as Step Functions counts it.
        "expires": times.iso(times.now() + times.seconds(plan["staging"]["expires"])),
        "cause": plan["cause"],
    }


def remember(plan: dict[str, Any], request: dict[str, Any], token: str) -> None:
    """The token of the last attempt is the one that counts: each attempt of the state has its own. It has a
    record of its own, which nothing lists."""
    model, key = plan["model"], f"DEPLOYMENT#{plan['deployment']}"
    asked = {"expires": request["expires"], "smoke": request["smoke"]}
    LEDGER.commit(
        put(model, key, LEDGER.need(model, key) | {"approval": asked}),
        put(model, f"TOKEN#{plan['deployment']}", {"token": token}),
    )
    LEDGER.append(staging.row(plan, times.normal(plan["approvedAt"]), "ApprovalRequested", **asked))


def announce(request: dict[str, Any]) -> None:
    """On the bus, from where a rule tells the topic's subscribers."""
    entry = {
        "Source": "evergreen.deploy",
        "DetailType": "ApprovalRequested",
        "EventBusName": BUS,
        "Detail": json.dumps(request),
    }
    answer = aws.call("events", "put_events", Entries=[entry])
    if answer["FailedEntryCount"]:
        raise AwsUnavailable(f"events:put_events: {answer['Entries'][0].get('ErrorMessage')}")
