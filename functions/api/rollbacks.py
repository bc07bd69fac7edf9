"""A person wants the version in service out, and the one before it back."""

from typing import Any

import bus
from caller import Caller
from champions import LEDGER, must_serve_here, published
from evergreen import deployments
from refusals import Refused


def ask(model: str, caller: Caller) -> dict[str, Any]:
    """Say so on the bus, for the respond machine; 409 with the reason where there is nothing to return to, or
    a deployment is under way. The event names the deployment in service: one that comes late must not undo
    another."""
    must_serve_here(model)
    reason = caller.reason()
    champion = LEDGER.get(model, "CHAMPION")
    if not champion:
        published(model)
    refusal = deployments.no_way_back(champion, deployments.under_way(LEDGER, model))
    if not champion or refusal:
        raise Refused(409, f"{model}: {refusal}")
    named = {"version": champion["version"], "deployment": champion["deployment"]}
    cause = bus.request("RollbackRequested", model, caller, reason=" ".join(reason.split()), **named)
    return {"cause": cause, "version": champion["version"], "returns_to": champion["previous"]["version"]}
