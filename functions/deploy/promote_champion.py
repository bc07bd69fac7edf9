"""State PromoteChampion: the ledger's champion is what serves.

Environment: TABLE.
IAM: dynamodb:GetItem, PutItem on the table.
"""

from typing import Any

from evergreen import deployments, names, settings
from evergreen.errors import AwsConflict, LockLost
from evergreen.ledger import Ledger, history, put, release
from evergreen.telemetry import emit, logger

LEDGER = Ledger(settings.required("TABLE"))
CARRIED = ("version", "package_arn", "run", "cause", "digest", "code", "model_data", "baseline")
CARRIED += ("trained_from", "trained_until", "data_version", "metrics")


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{plan, execution} -> {previous: null | {version, deployment, config, alarms}}; raises LockLost."""
    plan = event["plan"]
    previous = promote(plan, event["execution"])
    logger.info("promoted", model=plan["model"], version=plan["version"])
    emit({"ChampionVersion": plan["version"]}, Model=plan["model"])
    return {"previous": previous}


def promote(plan: dict[str, Any], execution: str) -> dict[str, Any] | None:
    """Make the deployment the champion, once, and give the lock back. What it replaces is remembered whole,
    so that respond can return to it."""
    model, deployment = plan["model"], plan["deployment"]
    before = LEDGER.get(model, "CHAMPION")
    if before and before["deployment"] == deployment:
        return brief(before["previous"])
    package = LEDGER.need(model, names.package(plan["version"]))
    started = LEDGER.need(model, f"DEPLOYMENT#{deployment}")
    champion = {name: package.get(name) for name in CARRIED} | {
        "endpoint": plan["endpoint"],
        "config": deployment,
        "deployment": deployment,
        "alarms": plan["alarmNames"],
        "approved_by": started["approved_by"],
        "approved_at": started["approved_at"],
        "promoted_at": started["approved_at"],
        "previous": deployments.predecessor(before, plan["version"]),
    }
    writes = [
        put(model, "CHAMPION", champion),
        put(model, names.package(plan["version"]), package | {"status": "InService"}),
        put(model, f"DEPLOYMENT#{deployment}", started | {"status": "Promoted"}),
        release(model, "deploy", execution),
    ]
    if before and before["version"] != plan["version"]:
        key = names.package(before["version"])
        writes.append(put(model, key, LEDGER.need(model, key) | {"status": "Replaced"}))
    told = ("version", "run", "package_arn", "deployment", "cause", "metrics", "approved_by")
    row = history(
        model, started["approved_at"], "ModelDeployed", deployment, **{name: champion[name] for name in told}
    )
    try:
        LEDGER.commit_once(row, *writes)
    except AwsConflict as conflict:
        raise LockLost(f"{execution} no longer holds the deployment of {model}") from conflict
    return brief(champion["previous"])


def brief(previous: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the machine cleans up after the champion before."""
    return previous and {name: previous[name] for name in ("version", "deployment", "config", "alarms")}
