"""Times as the ledger and the events write them: UTC, ISO 8601, to the second, so that text sorts as time."""

import re
from datetime import UTC, datetime, timedelta


def parse(text: str) -> datetime:
    """An aware datetime from ISO 8601 (extended or compact); a time without a zone is UTC."""
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def iso(moment: datetime) -> str:
    """`2013-06-01T00:00:00Z`"""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def compact(moment: datetime) -> str:
    """`20130601T000000Z`: for object keys, where a colon needs escaping in too many tools."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def normal(text: str) -> str:
    """Any ISO time in our one form."""
    return iso(parse(text))


def now() -> datetime:
    """The machine's clock: for expiries, `recorded_at`, and to bound what a stranger's event says;
    decisions use the event's own."""
    return datetime.now(UTC)


def hour_path(moment: datetime) -> str:
    """`2013/06/01/00`: the folder of an hour under `capture/` and `labels/`."""
    return moment.astimezone(UTC).strftime("%Y/%m/%d/%H")


def seconds(duration: float) -> timedelta:
    """A duration of model.yaml, which are seconds, as a timedelta."""
    return timedelta(seconds=duration)


def is_iso(text: str) -> bool:
    """Whether the text is a date and a time in ISO 8601."""
    try:
        parse(text)
    except (TypeError, ValueError):
        return False
    return bool(re.match(r"\d{4}", text))
