"""DeploymentConfig: what SageMaker checks of it, and the steps it means for fleets of a given size."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from .errors import invalid
from .store import Record

MOST_CANARY = MOST_STEP = 50  # percent of a variant's instances
LEAST_LINEAR, LEAST_ROLLING = 10, 5


class Step(NamedTuple):
    """One shift of a blue/green deployment: the green side's share of the traffic, then a wait in seconds."""

    share: float
    capacity: str  # as VariantStatus messages call it
    wait: int
    waits_for: str


def check(config: Record, counts: Iterable[int]) -> None:
    """Raise what SageMaker says of a DeploymentConfig that it refuses; `counts` are the variants' instances.

    Ranges that botocore's model states (waits, timeouts, number of alarms) are checked with the shape.
    """
    blue_green, rolling = config.get("BlueGreenUpdatePolicy"), config.get("RollingUpdatePolicy")
    if blue_green and rolling:
        raise invalid("Only one of BlueGreenUpdatePolicy or RollingUpdatePolicy can be specified.")
    if rolling:
        _check_rolling(rolling, list(counts))
    elif blue_green:
        _check_blue_green(blue_green, list(counts))


def steps(policy: Record, fleet_sizes: list[int]) -> list[Step]:
    """The shifts of a BlueGreenUpdatePolicy; an empty one is all at once, without a wait."""
    routing = policy.get("TrafficRoutingConfiguration", {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0})
    size = routing.get("CanarySize") or routing.get("LinearStepSize")
    portion = share(size, fleet_sizes) if size and routing["Type"] != "ALL_AT_ONCE" else 1.0
    count = {"ALL_AT_ONCE": 1, "CANARY": 2, "LINEAR": math.ceil(1 / portion - 1e-9)}[routing["Type"]]
    name = {"CANARY": "canary", "LINEAR": "step"}.get(routing["Type"], "")
    partial = [
        Step(portion * step, f"{name} capacity", routing["WaitIntervalInSeconds"], "WaitIntervalInSeconds")
        for step in range(1, count)
    ]
    last = Step(1.0, "full capacity", policy.get("TerminationWaitInSeconds", 0), "TerminationWaitInSeconds")
    return [*partial, last]


def share(size: Record, fleet_sizes: list[int]) -> float:
    """A CapacitySize as a share of all instances, in 0..1."""
    if size["Type"] == "CAPACITY_PERCENT":
        return min(1.0, size["Value"] / 100)
    return min(1.0, size["Value"] * len(fleet_sizes) / max(1, sum(fleet_sizes)))


def batch_size(size: Record | None, instances: int) -> int:
    """A CapacitySize as whole instances of a fleet, at least one; all of them without one."""
    if size is None:
        return instances
    if size["Type"] == "INSTANCE_COUNT":
        return min(instances, size["Value"])
    return max(1, math.floor(instances * size["Value"] / 100))


def _check_blue_green(policy: Record, counts: list[int]) -> None:
    routing = policy["TrafficRoutingConfiguration"]
    kind = routing["Type"]
    canary, linear = routing.get("CanarySize"), routing.get("LinearStepSize")
    if kind == "CANARY" and not canary:
        raise invalid("CanarySize must be specified when TrafficRoutingConfiguration Type is CANARY.")
    if kind == "LINEAR" and not linear:
        raise invalid("LinearStepSize must be specified when TrafficRoutingConfiguration Type is LINEAR.")
    if canary and kind != "CANARY":
        raise invalid("CanarySize can only be specified when TrafficRoutingConfiguration Type is CANARY.")
    if linear and kind != "LINEAR":
        raise invalid("LinearStepSize can only be specified when TrafficRoutingConfiguration Type is LINEAR.")
    if canary:
        _check_size("CanarySize", canary, counts, 0, MOST_CANARY)
    if linear:
        _check_size("LinearStepSize", linear, counts, LEAST_LINEAR, MOST_STEP)
    _check_timeout(policy, sum(step.wait for step in steps(policy, counts)))


def _check_rolling(policy: Record, counts: list[int]) -> None:
    size = policy["MaximumBatchSize"]
    _check_size("MaximumBatchSize", size, counts, LEAST_ROLLING, MOST_STEP)
    batches = max(math.ceil(count / batch_size(size, count)) for count in counts)
    _check_timeout(policy, batches * policy["WaitIntervalInSeconds"])


def _check_size(name: str, size: Record, counts: list[int], least: int, most: int) -> None:
    of_what = "of the variant's total instance count"
    for count in counts:
        percent = size["Value"] if size["Type"] == "CAPACITY_PERCENT" else 100 * size["Value"] / max(1, count)
        if percent > most:
            raise invalid(f"{name} must be less than or equal to {most}% {of_what}.")
        if percent < least:
            raise invalid(f"{name} must be greater than or equal to {least}% {of_what}.")


def _check_timeout(policy: Record, waits: int) -> None:
    limit = policy.get("MaximumExecutionTimeoutInSeconds")
    if limit is not None and limit <= waits:
        raise invalid(
            f"MaximumExecutionTimeoutInSeconds ({limit}) must be greater than the total of the waits in the "
            f"deployment ({waits} seconds)."
        )
