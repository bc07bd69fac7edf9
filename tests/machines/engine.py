"""Runs a state machine in this process, with a stand-in for each Task, and tells what happened.

The interpreter is the local stack's (MiniStack): paths, JSONata, Retry and Catch are its work. While a
machine runs, its functions that call services are replaced (the stand-ins answer, and each call's Arguments
are checked against botocore's model of the service, as AWS would), those that execute a state are watched
(each transition is noted, inside Map too), and waits are noted instead of waited for.

    result = run("train", event, {"AdmitRun": {"admitted": False, "reason": "a run is in progress"}})
    assert result.states == ["AdmitRun", "IsAdmitted", "TrainingDropped"]
"""

import contextlib
import contextvars
import copy
import functools
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from ministack.services import stepfunctions as interpreter

from tests.lint_asl import ACCOUNT, MACHINES, REGION, Machine, load
from tests.lint_integrations import JSON_MEMBERS, members_of, operation_of
from tests.machines.shapes import violations

_STATE_KINDS = ("pass", "task", "choice", "wait", "parallel", "map")
_current_state: contextvars.ContextVar[str] = contextvars.ContextVar("current_state")
_names = itertools.count(1)


@dataclass(frozen=True)
class Throw:
    """A Task's stand-in that fails: with the error's name as a Catch sees it, and its cause."""

    error: str
    cause: str = "as the test asked"


# A result, a Throw, a function of the Arguments, or a list of these: one for each call, then the last again.
Mock = Any


@dataclass
class Result:
    """What one execution did.

    `arguments[state]` holds what each call of a Task was given, in order; `waits` the seconds of Wait states
    and before retries; `transitions` (from, to), where an end is to ""; `rules` the Retry and Catch rules
    that applied, as (state, "Catch 0").
    """

    status: str = ""
    states: list[str] = field(default_factory=list)
    transitions: set[tuple[str, str]] = field(default_factory=set)
    arguments: dict[str, list[Any]] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)
    rules: set[tuple[str, str]] = field(default_factory=set)
    error: str | None = None
    cause: str | None = None
    output: Any = None

    @property
    def end(self) -> str:
        """The state that the execution ended in."""
        return self.states[-1]

    def only(self, state: str) -> Any:
        """The Arguments of a Task that was called once; a Lambda's are its Payload."""
        (arguments,) = self.arguments[state]
        return arguments


# Every transition and rule that any test took, for the test of what they cover.
VISITED: dict[str, set[tuple[str, str]]] = {}


@functools.cache
def machine(name: str) -> Machine:
    return load(MACHINES / f"{name}.asl.yaml")


def run(name: str, event: Mapping[str, Any], mocks: Mapping[str, Mock]) -> Result:
    """Runs `statemachines/<name>.asl.yaml` on an event to its end.

    A Task without a stand-in, or called with Arguments that AWS would refuse, fails the test, whatever the
    machine would have caught.
    """
    result, faults = Result(), []
    calls: dict[str, int] = {}

    def invoke(resource: str, arguments: Any) -> Any:
        state = _current_state.get()
        try:
            given = _checked(resource, arguments)
            result.arguments.setdefault(state, []).append(copy.deepcopy(given))
            place = calls[state] = calls.get(state, -1) + 1
            answer = _answer(mocks[state], place, given)
        except Exception as fault:
            faults.append(AssertionError(f"{name}.{state}: {fault!r}"))
            raise
        if isinstance(answer, Throw):
            raise interpreter._ExecutionError(answer.error, answer.cause)
        if resource.endswith("lambda:invoke"):
            return {"StatusCode": 200, "Payload": answer}
        if resource.endswith(".waitForTaskToken"):
            return answer  # as somebody sent it with the token
        faults.extend(AssertionError(f"{name}.{state}: {fault}") for fault in _foreign(resource, answer))
        return answer

    with _instrumented(invoke, result):
        execution = _execute(machine(name), event)
    if faults:
        raise faults[0]
    result.status = execution["status"]
    result.error, result.cause = execution.get("error"), execution.get("cause")
    result.states = [
        happened["stateEnteredEventDetails"]["name"]
        for happened in execution["events"]
        if "stateEnteredEventDetails" in happened
    ]
    if result.status == "SUCCEEDED":
        result.output = json.loads(execution["output"])
    VISITED.setdefault(name, set()).update(result.transitions | result.rules)
    return result


def _answer(mock: Mock, place: int, arguments: Any) -> Any:
    if isinstance(mock, list):
        mock = mock[min(place, len(mock) - 1)]
    return mock(arguments) if callable(mock) and not isinstance(mock, Throw) else mock


def _checked(resource: str, arguments: Any) -> Any:
    """What the Task gives its service; raises where the service's model would refuse it."""
    operation = operation_of(resource)
    if operation.name == "Invoke":
        return arguments["Payload"]
    known = members_of(operation.input_shape)
    unknown = sorted(set(arguments) - set(known))
    assert not unknown, f"{operation.name} has no {', '.join(unknown)}"
    found = violations(operation.input_shape, _as_sent(arguments))
    assert not found, f"{operation.name}: {'; '.join(found)}"
    return arguments


def _foreign(resource: str, answer: Mapping[str, Any]) -> list[str]:
    """What a stand-in answers and its service would not; a `.sync` job answers as its Describe does."""
    operation = operation_of(resource)
    if resource.endswith(".sync"):
        describe = operation.name.replace("Create", "Describe")
        operation = operation.service_model.operation_model(describe)
    shape = operation.output_shape
    known = members_of(shape) if shape else {}
    return [f"{operation.name} answers no {key}" for key in answer if key not in known]


def _as_sent(value: Any) -> Any:
    """Arguments as the API takes them: Step Functions writes a JSON member as text."""
    if isinstance(value, Mapping):
        return {
            key: json.dumps(item) if key in JSON_MEMBERS and isinstance(item, Mapping) else _as_sent(item)
            for key, item in value.items()
        }
    return [_as_sent(item) for item in value] if isinstance(value, list) else value


def _execute(definition: Machine, event: Mapping[str, Any]) -> dict[str, Any]:
    arn = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{definition.name}"
    name = f"test-{next(_names)}"
    execution = {
        "executionArn": arn.replace(":stateMachine:", ":execution:") + f":{name}",
        "stateMachineArn": arn,
        "name": name,
        "status": "RUNNING",
        "startDate": "2026-11-20T05:00:00.000Z",
        "input": json.dumps(event),
        "events": [],
        "sync": True,  # no status event: nobody listens here
    }
    record = {"name": definition.name, "definition": json.dumps(definition.definition), "roleArn": ""}
    machines, executions = {arn: record}, {execution["executionArn"]: execution}
    with (
        patch.object(interpreter, "_state_machines", machines),
        patch.object(interpreter, "_executions", executions),
    ):
        interpreter._run_execution(execution["executionArn"])
    return execution


@contextlib.contextmanager
def _instrumented(invoke: Callable[[str, Any], Any], result: Result) -> Iterator[None]:
    """MiniStack's interpreter with its services, its clock and its steps in our hands."""

    def noting(execute: Callable[..., tuple[Any, str | None]]) -> Callable[..., tuple[Any, str | None]]:
        def step(state: dict[str, Any], data: Any, *rest: Any) -> tuple[Any, str | None]:
            context = rest[-1]
            name = context["State"]["Name"]
            token = _current_state.set(name)
            try:
                output, following = execute(state, data, *rest)
            finally:
                _current_state.reset(token)
            result.transitions.add((name, following or ""))
            return output, following

        return step

    def find_retrier(rules: list[dict], error: str, counts: dict[int, int]) -> tuple[dict | None, int]:
        rule, place = retrier(rules, error, counts)
        if rule is not None:
            result.rules.add((_current_state.get(), f"Retry {place}"))
        return rule, place

    def find_catcher(rules: list[dict], error: str) -> dict | None:
        rule = catcher(rules, error)
        if rule is not None:
            result.rules.add((_current_state.get(), f"Catch {rules.index(rule)}"))
        return rule

    def is_chosen(rule: dict[str, Any], data: Any, context: dict[str, Any]) -> bool:
        """AWS fails a Condition that is not a boolean; MiniStack takes what counts as true."""
        verdict = interpreter._apply_jsonata_template(rule["Condition"], data, context)
        if not isinstance(verdict, bool):
            raise interpreter._ExecutionError(
                "States.QueryEvaluationError", f"{rule['Condition']}: {verdict!r}"
            )
        return verdict

    class Clock:
        """`time` as the interpreter uses it."""

        @staticmethod
        def sleep(seconds: float) -> None:
            if seconds != interpreter_start:
                result.waits.append(seconds)

    interpreter_start = 0.15  # MiniStack's pause before an execution
    retrier, catcher = interpreter._find_matching_retrier, interpreter._find_matching_catcher
    replaced = {f"_execute_{kind}": noting(getattr(interpreter, f"_execute_{kind}")) for kind in _STATE_KINDS}
    replaced |= {
        "_invoke_resource": invoke,
        "_invoke_resource_with_timeout": lambda resource, arguments, timeout: invoke(resource, arguments),
        "_invoke_with_callback": lambda resource, arguments, token, state: invoke(resource, arguments),
        "_evaluate_jsonata_choice_rule": is_chosen,
        "_find_matching_retrier": find_retrier,
        "_find_matching_catcher": find_catcher,
        "_SFN_WAIT_SCALE": 1.0,
        "time": Clock,
        # Items of a Map one by one: a list of answers meets its calls in order.
        "ThreadPoolExecutor": lambda max_workers: ThreadPoolExecutor(max_workers=1),
    }
    with contextlib.ExitStack() as stack:
        for name, value in replaced.items():
            stack.enter_context(patch.object(interpreter, name, value))
        yield
