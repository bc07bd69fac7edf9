"""The alarm on what a new version answers. While a canary, a linear shift or a rolling update goes on, both
fleets answer a random share of the same requests, and each container tells CloudWatch the mean answer to each
(jobs/answers.py). They may differ as far as they did on the same held-out rows, by `ship.alarms.answers`
standard deviations of the answers more, and by chance."""

from typing import Any

NAMESPACE, METRIC = "Evergreen", "Answer"
# Of the difference of two means of so many requests, each counted as one row: its rows are alike. Were the
# answers normal, a minute would be beyond it once in 16,000 times; docs/shipping.md has what was measured.
SIGMAS = 4


def alarm(
    ship: dict[str, Any], champion: dict[str, Any] | None, package: dict[str, Any], deployment: str
) -> dict[str, Any] | None:
    """{limit, metrics}: PutMetricAlarm's, over metric math. None where it is not asked for, and where there
    is nothing to compare with: no version in service, or another one than the one in the evaluation."""
    figures = package.get("figures") or {}
    limit, measured = ship["alarms"]["answers"], figures.get("answers")
    if not limit or not champion or not measured or figures.get("against") != champion["version"]:
        return None
    return {"limit": limit, "metrics": metrics(measured, deployment, champion["deployment"])}


def metrics(measured: dict[str, float], new: str, old: str) -> list[dict[str, Any]]:
    """By how many standard deviations the answers of two deployments differ more than expected and by
    chance."""
    spread = measured["spread"]
    apart = (measured["mean"] - measured["champion"]) / spread
    expression = (
        f"ABS((new - old) / {spread:.9f} {'-' if apart >= 0 else '+'} {abs(apart):.9f})"
        f" - {SIGMAS} * (1 / new_requests + 1 / old_requests) ^ 0.5"
    )
    fleets = (("new", new), ("old", old))
    return [
        {"Id": "apart", "Expression": expression, "Label": "standard deviations", "ReturnData": True},
        *(series(id, deployment, "Average") for id, deployment in fleets),
        *(series(f"{id}_requests", deployment, "SampleCount") for id, deployment in fleets),
    ]


def series(id: str, deployment: str, statistic: str) -> dict[str, Any]:
    """What a deployment's containers told."""
    dimensions = [{"Name": "Deployment", "Value": deployment}]
    metric = {"Namespace": NAMESPACE, "MetricName": METRIC, "Dimensions": dimensions}
    return {
        "Id": id,
        "MetricStat": {"Metric": metric, "Period": 60, "Stat": statistic},
        "ReturnData": False,
    }
