"""model.yaml's `ship` in SageMaker's words, and the way back from a deployment."""

from typing import Any

from .ledger import Ledger, is_running

# The old fleet stays this long after the shift, for requests in flight.
TERMINATION_WAIT = 60
# How long a fleet may take to start, besides the waits.
STARTUP = 3600


def config(ship: dict[str, Any], alarms: list[str]) -> dict[str, Any]:
    """UpdateEndpoint's DeploymentConfig. MaximumExecutionTimeoutInSeconds must be longer than all the waits,
    and between 600 and 28800."""
    bake, percent = int(ship["bake"]), ship["percent"]
    routing: dict[str, Any] = {"Type": ship["strategy"].upper(), "WaitIntervalInSeconds": bake}
    waits = bake
    if ship["strategy"] == "canary":
        routing["CanarySize"] = {"Type": "CAPACITY_PERCENT", "Value": percent}
        waits = 2 * bake
    elif ship["strategy"] == "linear":
        routing["LinearStepSize"] = {"Type": "CAPACITY_PERCENT", "Value": percent}
        waits = -(-100 // percent) * bake
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": TERMINATION_WAIT,
            "MaximumExecutionTimeoutInSeconds": min(28800, waits + TERMINATION_WAIT + STARTUP),
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]},
    }


def thresholds(ship: dict[str, Any]) -> dict[str, float]:
    """The rollback alarms: `errors` as a share of requests, `latency` in microseconds, as ModelLatency
    counts."""
    alarms = ship["alarms"]
    return {"errors": alarms["errors"], "latency": round(alarms["latency_p99"] * 1_000_000)}


def under_way(ledger: Ledger, model: str) -> str:
    """The deployment, or the return from one, that is being made; empty for none, or one whose execution is
    dead."""
    holder = ledger.holder(model, "deploy")
    return holder["deployment"] if holder and is_running(holder["owner"]) else ""


def no_way_back(champion: dict[str, Any] | None, going: str) -> str:
    """Why nothing can be rolled back now, `going` being what is under way; empty where it can."""
    if not champion:
        return "no version is in service"
    version = champion["version"]
    if going == champion["deployment"]:
        return f"version {version} is being taken out of service already"
    if going:
        return f"{going} is being deployed"
    if not champion.get("previous"):
        return f"there is no version before version {version} to return to"
    return ""


def way_back(champion: dict[str, Any]) -> dict[str, Any]:
    """From the champion to the one before it."""
    previous = champion["previous"]
    return {
        "endpoint": champion["endpoint"],
        "config": previous["config"],
        "deployment": champion["deployment"],
        "packageArn": champion["package_arn"],
        "version": champion["version"],
        "previousVersion": previous["version"],
    }
