"""Step Functions as AWS has it where MiniStack differs: service integrations under the machine's role, job
waits, timeouts that stop what they time out, retry delays, size limits and YAML definitions.

A task's call goes over HTTP with the credentials of the machine's role, so that the role's policies are
enforced and errors come from the service itself, named after the SDK's exception class as Step Functions
names them.
"""

import contextlib
import contextvars
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml
from botocore.exceptions import ClientError, ParamValidationError

from local import ministack, sdk
from local.host import AccessDenied
from local.machine import Machine
from local.sagemaker.errors import SageMakerError

MAX_PAYLOAD = 256 * 1024  # bytes: the input or output of a state, a task or an execution
POLL_SECONDS = 0.05
JOBS = {  # what .sync waits for: the name's key, and the managed rule that AWS would listen with
    "createTrainingJob": ("TrainingJob", "StepFunctionsGetEventsForSageMakerTrainingJobsRule"),
    "createProcessingJob": ("ProcessingJob", "StepFunctionsGetEventsForSageMakerProcessingJobsRule"),
    "createTransformJob": ("TransformJob", "StepFunctionsGetEventsForSageMakerTransformJobsRule"),
    "createHyperParameterTuningJob": (
        "HyperParameterTuningJob",
        "StepFunctionsGetEventsForSageMakerTuningJobsRule",
    ),
}
# Optimised integrations whose argument may be JSON where the API takes text.
JSON_TEXT = {"events:putEvents": "Detail", "sns:publish": "Message", "sqs:sendMessage": "MessageBody"}
JSON_TEXT |= {"states:startExecution": "Input"}
OPTIMISED = ("sagemaker:", "events:putEvents", "sns:publish", "sqs:sendMessage", "dynamodb:")


@dataclass
class Task:
    """The task that runs in this thread; `cancelled` is set when its time is up."""

    execution: dict[str, Any]
    role: str
    state: str
    cancelled: threading.Event = field(default_factory=threading.Event)

    def is_over(self) -> bool:
        return self.cancelled.is_set() or self.execution["status"] != "RUNNING"


_task: contextvars.ContextVar[Task] = contextvars.ContextVar("task")


def current_task() -> Task:
    """The task that runs in this thread."""
    return _task.get()


class Machines:
    """The integrations. service(): SageMaker of the execution's account, asked directly while a job runs."""

    def __init__(self, host: Machine, service: Callable[[], Any]) -> None:
        self.host, self.service = host, service

    def call(self, resource: str, arguments: Any) -> Any:
        """Answers a Task's Resource other than Lambda's."""
        name = resource.removeprefix("arn:aws:states:::")
        if name.startswith("aws-sdk:"):
            _, service, action = name.split(":")
            return self.call_api(service, action, arguments, "")
        service, _, action = name.partition(":")
        action, _, pattern = action.partition(".")
        answer = self.call_api(service, action, _with_json_text(f"{service}:{action}", arguments), "Amazon")
        if name == "events:putEvents" and answer.get("FailedEntryCount"):
            raise failure("EventBridge.FailedEntry", json.dumps(answer))
        if service == "sagemaker" and pattern == "sync":
            return self.wait(action, arguments)
        return answer

    def call_api(self, service: str, action: str, arguments: Any, unmodelled: str) -> Any:
        """One API call as the machine's role. unmodelled: the prefix of an error that no model lists."""
        task = _task.get()
        client = self.host.client(sdk.boto_name(service), self.credentials(task))
        operation = sdk.operation(client, action)
        try:
            parameters = sdk.to_parameters(arguments or {}, operation.input_shape)
            answer = getattr(client, sdk.method(client, action))(**parameters)
        except ParamValidationError as error:
            raise failure(
                "States.Runtime", f"The Parameters of {task.state} could not be used: {error}"
            ) from None
        except ClientError as error:
            raise failure(*sdk.error(client, operation, error, unmodelled)) from None
        return sdk.to_output(answer, operation.output_shape)

    def credentials(self, task: Task) -> dict[str, str]:
        try:
            return ministack.role_credentials(task.role, "StepFunctions", "states.amazonaws.com")
        except AccessDenied as error:
            raise failure("States.Runtime", f"{task.state}: {error}") from None

    def require(self, action: str, resource: str, error: str) -> None:
        """Fails the task with `error` unless its role allows the action."""
        key = self.credentials(_task.get())["AWS_ACCESS_KEY_ID"]
        try:
            ministack.authorize(key, self.host.region, action, resource)
        except AccessDenied as denied:
            raise failure(error, str(denied)) from None

    def wait(self, action: str, arguments: dict[str, Any]) -> Any:
        """Waits for a job's end: its description, or States.TaskFailed with the description as the cause."""
        kind, rule = JOBS[action]
        name = {f"{kind}Name": arguments[f"{kind}Name"]}
        where = f"arn:aws:events:{self.host.region}:{self.host.account}:rule/{rule}"
        for permission in ("events:PutTargets", "events:PutRule", "events:DescribeRule"):
            self.require(permission, where, "SageMaker.AmazonSageMakerException")
        task, service = _task.get(), self.service()
        while True:
            job = service.call(f"Describe{kind}", dict(name))
            status = job[f"{kind}Status"]
            if status in ("Completed", "Failed", "Stopped"):
                break
            if task.is_over():
                with contextlib.suppress(SageMakerError):  # it may have ended meanwhile
                    service.call(f"Stop{kind}", dict(name))
                raise failure("States.TaskFailed", f"{name} was stopped with its execution")
            time.sleep(POLL_SECONDS)
        shape = sdk.operation(self.host.client("sagemaker"), f"describe{kind}").output_shape
        description = sdk.to_output(job, shape)
        if status != "Completed":
            raise failure("States.TaskFailed", json.dumps(description))
        return description

    def invoke_function(self, original: Any, resource: str, arguments: Any) -> Any:
        reference = arguments.get("FunctionName", "") if "states:::lambda:invoke" in resource else resource
        _, config, name = ministack.get("function_by_reference")(reference)
        arn = config["FunctionArn"] if config else name
        self.require("lambda:InvokeFunction", arn, "Lambda.AWSLambdaException")
        return original(resource, arguments)


def failure(error: str, cause: str) -> Exception:
    return ministack.get("execution_error")(error, cause)


def _with_json_text(name: str, arguments: Any) -> Any:
    member = JSON_TEXT.get(name)
    if member is None or not isinstance(arguments, dict):
        return arguments
    if "Entries" in arguments:
        return arguments | {"Entries": [_as_text(entry, member) for entry in arguments["Entries"]]}
    return _as_text(arguments, member)


def _as_text(arguments: dict[str, Any], member: str) -> dict[str, Any]:
    value = arguments.get(member)
    return arguments | {member: json.dumps(value)} if isinstance(value, dict | list) else arguments


def install(host: Machine, service: Callable[[], Any]) -> None:
    integrations = Machines(host, service)
    _install_calls(integrations)
    _install_timeouts()
    _install_limits()
    _install_definitions()


def _install_calls(integrations: Machines) -> None:
    def execute_task(state: dict, raw_input: Any, execution: dict, ctx: dict) -> Any:
        machine = ministack.get("state_machines").get(execution["stateMachineArn"]) or {}
        ctx["Execution"].setdefault("RoleArn", machine.get("roleArn"))
        token = _task.set(Task(execution, machine.get("roleArn", ""), ctx["State"]["Name"]))
        try:
            output, following = run_task(state, raw_input, execution, ctx)
        finally:
            _task.reset(token)
        if len(json.dumps(output)) > MAX_PAYLOAD:
            raise failure(
                "States.DataLimitExceeded", f"{ctx['State']['Name']} returned more than {MAX_PAYLOAD} bytes"
            )
        return output, following

    def invoke(resource: str, arguments: Any) -> Any:
        name = resource.removeprefix("arn:aws:states:::")
        if name.startswith("lambda:") or ":lambda:" in resource:
            return integrations.invoke_function(invoke_resource, resource, arguments)
        if name.startswith(("aws-sdk:", *OPTIMISED)) or name == "states:startExecution":
            return integrations.call(resource, arguments)
        return invoke_resource(resource, arguments)

    run_task = ministack.replace("execute_task", execute_task)
    invoke_resource = ministack.replace("invoke_resource", invoke)


def _install_timeouts() -> None:
    """A task or machine whose time is up: its job is stopped, and the execution ends as TIMED_OUT."""

    def invoke_with_timeout(resource: str, arguments: Any, seconds: float) -> Any:
        task, ended = _task.get(), threading.Event()
        outcome: list[Any] = []

        def work() -> None:
            try:
                outcome.append((ministack.get("invoke_resource")(resource, arguments), None))
            except Exception as error:  # handed to the state's thread
                outcome.append((None, error))
            ended.set()

        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(work,), daemon=True).start()
        if not ended.wait(seconds):
            task.cancelled.set()
            raise failure("States.Timeout", f"{task.state} ran longer than {seconds} seconds")
        result, error = outcome[0]
        if error:
            raise error
        return result

    def run_execution(arn: str) -> None:
        execution = ministack.get("executions").get(arn)
        seconds = _machine_timeout(execution)
        timer = threading.Timer(seconds, time_out, [execution]) if seconds else None
        if timer:
            timer.daemon = True
            timer.start()
        try:
            run(arn)
        finally:
            if timer:
                timer.cancel()

    def fail_execution(execution: dict, error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":  # an aborted execution's last task must not rename its end
            fail(execution, error, cause)

    def time_out(execution: dict) -> None:
        if execution["status"] != "RUNNING":
            return
        stopped = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        execution |= {"status": "TIMED_OUT", "stopDate": stopped, "error": "States.Timeout", "cause": ""}
        ministack.get("add_history")(execution, "ExecutionTimedOut", {})
        ministack.get("emit_execution_status")(execution)

    ministack.replace("invoke_resource_with_timeout", invoke_with_timeout)
    run = ministack.replace("run_execution", run_execution)
    fail = ministack.replace("fail_execution", fail_execution)


def _machine_timeout(execution: dict | None) -> float | None:
    machine = ministack.get("state_machines").get((execution or {}).get("stateMachineArn"))
    with contextlib.suppress(ValueError, TypeError):
        return json.loads(machine["definition"]).get("TimeoutSeconds")
    return None


def _install_limits() -> None:
    """MaxDelaySeconds and JitterStrategy of a retrier; the size limit of an execution's input."""

    def find_retrier(retriers: list[dict], error: str, counts: dict) -> tuple[dict | None, int]:
        retrier, index = find(retriers, error, counts)
        if retrier is None:
            return retrier, index
        delay = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** counts.get(index, 0)
        delay = min(delay, retrier.get("MaxDelaySeconds", delay))
        if retrier.get("JitterStrategy") == "FULL":
            delay = random.uniform(0, delay)
        return retrier | {"IntervalSeconds": delay, "BackoffRate": 1.0}, index

    def start_execution(data: dict[str, Any]) -> Any:
        size = len(data.get("input", "").encode())
        if size > MAX_PAYLOAD:
            text = f"Value at 'input' failed to satisfy constraint: Member must have length <= {MAX_PAYLOAD}"
            body = {"__type": "InvalidExecutionInput", "message": f"{text} ({size})"}
            return 400, {"Content-Type": "application/x-amz-json-1.0"}, json.dumps(body).encode()
        return start(data)

    find = ministack.replace("find_retrier", find_retrier)
    start = ministack.replace("start_execution", start_execution)


def _install_definitions() -> None:
    """Definitions in YAML become JSON; one that does not parse fails its deployment, not its first run."""

    def definition(properties: dict[str, Any]) -> str:
        text = load(properties)
        try:
            parsed = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"InvalidDefinition: the definition is neither JSON nor YAML: {error}") from None
        text = json.dumps(parsed)
        if not isinstance(parsed, dict) or parsed.get("StartAt") not in parsed.get("States", {}):
            raise ValueError(
                "InvalidDefinition: the definition needs States, and a StartAt that is one of them"
            )
        if problem := ministack.get("check_definition")(text):
            raise ValueError(f"InvalidDefinition: {problem}")
        return text

    load = ministack.replace("machine_definition", definition)
