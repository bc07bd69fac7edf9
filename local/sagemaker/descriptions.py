"""How SageMaker shows an endpoint: the members of DescribeEndpoint, and the detail of its events."""

import re
from datetime import datetime
from typing import Any

from .routing import Fleet, Side
from .store import Record


def production(side: Side) -> Record:
    """ProductionVariants, and ShadowProductionVariants where there are any, of one side."""
    shown: Record = {"ProductionVariants": [_summary(fleet) for fleet in side.fleets.values()]}
    if side.shadows:
        shown["ShadowProductionVariants"] = [_summary(fleet) for fleet in side.shadows.values()]
    return shown


def _summary(fleet: Fleet) -> Record:
    """A ProductionVariantSummary, or the pending one, which also knows the instance type."""
    desired_weight = fleet.weight if fleet.desired_weight is None else fleet.desired_weight
    capacity: Record = {
        "CurrentInstanceCount": sum(instance.ready for instance in fleet.instances),
        "DesiredInstanceCount": fleet.desired,
        "InstanceType": fleet.settings.get("InstanceType"),
    }
    if fleet.serverless:
        capacity = {"CurrentServerlessConfig": fleet.serverless}
    return capacity | {
        "VariantName": fleet.variant,
        "DeployedImages": [
            {
                "SpecifiedImage": container["Image"],
                "ResolvedImage": container["Image"],
                "ResolutionTime": fleet.resolved_at,
            }
            for container in fleet.containers
        ],
        "CurrentWeight": fleet.weight,
        "DesiredWeight": desired_weight,
        "VariantStatus": [fleet.status] if fleet.status else None,
    }


def capture_summary(side: Side) -> Record | None:
    """A DataCaptureConfigSummary; None for a side without capture."""
    config = side.capture_config
    if not config:
        return None
    enabled = config.get("EnableCapture", True)
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId", ""),
    }


def spelled_for_events(status: str) -> str:
    """InService -> IN_SERVICE."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", status).upper()


def event_detail(value: Any) -> Any:
    """As events carry it: times as milliseconds since 1970, and nothing that is not set."""
    if isinstance(value, dict):
        return {key: event_detail(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [event_detail(item) for item in value]
    return round(value.timestamp() * 1000) if isinstance(value, datetime) else value
