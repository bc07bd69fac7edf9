"""The endpoints that run in this process: what they serve with, what they report, and who looks after them.

A record in the store says what SageMaker's API shows of an endpoint; an `Endpoint` here is the running thing.
One thread ticks once a second: it puts metrics, writes captured data and starts crashed instances again.
"""

import itertools
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from .. import clock
from .capture import Capture
from .descriptions import capture_summary, event_detail, production, spelled_for_events
from .metrics import EndpointMetrics
from .routing import Fleet, Lease, NoCapacity, Router, Side
from .service import Service
from .store import Record, now
from .variants import (
    LONGEST_INVOCATION,
    Instance,
    LaunchFailed,
    Whose,
    startup_limit,
    wait_until_healthy,
)

TICK = 1.0
MOST_RESTART_DELAY = 30.0
# Seconds, at SageMaker's time scale, that a serverless instance is kept warm; AWS does not say how many.
KEPT_WARM = 300.0
IN_PROGRESS = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}

log = logging.getLogger(__name__)


class Closing(Exception):
    """The service is being shut down: a deployment ends where it stands."""


class Endpoint:
    """One endpoint: its routes, its instances, and its state as SageMaker reports it."""

    def __init__(self, hosting: "Hosting", name: str) -> None:
        self.hosting, self.service, self.name = hosting, hosting.service, name
        self.router = Router()
        self.deploying_since: datetime | None = None

    # -- what the API and the events show --------------------------------------------------------------------

    def describe(self) -> Record:
        record = self.service.store.snapshot(self.service.store.get("Endpoint", self.name))
        blue, green = self.router.blue, self.router.green
        if blue:
            record |= production(blue) | {"DataCaptureConfig": capture_summary(blue)}
        if green:
            pending = {"EndpointConfigName": green.config, "StartTime": self.deploying_since}
            record["PendingDeploymentSummary"] = pending | production(green)
        return record

    def transition(self, status: str, **fields: Any) -> None:
        """A new EndpointStatus, in the record and on the bus."""
        self.service.store.update("Endpoint", self.name, EndpointStatus=status, **fields)
        log.info("endpoint %s is %s", self.name, status)
        self._emit("SageMaker Endpoint State Change")
        self._emit("SageMaker Endpoint Deployment State Change")

    def stage(self, fleets: Iterable[Fleet], status: str, message: str) -> None:
        """What a deployment does to some fleets; `{count}` in the message is a fleet's instances."""
        for fleet in fleets:
            text = message.format(count=fleet.desired)
            fleet.status = {"Status": status, "StatusMessage": text, "StartTime": now()}
            log.info("endpoint %s, variant %s: %s", self.name, fleet.variant, text)
        self._emit("SageMaker Endpoint Deployment State Change")

    def settle(self) -> None:
        """No stage is under way any more."""
        for side in (self.router.blue, self.router.green):
            for fleet in side.all() if side else []:
                fleet.status = None
        self.deploying_since = None

    def _emit(self, detail_type: str) -> None:
        described = self.describe()
        arn = described["EndpointArn"]
        detail = event_detail(described) | {
            "EndpointStatus": spelled_for_events(described["EndpointStatus"]),
            "Tags": dict(self.service.store.tags.get(arn, {})),
        }
        try:
            self.service.host.emit(detail_type, detail, [arn])
        except Exception:
            log.exception("%s of endpoint %s was not emitted", detail_type, self.name)

    def deploy_to(self, side: Side) -> None:
        """A deployment begins: `side` is shown as pending, and gets no traffic yet."""
        self.deploying_since = now()
        side.capture = self.hosting.capture(self.name, side.capture_config)
        left_over = self.router.green  # of a rollback that failed
        self.router.begin(side)
        if left_over:
            self.hosting.run(self.retire, left_over)

    # -- instances -------------------------------------------------------------------------------------------

    def launch(self, wanted: Iterable[tuple[Fleet, int]]) -> None:
        """Start instances and put them in their fleets once all answer /ping.

        Raises LaunchFailed, and leaves none of them.
        """
        launched = [(fleet, self._instance(fleet)) for fleet, count in wanted for _ in range(count)]
        instances = [instance for _, instance in launched]
        try:
            for instance in instances:
                self.hosting.check_open()
                instance.start()
            wait_until_healthy(instances, self.hosting.closing)
            self.hosting.check_open()
        except BaseException:
            self._stop(instances)
            raise
        for fleet, instance in launched:
            instance.ready, instance.idle_since = True, time.monotonic()
            self.router.add(fleet, [instance])

    def warm_up(self, side: Side, fleet: Fleet) -> Lease:
        """A serverless instance for one request that waits for it: the cold start. Raises LaunchFailed or
        NoCapacity."""
        instance = self._instance(fleet)
        try:
            self.hosting.check_open()
            instance.start()
            wait_until_healthy([instance], self.hosting.closing)
        except BaseException:
            self.router.gave_up(fleet)
            instance.stop()
            raise
        try:
            return self.router.warmed(side, fleet, instance)
        except NoCapacity:
            instance.stop()
            raise

    def cool_down(self) -> None:
        """End the serverless instances that nobody has asked for a while."""
        since = time.monotonic() - KEPT_WARM / self.service.host.time_scale
        for side in (self.router.blue, self.router.green):
            for fleet in side.fleets.values() if side else ():
                if fleet.serverless:
                    self._stop(self.router.take_idle(fleet, since))

    def shrink(self, fleet: Fleet, count: int) -> None:
        """Take the oldest `count` instances out of service, after their last request."""
        leaving = fleet.instances[:count]
        self.router.remove(fleet, leaving)
        self.router.wait_until_idle(leaving, LONGEST_INVOCATION)
        self._stop(leaving)

    def retire(self, side: Side | None) -> None:
        """End a side that no longer gets requests, after its last one; what it captured is written."""
        if side is None:
            return
        self.router.close_side(side)
        instances = side.instances()
        self.router.wait_until_idle(instances, LONGEST_INVOCATION)
        self._stop(instances)
        if side.capture:
            side.capture.closed = True

    def close(self) -> None:
        """Take no new request, finish those in flight, end every instance."""
        sides = (self.router.blue, self.router.green)
        self.router.close()
        for side in sides:
            self.retire(side)

    def terminate(self) -> None:
        """Ask every instance to end, without waiting: what is left ends with the service's processes."""
        for side in (self.router.blue, self.router.green):
            for instance in side.instances() if side else []:
                instance.terminate()

    def revive(self) -> None:
        """Start the instances that died in service again, each in a thread of its own."""
        fleets = [fleet for side in (self.router.blue, self.router.green) if side for fleet in side.all()]
        for fleet in fleets:
            for instance in [each for each in fleet.instances if each.ready and not each.is_alive()]:
                instance.ready = False
                if fleet.serverless:  # the next request starts another
                    self.router.remove(fleet, [instance])
                    instance.stop()
                else:
                    self.hosting.run(self._restart, instance)

    def _restart(self, instance: Instance) -> None:
        delay = 1.0
        while not instance.stopped:
            instance.note("The container exited; starting it again.")
            try:
                instance.start()
                wait_until_healthy([instance], self.hosting.closing)
                instance.ready = not instance.stopped
                return
            except LaunchFailed as failure:
                instance.note(f"{failure} Trying again in {delay:.0f} s.")
            if self.hosting.closing.wait(delay):
                return
            delay = min(2 * delay, MOST_RESTART_DELAY)

    def _instance(self, fleet: Fleet) -> Instance:
        folder = self.service.root / "endpoints" / self.name
        group = f"/aws/sagemaker/Endpoints/{self.name}"
        whose = Whose(group, fleet.variant, f"production variant {fleet.variant}")
        instance = Instance(self.service, fleet.containers, fleet.model, folder, whose)
        instance.startup_limit = startup_limit(fleet.settings, self.service.host.time_scale)
        return instance

    @staticmethod
    def _stop(instances: list[Instance]) -> None:
        for instance in instances:
            instance.terminate()
        for instance in instances:
            instance.stop()


class Hosting:
    """The running endpoints of one service (a `Service.part`)."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.endpoints: dict[str, Endpoint] = {}
        self.metrics = EndpointMetrics(service.host)
        self.closing = threading.Event()
        self._captures: list[Capture] = []
        self._threads = itertools.count()
        self._ticking: threading.Thread | None = None

    def open(self, name: str) -> Endpoint:
        """A new endpoint without instances; its record is the caller's."""
        endpoint = self.endpoints[name] = Endpoint(self, name)
        if self._ticking is None:
            self._ticking = self.run(self._tick_until_closed)
        return endpoint

    def drop(self, endpoint: Endpoint) -> None:
        """Forget a closed endpoint: its files, then its record and itself in one step."""
        shutil.rmtree(self.service.root / "endpoints" / endpoint.name, ignore_errors=True)
        with self.service.store.lock:
            self.service.store.delete("Endpoint", endpoint.name)
            del self.endpoints[endpoint.name]

    def capture(self, endpoint: str, config: Record | None) -> Capture | None:
        """The data capture that an endpoint configuration asks for."""
        if not config or not config.get("EnableCapture", True):
            return None
        capture = Capture(endpoint, config, self.service.host.client("s3"), clock.now)
        self._captures.append(capture)
        return capture

    def run(self, function: Callable[..., None], *args: Any) -> threading.Thread:
        name = f"hosting-{next(self._threads)}-{function.__name__.strip('_')}"
        thread = threading.Thread(target=function, args=args, name=name, daemon=True)
        thread.start()
        return thread

    def check_open(self) -> None:
        if self.closing.is_set():
            raise Closing

    def wait(self, seconds: float) -> None:
        if self.closing.wait(seconds):
            raise Closing

    def flush_capture(self) -> None:
        for capture in list(self._captures):
            capture.flush()
            if capture.closed and not capture.is_pending():
                self._captures.remove(capture)

    def close(self) -> None:
        self.closing.set()
        for endpoint in list(self.endpoints.values()):
            endpoint.terminate()
        if self._ticking:
            self._ticking.join(5)
        self.flush_capture()

    def _tick_until_closed(self) -> None:
        while not self.closing.wait(TICK):
            for duty in (self.metrics.flush, self.flush_capture, self._revive, self._cool_down):
                try:
                    duty()
                except Exception:
                    log.exception("%s failed; it is tried again in a second", duty.__name__)

    def _revive(self) -> None:
        for endpoint in list(self.endpoints.values()):
            endpoint.revive()

    def _cool_down(self) -> None:
        for endpoint in list(self.endpoints.values()):
            endpoint.cool_down()
