"""Samples that unit tests share: a model, its events, and a ledger that is some way into its life."""

import json
from typing import Any

from evergreen import names, spec
from evergreen.ledger import Ledger, put

MODEL_YAML = """\
name: flights
task: binary_classification
target: late
id: flight_id
time: scheduled_departure
features:
  origin: {type: string, values: [EWR, JFK, LGA]}
  dep_hour: {type: integer, min: 0, max: 23}
  distance: number
  temp: {type: number, nullable: true}
train: {entry: train.py, instance: ml.m5.large, hyperparameters: {iterations: 80}}
serve: {entry: inference.py, instance: ml.m5.large, count: 2}
gate: {primary: roc_auc, floor: 0.65, holdout: 14d, min_rows: 100, slices: [origin], approval: person}
ship: {strategy: canary, percent: 10, bake: 10m, alarms: {errors: 1%, latency_p99: 200ms}}
monitor:
  every: 7d
  data: {drift: 0.2, seasonal: [temp]}
  min_rows: 10
  quality: {metric: log_loss, tolerance: 0.05, min_labels: 50}
retrain: {schedule: rate(7 days), on: [violation, data], cool_down: 6h, per_day: 2, window: 90d}
"""
# Instead of the instances.
SERVERLESS = "serverless: {memory_mb: 2048, concurrency: 5}"
BATCH = "batch: {instance: ml.m5.large}"
SCALING = "scaling: {min: 2, max: 4, invocations_per_instance: 500}"
DIGEST = "0123456789ab"
EXECUTION = "arn:aws:states:eu-central-1:123456789012:execution:evergreen-{machine}:{name}"
GROUP = "arn:aws:sagemaker:eu-central-1:123456789012:model-package/evergreen-flights"


def served(way: str) -> str:
    """model.yaml, served without instances, with what goes with it in `ship`."""
    text = MODEL_YAML.replace("instance: ml.m5.large, count: 2", way)
    if way == SERVERLESS:
        return text.replace("strategy: canary, percent: 10", "strategy: all_at_once")
    return "\n".join(line for line in text.splitlines() if not line.startswith("ship:"))


class Context:
    """What Lambda tells a handler of itself."""

    function_name = "evergreen-function"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:evergreen-function"
    aws_request_id = "00000000-0000-0000-0000-000000000000"


CONTEXT = Context()


def execution(name: str, machine: str = "train") -> str:
    return EXECUTION.format(machine=machine, name=name)


def onboard(ledger: Ledger, yaml: str = MODEL_YAML, digest: str = DIGEST) -> dict[str, Any]:
    """As RecordOnboarding leaves it."""
    parsed = spec.parse(yaml)
    item = {"spec": json.dumps(parsed), "digest": digest, "published_at": "2013-03-01T00:00:00Z"}
    ledger.commit(put("flights", "SPEC", item), put("flights", f"SPEC#{digest}", item))
    return parsed


def requested(cause: dict[str, str] | None = None, model: str = "flights", at: str = ""):
    """At its cause's time, where no other is said."""
    detail = {"model": model} | ({"cause": cause} if cause else {})
    return {
        "source": "evergreen.api",
        "detail-type": "TrainingRequested",
        "time": at or (cause or {}).get("at", "2013-03-01T00:00:00Z"),
        "id": "event-1",
        "account": "123456789012",
        "detail": detail,
    }


def cause(kind: str = "person", id: str = "request-1", at: str = "2013-03-01T00:00:00Z", by: str = "ann"):
    return {"kind": kind, "id": id, "at": at, "by": by}


def uploaded(key: str, at: str = "2013-04-01T00:00:00Z", version: str = "v1") -> dict[str, Any]:
    return {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": at,
        "id": "event-2",
        "detail": {"bucket": {"name": "bucket"}, "object": {"key": key, "version-id": version}},
    }


def registered(ledger: Ledger, version: int = 1, **changes: Any) -> dict[str, Any]:
    """As CloseRun leaves a version."""
    item = {
        "version": version,
        "status": "PendingManualApproval",
        "package_arn": f"{GROUP}/{version}",
        "run": f"flights-000000000{version}",
        "cause": cause(),
        "digest": DIGEST,
        "code": f"s3://bucket/models/flights/{DIGEST}/",
        "model_data": f"s3://bucket/runs/flights-000000000{version}/model/model.tar.gz",
        "baseline": f"s3://bucket/runs/flights-000000000{version}/baseline/",
        "trained_until": "2013-02-15T00:00:00Z",
        "metrics": {"roc_auc": 0.72},
        "figures": {"rows": 1000},
        "reason": "passed",
    } | changes
    ledger.commit(put("flights", names.package(version), item))
    return item


def champion(ledger: Ledger, version: int = 1, **changes: Any) -> dict[str, Any]:
    """As PromoteChampion leaves a version in service."""
    package = registered(ledger, version, status="InService")
    deployment = f"evergreen-flights-v{version}-aaaaaa"
    item = (
        package
        | {
            "endpoint": "evergreen-flights",
            "config": deployment,
            "deployment": deployment,
            "alarms": [f"{deployment}-errors", f"{deployment}-latency"],
            "promoted_at": "2013-03-01T00:00:00Z",
            "approved_at": "2013-03-01T00:00:00Z",
            "approved_by": "ann",
            "previous": None,
        }
        | changes
    )
    ledger.commit(put("flights", "CHAMPION", item))
    return item


def kinds(ledger: Ledger, *wanted: str, model: str = "flights") -> list[dict[str, Any]]:
    """History rows of these kinds, in order of time."""
    return [row for row in ledger.query(model, "H#") if row["kind"] in wanted]
