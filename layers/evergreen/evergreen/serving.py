"""The `serve` section of model.yaml: by instances, serverless, or in batches without any endpoint. The limits
are those of SageMaker's CreateEndpointConfig and CreateTransformJob, which would refuse it hours later."""

from collections.abc import Callable, Iterator
from typing import Any

import yaml

from . import units
from .schema import Key, Mistake, find, mapping, scalar

# The ways to serve, by the key that asks for each.
INSTANCE, SERVERLESS, BATCH = WAYS = ("instance", "serverless", "batch")
MEMORY = tuple(range(1024, 6145, 1024))  # MB
# MaxPayloadInMB, and that times MaxConcurrentTransforms.
MOST_PAYLOAD = 100
ON_INPUT = "input"
# Seconds: the alarms' minute, and one more until its figures are there.
LEAST_WATCH = 120
# Not every type that hosts a model also transforms.
TRANSFORM_FAMILIES = (
    "c4", "c5", "c6i", "c7i", "g4dn", "g5", "g6", "g6e", "inf2", "m4", "m5", "m6i", "m7i", "p2", "p3", "r6i",
    "r7i", "trn1",
)  # fmt: skip

# What a version may be tried with by hand.
USUAL_TRANSFORM = ("ml.m5.large", "ml.m5.xlarge", "ml.m5.4xlarge")

_entry = scalar(units.text(r"\w[\w./-]*\.py", "a Python file of the model's folder"))
_instance = scalar(units.text(r"ml\.[a-z0-9-]+\.[a-z0-9]+", "an instance type such as ml.m5.large"))
_count = scalar(units.integer(1, 100))
_concurrency = scalar(units.integer(1, 200))


def _memory(value: Any) -> int:
    if value in MEMORY and not isinstance(value, bool):
        return value
    raise ValueError(f"{value} is not one of {', '.join(map(str, MEMORY))}")


def _start(value: Any) -> str:
    """`input`, or EventBridge Scheduler's expression."""
    if value == ON_INPUT:
        return value
    try:
        return units.schedule(value)
    except ValueError as error:
        raise ValueError(f"{error}, or input: each file as it comes") from None


_scaling = mapping(
    {"min": Key(_count), "max": Key(_count), "invocations_per_instance": Key(scalar(units.number(1, 10**7)))}
)
_serverless = mapping(
    {
        "memory_mb": Key(scalar(_memory)),
        "concurrency": Key(_concurrency),
        "provisioned": Key(_concurrency, None),
    }
)
_batch = mapping(
    {
        "instance": Key(_instance),
        "count": Key(_count, 1),
        "on": Key(scalar(_start), ON_INPUT),
        "records": Key(scalar(units.choice(("many", "single"))), "many"),
        "payload_mb": Key(scalar(units.integer(1, MOST_PAYLOAD)), 6),
        "concurrency": Key(scalar(units.integer(1, MOST_PAYLOAD)), 1),
    }
)
_keys = mapping(
    {
        "entry": Key(_entry, "inference.py"),
        "instance": Key(_instance, None),
        "count": Key(_count, None),
        "scaling": Key(_scaling, None),
        "serverless": Key(_serverless, None),
        "batch": Key(_batch, None),
    }
)
# What a fleet of instances has, and why the others have not.
_OF_INSTANCES = {
    ("count", SERVERLESS): "is of instances: serve.serverless.concurrency says how many requests at a time",
    ("count", BATCH): "is of an endpoint's instances: say serve.batch.count",
    ("scaling", SERVERLESS): "is of instances: a serverless endpoint scales by itself, up to its concurrency",
    ("scaling", BATCH): "is of an endpoint: a batch starts serve.batch.count instances and ends them",
}


def SECTION(node: yaml.Node, path: str, mistakes: list[Mistake]) -> Any:
    """One of the three ways, and what belongs to it; `count` is 1 where a fleet of instances does not say."""
    serve = _keys(node, path, mistakes)
    if serve is None:
        return None
    asked = [name for name in WAYS if any(key.value == name for key, _ in node.value)]
    if not asked:
        found = "lacks one of instance, serverless or batch: how the model is served"
        mistakes.append(Mistake(find(node, ()), path, found))
    for other in asked[1:]:
        reason = f"stands beside {asked[0]}: a model is served in one way"
        mistakes.append(Mistake(find(node, [other]), f"{path}.{other}", reason))
    for (name, one), reason in _OF_INSTANCES.items():
        if asked == [one] and serve[name] is not None:
            mistakes.append(Mistake(find(node, [name]), f"{path}.{name}", reason))
    if INSTANCE in asked and serve["count"] is None:
        serve["count"] = 1
    return serve


def way(serve: dict[str, Any]) -> str:
    """How a model with this section is served: instance, serverless or batch; empty while it has a mistake
    there."""
    return next((name for name in WAYS if serve.get(name)), "")


def instance(serve: dict[str, Any]) -> str | None:
    """The type of its instances, where it has any."""
    return serve["batch"]["instance"] if serve["batch"] else serve["instance"]


def instances(serve: dict[str, Any], other: str) -> dict[str, list[str]]:
    """The types that a version is registered for, to host it and to transform with it; `other` hosts where it
    has no instances of its own."""
    own = instance(serve)
    transforming = [own] if way(serve) == BATCH else []
    return {
        "hosting": [serve["instance"] or other],
        "transforming": transforming + [usual for usual in USUAL_TRANSFORM if usual not in transforming],
    }


def other_way(serve: dict[str, Any], served: str) -> str:
    """Why a model that is `served` in another way cannot change to this one; empty where it stays as it is.
    SageMaker turns no endpoint of instances into a serverless one, and nothing back."""
    asked = way(serve)
    if asked in ("", served):
        return ""
    said = {INSTANCE: "by instances", SERVERLESS: "serverless", BATCH: "in batches"}
    why = f"it is served {said[served]}, and SageMaker has no safe way from there to here and back"
    return f"the model cannot be served {said[asked]} under this name: {why}; publish it under another"


def contradictions(
    serve: dict[str, Any], ship: dict[str, Any], given: Callable[[str], bool]
) -> Iterator[tuple[str, str]]:
    """What is well formed and cannot be meant: (path, reason) pairs. A part that has a mistake is None;
    `given` tells whether model.yaml has a path itself."""
    scaling, serverless, batch = serve["scaling"] or {}, serve["serverless"], serve["batch"]
    if scaling.get("min") and scaling["max"] and scaling["min"] > scaling["max"]:
        yield "serve.scaling.min", f"{scaling['min']} is more than max, {scaling['max']}"
    if serverless:
        yield from _serverless_contradictions(serverless, ship)
    if batch:
        yield from _batch_contradictions(batch)
        for name in ("strategy", "percent", "bake", "alarms"):
            if given(f"ship.{name}"):
                yield f"ship.{name}", "is of an endpoint: a model served in batches has no traffic to shift"


def _serverless_contradictions(serverless: dict[str, Any], ship: dict[str, Any]):
    most, kept = serverless["concurrency"], serverless["provisioned"]
    if most and kept and kept > most:
        yield "serve.serverless.provisioned", f"{kept} is more than concurrency, {most}"
    if ship["strategy"] not in (None, "all_at_once"):
        why = "SageMaker shifts a serverless endpoint's traffic at once (no deployment guardrails)"
        yield "ship.strategy", f"{why}: say all_at_once; its alarms are watched for ship.bake all the same"
    if ship["bake"] is not None and ship["bake"] < LEAST_WATCH:
        yield (
            "ship.bake",
            "is too short for a serverless version, whose alarms see a minute at a time: at least 2m",
        )


def _batch_contradictions(batch: dict[str, Any]):
    family = (batch["instance"] or "").split(".")[1:2]
    if family and family[0] not in TRANSFORM_FAMILIES:
        known = ", ".join(TRANSFORM_FAMILIES)
        reason = f"{batch['instance']} runs no transform jobs; these families do: {known}"
        yield "serve.batch.instance", reason
    size, at_once = batch["payload_mb"], batch["concurrency"]
    if size and at_once and size * at_once > MOST_PAYLOAD:
        reason = f"{at_once} payloads of {size} MB are more than {MOST_PAYLOAD} MB at a time"
        yield "serve.batch.payload_mb", reason
