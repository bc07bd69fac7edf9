"""State AdmitRun: one run per model at a time, one run per cause.

Environment: TABLE, BUCKET, JOB_IMAGE.
IAM: dynamodb:GetItem, Query, PutItem on the table;
states:DescribeExecution on the executions of the train machine (a dead holder's lock is taken over).
"""

from datetime import datetime, timedelta
from typing import Any

from evergreen import decisions, events, names, settings, times
from evergreen import ledger as records
from evergreen.errors import AwsConflict
from evergreen.ledger import Ledger, acquire, history, put
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")
JOB_IMAGE = settings.required("JOB_IMAGE")
LEDGER = Ledger(settings.required("TABLE"))

# Longer than the machine may run (25 h).
LOCK_SECONDS = 26 * 3600


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{event, execution} -> the plan of the run, or {admitted: false, reason}."""
    plan = admit(event["event"], event["execution"])
    logger.info(plan["reason"], model=plan["model"], run=plan["run"], admitted=plan["admitted"])
    return plan


def admit(event: dict[str, Any], execution: str) -> dict[str, Any]:
    """Take the lock and write the run down, or say why not. The same execution gets the same answer again."""
    model, cause = events.cause_of(event)
    run = names.run(model, cause.key)
    known = LEDGER.get(model, f"RUN#{run}")
    if known:
        if known["execution"] == execution:
            return known["plan"]
        return drop(model, run, cause, execution, f"{cause.key} was answered already, by run {run}")
    published = LEDGER.spec(model)
    if not published:
        return drop(model, run, cause, execution, f"no model {model} is onboarded")
    retrain = published["spec"]["retrain"]
    at = times.parse(cause.at)
    refusal = decisions.may_train(cause.kind, retrain, at, trainings(model, at, retrain["cool_down"]))
    if refusal:
        return drop(model, run, cause, execution, refusal)
    return start(plan_of(model, run, cause, published), cause, execution)


def start(plan: dict[str, Any], cause: events.Cause, execution: str, dead: str = "") -> dict[str, Any]:
    """Lock, run and history in one transaction; a lock whose holder is `dead` is taken over."""
    model, run = plan["model"], plan["run"]
    record = {
        "run": run,
        "execution": execution,
        "status": "Running",
        "cause": cause.as_dict(),
        "at": cause.at,
        "digest": plan["digest"],
        "started_at": times.iso(times.now()),
        "plan": plan,
    }
    row = history(
        model,
        cause.at,
        "RunAdmitted",
        run,
        run=run,
        cause=cause.as_dict(),
        execution=execution,
        digest=plan["digest"],
    )
    lock = acquire(model, "train", execution, LOCK_SECONDS, dead, run=run)
    try:
        LEDGER.commit(row, put(model, f"RUN#{run}", record, records.ABSENT), lock)
        return plan
    except AwsConflict as conflict:
        if conflict.failed & {0, 1}:  # another delivery of the same event was quicker
            return drop(model, run, cause, execution, f"{cause.key} was answered already, by run {run}")
    holder = LEDGER.holder(model, "train")
    if holder is None or (holder["owner"] != dead and not records.is_running(holder["owner"])):
        return start(plan, cause, execution, dead=holder["owner"] if holder else "")
    return drop(model, run, cause, execution, f"run {holder['run']} is in progress")


def drop(model: str, run: str, cause: events.Cause, execution: str, reason: str) -> dict[str, Any]:
    """Write the request down with the reason that it starts nothing."""
    id = f"{run}-{names.digest(execution, 6)}"
    LEDGER.append(
        history(
            model,
            cause.at,
            "RunDropped",
            id,
            run=run,
            cause=cause.as_dict(),
            execution=execution,
            reason=reason,
        )
    )
    return {"admitted": False, "reason": reason, "model": model, "run": run, "cause": cause.as_dict()}


def trainings(model: str, at: datetime, cool_down: float) -> list[datetime]:
    """When runs were admitted, from a cool-down (or a day, for the budget) before `at` on."""
    since = at - max(timedelta(days=1), timedelta(seconds=cool_down))
    rows = LEDGER.query(model, f"H#{times.iso(since)}", "H#~")
    return [times.parse(row["at"]) for row in rows if row["kind"] == "RunAdmitted"]


def plan_of(model: str, run: str, cause: events.Cause, published: dict[str, Any]) -> dict[str, Any]:
    """What the states of the run need; URIs of folders end in a slash."""
    spec, digest = published["spec"], published["digest"]
    train = spec["train"]
    champion = LEDGER.get(model, "CHAMPION")
    return {
        "admitted": True,
        "reason": f"run {run} for {cause.key}",
        "model": model,
        "run": run,
        "cause": cause.as_dict(),
        "digest": digest,
        "code": f"s3://{BUCKET}/models/{model}/{digest}/",
        "image": train["image"] or JOB_IMAGE,
        "spec": {
            "instance": train["instance"],
            "count": train["count"],
            "volumeGb": train["volume_gb"],
            "timeout": int(train["timeout"]),
            "hyperparameters": hyperparameters(train),
            "inferenceEntry": spec["serve"]["entry"],
            "serveInstance": spec["serve"]["instance"],
        },
        "champion": champion and champion_of(champion),
    }


def hyperparameters(train: dict[str, Any]) -> dict[str, str]:
    """The script's flags, and where SageMaker's training toolkit finds the script. Values are text on the
    wire."""
    own = {name: str(value) for name, value in train["hyperparameters"].items()}
    return own | {
        "sagemaker_program": train["entry"],
        "sagemaker_submit_directory": "/opt/ml/input/data/code",
    }


def champion_of(champion: dict[str, Any]) -> dict[str, Any]:
    """What the challenger is compared with; a holdout must be newer than `trained_until`."""
    return {
        "version": champion["version"],
        "model_data": champion["model_data"],
        "code": champion["code"],
        "trained_until": champion["trained_until"],
    }
