"""What may call for an answer, read from its event: a violation, an alarm, or a native Model Monitor's
job."""

import re
from dataclasses import dataclass
from typing import Any

from . import events, names, times
from .decisions import Signal
from .errors import EventInvalid
from .events import Cause
from .ledger import ABSENT, Ledger, Write, put


@dataclass(frozen=True)
class Reading:
    """A signal of a model. `id` is the same for each delivery; `window` is the ledger's key of the window it
    was seen in; `writes` is what else the ledger learns from it."""

    model: str
    id: str
    cause: Cause
    signal: Signal
    window: str = ""
    writes: tuple[Write, ...] = ()


def read(event: dict[str, Any], job: dict[str, Any] | None, prefix: str, ledger: Ledger) -> Reading | str:
    """The signal in an event, or why it is none of ours."""
    kind = event.get("detail-type")
    if kind == "ViolationFound":
        return _violation(event, ledger)
    if kind == "CloudWatch Alarm State Change":
        return _alarm(event, prefix)
    if job:
        return _native(event, job, prefix, ledger)
    raise EventInvalid(f"{kind!r} from {event.get('source')!r} is no signal")


def _violation(event: dict[str, Any], ledger: Ledger) -> Reading:
    """The ledger's record of the window is the truth; the event carries its first lines. A window that was
    asked for until a time to come has been seen until the event."""
    model, cause = events.cause_of(event)
    detail = event["detail"]
    start, end = (times.parse(detail["window"][edge]) for edge in ("start", "end"))
    key = f"{times.compact(start)}_{times.compact(end)}"
    window = ledger.get(model, f"WINDOW#{key}") or {}
    id = detail.get("signal") or cause.id
    at = min(times.iso(end), events.sent_at(event))
    signal = Signal(
        kind="violation",
        at=times.parse(at),
        version=window.get("version") or detail.get("version"),
        violations=window.get("violations") or detail.get("top") or (),
        labelled=window.get("labelled") or detail.get("labelled") or 0,
        start=start,
    )
    return Reading(model, id, Cause("violation", id, at, cause.by), signal, key)


def _alarm(event: dict[str, Any], prefix: str) -> Reading | str:
    name = event["detail"]["alarmName"]
    deployed = names.parse_alarm(prefix, name)
    if deployed is None:
        return f"{name} is not a rollback alarm of a deployment of ours"
    at = events.time_of(event)
    id = f"{name}@{at}"
    signal = Signal("alarm", times.parse(at), deployed.version, deployment=deployed.name, name=name)
    return Reading(deployed.model, id, Cause("alarm", id, at, "cloudwatch"), signal)


def _native(event: dict[str, Any], job: dict[str, Any], prefix: str, ledger: Ledger) -> Reading | str:
    """A job of a schedule named after the endpoint, `<endpoint>` or `<endpoint>-<anything>`. Its exit message
    has the count alone; what was violated is in its own report."""
    schedule = job["schedule"].rsplit("/", 1)[-1]
    champion = _owner(schedule, prefix, ledger)
    if champion is None:
        return f"schedule {schedule} watches no endpoint of ours in service"
    model, version = champion
    name = event["detail"]["ProcessingJobName"]
    said = re.search(r"(\d+) violations", job["message"])
    count = said[1] if said else "some"
    found = {
        "feature_name": schedule,
        "constraint_check_type": "native_monitor",
        "description": f"SageMaker Model Monitor found {count} violations, job {name}",
    }
    environment = job.get("environment") or {}
    at = events.time_of(event, environment.get("end_time"))
    start = times.parse(environment.get("start_time") or at)
    key = f"{times.compact(start)}_{times.compact(times.parse(at))}"
    record = {
        "start": times.iso(start),
        "end": at,
        "version": version,
        "status": "Completed",
        "violations": [found],
        "execution": name,
        "name": name,
    }
    signal = Signal("violation", times.parse(at), version, (found,), start=start)
    id = f"{schedule}@{name}"
    # Our own analysis of the same window, where there is one, says more: it stays.
    known = ledger.get(model, f"WINDOW#{key}")
    writes = () if known else (put(model, f"WINDOW#{key}", record, ABSENT),)
    return Reading(model, id, Cause("violation", id, at, "model-monitor"), signal, key, writes)


def _owner(schedule: str, prefix: str, ledger: Ledger) -> tuple[str, int] | None:
    """(model, version in service) of the longest model name that the schedule's name begins with."""
    parts = schedule.removeprefix(f"{prefix}-").split("-") if schedule.startswith(f"{prefix}-") else []
    for length in range(len(parts), 0, -1):
        model = "-".join(parts[:length])
        champion = ledger.get(model, "CHAMPION") if names.MODEL.fullmatch(model) else None
        if champion:
            return model, champion["version"]
    return None
