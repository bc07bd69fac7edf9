"""State AdmitReturn: a person wants the version in service out. What the API checked is checked again under
the deployment's lock: time has passed since.

Environment: TABLE.
IAM: dynamodb:GetItem, PutItem on the table; states:DescribeExecution on the executions of the deploy and
respond machines (whether the holder of the lock is alive).
"""

from typing import Any

from evergreen import deployments, events, names, settings
from evergreen import ledger as records
from evergreen.errors import AwsConflict, AwsUnavailable, EventInvalid
from evergreen.events import Cause
from evergreen.ledger import Ledger, acquire, history, put
from evergreen.telemetry import logger

LEDGER = Ledger(settings.required("TABLE"))

# Longer than the machine may run (12 h).
LOCK_SECONDS = 13 * 3600
DONE = {
    "rollback": "The version before is being put back.",
    "notify": "Nothing was done: this is for a person to judge.",
    "leave": "Nothing was done.",
}


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{event, execution} -> {action: rollback|notify|leave, reason, model, cause, message, rollback}, as
    AssessSignal answers."""
    decision = admit(event["event"], event["execution"])
    logger.info(decision["reason"], model=decision["model"], action=decision["action"])
    return decision


def admit(event: dict[str, Any], execution: str) -> dict[str, Any]:
    """Decide once for each request. The same execution gets the same answer again; another one leaves it
    be."""
    model, cause = events.cause_of(event)
    id = f"rollback/{cause.key}"
    known = LEDGER.get(model, f"DECISION#{id}")
    if known and known["execution"] == execution:
        return known["decision"]
    if known:
        before = known["decision"]
        reason = f"already decided: {before['action']}, because {before['reason']}"
        decision = decided(model, cause, "leave", reason)
        LEDGER.append(assessed(id, decision, execution))
        return decision
    return claim(id, judge(model, cause, event["detail"]), execution)


def judge(model: str, cause: Cause, detail: dict[str, Any]) -> dict[str, Any]:
    """What the request comes to, as the ledger stands now."""
    wanted, why = detail.get("deployment"), detail.get("reason")
    if not wanted or not why:
        raise EventInvalid(f"RollbackRequested of {model} lacks its deployment or its reason")
    champion = LEDGER.get(model, "CHAMPION")
    asked = f"{why} (rollback asked for by {cause.by})"
    if not champion or champion["deployment"] != wanted:
        return decided(model, cause, "leave", f"{asked}; {wanted} is not in service any more")
    refusal = deployments.no_way_back(champion, deployments.under_way(LEDGER, model))
    if refusal:
        return decided(model, cause, "notify", f"{asked}; {refusal}")
    back = deployments.way_back(LEDGER, model, champion)
    return decided(model, cause, "rollback", why) | {"rollback": back}


def decided(model: str, cause: Cause, action: str, reason: str) -> dict[str, Any]:
    """A decision as the machine reads it; the message is what the owner is told."""
    return {
        "action": action,
        "reason": reason,
        "model": model,
        "cause": cause.as_dict(),
        "message": f"{model}, {cause.at}: {reason}.\n\n{DONE[action]}\nAsked for by {cause.by}",
        "rollback": None,
    }


def claim(id: str, decision: dict[str, Any], execution: str) -> dict[str, Any]:
    """The decision, its history and the deployment's lock in one transaction."""
    model, back = decision["model"], decision["rollback"]
    item = {"execution": execution, "decision": decision, "at": decision["cause"]["at"]}
    writes = [put(model, f"DECISION#{id}", item, records.ABSENT)]
    if back:
        # It is free or its holder is dead: otherwise the answer would have been another.
        dead = (LEDGER.holder(model, "deploy") or {}).get("owner", "")
        writes.append(acquire(model, "deploy", execution, LOCK_SECONDS, dead, deployment=back["deployment"]))
    try:
        LEDGER.commit(assessed(id, decision, execution), *writes)
    except AwsConflict as conflict:
        raise AwsUnavailable(f"the deployment of {model} changed at the same time") from conflict
    return decision


def assessed(id: str, decision: dict[str, Any], execution: str) -> records.Write:
    """The history row of a decision."""
    return history(
        decision["model"],
        decision["cause"]["at"],
        "SignalAssessed",
        f"{id}-{names.digest(execution, 6)}",
        signal=id,
        cause=decision["cause"],
        action=decision["action"],
        reason=decision["reason"],
        execution=execution,
    )
