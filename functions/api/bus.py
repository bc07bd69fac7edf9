"""What a person asks for, said on the loop's bus: a machine admits it, or not."""

import json
import re
from typing import Any

from caller import Caller
from evergreen import aws, settings, times
from evergreen.errors import AwsUnavailable
from evergreen.events import Cause
from refusals import bad_field

BUS = settings.required("BUS")


def request(kind: str, model: str, caller: Caller, **detail: Any) -> dict[str, str]:
    """Send the event; answers its cause. The caller's key makes a repeated request the same cause."""
    key = caller.headers.get("idempotency-key", caller.request_id)
    if not re.fullmatch(r"[\w.:=/-]{1,128}", key):
        raise bad_field("Idempotency-Key", "must be 1 to 128 letters, digits or . : = / - _")
    cause = Cause("person", key, times.iso(caller.at), caller.by).as_dict()
    entry = {
        "Source": "evergreen.api",
        "DetailType": kind,
        "EventBusName": BUS,
        "Detail": json.dumps({"model": model, "cause": cause} | detail),
    }
    answer = aws.call("events", "put_events", Entries=[entry])
    if answer["FailedEntryCount"]:
        raise AwsUnavailable(f"events:put_events: {answer['Entries'][0].get('ErrorMessage')}")
    return cause
