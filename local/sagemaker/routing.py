"""Who takes the next request: the fleets of an endpoint, their weights, and the share of the green side.

The order is fixed, not drawn: out of every hundred requests, a canary of 10 % gets ten, so that a short bake
sees the share it should. Picking an instance and counting the request as in flight is one step under one
lock: an instance that was taken out of a fleet gets no new request, and is idle once its last one has ended.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from .capture import Capture
from .store import Record
from .variants import Instance

ALMOST_ONE = 1 - 1e-9


class NoCapacity(Exception):
    """No instance can take the request."""


class UnknownVariant(NoCapacity):
    """The request names a variant that the endpoint does not have."""


class Throttled(NoCapacity):
    """A serverless variant has as many requests in flight as it may."""


class Cold(NoCapacity):
    """A serverless variant has no idle instance: one may be started for this request, and is counted for."""

    def __init__(self, side: "Side", fleet: "Fleet") -> None:
        super().__init__(f"no instance of {fleet.variant} is warm")
        self.side, self.fleet = side, fleet


@dataclass
class Fleet:
    """The instances of one variant under one endpoint configuration."""

    variant: str
    weight: float
    desired: int  # instances
    settings: Record  # the ProductionVariant of the endpoint configuration
    containers: list[Record]  # the model's, resolved
    model: Record
    resolved_at: datetime
    instances: list[Instance] = field(default_factory=list)
    desired_weight: float | None = None  # until an update of the weights is through
    status: Record | None = None  # VariantStatus of a stage under way
    credit: float = 0.0
    turn: int = 0
    starting: int = 0  # serverless: instances that requests wait for
    closed: bool = False  # no instance may join it any more

    @property
    def serverless(self) -> Record | None:
        """The ServerlessConfig of a variant without instances of its own: each request has one to itself."""
        return self.settings.get("ServerlessConfig")

    @property
    def busy(self) -> int:
        """Requests that it has taken."""
        return self.starting + sum(instance.in_flight for instance in self.instances)


@dataclass
class Side:
    """What one endpoint configuration deployed: the blue or the green side of an endpoint."""

    config: str
    fleets: dict[str, Fleet]
    shadows: dict[str, Fleet]
    capture_config: Record | None
    capture: Capture | None = None  # while the side is in use

    def all(self) -> list[Fleet]:
        return [*self.fleets.values(), *self.shadows.values()]

    def instances(self) -> list[Instance]:
        return [instance for fleet in self.all() for instance in fleet.instances]


class Lease(NamedTuple):
    """A request's hold on an instance, from `Router.acquire` to `Router.release`."""

    side: Side
    fleet: Fleet
    instance: Instance


class Router:
    """The traffic of one endpoint. Called from the event loop and from deployment threads; blocks neither."""

    def __init__(self) -> None:
        self.blue: Side | None = None
        self.green: Side | None = None
        self.green_share = 0.0
        self._owed = 0.0  # what the green side has not had yet of its share
        self._shadow_owed: dict[str, float] = {}
        self._idle = threading.Condition()

    def acquire(self, target: str | None = None, tried: Iterable[Instance] = ()) -> Lease:
        """The instance for a request, of the variant `target` if one is named, and none of `tried`."""
        with self._idle:
            first, second = (self.green, self.blue) if self._is_greens_turn() else (self.blue, self.green)
            sides = [side for side in (first, second) if side]
            if target and not any(target in side.fleets for side in sides):
                raise UnknownVariant(target)
            for side in sides:
                if lease := self._from_side(side, target, set(tried)):
                    lease.instance.in_flight += 1
                    return lease
            self._start_one(sides)
        raise NoCapacity("no instance of the endpoint is in service")

    def warmed(self, side: Side, fleet: Fleet, instance: Instance) -> Lease:
        """The instance that a request waited for, and the request's hold on it."""
        with self._idle:
            fleet.starting -= 1
            if fleet.closed:
                raise NoCapacity("the variant was taken out of service while its instance started")
            instance.ready, instance.in_flight = True, 1
            fleet.instances.append(instance)
        return Lease(side, fleet, instance)

    def gave_up(self, fleet: Fleet) -> None:
        """The instance that a request waited for did not start."""
        with self._idle:
            fleet.starting -= 1

    def take_idle(self, fleet: Fleet, since: float) -> list[Instance]:
        """Take out what had no request since then (time.monotonic()), but for the provisioned ones."""
        with self._idle:
            idle = [each for each in fleet.instances if not each.in_flight and each.idle_since < since]
            spare = len(fleet.instances) - fleet.serverless.get("ProvisionedConcurrency", 0)
            leaving = idle[: max(0, spare)]
            fleet.instances = [instance for instance in fleet.instances if instance not in leaving]
        return leaving

    def close_side(self, side: Side) -> None:
        """No instance joins its fleets any more."""
        with self._idle:
            for fleet in side.all():
                fleet.closed = True

    def shadows(self, lease: Lease) -> list[Lease]:
        """Leases for the shadow variants that get a copy of this request."""
        copies = []
        with self._idle:
            for name, shadow in lease.side.shadows.items():
                ratio = min(1.0, shadow.weight / lease.fleet.weight) if lease.fleet.weight else 0.0
                owed = self._shadow_owed.get(name, 0.0) + ratio
                due = owed >= ALMOST_ONE
                self._shadow_owed[name] = owed - 1 if due else owed
                if due and (instance := _next_instance(shadow, set())):
                    instance.in_flight += 1
                    copies.append(Lease(lease.side, shadow, instance))
        return copies

    def release(self, lease: Lease) -> None:
        with self._idle:
            lease.instance.in_flight -= 1
            lease.instance.idle_since = time.monotonic()
            if not lease.instance.in_flight:
                self._idle.notify_all()

    def shift(self, green_share: float) -> None:
        with self._idle:
            self.green_share, self._owed = green_share, 0.0

    def begin(self, green: Side) -> None:
        with self._idle:
            self.green, self.green_share, self._owed = green, 0.0, 0.0

    def end(self, *, promote: bool) -> None:
        """One side takes everything: the green one as the new blue, or the blue one again."""
        with self._idle:
            if promote:
                self.blue = self.green
            self.green, self.green_share, self._owed = None, 0.0, 0.0

    def close(self) -> None:
        with self._idle:
            self.blue = self.green = None

    def add(self, fleet: Fleet, instances: Iterable[Instance]) -> None:
        with self._idle:
            fleet.instances.extend(instances)

    def remove(self, fleet: Fleet, instances: Iterable[Instance]) -> None:
        with self._idle:
            leaving = set(instances)
            fleet.instances = [instance for instance in fleet.instances if instance not in leaving]

    def wait_until_idle(self, instances: Iterable[Instance], timeout: float) -> None:
        """Return when nothing is in flight on instances that take no new requests, or after `timeout` s."""
        watched, deadline = list(instances), time.monotonic() + timeout
        with self._idle:
            self._idle.wait_for(
                lambda: not any(instance.in_flight for instance in watched), deadline - time.monotonic()
            )

    def _start_one(self, sides: list[Side]) -> None:
        """Where the side that serves is serverless: Cold if one more instance may start, else Throttled."""
        serving = [side for side in sides if side is not self.green or self.green_share]
        for side in serving[:1]:
            for fleet in side.fleets.values():
                if not fleet.serverless:
                    continue
                if fleet.busy >= fleet.serverless["MaxConcurrency"]:
                    raise Throttled(f"{fleet.busy} requests are in flight")
                fleet.starting += 1
                raise Cold(side, fleet)

    def _is_greens_turn(self) -> bool:
        if not self.green or not self.green_share:
            return False
        self._owed += self.green_share
        if self._owed >= ALMOST_ONE:
            self._owed -= 1
            return True
        return False

    def _from_side(self, side: Side, target: str | None, tried: set[Instance]) -> Lease | None:
        if side is self.green and not self.green_share:
            return None
        fleets = [fleet for name, fleet in side.fleets.items() if target in (None, name)]
        for fleet in _by_weight(fleets) if target is None else fleets:
            if instance := _next_instance(fleet, tried):
                return Lease(side, fleet, instance)
        return None


def _by_weight(fleets: list[Fleet]) -> list[Fleet]:
    """The fleets: first the one whose turn it is (smooth weighted round robin), then the fallbacks."""
    total = sum(fleet.weight for fleet in fleets)
    if not total:
        return []
    for fleet in fleets:
        fleet.credit += fleet.weight
    ordered = sorted((fleet for fleet in fleets if fleet.weight), key=lambda fleet: -fleet.credit)
    ordered[0].credit -= total
    return ordered


def _next_instance(fleet: Fleet, tried: set[Instance]) -> Instance | None:
    ready = [instance for instance in fleet.instances if instance.ready and instance not in tried]
    if fleet.serverless:  # the one used last, so that the others may end
        idle = [instance for instance in ready if not instance.in_flight]
        return max(idle, key=lambda instance: instance.idle_since, default=None)
    if not ready:
        return None
    fleet.turn = (fleet.turn + 1) % len(ready)
    return ready[fleet.turn]
