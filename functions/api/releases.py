"""A person lets a staged version go on to production, or stops it there: the answer that the deployment waits
for. Step Functions takes one answer for a token, so that whoever is second is told so."""

import json
from typing import Any

import approvals
from caller import Caller
from champions import LEDGER
from evergreen import aws, staging, times
from evergreen.errors import AwsRejected
from refusals import Refused

# SendTaskSuccess and SendTaskFailure, where the state does not wait any more.
OVER = ("TaskTimedOut", "TaskDoesNotExist", "InvalidToken")


def decide(model: str, deployment: str, caller: Caller) -> dict[str, Any]:
    """Answer the deployment's question, once; 409 with the reason where it does not ask (any more)."""
    decision, reason = approvals.wanted(caller)
    started = LEDGER.get(model, f"DEPLOYMENT#{deployment}")
    if not started:
        raise Refused(404, f"there is no deployment {deployment} of {model}")
    if started["status"] != "Staging" or "approval" not in started:
        why = f": {started['reason']}" if started.get("reason") else ""
        raise Refused(409, f"{deployment} does not wait for a person: it is {started['status']}{why}")
    answer = {"by": caller.by, "reason": " ".join(reason.split()), "at": times.iso(caller.at)}
    send(LEDGER.need(model, f"TOKEN#{deployment}")["token"], decision, answer, started)
    said = {"decision": decision, "by": answer["by"], "reason": answer["reason"]}
    LEDGER.append(staging.row(started["plan"], answer["at"], "ApprovalDecided", **said))
    about = {"model": model, "version": started["version"], "deployment": deployment}
    return about | {"decision": decision, "by": caller.by}


def send(token: str, decision: str, answer: dict[str, str], started: dict[str, Any]) -> None:
    """What the run goes on with, or fails with; raises Refused where it has an answer or has ended."""
    try:
        if decision == "approve":
            aws.call("stepfunctions", "send_task_success", taskToken=token, output=json.dumps(answer))
        else:
            cause = f"{answer['reason']} (refused by {answer['by']})"
            aws.call(
                "stepfunctions", "send_task_failure", taskToken=token, error="ApprovalRefused", cause=cause
            )
    except AwsRejected as error:
        if error.code not in OVER:
            raise
        until = started["approval"]["expires"]
        over = f"it was decided, its time (until {until}) is over, or its run was stopped"
        raise Refused(409, f"{started['deployment']} does not wait for a person any more: {over}") from error
