"""Step Functions' `.waitForTaskToken` as AWS has it: the call goes as every other task's does, and its
failure is the task's; the wait ends with the first answer, with the task's time or with the execution; a
timeout may be an expression. SendTask* act on the machine that waits."""

import json
import threading
import time
from typing import Any

from local import ministack
from local.machines import POLL_SECONDS, current_task, failure

SUFFIX = ".waitForTaskToken"
# token: ARN of the machine that waited with it. Also after its end: a late answer is told so, not forbidden.
_machines: dict[str, str] = {}


def machine_of(token: str) -> str | None:
    """The state machine that an answer with this token acts on."""
    return _machines.get(token)


def install(time_scale: float) -> None:
    """time_scale: a wait for somebody's answer is divided by it, as every wait is."""
    _install_expressions()

    def wait(resource: str, arguments: Any, token: str, state: dict[str, Any]) -> Any:
        task, answered = current_task(), threading.Event()
        waiting = {"event": answered, "result": None, "error": None, "heartbeat": None, "task": task}
        tokens = ministack.get("task_tokens")
        tokens[token], _machines[token] = waiting, task.execution["stateMachineArn"]
        try:
            ministack.get("invoke_resource")(resource.removesuffix(SUFFIX), arguments)
            seconds = state.get("TimeoutSeconds")
            until = time.monotonic() + seconds / time_scale if seconds else float("inf")
            while not answered.wait(POLL_SECONDS):
                if task.is_over():
                    raise failure("States.TaskFailed", f"{task.state} was stopped with its execution")
                if time.monotonic() > until:
                    raise failure("States.Timeout", "")
        finally:
            tokens.pop(token, None)
        if waiting["error"]:
            raise failure(waiting["error"]["Error"], waiting["error"]["Cause"])
        return json.loads(waiting["result"])

    ministack.replace("invoke_with_callback", wait)
    for name in ("send_task_success", "send_task_failure"):
        _install_answer(name)


def _install_expressions() -> None:
    def execute_task(state: dict, raw_input: Any, execution: dict, ctx: dict) -> Any:
        if isinstance(state.get("TimeoutSeconds"), str):
            seconds = ministack.get("evaluate")(state["TimeoutSeconds"], raw_input, ctx)
            state = state | {"TimeoutSeconds": seconds}
        return run(state, raw_input, execution, ctx)

    run = ministack.replace("execute_task", execute_task)


def _install_answer(name: str) -> None:
    """The first answer counts; who comes later, or after the end, is told so."""

    def answer(data: dict[str, Any]) -> Any:
        token = data.get("taskToken")
        waiting = ministack.get("task_tokens").get(token)
        over = waiting["event"].is_set() or waiting["task"].is_over() if waiting else token in _machines
        if not over:
            return send(data)
        message = "Task Timed Out: 'Provided task does not exist anymore'"
        body = {"__type": "TaskTimedOut", "message": message}
        return 400, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(body).encode()

    send = ministack.replace(name, answer)
