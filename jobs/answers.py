"""What a model answers, in one number an answer, and how a container in service tells CloudWatch of it.

While a deployment shifts traffic both fleets answer a random share of the same requests, so that the mean
answers of both differ by chance, by what the models are, or because one of them is broken in service. Errors
and latency show none of that. A line of the embedded metric format in the container's log becomes the metric
`Answer` of the deployment: no call, no permission and no network is needed for it.
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from statistics import fmean, pstdev
from typing import Any

NAMESPACE, METRIC = "Evergreen", "Answer"
# In InvokeEndpoint's CustomAttributes, of a request that is none of production's: the smoke test of a staged
# version (functions/deploy/run_smoke_test.py) is answered by the same deployment.
SMOKE_TEST = "evergreen-smoke-test"
MOST_ROWS = 64  # of one answer, evenly spread over it
MOST_VALUES = 100  # that CloudWatch takes in one line
LONGEST = 5.0  # seconds that a value waits for others while requests come


def number(answer: Any) -> float | None:
    """The probability that a row is positive, or the number that was predicted; None for a class's name."""
    if isinstance(answer, dict):
        answer = answer.get("probability", answer.get("prediction"))
    if isinstance(answer, bool) or not isinstance(answer, int | float) or not math.isfinite(answer):
        return None
    return float(answer)


def expected(
    challenger: Sequence[dict[str, Any]], champion: Sequence[dict[str, Any]] | None
) -> dict[str, float | None] | None:
    """How both models answer the same held-out rows: the mean of each, and the standard deviation of the
    challenger's. None where answers are no numbers, or all the same."""
    ours = _numbers(challenger)
    spread = pstdev(ours) if len(ours) == len(challenger) else 0.0
    if not spread:
        return None
    theirs = _numbers(champion or [])
    return {"mean": fmean(ours), "spread": spread, "champion": fmean(theirs) if theirs else None}


def _numbers(answers: Iterable[Any]) -> list[float]:
    return [value for answer in answers if (value := number(answer)) is not None]


class Telling:
    """Tells of the answers of one container. A value is the mean of one request: its rows may be of one place
    and hour, while requests are independent of each other."""

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment
        self._lock = threading.Lock()
        self._values: list[float] = []
        self._told = 0.0

    def see(self, body: bytes) -> None:
        """The body of an answer, as JSON lines or as the container's JSON; any other is not counted."""
        value = mean(body)
        if value is None:
            return
        with self._lock:
            self._values.append(value)
            now = time.monotonic()
            if len(self._values) < MOST_VALUES and now - self._told < LONGEST:
                return
            values, self._values, self._told = self._values, [], now
        sys.stdout.write(self._line(values) + "\n")
        sys.stdout.flush()

    def _line(self, values: list[float]) -> str:
        directive = {
            "Namespace": NAMESPACE,
            "Dimensions": [["Deployment"]],
            "Metrics": [{"Name": METRIC, "Unit": "None"}],
        }
        document = {
            "_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]},
            "Deployment": self._deployment,
            METRIC: [round(value, 6) for value in values],
        }
        return json.dumps(document, separators=(",", ":"))


def mean(body: bytes) -> float | None:
    """Of the answers to one request."""
    try:
        lines = body.splitlines()
        if len(lines) == 1 and b'"predictions"' in lines[0]:
            rows = json.loads(body)["predictions"]
        else:
            rows = [json.loads(line) for line in lines[:: 1 + len(lines) // MOST_ROWS]]
        found = _numbers(rows)
    except (ValueError, TypeError, KeyError):
        return None
    return fmean(found) if found else None
