"""How a run speaks of times, numbers and causes: the same words on the terminal and in the report."""

from __future__ import annotations

from datetime import UTC, datetime

CAUSES = {
    "code": "new code",
    "schedule": "its schedule",
    "data": "new data",
    "violation": "a violation",
    "alarm": "an alarm",
    "rollback": "a rollback",
    "person": "a person",
    "program": "a program",
}


def when(text: str) -> datetime:
    """An ISO time with its zone; a time without one is UTC, as every time of the loop."""
    parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(text: str) -> str:
    moment = when(text)
    return f"{moment.day} {moment:%b %Y}"


def short_day(text: str) -> str:
    moment = when(text)
    return f"{moment.day} {moment:%b}"


def span(record: dict, start: str = "start", end: str = "end") -> str:
    """`{"start", "end"}` as `4 Mar to 11 Mar`."""
    return f"{short_day(record[start])} to {short_day(record[end])}"


def clock(seconds: float) -> str:
    """125.2 as `2 min 05 s`, 9.31 as `9.3 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def grouped(count: int) -> str:
    return f"{count:,}".replace(",", "\u202f")


def number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def interval(score: dict | float) -> str:
    """`{"value", "low"?, "high"?}` as `0.726 (0.715 to 0.737)`."""
    if not isinstance(score, dict):
        return number(score)
    if score.get("low") is None or score.get("high") is None:
        return number(score["value"])
    return f"{number(score['value'])} ({number(score['low'])} to {number(score['high'])})"


def why(cause: dict | None) -> str:
    """A cause in a few words: what kind of thing it was, and which one."""
    if not cause:
        return "unknown"
    return cause.get("text") or f"{CAUSES.get(cause['kind'], cause['kind'])} ({cause['id'].split('@')[0]})"


def who(principal: str) -> str:
    """The name at the end of a principal's ARN."""
    return principal.rsplit("/", 1)[-1]
