"""What the API says no to."""

import json
from typing import Any

# A client with a thousand bad rows needs the first few, not all.
SHOWN = 20


class Refused(Exception):
    """A status, a message, and the fields with the reason for each. `logged`: what the log has instead of a
    message that may quote the caller's data."""

    def __init__(
        self, status: int, message: str, errors: list[dict[str, Any]] | None = None, logged: str = ""
    ):
        super().__init__(message)
        self.status, self.message, self.errors = status, message, errors or []
        self.logged = logged or message

    def body(self) -> str:
        """As JSON."""
        answer: dict[str, Any] = {"message": self.message}
        if self.errors:
            answer["errors"] = self.errors[:SHOWN]
        return json.dumps(answer)


def bad_field(field: str, reason: str) -> Refused:
    """400 for one field of the request."""
    return Refused(400, f"{field} {reason}", [{"field": field, "reason": reason}])


def bad_values(errors: list[dict[str, Any]]) -> Refused:
    """400 for values within a list."""
    count = "a value" if len(errors) == 1 else f"{len(errors)} values"
    return Refused(400, f"{count} will not do", errors)
