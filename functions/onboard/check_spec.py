"""State CheckSpec: model.yaml with all its mistakes at once, each with its line.

Environment: TABLE, BUCKET.
IAM: s3:GetObject, s3:GetObjectVersion on models/*; s3:ListBucket on the bucket (prefix models/*);
dynamodb:GetItem on the table.
"""

from datetime import datetime
from typing import Any

from evergreen import artifacts, events, partner, scheduling, serving, settings, times
from evergreen import spec as specification
from evergreen.errors import SpecInvalid
from evergreen.ledger import Ledger
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")
LEDGER = Ledger(settings.required("TABLE"))

NEVER = "rate(365 days)"  # an expression is required of a schedule that is switched off, too


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{event, execution} -> {model, digest, isNew, isLate, reason, cause, trains, server, schedules}; raises
    SpecInvalid."""
    plan = check(event["event"])
    logger.info(plan["reason"], model=plan["model"], digest=plan["digest"])
    return plan


def check(event: dict[str, Any]) -> dict[str, Any]:
    """The folder as it was published. A digest that is current, or older than what is current, is not new.
    Where another account trains, one that a newer one has overtaken on its way is late: it may be trained
    there, and what comes of it is to be served as it says."""
    model, cause = events.cause_of(event)
    _, digest, key, version = events.published(event)
    folder = key.removesuffix("model.yaml")
    files = {found["Key"].removeprefix(folder) for found in artifacts.listing(BUCKET, folder)}
    text = decoded(artifacts.read(BUCKET, key, version))
    about = {"files": files, "served": served(model), "server": partner.SERVING}
    spec = specification.parse(text, folder=model, **about)
    current = LEDGER.get(model, "SPEC")
    reason = stale(current, digest, cause)
    is_late = bool(reason and partner.TRAINING and not LEDGER.get(model, f"SPEC#{digest}"))
    return {
        "model": model,
        "digest": digest,
        "isNew": not reason,
        "isLate": is_late,
        "reason": reason or f"{model} {digest} is new",
        "cause": cause.as_dict(),
        "trains": not partner.TRAINING,
        "server": partner.SERVING or None,
        "schedules": schedules(model, spec, times.parse(cause.at), current),
    }


def decoded(content: bytes) -> str:
    """The text of model.yaml; raises SpecInvalid for another encoding than UTF-8, which no job would read."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecInvalid(f"model.yaml has a mistake:\n  line {line}: is not text in UTF-8") from error


def served(model: str) -> str | None:
    """How the version in service is served, where there is one."""
    champion = LEDGER.get(model, "CHAMPION")
    return serving.way(LEDGER.need_spec(model, champion["digest"])["spec"]["serve"]) if champion else None


def stale(current: dict[str, Any] | None, digest: str, cause: events.Cause) -> str:
    """Why the digest is nothing new; empty where it is."""
    if not current:
        return ""
    if current["digest"] == digest:
        return f"{digest} is what is published"
    if current["published_at"] > cause.at:
        return f"{digest} was published at {cause.at}, before {current['digest']} ({current['published_at']})"
    return ""


def schedules(
    model: str, spec: dict[str, Any], at: datetime, current: dict[str, Any] | None
) -> list[dict[str, str]]:
    """The schedules of a model published at `at`, of the machines that this account has. One that model.yaml
    does not ask for is switched off, not left out: an earlier digest may have asked for it."""
    elsewhere = {"train": partner.TRAINING, "batch": partner.SERVING, "monitor": partner.SERVING}
    asked, anchors = scheduling.expressions(spec), scheduling.anchors(spec, at, current)
    details = {"train": "TrainingScheduled", "batch": "BatchScheduled", "monitor": "MonitoringScheduled"}
    return [
        {
            "name": f"{model}-{kind}",
            "expression": asked[kind] or NEVER,
            "state": "ENABLED" if asked[kind] else "DISABLED",
            "machine": kind,
            "detailType": details[kind],
            "start": scheduling.start(asked[kind] or NEVER, anchors[kind], at),
        }
        for kind in scheduling.kinds(spec, current)
        if not elsewhere[kind]
    ]
