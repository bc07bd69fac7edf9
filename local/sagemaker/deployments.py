"""How an endpoint gets new instances: creation, blue/green in one step or several, rolling, and the way back.

Waits are divided by the host's time scale; starting a container takes the time it takes. While a deployment
waits it reads its alarms every second, and one in ALARM, or a container that does not answer /ping, gives all
traffic back to the old side.
"""

import logging
import math
import time

from .deployment_config import batch_size, steps
from .hosting import Closing, Endpoint
from .routing import Fleet, Side
from .store import Record
from .variants import LaunchFailed

ALARM_INTERVAL = 1.0  # seconds, real

log = logging.getLogger(__name__)


class GivenUp(Exception):
    """Why a deployment goes back."""


class Deployment:
    """One CreateEndpoint or UpdateEndpoint, from its start to InService, whatever happens on the way.

    policy: a checked DeploymentConfig; an empty one is all at once and without a wait.
    """

    def __init__(self, endpoint: Endpoint, green: Side, policy: Record) -> None:
        self.endpoint, self.router, self.hosting = endpoint, endpoint.router, endpoint.hosting
        self.green, self.policy = green, policy
        self.rolling: Record | None = policy.get("RollingUpdatePolicy") if self.router.blue else None
        self.blue_green: Record = policy.get("BlueGreenUpdatePolicy", {})
        alarms = policy.get("AutoRollbackConfiguration", {}).get("Alarms", [])
        self.alarms = [alarm["AlarmName"] for alarm in alarms]
        self.spent = 0.0  # seconds: waits as SageMaker counts them, launches as this machine does

    def run(self) -> None:
        try:
            self._deploy()
        except Closing:
            log.info("endpoint %s: the deployment ends with the service", self.endpoint.name)

    def _deploy(self) -> None:
        try:
            if self.rolling:
                self._roll(self.rolling)
            else:
                self._shift()
        except (GivenUp, LaunchFailed) as failure:
            self._give_up(str(failure))
        except Closing:
            raise
        except Exception as error:
            log.exception("endpoint %s: the deployment failed", self.endpoint.name)
            self._give_up(f"The local SageMaker failed in the deployment: {error}")
        else:
            self._promote()

    # -- forward ---------------------------------------------------------------------------------------------

    def _shift(self) -> None:
        """Blue/green: the whole green side beside the blue one, then the traffic in steps."""
        fleets = self.green.all()
        self.endpoint.stage(fleets, "Creating", "Launching {count} instance(s).")
        self._launch([(fleet, fleet.desired) for fleet in fleets])
        sizes = [fleet.desired for fleet in self.green.fleets.values()]
        for step in steps(self.blue_green if self.router.blue else {}, sizes):
            instances = max(1, math.ceil(step.share * max(sizes)))
            on = f"{step.capacity} of {instances} instance(s)."
            self.endpoint.stage(fleets, "ActivatingTraffic", f"Activating traffic on {on}")
            self.router.shift(step.share)
            waited = f"Baking for {step.wait} seconds ({step.waits_for}) with traffic enabled on {on}"
            self._bake(fleets, step.wait, waited)

    def _roll(self, policy: Record) -> None:
        """Rolling: a batch of green instances, a wait, and as many blue ones less, until none is left."""
        fleets = self.green.all()
        while batch := [(fleet, self._batch(fleet, policy)) for fleet in fleets if _missing(fleet)]:
            growing = [fleet for fleet, _ in batch]
            self.endpoint.stage(growing, "Creating", f"Launching {sum(n for _, n in batch)} instance(s).")
            self._launch(batch)
            self._share_by_instances()
            wait = policy["WaitIntervalInSeconds"]
            self._bake(growing, wait, f"Baking for {wait} seconds (WaitIntervalInSeconds) with the batch.")
            self._shrink_blue()
            self._share_by_instances()

    def _batch(self, fleet: Fleet, policy: Record) -> int:
        return min(_missing(fleet), batch_size(policy["MaximumBatchSize"], fleet.desired))

    def _shrink_blue(self) -> None:
        """Leave the blue side the part that the green one does not have yet."""
        launched = sum(len(fleet.instances) for fleet in self.green.all())
        left = 1 - launched / sum(fleet.desired for fleet in self.green.all())
        for fleet in self.router.blue.all():
            leaving = len(fleet.instances) - math.ceil(fleet.desired * left - 1e-9)
            if leaving > 0 and left > 0:  # the last ones go with their side
                self.endpoint.shrink(fleet, leaving)

    def _share_by_instances(self) -> None:
        sides = (self.green, self.router.blue)
        green, blue = (sum(len(fleet.instances) for fleet in side.fleets.values()) for side in sides)
        self.router.shift(green / (green + blue))

    def _promote(self) -> None:
        blue = self.router.blue
        self.router.end(promote=True)
        if blue:
            self.endpoint.stage(self.green.all(), "Deleting", "Terminating the instances of the old fleet.")
        self.endpoint.retire(blue)
        self.endpoint.settle()
        fields = {"LastDeploymentConfig": self.policy} if self.policy else {}
        fields |= {"EndpointConfigName": self.green.config, "FailureReason": None}
        self.endpoint.transition("InService", **fields)

    # -- alarms and limits -----------------------------------------------------------------------------------

    def _launch(self, wanted: list[tuple[Fleet, int]]) -> None:
        began = time.monotonic()
        self.endpoint.launch(wanted)
        self._spend(time.monotonic() - began)

    def _bake(self, fleets: list[Fleet], seconds: int, message: str) -> None:
        """Wait at SageMaker's scale, with an eye on the alarms; at least one look, even for no wait."""
        if seconds:
            self.endpoint.stage(fleets, "Baking", message)
        ends = time.monotonic() + seconds / self.endpoint.service.host.time_scale
        while True:
            self._check_alarms()
            left = ends - time.monotonic()
            if left <= 0:
                break
            self.hosting.wait(min(left, ALARM_INTERVAL))
        self._spend(seconds)

    def _check_alarms(self) -> None:
        if not self.alarms:
            return
        states = self.endpoint.service.host.alarm_states(self.alarms)
        tripped = [name for name in self.alarms if states.get(name) == "ALARM"]
        if tripped:
            raise GivenUp(f"One or more alarms were tripped during the deployment: {', '.join(tripped)}.")

    def _spend(self, seconds: float) -> None:
        self.spent += seconds
        limit = (self.rolling or self.blue_green).get("MaximumExecutionTimeoutInSeconds")
        if limit and self.spent > limit:
            raise GivenUp(f"The deployment took longer than MaximumExecutionTimeoutInSeconds ({limit}).")

    # -- back ------------------------------------------------------------------------------------------------

    def _give_up(self, reason: str) -> None:
        log.warning("endpoint %s: %s", self.endpoint.name, reason)
        if self.router.blue is None:
            self._end_green()
            self.endpoint.transition("Failed", FailureReason=reason)
            return
        self.endpoint.transition("RollingBack", FailureReason=reason)
        try:
            self._restore_blue()
        except LaunchFailed as failure:
            self.endpoint.settle()
            worse = f"{reason} The rollback failed: {failure}"
            self.endpoint.transition("UpdateRollbackFailed", FailureReason=worse)
            return
        self._end_green()
        self.endpoint.transition("InService", FailureReason=reason)

    def _restore_blue(self) -> None:
        """Blue/green never lost its blue side; rolling starts again what it had ended, in batches."""
        size = self.rolling.get("RollbackMaximumBatchSize") if self.rolling else None
        while batch := [
            (fleet, min(_missing(fleet), batch_size(size, fleet.desired)))
            for fleet in self.router.blue.all()
            if _missing(fleet)
        ]:
            self.endpoint.launch(batch)
            self._share_by_instances()

    def _end_green(self) -> None:
        self.router.end(promote=False)
        self.endpoint.retire(self.green)
        self.endpoint.settle()


class Scaling:
    """One UpdateEndpointWeightsAndCapacities: instances come and go under the same endpoint configuration."""

    def __init__(self, endpoint: Endpoint, counts: dict[str, int], weights: dict[str, float]) -> None:
        self.endpoint, self.counts, self.weights = endpoint, counts, weights

    def run(self) -> None:
        fleets = self.endpoint.router.blue.fleets
        before = {name: fleets[name].desired for name in self.counts}
        try:
            self._resize(fleets)
        except Closing:
            return
        except LaunchFailed as failure:
            self._undo(fleets, before, str(failure))
            return
        for name, weight in self.weights.items():
            fleets[name].weight, fleets[name].desired_weight = weight, None
        self.endpoint.settle()
        self.endpoint.transition("InService", FailureReason=None)

    def _resize(self, fleets: dict[str, Fleet]) -> None:
        for name, count in self.counts.items():
            fleet = fleets[name]
            grows = count > len(fleet.instances)
            fleet.desired = count
            scaling = f"Scaling {'out' if grows else 'in'} desired instance count to {count}."
            self.endpoint.stage([fleet], "Updating", scaling)
            if grows:
                self.endpoint.launch([(fleet, count - len(fleet.instances))])
            else:
                self.endpoint.shrink(fleet, len(fleet.instances) - count)

    def _undo(self, fleets: dict[str, Fleet], before: dict[str, int], reason: str) -> None:
        self.endpoint.transition("RollingBack", FailureReason=reason)
        for name, count in before.items():
            fleets[name].desired = count
            self.endpoint.shrink(fleets[name], max(0, len(fleets[name].instances) - count))
        for name in self.weights:
            fleets[name].desired_weight = None
        self.endpoint.settle()
        self.endpoint.transition("InService", FailureReason=reason)


def _missing(fleet: Fleet) -> int:
    """Instances that a fleet should have and has not; a serverless one starts them as requests come."""
    return 0 if fleet.serverless else max(0, fleet.desired - len(fleet.instances))
