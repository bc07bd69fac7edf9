"""What starts the machines, read in one place: which model, and the cause that every record carries on."""

import re
from dataclasses import asdict, dataclass
from typing import Any

from . import times
from .errors import EventInvalid
from .names import MODEL

Event = dict[str, Any]
# Events of ours that bring their cause.
OWN = {"TrainingRequested", "MonitoringRequested", "BatchRequested", "RollbackRequested", "ViolationFound"}
OWN |= {"TrainingEnded", "ModelDeployed", "DeploymentRefused", "DeploymentRolledBack"}


@dataclass(frozen=True)
class Cause:
    """Why something happens: `kind` code | schedule | data | input | violation | alarm | rollback | person |
    program, `id` the same for each delivery of the same event, `at` the event's own time, `by` who or
    what."""

    kind: str
    id: str
    at: str
    by: str

    @property
    def key(self) -> str:
        """One text for what the ledger and a run's id need."""
        return f"{self.kind}:{self.id}"

    def as_dict(self) -> dict[str, str]:
        """As it travels in payloads and stands in the ledger."""
        return asdict(self)


def cause_of(event: Event) -> tuple[str, Cause]:
    """(model, cause) of any event that starts a machine of ours but an alarm's, whose model is in a name that
    only the ledger can read. Raises EventInvalid."""
    source, kind = event.get("source", ""), event.get("detail-type", "")
    detail = event.get("detail") or {}
    if source == "aws.s3":
        return _object_created(event)
    if source == "evergreen.schedule":
        at = time_of(event, detail.get("at"))
        model = _model(detail)
        return model, Cause("schedule", f"{model}@{at}", at, "schedule")
    if kind in OWN:
        return _model(detail), _own_cause(event, detail)
    raise EventInvalid(f"no cause is known for {kind!r} from {source!r}")


def published(event: Event) -> tuple[str, str, str, str | None]:
    """(model, digest, key, version id) of a folder's model.yaml that was published."""
    key, version = _object(event)
    match = re.fullmatch(r"models/([^/]+)/([0-9a-f]{6,64})/model\.yaml", key)
    if not match:
        raise EventInvalid(f"{key} is not models/<name>/<digest>/model.yaml")
    return match[1], match[2], key, version


def scored(event: Event) -> tuple[str, str | None]:
    """(name, version id) of a file that came to be scored."""
    key, version = _object(event)
    return _input(key)[1], version


def time_of(event: Event, stated: str | None = None) -> str:
    """The event's own time; `stated` is a time within it that says better when the thing happened."""
    text = stated or event.get("time") or ""
    if not times.is_iso(text):
        raise EventInvalid(f"{event.get('detail-type')!r} has no time: {text!r}")
    return times.normal(text)


def _object_created(event: Event) -> tuple[str, Cause]:
    key, version = _object(event)
    at = time_of(event)
    if key.startswith("models/"):
        model, digest, _, version = published(event)
        # The version, because publishing an earlier digest again is new code again.
        return model, Cause("code", f"{digest}@{version}" if version else digest, at, "s3")
    if key.startswith("batch/"):
        return _input(key)[0], Cause("input", f"{key}@{version}" if version else key, at, "s3")
    match = re.match(r"datasets/([^/]+)/.", key)
    if not match or not MODEL.fullmatch(match[1]):
        raise EventInvalid(f"{key} is not datasets/<name>/<file>")
    return match[1], Cause("data", f"{key}@{version}" if version else key, at, "s3")


def _input(key: str) -> tuple[str, str]:
    """(model, name) of a file to score; a console makes folders whose names are empty or end in a slash."""
    match = re.fullmatch(r"batch/([^/]+)/input/(.*)", key)
    if not match or not MODEL.fullmatch(match[1]):
        raise EventInvalid(f"{key} is not batch/<name>/input/<file>")
    return match[1], match[2]


def _object(event: Event) -> tuple[str, str | None]:
    try:
        stored = event["detail"]["object"]
        return stored["key"], stored.get("version-id")
    except (KeyError, TypeError) as error:
        raise EventInvalid(f"not an S3 Object Created event: {error} is missing") from error


def sent_at(event: Event) -> str:
    """The event's own time. A stranger may put any on it; one that is yet to come counts as now: a training
    of that time would hold back all that happens until then."""
    at = time_of(event)
    ours = str(event.get("source")).startswith("evergreen.")
    return at if ours else min(at, times.iso(times.now()))


def _own_cause(event: Event, detail: Event) -> Cause:
    """Nothing happens later than the event that tells of it."""
    sent = sent_at(event)
    given = detail.get("cause")
    if not given:
        id = str(event.get("id") or time_of(event))  # the clock's would make each delivery a cause of its own
        return Cause("program", id, sent, event.get("account") or event.get("source") or "program")
    try:
        at = min(time_of(event, given["at"]), sent)
        return Cause(given["kind"], given["id"], at, given["by"])
    except (KeyError, TypeError) as error:
        raise EventInvalid(f"detail.cause of {event.get('detail-type')!r}: {error} is missing") from error


def _model(detail: Event) -> str:
    model = detail.get("model")
    if not isinstance(model, str) or not MODEL.fullmatch(model):
        raise EventInvalid(f"detail.model is {model!r}, which is no model's name")
    return model
