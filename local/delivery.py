"""EventBridge's deliveries: events stamped by the virtual clock, permissions asked, failures retried, then
put into the target's dead-letter queue as AWS puts them.

A target that is not there or that the rule may not reach is not retried, as on AWS. Retries keep their number
and lose their waits: minutes on AWS are fractions of a second here.
"""

import contextvars
import json
import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local import buses, clock, ministack
from local.host import AccessDenied
from local.machine import Machine

log = logging.getLogger(__name__)
MAX_RETRIES = 185  # AWS's default, with a day for all of them
FIRST_WAIT, LONGEST_WAIT = 0.05, 1.0  # seconds between retries; a day of them on AWS
PERMANENT = {"NO_RESOURCE", "NO_PERMISSIONS"}


class NotDelivered(Exception):
    """(code, message): why a target did not take an event; the code is EventBridge's ERROR_CODE."""


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one target of one rule or schedule."""

    target: dict[str, Any]
    source_arn: str  # the rule's or schedule's ARN
    service: str = "events.amazonaws.com"


_delivery: contextvars.ContextVar[Delivery] = contextvars.ContextVar("delivery")
_event_time: contextvars.ContextVar[float | None] = contextvars.ContextVar("event_time", default=None)


def install(host: Machine) -> None:
    _install_time()
    sender = Sender(host)

    def invoke_target(target: dict, event: dict, rule: dict, view: Any = None) -> None:
        token = _delivery.set(Delivery(target, rule.get("Arn", "")))
        try:
            invoke(target, event, rule, view)
        finally:
            _delivery.reset(token)

    invoke = ministack.replace("invoke_target", invoke_target)
    ministack.replace("send_lambda", lambda arn, payload: sender.send(sender.to_function, arn, payload))
    ministack.replace("send_sns", lambda arn, payload: sender.send(sender.to_topic, arn, payload))
    ministack.replace("send_machine", lambda arn, payload: sender.send(sender.to_machine, arn, payload))

    def send_sqs(spec: Any, payload: str, parameters: dict | None = None) -> None:
        sender.send(lambda arn, text: sender.to_queue(spec, arn, text, parameters), str(spec), payload)

    def send_bus(spec: Any, event: dict, rule: dict, path: set, payload: str | None = None) -> None:
        def to_bus(arn: str, _: str) -> None:
            sender.require_role("events:PutEvents", arn)
            account = arn.split(":")[4]
            is_foreign = account != host.account
            with ministack.scope(account, host.region):
                if arn.rpartition("/")[2] not in ministack.get("buses"):
                    raise NotDelivered("NO_RESOURCE", f"The event bus {arn} does not exist")
                if is_foreign:
                    sender.require_grant(arn, event)
                dispatch(spec, event, rule, path, payload)

        sender.send(to_bus, str(spec), payload or json.dumps(_envelope(event)))

    deliver_to_queue = ministack.replace("send_sqs", send_sqs)
    dispatch = ministack.replace("send_bus", send_bus)
    sender.deliver_to_queue = deliver_to_queue


class Sender:
    """Takes an event to a target, or to the dead-letter queue."""

    deliver_to_queue: Any

    def __init__(self, host: Machine) -> None:
        self.host = host

    def send(self, deliver: Any, arn: str, payload: str) -> None:
        """deliver(arn, payload) raises NotDelivered, or anything for a failure that may pass."""
        try:
            deliver(arn, payload)
        except Exception as error:
            code, message = _reason(error)
            if code in PERMANENT:
                self.bury(_delivery.get(), payload, code, message, 0)
            else:
                context = contextvars.copy_context()
                threading.Thread(
                    target=context.run, args=(self._retry, deliver, arn, payload), daemon=True
                ).start()

    def _retry(self, deliver: Any, arn: str, payload: str) -> None:
        delivery = _delivery.get()
        attempts = (delivery.target.get("RetryPolicy") or {}).get("MaximumRetryAttempts", MAX_RETRIES)
        code, message, wait = "SDK_CLIENT_ERROR", "", FIRST_WAIT
        for attempt in range(attempts):
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)
            try:
                return deliver(arn, payload)
            except Exception as error:
                code, message = _reason(error)
                if code in PERMANENT:
                    return self.bury(delivery, payload, code, message, attempt)
        self.bury(delivery, payload, code, message, attempts)

    def bury(self, delivery: Delivery, payload: str, code: str, message: str, attempts: int) -> None:
        """Into the dead-letter queue, with EventBridge's attributes; without a queue the event is lost."""
        log.warning(
            "%s -> %s not delivered (%s): %s", delivery.source_arn, delivery.target.get("Arn"), code, message
        )
        queue = (delivery.target.get("DeadLetterConfig") or {}).get("Arn")
        if not queue:
            return
        try:
            self.require_queue(queue)
        except NotDelivered as error:
            log.warning("the dead-letter queue %s takes nothing: %s", queue, error.args[1])
            return
        source = "SCHEDULE_ARN" if delivery.service.startswith("scheduler") else "RULE_ARN"
        attributes = {
            source: delivery.source_arn,
            "TARGET_ARN": delivery.target.get("Arn", ""),
            "ERROR_CODE": code,
            "ERROR_MESSAGE": message[:1024],
            "RETRY_ATTEMPTS": str(attempts),
        }
        if attempts:
            attributes["EXHAUSTED_RETRY_CONDITION"] = "MaximumRetryAttempts"
        typed = {
            key: {"DataType": "String", "StringValue": value} for key, value in attributes.items() if value
        }
        _, _, _, _, _, name = queue.split(":")
        url = f"{self.host.url}/{self.host.account}/{name}"
        # In a thread: the caller may be the event loop that has to answer this call.
        send = self.host.client("sqs").send_message
        arguments = {"QueueUrl": url, "MessageBody": payload, "MessageAttributes": typed}
        threading.Thread(target=send, kwargs=arguments, daemon=True).start()

    def require_queue(self, arn: str) -> None:
        """EventBridge sends as a service that the queue must allow, Scheduler as the role of its target."""
        delivery = _delivery.get()
        if delivery.service.startswith("scheduler"):
            self.require_role("sqs:SendMessage", arn)
        elif not ministack.get("queue_allows")(arn, delivery.service, delivery.source_arn, self.host.account):
            raise NotDelivered("NO_PERMISSIONS", f"The policy of {arn} does not allow {delivery.service}")

    def require_role(self, action: str, arn: str) -> None:
        """The target's own role must allow the call, and must trust the service."""
        delivery = _delivery.get()
        role = delivery.target.get("RoleArn")
        if not role:
            raise NotDelivered("NO_PERMISSIONS", f"The target {arn} needs a RoleArn")
        try:
            key = ministack.role_credentials(role, "events", delivery.service)["AWS_ACCESS_KEY_ID"]
            ministack.authorize(key, self.host.region, action, arn)
        except AccessDenied as error:
            raise NotDelivered("NO_PERMISSIONS", str(error)) from None

    def require_grant(self, bus: str, event: dict[str, Any]) -> None:
        """A bus of another account must let the target's role in with this event."""
        try:
            buses.require_grant(bus, _delivery.get().target["RoleArn"], event)
        except AccessDenied as error:
            raise NotDelivered("NO_PERMISSIONS", str(error)) from None

    def to_machine(self, arn: str, payload: str) -> None:
        self.require_role("states:StartExecution", arn)
        status, _, body = ministack.get("start_execution")({"stateMachineArn": arn, "input": payload})
        if status >= 400:
            answer = json.loads(body)
            code = "NO_RESOURCE" if answer["__type"] == "StateMachineDoesNotExist" else answer["__type"]
            raise NotDelivered(code, answer["message"])

    def to_function(self, arn: str, payload: str) -> None:
        func, config, _ = ministack.get("function_by_reference")(arn)
        if not func or not config:
            raise NotDelivered("NO_RESOURCE", f"The function {arn} does not exist")
        policy = ministack.get("function_policy")(arn)
        if not _allows_service(policy[0] if policy else {}, _delivery.get()):
            raise NotDelivered(
                "NO_PERMISSIONS", f"The policy of {arn} does not allow {_delivery.get().service}"
            )
        record = ministack.get("execution_record")(func, config)
        ministack.get("invoke_asynchronously")(record, json.loads(payload))

    def to_topic(self, arn: str, payload: str) -> None:
        delivery = _delivery.get()
        if ministack.get("topic")(arn) is None:
            raise NotDelivered("NO_RESOURCE", f"The topic {arn} does not exist")
        if not ministack.get("topic_allows")(arn, delivery.service, delivery.source_arn, self.host.account):
            raise NotDelivered("NO_PERMISSIONS", f"The policy of {arn} does not allow {delivery.service}")
        ministack.get("publish")(arn, payload)

    def to_queue(self, spec: Any, arn: str, payload: str, parameters: dict | None) -> None:
        if ministack.get("queue")(arn) is None:
            raise NotDelivered("NO_RESOURCE", f"The queue {arn} does not exist")
        self.require_queue(arn)
        self.deliver_to_queue(spec, payload, parameters)


def _envelope(event: dict[str, Any]) -> dict[str, Any]:
    """An event of MiniStack's as EventBridge delivers it."""
    names = {"id": "EventId", "detail-type": "DetailType", "source": "Source", "account": "Account"}
    moment = datetime.fromtimestamp(event["Time"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"version": "0", "time": moment} | {
        **{name: event.get(key, "") for name, key in names.items()},
        "region": event.get("Region", ""),
        "resources": event.get("Resources", []),
        "detail": json.loads(event.get("Detail") or "{}"),
    }


def _reason(error: Exception) -> tuple[str, str]:
    if isinstance(error, NotDelivered):
        return error.args
    return "SDK_CLIENT_ERROR", f"{type(error).__name__}: {error}"


def _allows_service(policy: dict[str, Any], delivery: Delivery) -> bool:
    """Whether a function's policy lets this service and, where it names a source, this source."""
    for statement in policy.get("Statement", []):
        principal = statement.get("Principal")
        services = principal.get("Service") if isinstance(principal, dict) else principal
        conditions = statement.get("Condition", {})
        sources = [block["AWS:SourceArn"] for block in conditions.values() if "AWS:SourceArn" in block]
        if services in ("*", delivery.service, [delivery.service]) and all(
            s == delivery.source_arn for s in sources
        ):
            return True
    return False


def _install_time() -> None:
    """Every event carries the virtual time, or its entry's own Time; S3's carry the object's version too."""

    def put_events(data: dict[str, Any], allow_aws_source: bool = False) -> Any:
        moments = {_epoch(entry.get("Time")) for entry in data.get("Entries", [])}
        if moments <= {None}:
            return put(data, allow_aws_source)
        token = _event_time.set(next(moment for moment in moments if moment))
        try:
            return put(data, allow_aws_source)
        finally:
            _event_time.reset(token)

    def dispatch_event(event: dict[str, Any], view: Any = None) -> None:
        if event.get("Source") == "aws.s3":
            event = event | {"Time": int(clock.epoch()), "Detail": _with_version(event["Detail"])}
        dispatch(event, view)

    ministack.replace("events_now", lambda: _event_time.get() or clock.epoch())
    put = ministack.replace("put_events", put_events)
    dispatch = ministack.replace("dispatch_event", dispatch_event)


def _epoch(value: Any) -> float | None:
    if isinstance(value, str):
        return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
    return float(value) if value else None


def _with_version(text: str) -> str:
    detail = json.loads(text)
    bucket = ministack.get("buckets").get(detail["bucket"]["name"]) or {}
    version = (bucket.get("objects", {}).get(detail["object"]["key"]) or {}).get("version_id")
    if version and version != "null":
        detail["object"]["version-id"] = version
    return json.dumps(detail)
