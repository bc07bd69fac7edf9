"""What requests need to know of a model. The champion is read again every few seconds, its specification
once."""

import functools
import time
from typing import Any

from evergreen import partner, settings
from evergreen.ledger import Ledger
from refusals import Refused

LEDGER = Ledger(settings.required("TABLE"))

# How old the champion may be that a prediction is answered with the version of.
FRESH_SECONDS = 5


def must_serve_here(model: str) -> None:
    """409 in an account that trains what another one serves."""
    if partner.SERVING:
        raise Refused(409, f"{model} is served in account {partner.SERVING}: ask the API there")


def must_train_here(model: str) -> None:
    """409 in an account that serves what another one trains, and has the registry of."""
    if partner.TRAINING:
        account = partner.TRAINING
        raise Refused(409, f"versions of {model} are approved in account {account}: ask the API there")


def published(model: str) -> dict[str, Any]:
    """The current specification's record; 404 where there is none."""
    found = LEDGER.spec(model)
    if not found:
        raise Refused(404, f"there is no model {model}")
    return found


def in_service(model: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(champion, the specification it was trained with); 404 for no model, 409 for one without a champion."""
    return _in_service(model, int(time.monotonic() / FRESH_SECONDS))


@functools.lru_cache(maxsize=256)
def _in_service(model: str, moment: int) -> tuple[dict[str, Any], dict[str, Any]]:
    champion = LEDGER.get(model, "CHAMPION")
    if not champion:
        published(model)
        raise Refused(409, f"{model} has no version in service yet")
    return champion, specification(model, champion["digest"])


@functools.lru_cache(maxsize=256)
def specification(model: str, digest: str) -> dict[str, Any]:
    """The specification of a digest, which never changes."""
    return LEDGER.need_spec(model, digest)["spec"]
