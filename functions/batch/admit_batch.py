"""State AdmitBatch: which files are scored now, by the version in service; each version of a file once.

Environment: TABLE, BUCKET.
IAM: dynamodb:GetItem, Query, PutItem on the table; s3:ListBucketVersions on the bucket (prefix batch/*);
states:DescribeExecution on the executions of the batch machine (what a dead one held is taken over).
"""

from typing import Any

from evergreen import artifacts, batches, events, names, serving, settings, units
from evergreen import ledger as records
from evergreen.batches import Input
from evergreen.errors import AwsConflict, AwsUnavailable
from evergreen.events import Cause
from evergreen.ledger import Ledger, history, put
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")
LEDGER = Ledger(settings.required("TABLE"))


class Dropped(Exception):
    """Why nothing is scored. `is_told`: whether anybody would miss it in the history."""

    def __init__(self, reason: str, *, is_told: bool = True):
        super().__init__(reason)
        self.is_told = is_told


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{event, execution} -> the plan of the batch, or {admitted: false, reason, model}."""
    plan = admit(event["event"], event["execution"])
    logger.info(plan["reason"], model=plan["model"], admitted=plan["admitted"])
    return plan


def admit(event: dict[str, Any], execution: str) -> dict[str, Any]:
    """Claim the files, or say why not. The same execution gets the same answer again."""
    model, cause = events.cause_of(event)
    batch = batches.id(model, cause)
    known = LEDGER.get(model, f"BATCH#{batch}")
    if known and known["execution"] == execution:
        return known["plan"]
    try:
        if known and (known["status"] != batches.STARTED or records.is_running(known["execution"])):
            raise Dropped(f"{cause.key} was answered already, by {batch}")
        champion, serve = in_service(model)
        found = wanted(event, model, cause, serve, batch)
    except Dropped as dropped:
        return drop(model, cause, execution, dropped)
    chosen = dict(list(found.items())[: batches.MOST_INPUTS])
    plan = plan_of(model, cause, batch, champion, serve["batch"], list(chosen), len(found) - len(chosen))
    return start(plan, chosen, known, execution)


def drop(model: str, cause: Cause, execution: str, dropped: Dropped) -> dict[str, Any]:
    """Write down what is not scored, with the reason."""
    reason = str(dropped)
    if dropped.is_told:
        id = f"{batches.id(model, cause)}-{names.digest(execution, 6)}"
        about = {"cause": cause.as_dict(), "reason": reason, "execution": execution}
        LEDGER.append(history(model, cause.at, "BatchDropped", id, **about))
    return {"admitted": False, "reason": reason, "model": model}


def in_service(model: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(champion, how it is served)."""
    champion = LEDGER.get(model, "CHAMPION")
    if not champion:
        is_ours = LEDGER.spec(model) is not None
        raise Dropped(f"{model} has no version in service", is_told=is_ours)
    serve = LEDGER.need_spec(model, champion["digest"])["spec"]["serve"]
    if serving.way(serve) != serving.BATCH:
        raise Dropped(f"{model} has an endpoint: it scores no batches")
    return champion, serve


def wanted(
    event: dict[str, Any], model: str, cause: Cause, serve: dict[str, Any], batch: str
) -> dict[Input, dict[str, Any] | None]:
    """The files that the event asks for, each with what the ledger knows of it: the one that has just come,
    or every one that is new; a person or a program asks for those that failed too."""
    if cause.kind == "input":
        if serve["batch"]["on"] != serving.ON_INPUT:
            raise Dropped(f"{model} scores what has come by {serve['batch']['on']}", is_told=False)
        each, known = arrived(event, model)
        if not batches.is_new(each, known) and not is_abandoned(model, known):
            raise Dropped(f"{each.name} was taken already, by {known['batch']}: {known['status']}")
        return {each: known}
    again = () if cause.kind == "schedule" else (batches.FAILED,)
    known = {item["sk"].removeprefix("INPUT#"): item for item in LEDGER.query(model, "INPUT#")}
    found = {}
    for each in listed(model):
        before = known.get(each.name)
        is_open = batches.is_new(each, before, again) or is_abandoned(model, before)
        if is_open and not batches.unfit(each):
            found[each] = before
    if not found:
        raise Dropped(f"nothing new is under s3://{BUCKET}/{batches.inputs(model)}", is_told=False)
    return found


def arrived(event: dict[str, Any], model: str) -> tuple[Input, dict[str, Any] | None]:
    """The file of the event, and what the ledger knows of it."""
    name, version = events.scored(event)
    if not name or name.endswith("/"):
        raise Dropped("a folder is nothing to score", is_told=False)
    key = f"{batches.inputs(model)}{name}"
    now = next((each for each in artifacts.versions(BUCKET, key) if each["Key"] == key), None)
    if not now:
        raise Dropped(f"{name} is not there any more")
    if version and now["VersionId"] != version:
        raise Dropped(f"a newer version of {name} is there, which has an event of its own")
    each = Input(name, now["VersionId"], now["Size"])
    if reason := batches.unfit(each):
        raise Dropped(reason)
    return each, LEDGER.get(model, f"INPUT#{name}")


def listed(model: str) -> list[Input]:
    """Every file that is there, in order of the names."""
    folder = batches.inputs(model)
    return [
        Input(found["Key"].removeprefix(folder), found["VersionId"], found["Size"])
        for found in artifacts.versions(BUCKET, folder)
    ]


def is_abandoned(model: str, known: dict[str, Any] | None) -> bool:
    """Whether a file was taken by an execution that died before it could say how it ended."""
    if not known or known["status"] != batches.STARTED:
        return False
    holder = LEDGER.need(model, f"BATCH#{known['batch']}")
    return holder["status"] == batches.STARTED and not records.is_running(holder["execution"])


def plan_of(
    model: str,
    cause: Cause,
    batch: str,
    champion: dict[str, Any],
    asked: dict[str, Any],
    chosen: list[Input],
    left: int,
) -> dict[str, Any]:
    """What the states of the batch need."""
    rest = f"; {left} more are left for the next time" if left else ""
    folder = batches.inputs(model)
    return {
        "admitted": True,
        "reason": f"{units.counted(len(chosen), 'file')} to score by version {champion['version']}{rest}",
        "model": model,
        "batch": batch,
        "version": champion["version"],
        "packageArn": champion["package_arn"],
        "deployment": champion["deployment"],
        "cause": cause.as_dict(),
        "bucket": BUCKET,
        "inputs": [
            {"name": each.name, "version": each.version, "source": f"{BUCKET}/{folder}{each.name}"}
            for each in chosen
        ],
        "pinned": batches.pinned(model, batch),
        "output": batches.outputs(model),
        "transform": batches.transform(asked, len(chosen)),
    }


def start(
    plan: dict[str, Any],
    chosen: dict[Input, dict[str, Any] | None],
    known: dict[str, Any] | None,
    execution: str,
) -> dict[str, Any]:
    """The batch, its files and its history in one transaction."""
    model, batch = plan["model"], plan["batch"]
    about = {name: plan[name] for name in ("version", "cause", "reason")}
    files = [{"name": each["name"], "version": each["version"]} for each in plan["inputs"]]
    unchanged, values = (records.ABSENT, {})
    if known:  # its execution is dead
        unchanged, values = "#execution = :known", {"known": known["execution"]}
    record = about | {"execution": execution, "status": batches.STARTED, "inputs": files, "plan": plan}
    row = history(
        model,
        plan["cause"]["at"],
        "BatchStarted",
        f"{batch}-{names.digest(execution, 6)}",
        batch=batch,
        inputs=files,
        execution=execution,
        **about,
    )
    claims = [batches.claim(model, each, before, batch) for each, before in chosen.items()]
    try:
        LEDGER.commit(row, put(model, f"BATCH#{batch}", record, unchanged, **values), *claims)
    except AwsConflict as conflict:
        raise AwsUnavailable(f"files of {model} were taken by another batch at the same time") from conflict
    return plan
