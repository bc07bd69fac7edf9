"""State CloseRun: the outcome and its reason go to the ledger, and the lock is given back.

Environment: TABLE, BUCKET.
IAM: dynamodb:GetItem, PutItem on the table.
"""

from typing import Any

from evergreen import explain, names, settings, times
from evergreen import ledger as records
from evergreen.ledger import Ledger, Write, history, put, release
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")
LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{plan, execution, outcome: registered|rejected|refused|failed, error, validation, data, artifact,
    tuned, judgement, packageArn, version} -> {reason, ended: the detail of TrainingEnded}."""
    ended = close(event)
    reason = ended["reason"]
    logger.info(reason, model=ended["model"], run=ended["run"], outcome=ended["outcome"])
    return {"reason": reason, "ended": ended}


def close(event: dict[str, Any]) -> dict[str, Any]:
    """Write down how the run ended, once: a second call finds its history row and changes nothing. What is
    told of it has the records whole: a ledger elsewhere may keep them too."""
    plan, outcome = event["plan"], event["outcome"]
    model, run, cause = plan["model"], plan["run"], plan["cause"]
    judgement, version = event.get("judgement") or {}, event.get("version")
    reason = explain.sentence(event["error"]) if event.get("error") else judgement.get("reason", outcome)
    ending = {
        "outcome": outcome,
        "reason": reason,
        "version": version,
        "metrics": judgement.get("metrics"),
        "checks": judgement.get("checks"),
        "figures": judgement.get("figures"),
        "data_version": (event.get("data") or {}).get("dataVersion"),
        "tuned": event.get("tuned"),
        "findings": ((event.get("validation") or {}).get("findings") or [])[:20],
    }
    row = history(model, cause["at"], "RunEnded", run, run=run, cause=cause, **ending)
    record = LEDGER.need(model, f"RUN#{run}") | ending
    record |= {"status": "Ended", "ended_at": times.iso(times.now())}
    writes = [put(model, f"RUN#{run}", record)]
    registered = package(event, judgement) if outcome == "registered" else None
    if registered:
        writes.append(registered)
    holder = LEDGER.get(model, "LOCK#train")
    if holder and holder["owner"] == event["execution"]:
        writes.append(release(model, "train", event["execution"]))
    LEDGER.commit_once(row, *writes)
    told = {name: ending[name] for name in ("outcome", "reason", "version")}
    private = ("pk", "sk", "plan", "execution")
    return told | {
        "model": model,
        "run": run,
        "cause": cause,
        "record": {name: value for name, value in record.items() if name not in private},
        "package": registered and registered.item,
    }


def package(event: dict[str, Any], judgement: dict[str, Any]) -> Write:
    """What the ledger knows of a version, from its registration on; deploy and the API go on from here."""
    plan, version = event["plan"], int(event["version"])
    run = plan["run"]
    rows = (event.get("validation") or {}).get("train") or {}
    item = {
        "version": version,
        "status": "PendingManualApproval",
        "package_arn": event["packageArn"],
        "run": run,
        "cause": plan["cause"],
        "digest": plan["digest"],
        "code": plan["code"],
        "model_data": event["artifact"],
        "baseline": f"s3://{BUCKET}/runs/{run}/baseline/",
        "trained_from": rows.get("from"),
        "trained_until": rows.get("until"),
        "data_version": (event.get("data") or {}).get("dataVersion"),
        "tuned": event.get("tuned"),
        "metrics": judgement["metrics"],
        "checks": judgement["checks"],
        "figures": judgement["figures"],
        "reason": judgement["reason"],
        "approval": judgement["approval"],
        "registered_at": times.iso(times.now()),
    }
    return put(plan["model"], names.package(version), item, records.ABSENT)
