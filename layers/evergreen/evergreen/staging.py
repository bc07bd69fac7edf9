"""`ship.staging` of model.yaml: before production a version serves on an endpoint of its own, which is
tested, and a person is asked where the section says so."""

from collections.abc import Iterator
from typing import Any

from . import names, units
from .ledger import Write, history
from .schema import Key, mapping, scalar

MINUTE, DAY = 60, 86400
# How long a person has, where the section does not say.
EXPIRES = DAY
# The deploy machine runs for at most nine days, in which it may also wait 16 hours for another deployment and
# shift traffic for 13.
LONGEST = 7 * DAY

SECTION = mapping(
    {
        "instance": Key(
            scalar(units.text(r"ml\.[a-z0-9-]+\.[a-z0-9]+", "an instance type such as ml.m5.large")), None
        ),
        "approval": Key(scalar(units.choice(("auto", "person"))), "auto"),
        "expires": Key(scalar(units.duration(10 * MINUTE, LONGEST)), None),
    }
)


def contradictions(staging: dict[str, Any] | None, serve: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What cannot be meant: (path, reason) pairs."""
    if not staging:
        return
    if serve.get("batch"):
        yield "ship.staging", "is an endpoint: a model served in batches has none to test"
    elif serve.get("serverless") and staging["instance"]:
        yield "ship.staging.instance", "is of instances: the staging endpoint is serverless as the model is"
    if staging["approval"] == "auto" and staging["expires"]:
        fix = "set ship.staging.approval to person, or leave this out"
        yield "ship.staging.expires", f"nobody is asked, so nothing expires: {fix}"


def plan(
    ship: dict[str, Any],
    serve: dict[str, Any],
    serverless: dict[str, Any] | None,
    package: dict[str, Any],
    deployment: str,
) -> dict[str, Any] | None:
    """The staging endpoint and what is asked of it; None where the version goes straight to production.
    `serverless` is the variant's ServerlessConfig, where it is served so.

    `samples` lie in the run's own folder, wherever that is: rows of the holdout with the answers that were
    judged. `latency` (in seconds) is what the rollback alarm would let pass; `expires` is in seconds."""
    staging = ship.get("staging")
    if not staging:
        return None
    fleet = {"InstanceType": staging["instance"] or serve["instance"], "InitialInstanceCount": 1}
    served = {"ServerlessConfig": serverless} if serverless else fleet
    return {
        "endpoint": names.staging(deployment),
        "variant": {"VariantName": "main", "ModelName": deployment, "InitialVariantWeight": 1} | served,
        "samples": package["baseline"].removesuffix("baseline/") + "evaluation/smoke.jsonl",
        "latency": ship["alarms"]["latency_p99"],
        "approval": staging["approval"],
        "expires": int(staging["expires"] or EXPIRES),
    }


def row(plan: dict[str, Any], at: str, kind: str, **details: Any) -> Write:
    """A history row of a staged deployment."""
    about = {name: plan[name] for name in ("version", "deployment", "cause")}
    return history(
        plan["model"], at, kind, plan["deployment"], package_arn=plan["packageArn"], **about, **details
    )
