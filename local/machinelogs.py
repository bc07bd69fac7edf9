"""What state machines log: each event of an execution's history, in the log group that the machine names."""

import json
import time
from datetime import datetime
from typing import Any

from local import ministack

MACHINE_TYPE = "AWS::StepFunctions::StateMachine"
EXECUTION_DATA = {"input", "output", "parameters"}
FAILURES = ("Failed", "TimedOut", "Aborted")


def install() -> None:
    plain = dict(ministack.get("resource_handlers")[MACHINE_TYPE])

    def create(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        return plain["create"](logical_id, _as_api(properties), stack)

    def update(identity: str, old: dict, new: dict, stack: str, logical_id: str | None = None) -> Any:
        return plain["update"](identity, _as_api(old), _as_api(new), stack, logical_id)

    def add_history(execution: dict, event_type: str, details: dict | None = None) -> Any:
        event = add(execution, event_type, details)
        new = execution["events"] if event["id"] == 2 else [event]  # the first event is not added but there
        for item in new:
            _log(execution, item)
        return event

    ministack.add_resource_type(MACHINE_TYPE, **(plain | {"create": create, "update": update}))
    add = ministack.replace("add_history", add_history)


def _as_api(properties: dict[str, Any]) -> dict[str, Any]:
    """CloudFormation's LoggingConfiguration in the API's spelling."""
    if "LoggingConfiguration" not in properties:
        return properties
    return properties | {"LoggingConfiguration": _lower(properties["LoggingConfiguration"])}


def _lower(value: Any) -> Any:
    if isinstance(value, list):
        return [_lower(item) for item in value]
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: _lower(item) for key, item in value.items()}
    return value == "true" if value in ("true", "false") else value


def _log(execution: dict[str, Any], event: dict[str, Any]) -> None:
    machine = ministack.get("state_machines").get(execution["stateMachineArn"]) or {}
    settings = machine.get("loggingConfiguration") or {}
    if not _is_wanted(settings.get("level", "OFF"), event["type"]):
        return
    details = next((value for key, value in event.items() if key.endswith("EventDetails")), {})
    if not settings.get("includeExecutionData"):
        details = {key: value for key, value in details.items() if key not in EXECUTION_DATA}
    now = int(time.time() * 1000)
    line = {
        "id": str(event["id"]),
        "type": event["type"],
        "details": details,
        "previous_event_id": str(event["id"] - 1),
        "event_timestamp": str(now),
        "execution_arn": execution["executionArn"],
    }
    stream = f"states/{machine['name']}/{datetime.now():%Y-%m-%d-%H-%M}/{execution['name']}"
    for destination in settings.get("destinations", []):
        group = destination["cloudWatchLogsLogGroup"]["logGroupArn"].split(":")[6]
        ministack.write_logs(group, stream, [{"timestamp": now, "message": json.dumps(line)}])


def _is_wanted(level: str, event_type: str) -> bool:
    if level == "ERROR":
        return event_type.endswith(FAILURES)
    if level == "FATAL":
        return event_type.startswith("Execution") and event_type.endswith(FAILURES)
    return level == "ALL"
