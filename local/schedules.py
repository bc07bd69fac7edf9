"""EventBridge Scheduler on the virtual clock.

A schedule fires when the clock passes its time. Where the clock jumps over several, they fire one by one and
in order, over all schedules, each with its own scheduled time; events that they put carry that time. On AWS a
schedule fires with a precision of a minute; here at once.
"""

import functools
import heapq
import json
import logging
import threading
import uuid
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from botocore.exceptions import BotoCoreError, ClientError

from local import clock, delivery, ministack, sdk
from local.delivery import Delivery, Sender
from local.host import AccessDenied
from local.machine import Machine

log = logging.getLogger(__name__)
TICK_SECONDS = 0.5
UNITS = {"minute": 60, "hour": 3600, "day": 86400}
UNIVERSAL = "arn:aws:scheduler:::aws-sdk:"
# What will not come right by trying again; anything else is retried.
PERMANENT = {
    "AccessDeniedException",
    "ValidationException",
    "ResourceNotFoundException",
    "StateMachineDoesNotExist",
}


def install(host: Machine) -> None:
    scheduler = Scheduler(host)
    clock.after_move(scheduler.catch_up)
    ministack.replace("scheduler_now", clock.epoch)
    ministack.replace("start_scheduler", scheduler.start)


class Scheduler:
    def __init__(self, host: Machine) -> None:
        self.host = host
        self.sender = Sender(host)
        self._lock = threading.RLock()
        self._next: dict[tuple, tuple[str, float]] = {}  # schedule -> (its definition, when it fires next)

    def start(self) -> None:
        def tick() -> None:
            while True:
                try:
                    self.catch_up()
                except Exception:
                    log.exception("a schedule could not be fired")
                threading.Event().wait(TICK_SECONDS)

        threading.Thread(target=tick, name="scheduler", daemon=True).start()

    def catch_up(self) -> None:
        """Fires all that the clock has passed, in order of time; returns when each is started or buried."""
        with self._lock:
            now = clock.epoch()
            due = [(moment, key) for key in self._refresh(now) if (moment := self._next[key][1]) <= now]
            heapq.heapify(due)
            while due:
                moment, key = heapq.heappop(due)
                schedule = ministack.get("schedules")._data.get(key)
                if schedule is None:
                    continue
                following = _following(schedule, moment)
                self._next[key] = (self._next[key][0], following)
                self.fire(schedule, moment)
                if following == float("inf") and schedule.get("ActionAfterCompletion") == "DELETE":
                    ministack.get("schedules")._data.pop(key, None)
                if following <= now:
                    heapq.heappush(due, (following, key))

    def _refresh(self, now: float) -> list[tuple]:
        """The enabled schedules; one that is new, changed, or ahead of a clock set back is planned afresh."""
        schedules = {
            k: s for k, s in list(ministack.get("schedules")._data.items()) if s.get("State") == "ENABLED"
        }
        self._next = {key: plan for key, plan in self._next.items() if key in schedules}
        for key, schedule in schedules.items():
            definition = json.dumps(
                [
                    schedule.get(k)
                    for k in ("ScheduleExpression", "ScheduleExpressionTimezone", "StartDate", "EndDate")
                ],
                default=str,
            )
            plan = self._next.get(key)
            changed = float(schedule["LastModificationDate"])
            if plan is None or plan[0] != definition:
                self._next[key] = (definition, _first(schedule, min(changed, now)))
            elif changed > now and (seconds := _rate(schedule)) and plan[1] - now > seconds:
                schedule["LastModificationDate"] = now  # made before the clock was set back
                self._next[key] = (definition, now + seconds)
        return list(schedules)

    def fire(self, schedule: dict[str, Any], moment: float) -> None:
        target = schedule["Target"]
        going = Delivery(target, schedule["Arn"], "scheduler.amazonaws.com")
        token = delivery._delivery.set(going)
        payload = _substitute(target.get("Input") or "{}", schedule, moment)
        log.info("%s fires for %s", schedule["Name"], _iso(moment))
        account = schedule["Arn"].split(":")[4]
        try:
            with ministack.scope(account, self.host.region):
                call = functools.partial(self._call, target, moment=moment)
                self.sender.send(call, target["Arn"], payload)
        finally:
            delivery._delivery.reset(token)

    def _call(self, target: dict[str, Any], arn: str, payload: str, *, moment: float) -> None:
        try:
            credentials = ministack.role_credentials(
                target["RoleArn"], "scheduler", "scheduler.amazonaws.com"
            )
            service, action, arguments = _request(target, arn, payload, moment)
            client = self.host.client(sdk.boto_name(service), credentials)
            parameters = sdk.to_parameters(arguments, sdk.operation(client, action).input_shape)
            getattr(client, sdk.method(client, action))(**parameters)
        except AccessDenied as error:
            raise delivery.NotDelivered("NO_PERMISSIONS", str(error)) from None
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise delivery.NotDelivered("NO_RESOURCE" if code in PERMANENT else code, str(error)) from None
        except BotoCoreError as error:
            raise delivery.NotDelivered("NO_RESOURCE", str(error)) from None


def _request(
    target: dict[str, Any], arn: str, payload: str, moment: float
) -> tuple[str, str, dict[str, Any]]:
    """(service, action, arguments) of a templated target's ARN, or of a universal one."""
    if arn.startswith(UNIVERSAL):
        service, action = arn.removeprefix(UNIVERSAL).split(":")
        return service, action, json.loads(payload)
    service = arn.split(":")[2]
    if service == "states":
        return "sfn", "startExecution", {"StateMachineArn": arn, "Input": payload}
    if service == "events":
        entry = target["EventBridgeParameters"] | {"Detail": payload, "EventBusName": arn}
        return (
            "eventbridge",
            "putEvents",
            {"Entries": [entry | {"Time": datetime.fromtimestamp(moment, UTC)}]},
        )
    if service == "lambda":
        return "lambda", "invoke", {"FunctionName": arn, "InvocationType": "Event", "Payload": payload}
    if service == "sns":
        return "sns", "publish", {"TopicArn": arn, "Message": payload}
    raise delivery.NotDelivered("NO_RESOURCE", f"The local Scheduler has no target of the kind {arn}")


def _substitute(text: str, schedule: dict[str, Any], moment: float) -> str:
    values = {
        "schedule-arn": schedule["Arn"],
        "scheduled-time": _iso(moment),
        "execution-id": str(uuid.uuid4()),
        "attempt-number": "1",
    }
    for name, value in values.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _rate(schedule: dict[str, Any]) -> float | None:
    expression = schedule["ScheduleExpression"]
    if not expression.startswith("rate("):
        return None
    count, unit = expression[5:-1].split()
    return float(count) * UNITS[unit.rstrip("s")]


def _first(schedule: dict[str, Any], created: float) -> float:
    """When a schedule fires first: a rate at its StartDate, without one at once; a cron at its next time."""
    start = delivery._epoch(schedule.get("StartDate"))
    if _rate(schedule):
        return _bounded(schedule, start if start else created)
    return _following(schedule, max(created, start or 0) - 1)


def _following(schedule: dict[str, Any], moment: float) -> float:
    """The first time after a moment, or infinity."""
    if seconds := _rate(schedule):
        return _bounded(schedule, moment + seconds)
    zone = ZoneInfo(schedule.get("ScheduleExpressionTimezone") or "UTC")
    expression = schedule["ScheduleExpression"]
    if expression.startswith("at("):
        at = datetime.fromisoformat(expression[3:-1]).replace(tzinfo=zone).timestamp()
        return _bounded(schedule, at) if at > moment else float("inf")
    fields = ministack.get("cron_fields")(expression)
    found = fields and ministack.get("cron_next")(fields, datetime.fromtimestamp(moment, zone))
    return _bounded(schedule, found.timestamp()) if found else float("inf")


def _bounded(schedule: dict[str, Any], moment: float) -> float:
    end = delivery._epoch(schedule.get("EndDate"))
    return float("inf") if end and moment > end else moment
