"""Event buses across accounts: a bus's policy, which MiniStack neither takes from a template nor asks."""

import json
from typing import Any

from local import ministack

BUS_TYPE = "AWS::Events::EventBus"


def install() -> None:
    """From now on a template's bus has its policy."""
    plain = dict(ministack.get("resource_handlers")[BUS_TYPE])

    def create(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        name, attributes = plain["create"](logical_id, properties, stack)
        _keep(name, properties)
        return name, attributes

    def update(identity: str, old: dict, new: dict, stack: str, *more: Any) -> Any:
        name, attributes = plain["update"](identity, old, new, stack, *more)
        _keep(name, new)
        return name, attributes

    ministack.add_resource_type(BUS_TYPE, **(plain | {"create": create, "update": update}))


def _keep(name: str, properties: dict[str, Any]) -> None:
    policies, policy = ministack.get("bus_policies"), properties.get("Policy")
    if policy:
        policies[name] = json.loads(policy) if isinstance(policy, str) else policy
    else:
        policies.pop(name, None)


def require_grant(bus: str, role: str, event: dict[str, Any]) -> None:
    """Raises AccessDenied unless the bus (an ARN, of the account in scope) takes this event from a role of
    another account."""
    account, name = role.split(":")[4], role.rpartition("/")[2]
    context = {"events:source": [event["Source"]], "events:detail-type": event["DetailType"]}
    policy = ministack.get("bus_policies").get(bus.rpartition("/")[2])
    principal = f"arn:aws:sts::{account}:assumed-role/{name}/events"
    ministack.require_grant(policy, principal, "events:PutEvents", bus, context)
