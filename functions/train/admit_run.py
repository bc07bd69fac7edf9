"""State AdmitRun: one run per model at a time, one run per cause.

Environment: TABLE, BUCKET, JOB_IMAGE, PREFIX.
IAM: dynamodb:GetItem, Query, PutItem on the table;
states:DescribeExecution on the executions of the train machine (a dead holder's lock is taken over).
"""

from dataclasses import replace
from typing import Any

from evergreen import decisions, events, names, serving, settings, times, trainings, tuning
from evergreen import ledger as records
from evergreen.errors import AwsConflict, AwsUnavailable, TrainingBusy
from evergreen.ledger import Ledger, Write, acquire, history, put
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")
JOB_IMAGE = settings.required("JOB_IMAGE")
PREFIX = settings.required("PREFIX")
LEDGER = Ledger(settings.required("TABLE"))

# Longer than the machine may run (29 h).
LOCK_SECONDS = 30 * 3600
TRIES = 5


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{event, execution} -> the plan of the run, or {admitted: false, reason}; raises TrainingBusy."""
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
    for _ in range(TRIES):
        answer = attempt(model, run, cause, published, execution)
        if answer:
            return answer
    raise AwsUnavailable(f"other trainings of {model} are being asked for at the same time")


def attempt(
    model: str, run: str, cause: events.Cause, published: dict[str, Any], execution: str
) -> dict[str, Any] | None:
    """One judgement and its record; None where another training was written down meanwhile."""
    spec, at = published["spec"], times.parse(cause.at)
    sequence = trainings.sequence(LEDGER, model)
    before = trainings.read(LEDGER, model, at, spec["retrain"]["cool_down"])
    refusal = decisions.may_train(cause.kind, spec, at, before, run)
    treats = next((training.treats for training in before if training.run == run), frozenset())
    if refusal:
        dropped = trainings.record(model, cause, "Dropped", spec, treats)
        return drop(model, run, cause, execution, refusal, dropped)
    admitted = trainings.record(model, cause, "Admitted", spec, treats)
    return start(plan_of(model, run, cause, published), cause, execution, sequence, admitted)


def start(
    plan: dict[str, Any],
    cause: events.Cause,
    execution: str,
    sequence: int,
    admitted: Write,
    dead: str = "",
) -> dict[str, Any] | None:
    """Lock, run, training and history in one transaction; a lock whose holder is `dead` is taken over."""
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
    in_line = trainings.next_in_line(model, sequence)
    try:
        LEDGER.commit(row, put(model, f"RUN#{run}", record, records.ABSENT), lock, in_line, admitted)
        return plan
    except AwsConflict as conflict:
        if conflict.failed & {0, 1}:  # another delivery of the same event was quicker
            return drop(model, run, cause, execution, f"{cause.key} was answered already, by run {run}")
        if 2 not in conflict.failed:  # what was read of other trainings is out of date
            return None
    holder = LEDGER.holder(model, "train")
    if holder is None or (holder["owner"] != dead and not records.is_running(holder["owner"])):
        return start(plan, cause, execution, sequence, admitted, holder["owner"] if holder else "")
    if cause.kind == "code":
        raise TrainingBusy(f"run {holder['run']} is in progress; {cause.key} waits for its end")
    dropped = replace(admitted, item=admitted.item | {"status": "Dropped"})
    return drop(model, run, cause, execution, f"run {holder['run']} is in progress", dropped)


def drop(
    model: str, run: str, cause: events.Cause, execution: str, reason: str, *writes: Write
) -> dict[str, Any]:
    """Write the request down with the reason that it starts nothing. `writes` are refused where another
    delivery was admitted meanwhile."""
    row = history(
        model,
        cause.at,
        "RunDropped",
        f"{run}-{names.digest(execution, 6)}",
        run=run,
        cause=cause.as_dict(),
        execution=execution,
        reason=reason,
    )
    try:
        LEDGER.commit_once(row, *writes)
    except AwsConflict:
        LEDGER.append(row)
    return {"admitted": False, "reason": reason, "model": model, "run": run, "cause": cause.as_dict()}


def plan_of(model: str, run: str, cause: events.Cause, published: dict[str, Any]) -> dict[str, Any]:
    """What the states of the run need; URIs of folders end in a slash."""
    spec, digest = published["spec"], published["digest"]
    train, processing = spec["train"], spec["processing"]
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
            "instances": serving.instances(spec["serve"], processing["instance"]),
        },
        "processing": {
            "instance": processing["instance"],
            "volumeGb": processing["volume_gb"],
            "timeout": int(processing["timeout"]),
        },
        "tuning": tuning_of(run, spec),
        "champion": champion and champion_of(champion),
    }


def tuning_of(run: str, spec: dict[str, Any]) -> dict[str, Any] | None:
    """The tuning job that takes the place of the training job; None where model.yaml tunes nothing."""
    tune = spec["train"].get("tune")
    if not tune:
        return None
    metric = tuning.metric(tune, spec["gate"]["primary"], spec["task"])
    return {
        "name": names.tuning(PREFIX, run),
        "config": tuning.config(tune, metric),
        "metric": {"Name": metric["name"], "Regex": metric["regex"]},
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
