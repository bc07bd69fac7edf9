"""A person asks for a training."""

import json
import re
from typing import Any

import champions
from caller import Caller
from evergreen import aws, settings, times
from evergreen.errors import AwsUnavailable
from evergreen.events import Cause
from refusals import bad_field

BUS = settings.required("BUS")


def ask(model: str, caller: Caller) -> dict[str, Any]:
    """Say so on the bus; the train machine admits it, or not. The key makes a repeated request the same
    cause."""
    champions.published(model)
    key = caller.headers.get("idempotency-key", caller.request_id)
    if not re.fullmatch(r"[\w.:=/-]{1,128}", key):
        raise bad_field("Idempotency-Key", "must be 1 to 128 letters, digits or . : = / - _")
    cause = Cause("person", key, times.iso(caller.at), caller.by).as_dict()
    entry = {
        "Source": "evergreen.api",
        "DetailType": "TrainingRequested",
        "EventBusName": BUS,
        "Detail": json.dumps({"model": model, "cause": cause}),
    }
    answer = aws.call("events", "put_events", Entries=[entry])
    if answer["FailedEntryCount"]:
        raise AwsUnavailable(f"events:put_events: {answer['Entries'][0].get('ErrorMessage')}")
    return {"cause": cause}
