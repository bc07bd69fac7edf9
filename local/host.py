"""What the local SageMaker service sees of the machine around it: a small interface that tests fake."""

from typing import Any, Protocol


class AccessDenied(Exception):
    """The caller's policies do not allow an action; the message is worded as IAM words it."""


class Host(Protocol):
    """The AWS account that the local SageMaker service lives in."""

    url: str  # http://127.0.0.1:<port>
    region: str
    account: str  # 12 digits
    time_scale: float  # SageMaker's waits are divided by this

    def client(self, service: str) -> Any:
        """A boto3 client with the account's root credentials. Clients are made once and shared."""

    def emit(self, detail_type: str, detail: dict, resources: list[str]) -> None:
        """Puts an aws.sagemaker event on the default bus, stamped by the virtual clock."""

    def put_metric(
        self, namespace: str, name: str, value: float, unit: str, dimensions: dict[str, str]
    ) -> None:
        """One datapoint in CloudWatch, at the machine's time."""

    def put_metric_values(
        self, namespace: str, name: str, values: list[float], unit: str, dimensions: dict[str, str]
    ) -> None:
        """Several datapoints of one metric at once, for percentiles over many requests."""

    def write_logs(self, group: str, stream: str, lines: list[str]) -> None:
        """Lines in CloudWatch Logs; group and stream are created on first use."""

    def alarm_states(self, names: list[str]) -> dict[str, str]:
        """Name -> OK, ALARM or INSUFFICIENT_DATA; a name without an alarm is left out."""

    def authorize(self, headers: dict[str, str], action: str, resource: str) -> None:
        """Raises AccessDenied where the caller's policies do not allow the action on the resource."""

    def require_grant(self, policy: str, action: str, resource: str) -> None:
        """Raises AccessDenied unless a resource's own policy allows the caller, who is of another account."""

    def environment(self, role_arn: str | None = None) -> dict[str, str]:
        """AWS_* variables of a subprocess: endpoint, region, credentials of the role (root's without one)."""
