"""The `ship` section of model.yaml: how a new version takes over, with the limits of SageMaker's
UpdateEndpoint, which would refuse it hours later."""

from collections.abc import Iterator
from typing import Any

from . import staging, units
from .schema import Key, Kind, Mistake, compose, mapping, scalar

MINUTE, HOUR, DAY = 60, 3600, 86400
STRATEGIES = ("canary", "linear", "rolling", "shadow", "all_at_once")
# These replace a part of the fleet at a time.
PARTIAL = ("canary", "linear", "rolling")
# The smallest part, in percent of the instances; the greatest is 50 for each.
LEAST = {
    "linear": (10, "the smallest step of a linear shift"),
    "rolling": (5, "the smallest batch of a rolling update"),
}
# MaximumExecutionTimeoutInSeconds of UpdateEndpoint, less ten minutes for the fleet to start.
LONGEST_SHIFT = 28800 - 600


def _defaults(kind: Kind) -> Any:
    """What a section is when it is not there."""
    mistakes: list[Mistake] = []
    return kind(compose("{}", mistakes), "", mistakes)


_alarms = mapping(
    {
        "errors": Key(scalar(units.fraction(0, 1)), 0.01),
        "latency_p99": Key(scalar(units.duration(0.001, 60)), 1),
        "answers": Key(scalar(units.number(0.01, 100)), None),
    }
)
SECTION = mapping(
    {
        "strategy": Key(scalar(units.choice(STRATEGIES)), "all_at_once"),
        "percent": Key(scalar(units.percent(1, 50)), 10),
        "bake": Key(scalar(units.duration(0, HOUR)), 10 * MINUTE),
        "alarms": Key(_alarms, _defaults(_alarms)),
        "disagreement": Key(scalar(units.fraction(0, 1)), None),
        "probation": Key(scalar(units.duration(0, 30 * DAY)), DAY),
        "staging": Key(staging.SECTION, None),
    }
)
DEFAULT = _defaults(SECTION)


def fleet(serve: dict[str, Any]) -> range:
    """How many instances there may be when a deployment begins."""
    scaling = serve.get("scaling") or {}
    sizes = [size for size in (serve.get("count"), scaling.get("min"), scaling.get("max")) if size]
    return range(min(sizes, default=1), max(sizes, default=1) + 1)


def bakes(strategy: str, percent: int, sizes: range) -> int:
    """How many times a deployment waits for `bake`, at most."""
    if strategy == "canary":
        return 2
    if strategy == "linear":
        return -(-100 // percent)
    if strategy == "rolling":  # in batches of whole instances, at least one
        return max(-(-size // max(1, size * percent // 100)) for size in sizes)
    return 1


def contradictions(
    ship: dict[str, Any], serve: dict[str, Any], task: str | None
) -> Iterator[tuple[str, str]]:
    """Limits of UpdateEndpoint's DeploymentConfig that lie between the keys: (path, reason) pairs. A part
    that has a mistake of its own is None."""
    strategy, percent = ship["strategy"], ship["percent"]
    if (ship["alarms"] or {}).get("answers"):
        if strategy not in (*PARTIAL, None):
            ways = "canary, linear or rolling"
            yield "ship.alarms.answers", f"only beside another fleet can answers be compared: ship by {ways}"
        if task == "multiclass_classification":
            yield "ship.alarms.answers", "the answers of a multiclass model are no numbers with a mean"
    yield from staging.contradictions(ship["staging"], serve)
    if ship["disagreement"] is not None:
        if strategy not in ("shadow", None):
            yield "ship.disagreement", "is for a shadow, where two versions answer each request"
        if task == "regression":
            yield "ship.disagreement", "is a share of labels, and a regression gives numbers"
    if strategy == "shadow" and ship["bake"] is not None and ship["bake"] < MINUTE:
        yield "ship.bake", "is too short for a shadow, which is watched by the minute: at least 1m"
    if strategy not in PARTIAL:
        return
    least = (serve.get("scaling") or {}).get("min")
    for path, size in (("serve.count", serve.get("count")), ("serve.scaling.min", least)):
        if size == 1:
            fix = "set it to 2, or ship.strategy to all_at_once"
            yield path, f"1 instance cannot be split for a {strategy} deployment: {fix}"
    if not percent or strategy == "canary":
        return
    smallest, what = LEAST[strategy]
    if percent < smallest:
        yield "ship.percent", f"{percent} % is under {smallest} %, {what}"
    steps = bakes(strategy, percent, fleet(serve))
    if ship["bake"] and steps * ship["bake"] > LONGEST_SHIFT:
        kind = "batches" if strategy == "rolling" else "steps"
        spoken = units.spoken(ship["bake"])
        yield "ship.bake", f"{steps} {kind} of {spoken} take longer than a deployment may (8h)"
