"""The host of the local SageMaker service, with MiniStack behind it (see local/host.py for the interface)."""

import json
import threading
import time
from typing import Any

import boto3
from botocore.config import Config

from local import embedded, ministack

ROOT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
# No botocore retries: the callers that need them (state machines, SDK users) have their own.
CLIENT_CONFIG = Config(
    retries={"total_max_attempts": 1}, max_pool_connections=32, connect_timeout=5, read_timeout=300,
    s3={"addressing_style": "path"},
)  # fmt: skip


def root_keys(account: str) -> dict[str, str]:
    """Credentials of an account's root: the account's number is its access key."""
    return {"AWS_ACCESS_KEY_ID": account, "AWS_SECRET_ACCESS_KEY": ROOT["AWS_SECRET_ACCESS_KEY"]}


class Machine:
    """Implements local.host.Host. account: None for that of whatever request or execution is running."""

    def __init__(self, url: str, region: str, account: str | None, time_scale: float) -> None:
        self.url, self.region, self._account, self.time_scale = url, region, account, time_scale
        self._session = boto3.Session(region_name=region)
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    @property
    def account(self) -> str:
        return self._account or ministack.get("account")()

    def of(self, account: str) -> "Machine":
        """The same machine as one account sees it."""
        return Machine(self.url, self.region, account, self.time_scale)

    def client(self, service: str, credentials: dict[str, str] | None = None) -> Any:
        """A shared boto3 client; with root's credentials unless others are given."""
        keys = credentials or root_keys(self.account)
        with self._lock:
            found = self._clients.get((service, keys["AWS_ACCESS_KEY_ID"]))
            if found is None:
                found = self._session.client(
                    service,
                    endpoint_url=self.url,
                    config=CLIENT_CONFIG,
                    aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
                    aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
                    aws_session_token=keys.get("AWS_SESSION_TOKEN"),
                )
                self._clients[service, keys["AWS_ACCESS_KEY_ID"]] = found
            return found

    def emit(self, detail_type: str, detail: dict, resources: list[str]) -> None:
        self.put_event("aws.sagemaker", detail_type, detail, resources)

    def put_event(self, source: str, detail_type: str, detail: dict, resources: list[str]) -> None:
        entry = {"Source": source, "DetailType": detail_type, "Resources": resources}
        with ministack.scope(self.account, self.region):
            ministack.get("put_events")(
                {"Entries": [entry | {"Detail": json.dumps(detail, default=str)}]}, allow_aws_source=True
            )

    def put_metric(
        self, namespace: str, name: str, value: float, unit: str, dimensions: dict[str, str]
    ) -> None:
        self.put_metric_values(namespace, name, [value], unit, dimensions)

    def put_metric_values(
        self, namespace: str, name: str, values: list[float], unit: str, dimensions: dict[str, str]
    ) -> None:
        with ministack.scope(self.account, self.region):
            ministack.get("store_metric")(
                namespace, name, dimensions, time.time(), unit, None, [float(v) for v in values], None, None
            )

    def write_logs(self, group: str, stream: str, lines: list[str]) -> None:
        now = int(time.time() * 1000)
        if lines:
            with ministack.scope(self.account, self.region):
                ministack.write_logs(group, stream, [{"timestamp": now, "message": line} for line in lines])
                embedded.store_metrics(lines)

    def alarm_states(self, names: list[str]) -> dict[str, str]:
        with ministack.scope(self.account, self.region):
            alarms, composites = ministack.get("alarms"), ministack.get("composite_alarms")
            found = {name: alarms.get(name) or composites.get(name) for name in names}
        return {name: alarm["StateValue"] for name, alarm in found.items() if alarm}

    def authorize(self, headers: dict[str, str], action: str, resource: str) -> None:
        context = {"iam:passedtoservice": "sagemaker.amazonaws.com"} if action == "iam:PassRole" else None
        with ministack.scope(self.account, self.region):
            ministack.authorize(ministack.get("access_key")(headers), self.region, action, resource, context)

    def require_grant(self, policy: str, action: str, resource: str) -> None:
        """Raises AccessDenied unless the resource's policy lets in the caller, who is of another account."""
        with ministack.scope(self.account, self.region):
            ministack.require_grant(policy, ministack.get("caller")(), action, resource)

    def environment(self, role_arn: str | None = None) -> dict[str, str]:
        credentials = root_keys(self.account)
        if role_arn:
            with ministack.scope(self.account, self.region):
                credentials = ministack.role_credentials(role_arn, "SageMaker", "sagemaker.amazonaws.com")
        region = {"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}
        return {**credentials, **region, "AWS_ENDPOINT_URL": self.url}
