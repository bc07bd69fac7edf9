"""State AssessSignal: weighs what a monitor or an alarm says; the decision is in the ledger before anything
is done.

Environment: TABLE, PREFIX.
IAM: dynamodb:GetItem, Query, PutItem on the table; states:DescribeExecution on the executions of the train,
deploy and respond machines (whether the holder of a lock is alive).
"""

from itertools import islice
from typing import Any

from evergreen import decisions, deployments, names, settings, signals, trainings
from evergreen import ledger as records
from evergreen.decisions import Answer, Situation
from evergreen.errors import AwsConflict, AwsUnavailable
from evergreen.ledger import Ledger, Write, acquire, history, put
from evergreen.signals import Reading
from evergreen.telemetry import emit, logger

PREFIX = settings.required("PREFIX")
LEDGER = Ledger(settings.required("TABLE"))

# Longer than the machine may run (12 h).
LOCK_SECONDS = 13 * 3600
TRIES = 5
# Windows that a decision looks back on: two years of weeks, or eight days of hours.
WINDOWS = 200
# Ailments that a person was told of and that are remembered; the oldest are forgotten first.
TOLD = 100


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{event, job: null|{schedule, message, environment}, execution} ->
    {action: retrain|rollback|notify|leave, reason, model, cause, message, rollback}."""
    decision = decide(event["event"], event.get("job"), event["execution"])
    logger.info(decision["reason"], model=decision["model"], action=decision["action"])
    if decision["model"]:
        emit({f"Decision_{decision['action']}": 1}, Model=decision["model"])
    return decision


def decide(event: dict[str, Any], job: dict[str, Any] | None, execution: str) -> dict[str, Any]:
    """Decide once for each signal. The same execution gets the same answer again; another one leaves it
    be."""
    reading = signals.read(event, job, PREFIX, LEDGER)
    if isinstance(reading, Reading) and not LEDGER.spec(reading.model):
        reading = f"no model {reading.model} is onboarded"
    if isinstance(reading, str):
        return {
            "action": "leave",
            "reason": reading,
            "model": "",
            "cause": None,
            "message": reading,
            "rollback": None,
        }
    known = LEDGER.get(reading.model, f"DECISION#{reading.id}")
    if known and known["execution"] == execution:
        return known["decision"]
    if known:
        return leave_again(reading, known, execution)
    for _ in range(TRIES):
        decision = attempt(reading, execution)
        if decision:
            return decision
    raise AwsUnavailable(f"other signals of {reading.model} are being judged at the same time")


def attempt(reading: Reading, execution: str) -> dict[str, Any] | None:
    """One judgement and its record; None where the ledger changed under it. What spends or tells is decided
    one after the other: two at once must not both find the budget unspent."""
    model = reading.model
    sequence = trainings.sequence(LEDGER, model)
    response = LEDGER.get(model, "RESPONSE") or {"sequence": 0, "told": {}}
    champion = LEDGER.get(model, "CHAMPION")
    spec = LEDGER.need_spec(model)["spec"]
    answer = decisions.assess(reading.signal, spec, situation(reading, spec, champion, response["told"]))
    decision = {
        "action": answer.action,
        "reason": answer.reason,
        "model": model,
        "cause": reading.cause.as_dict(),
        "message": message(reading, answer),
        "rollback": deployments.way_back(LEDGER, model, champion)
        if champion and answer.action == "rollback"
        else None,
    }
    item = {"execution": execution, "decision": decision, "at": reading.cause.at}
    writes = [put(model, f"DECISION#{reading.id}", item, records.ABSENT), *reading.writes]
    if answer.action == "retrain":
        asked = trainings.record(model, reading.cause, "Asked", spec, answer.treats)
        writes += [trainings.next_in_line(model, sequence), asked]
    if answer.tells:
        writes.append(telling(reading, answer, response))
    if decision["rollback"]:
        going = decision["rollback"]["deployment"]
        # It is free or its holder is dead: otherwise the answer would have been another.
        dead = (LEDGER.holder(model, "deploy") or {}).get("owner", "")
        writes.append(acquire(model, "deploy", execution, LOCK_SECONDS, dead, deployment=going))
    try:
        LEDGER.commit(assessed(reading, answer, execution), *writes)
    except AwsConflict:
        known = LEDGER.get(model, f"DECISION#{reading.id}")
        if known is None:
            return None
        return (
            known["decision"] if known["execution"] == execution else leave_again(reading, known, execution)
        )
    return decision


def telling(reading: Reading, answer: Answer, response: dict[str, Any]) -> Write:
    """What a person is told now, beside what was told before."""
    told = response["told"] | dict.fromkeys(sorted(answer.tells), reading.cause.at)
    newest = dict(sorted(told.items(), key=lambda item: item[1])[-TOLD:])
    return put(
        reading.model,
        "RESPONSE",
        {"sequence": response["sequence"] + 1, "told": newest},
        f"{records.ABSENT} OR #sequence = :sequence",
        sequence=response["sequence"],
    )


def leave_again(reading: Reading, known: dict[str, Any], execution: str) -> dict[str, Any]:
    """The same signal once more: written down, and nothing done."""
    before = known["decision"]
    answer = Answer("leave", f"already decided: {before['action']}, because {before['reason']}")
    LEDGER.append(assessed(reading, answer, execution))
    return before | {"action": "leave", "reason": answer.reason, "message": answer.reason, "rollback": None}


def assessed(reading: Reading, answer: Answer, execution: str) -> Write:
    """The history row of a decision."""
    return history(
        reading.model,
        reading.cause.at,
        "SignalAssessed",
        f"{reading.id}-{names.digest(execution, 6)}",
        signal=reading.id,
        cause=reading.cause.as_dict(),
        action=answer.action,
        reason=answer.reason,
        execution=execution,
    )


def situation(
    reading: Reading, spec: dict[str, Any], champion: dict[str, Any] | None, told: dict[str, str]
) -> Situation:
    """What the ledger knows, as decisions need it."""
    model = reading.model
    before = trainings.read(LEDGER, model, reading.signal.at, spec["retrain"]["cool_down"])
    return Situation(
        champion=champion,
        trainings=before,
        windows=windows(reading) if reading.window else (),
        running=training(model),
        deploying=deployments.under_way(LEDGER, model),
        told=told,
    )


def training(model: str) -> str:
    """The run in progress, unless its execution is dead."""
    holder = LEDGER.holder(model, "train")
    return holder["run"] if holder and records.is_running(holder["owner"]) else ""


def windows(reading: Reading) -> list[dict[str, Any]]:
    """The newest windows, later ones than the signal's too: a late signal may be of something that has
    passed."""
    found = LEDGER.query(reading.model, "WINDOW#", newest_first=True)
    return [window for window in islice(found, WINDOWS) if window["status"] == "Completed"]


def message(reading: Reading, answer: Answer) -> str:
    """What a person reads in the notification."""
    action = {
        "retrain": "A training was requested.",
        "rollback": "The version before is being put back.",
        "notify": "Nothing was done: this is for a person to judge.",
        "leave": "Nothing was done.",
    }[answer.action]
    return f"{reading.model}, {reading.cause.at}: {answer.reason}.\n\n{action}\nSignal: {reading.id}"
