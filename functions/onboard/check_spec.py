"""State CheckSpec: model.yaml with all its mistakes at once, each with its line.

Environment: TABLE, BUCKET.
IAM: s3:GetObject, s3:GetObjectVersion on models/*; s3:ListBucket on the bucket (prefix models/*);
dynamodb:GetItem on the table.
"""

from datetime import datetime
from typing import Any

from evergreen import artifacts, events, settings, times, units
from evergreen import spec as specification
from evergreen.ledger import Ledger
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")
LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{event, execution} -> {model, digest, isNew, reason, cause, schedules}; raises SpecInvalid."""
    plan = check(event["event"])
    logger.info(plan["reason"], model=plan["model"], digest=plan["digest"])
    return plan


def check(event: dict[str, Any]) -> dict[str, Any]:
    """The folder as it was published. A digest that is current, or older than what is current, is not new."""
    model, cause = events.cause_of(event)
    _, digest, key, version = events.published(event)
    folder = key.removesuffix("model.yaml")
    files = {found["Key"].removeprefix(folder) for found in artifacts.listing(BUCKET, folder)}
    text = artifacts.read(BUCKET, key, version).decode(errors="replace")
    spec = specification.parse(text, folder=model, files=files)
    reason = stale(LEDGER.get(model, "SPEC"), digest, cause)
    return {
        "model": model,
        "digest": digest,
        "isNew": not reason,
        "reason": reason or f"{model} {digest} is new",
        "cause": cause.as_dict(),
        "schedules": schedules(model, spec, times.parse(cause.at)),
    }


def stale(current: dict[str, Any] | None, digest: str, cause: events.Cause) -> str:
    """Why the digest is nothing new; empty where it is."""
    if not current:
        return ""
    if current["digest"] == digest:
        return f"{digest} is what is published"
    if current["published_at"] > cause.at:
        return f"{digest} was published at {cause.at}, before {current['digest']} ({current['published_at']})"
    return ""


def schedules(model: str, spec: dict[str, Any], at: datetime) -> list[dict[str, str]]:
    """Both schedules of a model published at `at`. One that model.yaml does not ask for is switched off, not
    left out: an earlier digest may have asked for it. A rate starts a period later: onboarding itself asks
    for a training, and there is nothing to monitor yet."""
    train = spec["retrain"]["schedule"]
    both = [
        {
            "name": f"{model}-train",
            "expression": train or "rate(365 days)",
            "state": "ENABLED" if train else "DISABLED",
            "machine": "train",
            "detailType": "TrainingScheduled",
        },
        {
            "name": f"{model}-monitor",
            "expression": units.rate(spec["monitor"]["every"]),
            "state": "ENABLED",
            "machine": "monitor",
            "detailType": "MonitoringScheduled",
        },
    ]
    for schedule in both:
        period = units.period(schedule["expression"])
        schedule["start"] = times.iso(at + period) if period else ""
    return both
