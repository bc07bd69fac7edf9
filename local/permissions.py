"""Where MiniStack's IAM asks about another resource than AWS's: alarms by name, schedules in groups, the
machine that waits with a token, TLS."""

import contextlib
import json
from typing import Any

from local import callbacks, ministack

SEPARATOR = "\n"  # between the ARNs of a request that names several resources


def install() -> None:
    """From now on a request is checked against each resource that it names."""

    def resource(
        service: str,
        method: str,
        path: str,
        headers: dict,
        body: bytes,
        query: dict,
        region: str,
        account: str,
    ) -> str:
        arn = find(service, method, path, headers, body, query, region, account)
        if service == "scheduler":
            return _in_group(arn, body, query)
        if service == "states" and arn == "*":
            return callbacks.machine_of(_fields(body).get("taskToken", "")) or arn
        if service == "monitoring" and arn == "*":
            prefix = f"arn:aws:cloudwatch:{region}:{account}:alarm:"
            return SEPARATOR.join(prefix + name for name in _fields(body).get("AlarmNames") or []) or arn
        return arn

    def enforce_each(
        key: str, action: str, service: str, region: str, resource_arn: str = "*", **more: Any
    ) -> Any:
        checks = (
            enforce(key, action, service, region, resource_arn=arn, **more)
            for arn in resource_arn.split(SEPARATOR)
        )
        return next((denied for denied in checks if denied), None)

    find = ministack.replace("resource_of_request", resource)
    enforce = ministack.replace("enforce", enforce_each)
    # Nothing leaves the machine: policies that ask for TLS (aws:SecureTransport) find it.
    pin_origin = ministack.get("request_origin")
    ministack.replace("request_origin", lambda address, _secure: pin_origin(address, True))


def _in_group(arn: str, body: bytes, query: dict) -> str:
    """A schedule's ARN holds its group, which a request names in its body or query."""
    group = _fields(body).get("GroupName") or (query.get("groupName") or ["default"])[0]
    return arn.replace(":schedule/default/", f":schedule/{group}/")


def _fields(body: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        found = json.loads(body or b"{}")
        return found if isinstance(found, dict) else {}
    return {}
