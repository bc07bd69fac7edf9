"""A stand-in for the machine around the local SageMaker, and tiny requests to it."""

from collections import defaultdict
from typing import Any

import boto3

REGION = "us-east-1"
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/jobs"


class FakeHost:
    """Keeps what the service says to the world; `client` is boto3's own, for use inside `mock_aws`."""

    url = "http://127.0.0.1:4566"
    region = REGION
    account = ACCOUNT
    time_scale = 40.0

    def __init__(self) -> None:
        self.events: list[tuple[str, dict, list[str]]] = []
        self.metrics: list[tuple] = []
        self.logs: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.alarms: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []

    def client(self, service: str) -> Any:
        return boto3.client(
            service, region_name=REGION, aws_access_key_id="testing", aws_secret_access_key="testing"
        )

    def emit(self, detail_type: str, detail: dict, resources: list[str]) -> None:
        self.events.append((detail_type, detail, resources))

    def put_metric(self, namespace, name, value, unit, dimensions) -> None:
        self.metrics.append((namespace, name, value, unit, dimensions))

    def write_logs(self, group: str, stream: str, lines: list[str]) -> None:
        self.logs[group, stream].extend(lines)

    def alarm_states(self, names: list[str]) -> dict[str, str]:
        return {name: self.alarms.get(name, "OK") for name in names}

    def authorize(self, headers: dict, action: str, resource: str) -> None:
        self.asked.append((action, resource))

    def put_metric_values(self, namespace, name, values, unit, dimensions) -> None:
        self.metrics.extend((namespace, name, value, unit, dimensions) for value in values)

    def environment(self, role_arn: str | None = None) -> dict[str, str]:
        return {
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_SESSION_TOKEN": "testing",
        }
