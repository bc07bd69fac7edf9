"""The smoke test's verdict: does the endpoint answer as the model did when it was judged?

The rows are some of the holdout's, without their labels; the answers are those that were scored. What is
compared is therefore image, artifact, script and instance together. Numbers may differ by a ten-thousandth:
another processor adds in another order.
"""

import math
from dataclasses import dataclass
from statistics import median
from typing import Any

RELATIVE, ABSOLUTE = 1e-4, 1e-6


@dataclass(frozen=True)
class Reply:
    """What came back for one request: an HTTP status, the answer of a 200, seconds. What a container says in
    place of an answer may quote the row, and is not kept."""

    status: int
    answer: Any
    seconds: float


@dataclass(frozen=True)
class Verdict:
    """Whether the version may go on, why, and the figures behind it."""

    passed: bool
    reason: str
    figures: dict[str, Any]


def judge(
    expected: list[Any], replies: list[Reply], malformed: Reply, afterwards: Reply, limit: float
) -> Verdict:
    """`replies` are in the order of `expected`, or stop short where time ran out. `malformed` is the reply to
    a row without any column, `afterwards` to the first row once more. `limit` is in seconds, for the median:
    where half of the requests take longer, the alarm on p99 would certainly go off."""
    found = [_fault(answer, reply) for answer, reply in zip(expected, replies, strict=False)]
    faults = [(place, fault) for place, fault in enumerate(found) if fault]
    typical = median(reply.seconds for reply in replies)
    figures = {
        "rows": len(replies),
        "different": len(faults),
        "median_ms": round(typical * 1000, 1),
        "limit_ms": round(limit * 1000, 1),
        "malformed": malformed.status,
    }
    if faults:
        place, fault = faults[0]
        count = f"{len(faults)} of {len(replies)} rows are answered otherwise than when the model was judged"
        return Verdict(False, f"{count}: row {place + 1}: {fault}", figures)
    if typical > limit:
        slow = f"half of {len(replies)} requests took {typical * 1000:.0f} ms or more"
        return Verdict(False, f"{slow}; ship.alarms.latency_p99 is {limit * 1000:.0f} ms", figures)
    if fault := _fault(expected[0], afterwards):
        after = f"after a row without any column (answered with {malformed.status})"
        return Verdict(False, f"{after} a row that was answered well before is not: {fault}", figures)
    reason = f"{len(replies)} rows are answered as when the model was judged, in {typical * 1000:.0f} ms"
    if malformed.status >= 500:
        reason += (
            f"; a row without any column is answered with {malformed.status}, which ship.alarms.errors counts"
        )
    return Verdict(True, reason, figures)


def _fault(expected: Any, reply: Reply) -> str:
    if reply.status != 200:
        return f"answered with {reply.status}"
    return difference(expected, reply.answer)


def difference(expected: Any, found: Any, path: str = "") -> str:
    """The first place where two JSON values are not alike, in words; empty where there is none.

    >>> difference({"prediction": 1, "probability": 0.8}, {"prediction": 1, "probability": 0.3})
    'probability is 0.3, was 0.8'
    """
    if isinstance(expected, dict) and isinstance(found, dict):
        if expected.keys() != found.keys():
            return f"{path or 'it'} has {', '.join(sorted(found))}; had {', '.join(sorted(expected))}"
        parts = ((expected[key], found[key], f"{path}.{key}".lstrip(".")) for key in expected)
        return next((text for part in parts if (text := difference(*part))), "")
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        parts = (
            (one, other, f"{path}[{place}]")
            for place, (one, other) in enumerate(zip(expected, found, strict=True))
        )
        return next((text for part in parts if (text := difference(*part))), "")
    if _is_number(expected) and _is_number(found):
        alike = math.isclose(expected, found, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    else:
        alike = type(expected) is type(found) and expected == found
    return "" if alike else f"{path or 'it'} is {str(found)[:40]}, was {str(expected)[:40]}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
