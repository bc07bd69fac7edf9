"""Follows the machines' executions through the Step Functions API and tells what they do as they do it.

The product is not asked anything: what is shown is what ListExecutions and GetExecutionHistory say, as on
AWS. A thread polls; `busy()` is what the world looks at before it moves on.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from local.wording import CAUSES, iso, short_day

POLL_SECONDS = 0.25
PAGE = 50  # executions asked for at once
SHOWN = ("Task", "Wait", "Map", "Parallel")  # Choice and Pass states take no time and say nothing
BRIEF = ("monitor", "respond")  # machines that tell on one line, when they end


@dataclass
class State:
    name: str
    kind: str
    entered: float  # epoch seconds
    exited: float | None = None
    error: str | None = None

    @property
    def seconds(self) -> float:
        return (self.exited or time.time()) - self.entered


@dataclass
class Execution:
    """One execution of one machine; `event` is what started it."""

    machine: str
    arn: str
    started: float
    event: dict
    status: str = "RUNNING"
    stopped: float | None = None
    reason: str = ""
    states: list[State] = field(default_factory=list)
    seen: int = 0  # history events read so far

    @property
    def running(self) -> bool:
        return self.status == "RUNNING"

    @property
    def seconds(self) -> float:
        return (self.stopped or time.time()) - self.started

    @property
    def ended_in(self) -> str:
        return self.states[-1].name if self.states else self.status

    @property
    def cause(self) -> dict:
        return cause_of(self.event)

    @property
    def at(self) -> str:
        """The event's own time in the world's year."""
        return self.event.get("time") or iso(datetime.fromtimestamp(self.started, UTC))


def cause_of(event: dict) -> dict:
    """`{kind, id, at, by, text}` of the event that started an execution; `text` says it to a person.

    An own event carries the cause of the chain that it belongs to; AWS's events report what it was.
    """
    detail, kind = event.get("detail") or {}, event.get("detail-type", "")
    base = {"at": event.get("time", ""), "by": event.get("source", ""), "id": event.get("id", "")}
    if kind == "Object Created":
        key = detail["object"]["key"]
        return base | {
            "kind": "code" if key.startswith("models/") else "data",
            "id": key,
            "text": f"new file {key}",
        }
    if kind == "SageMaker Model Package State Change":
        version = detail["ModelPackageVersion"]
        return base | {"kind": "person", "text": f"the approval of version {version}"}
    if kind.endswith("Scheduled"):
        at = detail.get("at") or event["time"]
        scheduled = {"kind": "schedule", "id": f"{detail['model']}@{at}"}
        return base | scheduled | {"text": f"its schedule, {short_day(at)}"}
    cause = detail.get("cause")
    if kind == "ViolationFound":
        return (cause or base | {"kind": "violation"}) | {
            "text": f"a violation: {named(detail.get('top') or [])}"
        }
    if kind == "CloudWatch Alarm State Change":
        return base | {"kind": "alarm", "id": detail["alarmName"], "text": f"alarm {detail['alarmName']}"}
    if isinstance(cause, dict):
        words = CAUSES.get(cause["kind"], cause["kind"])
        return cause | {"text": f"{words} ({cause['id'].split('@')[0]})"}
    return base | {"kind": "program", "text": kind or "an event"}


def named(violations: list[dict]) -> str:
    """What is violated, each thing once: `log_loss, temp`."""
    return ", ".join(dict.fromkeys(found["feature_name"] for found in violations)) or "nothing named"


class Watch:
    """All executions of the machines since the watch began, oldest first.

    `machines` maps a machine's short name to its ARN, `say` prints a line. Its thread never ends by an error:
    an API that does not answer for a moment is asked again.
    """

    def __init__(self, client: Any, machines: dict[str, str], say: Callable[[str], None]) -> None:
        self._client = client
        self._machines = machines
        self._say = say
        self._began = time.time()
        self._executions: dict[str, Execution] = {}
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    @property
    def began(self) -> float:
        return self._began

    def executions(self) -> list[Execution]:
        with self._lock:
            return sorted(self._executions.values(), key=lambda execution: execution.started)

    def running(self) -> list[Execution]:
        return [execution for execution in self.executions() if execution.running]

    def busy(self, leads_on: set[str], reaction: float) -> list[Execution]:
        """What runs now, and what ended within `reaction` seconds in a state that starts another machine."""
        since = time.time() - reaction
        return [
            execution
            for execution in self.executions()
            if execution.running or ((execution.stopped or 0) > since and execution.ended_in in leads_on)
        ]

    def poll(self) -> None:
        """Reads what is new; the thread calls it, and so may anyone who cannot wait."""
        with self._lock:
            for machine, arn in self._machines.items():
                for item in reversed(self._news(machine, arn)):
                    self._read(machine, item, self._executions.get(item["executionArn"]))

    def _news(self, machine: str, arn: str) -> list[dict]:
        """What is new or was running, newest first: page by page, down to the oldest that was running. A
        schedule that the clock jumps over starts hundreds at once."""
        unseen = {
            found.arn for found in self._executions.values() if found.machine == machine and found.running
        }
        news: list[dict] = []
        pages = self._client.get_paginator("list_executions").paginate(
            stateMachineArn=arn, PaginationConfig={"PageSize": PAGE}
        )
        for page in pages:
            fresh = [
                item
                for item in page["executions"]
                if item["executionArn"] in unseen or item["executionArn"] not in self._executions
            ]
            news += fresh
            unseen -= {item["executionArn"] for item in fresh}
            if not fresh and not unseen:
                break
        return news

    def _follow(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            try:
                self.poll()
            except Exception as error:
                if self._stop.is_set():
                    return
                self._say(f"watch: {error}")
                self._stop.wait(2)

    def _read(self, machine: str, item: dict, known: Execution | None) -> None:
        execution = known
        if execution is None:
            described = self._client.describe_execution(executionArn=item["executionArn"])
            execution = Execution(
                machine, item["executionArn"], item["startDate"].timestamp(), json.loads(described["input"])
            )
            self._executions[execution.arn] = execution
            if machine not in BRIEF:
                self._tell(execution, "started", execution.cause["text"])
        self._read_history(execution)
        if item["status"] != "RUNNING":
            self._end(execution)

    def _read_history(self, execution: Execution) -> None:
        pages = self._client.get_paginator("get_execution_history").paginate(
            executionArn=execution.arn, includeExecutionData=False, maxResults=1000
        )
        events = [event for page in pages for event in page["events"]][execution.seen :]
        execution.seen += len(events)
        for event in events:
            self._apply(execution, event)

    def _apply(self, execution: Execution, event: dict) -> None:
        kind, at = event["type"], event["timestamp"].timestamp()
        if kind.endswith("StateEntered"):
            name = event["stateEnteredEventDetails"]["name"]
            execution.states.append(State(name, kind.removesuffix("StateEntered"), at))
        elif kind.endswith("StateExited"):
            state = execution.states[-1]
            state.exited = at
            again = any(before.name == state.name for before in execution.states[:-1])  # a loop that waits
            if state.kind in SHOWN and execution.machine not in BRIEF and not again:
                caught = f"{state.error.partition(':')[0]}, caught" if state.error else ""
                self._tell(execution, state.name, caught, state.seconds)
        elif kind == "TaskFailed":
            failed = event["taskFailedEventDetails"]
            execution.states[-1].error = one_line(f"{failed.get('error')}: {spoken(failed.get('cause'))}")

    def _end(self, execution: Execution) -> None:
        described = self._client.describe_execution(executionArn=execution.arn)
        if described["status"] == "RUNNING":
            return
        self._read_history(execution)
        execution.stopped = described["stopDate"].timestamp()
        if execution.states and execution.states[-1].exited is None:
            execution.states[-1].exited = execution.stopped
        if described["status"] != "SUCCEEDED":
            execution.reason = one_line(spoken(described.get("cause")) or described.get("error") or "")
        execution.status = described["status"]
        said = execution.reason
        if execution.machine in BRIEF:
            steps = " > ".join(f"{s.name} {s.seconds:.1f}" for s in execution.states if s.kind in SHOWN)
            said = f"{execution.cause['text']}: {steps}" + (f". {said}" if said else "")
        self._tell(execution, f"= {execution.ended_in}", said, execution.seconds)

    def _tell(self, execution: Execution, what: str, why: str, seconds: float | None = None) -> None:
        took = f"{seconds:6.1f} s" if seconds is not None else " " * 8
        self._say(f"{short_day(execution.at):>6}  {execution.machine:8}{what:24}{took}  {why}".rstrip())


def spoken(cause: str | None) -> str:
    """A function's failure comes as JSON of its errorMessage, a job's as JSON of its Describe."""
    try:
        report = json.loads(cause or "")
    except ValueError:
        return cause or ""
    if not isinstance(report, dict):
        return str(report)
    for key in ("errorMessage", "FailureReason", "ExitMessage"):
        if report.get(key):
            return str(report[key])
    return cause or ""


def one_line(text: str, limit: int = 300) -> str:
    words = " ".join(text.split())
    return words if len(words) <= limit else words[: limit - 1] + "…"
