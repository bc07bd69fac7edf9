"""Who asks, when, and for what: the parts of a request that routes need."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from refusals import Refused, bad_field

# Characters. The registry's description of a package holds about as many.
MOST_REASON = 1000
# Of a whole number that a float can hold.
MOST_DIGITS = 308


@dataclass(frozen=True)
class Caller:
    """`by` is the caller's ARN, `at` the time at which API Gateway took the request."""

    by: str
    at: datetime
    request_id: str
    text: str
    query: dict[str, str]
    headers: dict[str, str]

    @classmethod
    def of(cls, event: APIGatewayProxyEventV2) -> "Caller":
        """The caller of an HTTP API request."""
        context = event["requestContext"]
        iam = (context.get("authorizer") or {}).get("iam") or {}
        return cls(
            by=iam.get("userArn") or "unknown",
            at=datetime.fromtimestamp(context["timeEpoch"] / 1000, UTC),
            # Part of object keys: API Gateway's ids may hold = and /.
            request_id=re.sub(r"[^A-Za-z0-9-]", "", context["requestId"]),
            text=_text(event),
            query=event.query_string_parameters or {},
            headers=event.headers,
        )

    def body(self) -> dict[str, Any]:
        """The request's JSON object."""
        try:
            content = json.loads(self.text or "{}", parse_int=_whole)
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"the body is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise Refused(400, "the body is not a JSON object")
        return content

    def reason(self) -> str:
        """What the body gives as the reason of a decision; it travels in events and stands in the ledger."""
        reason = self.body().get("reason")
        if not isinstance(reason, str) or not reason.strip():
            raise bad_field("reason", "must say why, for whoever asks later")
        if len(reason) > MOST_REASON:
            raise bad_field("reason", f"has {len(reason)} characters; {MOST_REASON} are the most")
        return reason

    def items(self, field: str, most: int) -> list[dict[str, Any]]:
        """A list of objects in the body, neither empty nor longer than `most`."""
        found = self.body().get(field)
        if not isinstance(found, list) or not found:
            raise bad_field(field, "must be a list with at least one object")
        if len(found) > most:
            raise bad_field(field, f"has {len(found)} entries; {most} are the most in one request")
        return found


def _text(event: APIGatewayProxyEventV2) -> str:
    """The body; API Gateway sends it as base64 where the content type is none of text or JSON."""
    try:
        return event.decoded_body or ""
    except ValueError as error:
        raise Refused(400, "the body is not text in UTF-8") from error


def _whole(digits: str) -> int | float:
    """A whole number of the body; one that is too large to calculate with is infinite, as 1e400 is."""
    return int(digits) if len(digits) <= MOST_DIGITS else float(digits)
