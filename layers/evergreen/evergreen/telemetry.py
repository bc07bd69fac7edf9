"""One logger and one way to emit metrics for every function. Logs carry ids and reasons, never data rows."""

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

NAMESPACE = "Evergreen"

logger = Logger(service="evergreen", use_rfc3339=True, utc=True)


def emit(values: dict[str, float], **dimensions: str) -> None:
    """Figures as CloudWatch metrics in the embedded format: one line of log, no call."""
    if not values:
        return
    metrics = EphemeralMetrics(namespace=NAMESPACE, service="")  # a service would be one more dimension
    for name, value in dimensions.items():
        metrics.add_dimension(name, value)
    for name, value in values.items():
        metrics.add_metric(name, MetricUnit.NoUnit, value)
    metrics.flush_metrics()
