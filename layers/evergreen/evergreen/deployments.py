"""model.yaml's `ship` in SageMaker's words."""

from typing import Any

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
