"""State AssessSignal: cool-down, budget, rows, repetition; the decision is in the ledger before anything is
done.

Environment: TABLE, PREFIX.
IAM: dynamodb:GetItem, Query, PutItem on the table; states:DescribeExecution on the executions of the train,
deploy and respond machines (whether the holder of a lock is alive).
"""

from datetime import datetime, timedelta
from typing import Any

from evergreen import decisions, names, settings, signals, times
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
    """One judgement and its record; None where the ledger changed under it. Signals of a model are judged one
    after the other (`RESPONSE` counts them): two at once must not both find the budget unspent."""
    model = reading.model
    count = (LEDGER.get(model, "RESPONSE") or {}).get("sequence", 0)
    champion = LEDGER.get(model, "CHAMPION")
    spec = LEDGER.need_spec(model)["spec"]
    answer = decisions.assess(reading.signal, spec, situation(reading, spec, champion))
    decision = {
        "action": answer.action,
        "reason": answer.reason,
        "model": model,
        "cause": reading.cause.as_dict(),
        "message": message(reading, answer),
        "rollback": back_to(champion) if champion and answer.action == "rollback" else None,
    }
    writes = [
        put(
            model,
            f"DECISION#{reading.id}",
            {"execution": execution, "decision": decision, "at": reading.cause.at},
            records.ABSENT,
        ),
        put(
            model,
            "RESPONSE",
            {"sequence": count + 1},
            f"{records.ABSENT} OR #sequence = :sequence",
            sequence=count,
        ),
        *reading.writes,
    ]
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


def situation(reading: Reading, spec: dict[str, Any], champion: dict[str, Any] | None) -> Situation:
    """What the ledger knows, as decisions need it."""
    model = reading.model
    return Situation(
        champion=champion,
        trainings=trainings(reading, spec["retrain"]["cool_down"]),
        running=alive(model, "train", "run"),
        violated_before=violated_before(reading, champion) if champion else 0,
        deploying=alive(model, "deploy", "deployment"),
    )


def alive(model: str, lock: str, what: str) -> str:
    """What holds a lock, unless its execution is dead."""
    holder = LEDGER.holder(model, lock)
    return holder[what] if holder and records.is_running(holder["owner"]) else ""


def trainings(reading: Reading, cool_down: float) -> list[datetime]:
    """When runs were admitted or asked for, from before the signal on: late signals are judged with what is
    known now. A request and its run have one cause and count once."""
    since = reading.signal.at - max(timedelta(days=1), times.seconds(cool_down))
    found = {}
    for row in LEDGER.query(reading.model, f"H#{times.iso(since)}", "H#~"):
        asked = row["kind"] == "SignalAssessed" and row["action"] == "retrain"
        if row["kind"] == "RunAdmitted" or asked:
            found[row["cause"]["kind"], row["cause"]["id"]] = times.parse(row["at"])
    return list(found.values())


def violated_before(reading: Reading, champion: dict[str, Any]) -> int:
    """Windows right before this one that had violations, of the model now in service. A window about which
    there was nothing to say neither breaks nor lengthens the row."""
    count = 0
    for window in LEDGER.query(reading.model, "WINDOW#", f"WINDOW#{reading.window}", newest_first=True):
        if window["sk"] == f"WINDOW#{reading.window}" or window["status"] != "Completed":
            continue
        if not window["violations"] or window["version"] != champion["version"]:
            break
        count += 1
    return count


def back_to(champion: dict[str, Any]) -> dict[str, Any]:
    """The way back to the champion before this one."""
    previous = champion["previous"]
    return {
        "endpoint": champion["endpoint"],
        "config": previous["config"],
        "deployment": champion["deployment"],
        "packageArn": champion["package_arn"],
        "version": champion["version"],
        "previousVersion": previous["version"],
    }


def message(reading: Reading, answer: Answer) -> str:
    """What a person reads in the notification."""
    action = {
        "retrain": "A training was requested.",
        "rollback": "The version before is being put back.",
        "notify": "Nothing was done: this is for a person to judge.",
        "leave": "Nothing was done.",
    }[answer.action]
    return f"{reading.model}, {reading.cause.at}: {answer.reason}.\n\n{action}\nSignal: {reading.id}"
