"""model.yaml's `ship` and `serve` in SageMaker's words, and the way back from a deployment."""

from typing import Any

from . import names, serving, shipping
from .ledger import Ledger, is_running

# The old fleet stays this long after the shift, for requests in flight.
TERMINATION_WAIT = 60
# How long a fleet may take to start, besides the waits.
STARTUP = 3600
# How often the machine looks at the alarms where SageMaker does not: the alarms' period.
LOOK_EVERY = 60


def config(ship: dict[str, Any], serve: dict[str, Any], alarms: list[str]) -> dict[str, Any] | None:
    """UpdateEndpoint's DeploymentConfig, for a fleet of instances. MaximumExecutionTimeoutInSeconds must be
    longer than all the waits, and between 600 and 28800."""
    if serving.way(serve) != serving.INSTANCE:
        return None
    bake, strategy = int(ship["bake"]), ship["strategy"]
    waits = bake * shipping.bakes(strategy, ship["percent"], shipping.fleet(serve))
    timeout = min(28800, waits + TERMINATION_WAIT + STARTUP)
    size = {"Type": "CAPACITY_PERCENT", "Value": ship["percent"]}
    rollback = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]}}
    if strategy == "rolling":
        rolling = {
            "MaximumBatchSize": size,
            "WaitIntervalInSeconds": bake,
            # Back in one step: what is wrong should not stay for the sake of a few instances.
            "RollbackMaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 100},
            "MaximumExecutionTimeoutInSeconds": timeout,
        }
        return {"RollingUpdatePolicy": rolling} | rollback
    kind = strategy.upper() if strategy in shipping.PARTIAL else "ALL_AT_ONCE"
    routing: dict[str, Any] = {"Type": kind, "WaitIntervalInSeconds": bake}
    together = TERMINATION_WAIT
    if strategy == "canary":
        routing["CanarySize"] = size
    elif strategy == "linear":
        routing["LinearStepSize"] = size
    else:  # there is no step to wait after: the alarms are watched as long as the old fleet is there
        together = max(bake, TERMINATION_WAIT)
    blue_green = {
        "TrafficRoutingConfiguration": routing,
        "TerminationWaitInSeconds": together,
        "MaximumExecutionTimeoutInSeconds": timeout,
    }
    return {"BlueGreenUpdatePolicy": blue_green} | rollback


def thresholds(ship: dict[str, Any]) -> dict[str, float]:
    """The rollback alarms: `errors` as a share of requests, `latency` in microseconds, as ModelLatency
    counts."""
    alarms = ship["alarms"]
    return {"errors": alarms["errors"], "latency": round(alarms["latency_p99"] * 1_000_000)}


def environment(package: dict[str, Any], serve: dict[str, Any], deployment: str) -> dict[str, str]:
    """Of the container: what the package says too, as nobody has written down whether CreateModel adds to it
    or replaces it, and the name under which the container tells of its answers."""
    return {
        "SAGEMAKER_PROGRAM": serve["entry"],
        "SAGEMAKER_SUBMIT_DIRECTORY": f"{package['code']}source.tar.gz",
        "EVERGREEN_DEPLOYMENT": deployment,
    }


def serverless(serve: dict[str, Any]) -> dict[str, Any] | None:
    """A variant's ServerlessConfig."""
    wanted = serve["serverless"]
    if not wanted:
        return None
    kept = {"ProvisionedConcurrency": wanted["provisioned"]} if wanted["provisioned"] else {}
    return {"MemorySizeInMB": wanted["memory_mb"], "MaxConcurrency": wanted["concurrency"]} | kept


def watched(serve: dict[str, Any], endpoint: str, deployment: str) -> list[dict[str, str]]:
    """The dimensions of the alarms, by which they see the new version alone. Whether the metrics of a
    serverless endpoint have an EndpointConfigName is not written anywhere: there each version is a variant
    with a name of its own."""
    if serving.way(serve) == serving.SERVERLESS:
        return dimensions(EndpointName=endpoint, VariantName=deployment)
    return dimensions(EndpointName=endpoint, VariantName="main", EndpointConfigName=deployment)


def dimensions(**values: str) -> list[dict[str, str]]:
    """As CloudWatch takes them."""
    return [{"Name": name, "Value": value} for name, value in values.items()]


def watch(ship: dict[str, Any], serve: dict[str, Any], champion: dict[str, Any]) -> dict[str, Any] | None:
    """How long the machine itself looks at the alarms after an update that SageMaker does not guard, and what
    it returns to."""
    if serving.way(serve) != serving.SERVERLESS:
        return None
    return {"seconds": int(ship["bake"]), "every": LOOK_EVERY, "config": champion["config"]}


def scaling(serve: dict[str, Any]) -> dict[str, Any] | None:
    """The scalable target of a fleet, and the invocations per instance that it aims at."""
    wanted = serve["scaling"]
    return wanted and {
        "min": wanted["min"],
        "max": wanted["max"],
        "target": wanted["invocations_per_instance"],
    }


def transition(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """What an update from one `serve` to another does to capacity and scaling. SageMaker refuses another
    instance type while the variant is a scalable target: `deregister` it before. `register` is for what
    differs from what is registered, `retain` for a capacity that nothing has changed but the load (or a
    person)."""
    before, after = (scaling(old) if old else None), scaling(new)
    gone = bool(old and before and (after is None or old["instance"] != new["instance"]))
    unchanged = after is not None or old is None or old["count"] == new["count"]
    return {
        "scaling": after,
        "scalingBefore": before,
        "deregister": gone,
        "register": after is not None and (gone or after != before),
        "retain": unchanged and serving.way(new) == serving.INSTANCE,
    }


def shadow(
    ship: dict[str, Any], champion: dict[str, Any], serve: dict[str, Any], deployment: str
) -> dict[str, Any] | None:
    """Where the strategy is shadow: the endpoint config in which the champion answers and the new version
    gets a copy, and how long. `serve` is the champion's."""
    if ship["strategy"] != "shadow":
        return None
    return {
        "config": names.shadow(deployment),
        "seconds": int(ship["bake"]),
        "disagreement": ship["disagreement"],
        "champion": {
            "model": champion["deployment"],
            "config": champion["config"],
            "instance": serve["instance"],
            "count": serve["count"],
        },
    }


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


def predecessor(champion: dict[str, Any] | None, version: int) -> dict[str, Any] | None:
    """What `version` returns to once it is in the place of `champion`. One that ships again has no way back
    to itself, but to the one before it."""
    if not champion or champion["version"] == version:
        return champion and champion["previous"]
    return {name: value for name, value in champion.items() if name not in ("pk", "sk", "previous")}


def way_back(ledger: Ledger, model: str, champion: dict[str, Any]) -> dict[str, Any]:
    """From the champion to the one before it."""
    previous = champion["previous"]
    old, new = (ledger.need_spec(model, each["digest"])["spec"]["serve"] for each in (champion, previous))
    return {
        "way": serving.way(new),
        "endpoint": champion["endpoint"],
        "config": previous["config"],
        "deployment": champion["deployment"],
        "packageArn": champion["package_arn"],
        "version": champion["version"],
        "previousVersion": previous["version"],
    } | transition(old, new)
