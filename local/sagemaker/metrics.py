"""The metrics that SageMaker publishes for an endpoint, counted in memory and put about once a second.

CloudWatch gets `Values` with `Counts`, one value per invocation: so the Average of an error metric is a rate,
and the percentiles of ModelLatency are those of the invocations, as on AWS.
"""

import threading
from collections import Counter, defaultdict
from typing import Any, NamedTuple

from ..host import Host

NAMESPACE = "AWS/SageMaker"
MOST_VALUES = 150  # that CloudWatch takes in one datum
FINEST_LATENCY = 50  # microseconds: latencies are rounded to this, so that few values carry many invocations


class Source(NamedTuple):
    """Whose metrics: a variant of an endpoint, in the fleet that an endpoint configuration made, where that
    is told."""

    endpoint: str
    variant: str
    config: str

    def dimensions(self) -> tuple[dict[str, str], ...]:
        variant = {"EndpointName": self.endpoint, "VariantName": self.variant}
        return (variant, {**variant, "EndpointConfigName": self.config}) if self.config else (variant,)


class EndpointMetrics:
    """Counts invocations from the event loop; `flush` belongs to a thread."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._counts: dict[tuple[Source, str], Counter[float]] = defaultdict(Counter)
        self._lock = threading.Lock()

    def count(self, source: Source, status: int, model_seconds: float, overhead_seconds: float) -> None:
        """One invocation: `status` is the container's answer, 0 for none."""
        values = {
            "Invocations": 1,
            "Invocation4XXErrors": int(400 <= status < 500),
            "Invocation5XXErrors": int(status >= 500 or status == 0),
            "InvocationModelErrors": int(not 200 <= status < 300),
            "ModelLatency": _microseconds(model_seconds),
            "OverheadLatency": _microseconds(overhead_seconds),
        }
        with self._lock:
            for name, value in values.items():
                self._counts[source, name][value] += 1

    def flush(self) -> None:
        with self._lock:
            counts, self._counts = self._counts, defaultdict(Counter)
        data = [
            _datum(name, values, dimensions)
            for (source, name), values in counts.items()
            for dimensions in source.dimensions()
        ]
        for start in range(0, len(data), 500):
            part = data[start : start + 500]
            self._host.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=part)


def _microseconds(seconds: float) -> int:
    return max(FINEST_LATENCY, round(seconds * 1e6 / FINEST_LATENCY) * FINEST_LATENCY)


def _datum(name: str, values: Counter[float], dimensions: dict[str, str]) -> dict[str, Any]:
    while len(values) > MOST_VALUES:
        values = _coarser(values)
    return {
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
        "Unit": "Microseconds" if name.endswith("Latency") else "None",
        "Values": [float(value) for value in values],
        "Counts": [float(count) for count in values.values()],
    }


def _coarser(values: Counter[float]) -> Counter[float]:
    """Neighbouring values joined in pairs, at the greater: a percentile never comes out too good."""
    ordered = sorted(values)
    joined: Counter[float] = Counter()
    for place in range(0, len(ordered), 2):
        pair = ordered[place : place + 2]
        joined[pair[-1]] = sum(values[value] for value in pair)
    return joined
