"""A Task's Resource and Arguments against botocore's description of the service that it calls.

No public linter does this: a misspelt action or member shows on AWS when the machine is created or, inside an
expression, at the first run.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import botocore.session
from botocore.exceptions import UnknownServiceError
from botocore.model import OperationModel, Shape, StructureShape

# Step Functions names services as the AWS SDK for Java does; where botocore has another name, it is here.
SERVICES = {
    "applicationautoscaling": "application-autoscaling",
    "cloudwatchlogs": "logs",
    "eventbridge": "events",
    "sagemakerruntime": "sagemaker-runtime",
    "sfn": "stepfunctions",
}
RUN_A_JOB = ("", ".sync")
# The optimised integrations that the loop may use, and the ways in which each may be called.
OPTIMISED = {
    "lambda:invoke": ("", ".waitForTaskToken"),
    "dynamodb:getItem": ("",),
    "dynamodb:putItem": ("",),
    "dynamodb:updateItem": ("",),
    "dynamodb:deleteItem": ("",),
    "events:putEvents": ("", ".waitForTaskToken"),
    "sns:publish": ("", ".waitForTaskToken"),
    "sqs:sendMessage": ("", ".waitForTaskToken"),
    "states:startExecution": ("", ".sync", ".sync:2", ".waitForTaskToken"),
    "sagemaker:createTrainingJob": RUN_A_JOB,
    "sagemaker:createProcessingJob": RUN_A_JOB,
    "sagemaker:createTransformJob": RUN_A_JOB,
    "sagemaker:createHyperParameterTuningJob": RUN_A_JOB,
    "sagemaker:createModel": ("",),
    "sagemaker:createEndpointConfig": ("",),
    "sagemaker:createEndpoint": ("",),
    "sagemaker:updateEndpoint": ("",),
}
# Where an optimised integration takes less than the API does, or has JSON where the API has text.
MEMBERS_OF_OPTIMISED = {"sagemaker:updateEndpoint": {"EndpointConfigName", "EndpointName"}}
JSON_MEMBERS = {"Payload", "Detail", "Message", "MessageBody", "Input"}

# Errors that no service model holds: Step Functions' own, and those of the Lambda sandbox.
ERRORS_OF_STATES = re.compile(
    r"States\.\w+|(Lambda|Runtime|Sandbox|Function)\.\w+|EventBridge\.FailedEntry|\w+"
)
# The prefix of a service's errors, and the name of those that its model does not list.
UNMODELLED_OF_OPTIMISED = {"sagemaker": "AmazonSageMakerException"}

_RESOURCE = re.compile(
    r"arn:aws:states:::(?P<sdk>aws-sdk:)?(?P<service>\w+):(?P<action>\w+)(?P<pattern>\.[\w.:]+)?"
)
NodePath = tuple[str | int, ...]


class UnknownResource(Exception):
    """The Resource names no integration of Step Functions, or no action of the service."""


@functools.cache
def _service(name: str):
    """botocore's model of a service (SageMaker's takes 40 ms to read)."""
    return botocore.session.get_session().get_service_model(name)


@functools.cache
def operation_of(resource: str) -> OperationModel:
    """The operation that a Task's Resource calls. Raises UnknownResource with what is wrong."""
    found = _RESOURCE.fullmatch(resource)
    if not found:
        raise UnknownResource(f"{resource} is not of the form arn:aws:states:::<service>:<action>")
    name, action, pattern = found["service"], found["action"], found["pattern"] or ""
    if not found["sdk"]:
        patterns = OPTIMISED.get(f"{name}:{action}")
        if patterns is None:
            raise UnknownResource(f"Step Functions has no optimised {name}:{action}: use aws-sdk:")
        if pattern not in patterns:
            raise UnknownResource(f"{name}:{action} cannot be called as {pattern or 'request-response'}")
        name = {"states": "stepfunctions"}.get(name, name)
    elif pattern not in ("", ".waitForTaskToken"):
        raise UnknownResource(f"an aws-sdk integration has no {pattern}")
    try:
        service = _service(SERVICES.get(name, name))
    except UnknownServiceError:
        raise UnknownResource(f"there is no service {name}") from None
    operation = action[:1].upper() + action[1:]
    if not action[:1].islower() or operation not in service.operation_names:
        raise UnknownResource(f"{service.service_name} has no action {action}")
    return service.operation_model(operation)


def check_task(path: NodePath, name: str, state: dict[str, Any]) -> Iterator[tuple[NodePath, str]]:
    """The mistakes in a Task's Resource, and in those Arguments that are written out rather than computed."""
    resource = state.get("Resource", "")
    try:
        operation = operation_of(resource)
    except UnknownResource as error:
        yield (*path, "Resource"), f"{name}: {error}"
        return
    arguments = state.get("Arguments", {})
    if not isinstance(arguments, Mapping) or operation.input_shape is None:
        return
    at = (*path, "Arguments")
    allowed = MEMBERS_OF_OPTIMISED.get(resource.removeprefix("arn:aws:states:::"))
    for member in sorted(set(arguments) - allowed if allowed else ()):
        yield (*at, member), f"{name}: the optimised integration does not take {member}: use aws-sdk:"
    yield from (
        (where, f"{name}: {what}") for where, what in _check_shape(operation.input_shape, arguments, at)
    )


def check_errors(path: NodePath, name: str, state: dict[str, Any]) -> Iterator[tuple[NodePath, str]]:
    """Names in Retry and Catch that the Task can never raise.

    An error is named after the SDK's exception class: `Scheduler.ConflictException`. A code that the
    service's model does not list (SageMaker's ThrottlingException, ValidationException) has no class of its
    own and arrives as the service's common one.
    """
    try:
        known, common = errors_of(state.get("Resource", ""))
    except UnknownResource:
        return
    for kind in ("Retry", "Catch"):
        for place, rule in enumerate(state.get(kind, [])):
            for error in rule["ErrorEquals"]:
                if not ERRORS_OF_STATES.fullmatch(error) and error not in known:
                    at = (*path, kind, place)
                    yield at, f"{name}: never raises {error}; what the service's model lacks is a {common}"


def errors_of(resource: str) -> tuple[set[str], str]:
    """The error names that a Task of this Resource may end in, and the common one among them."""
    operation = operation_of(resource)
    service = operation.service_model
    name = service.service_id.replace(" ", "")
    optimised = None if ":aws-sdk:" in resource else UNMODELLED_OF_OPTIMISED.get(service.service_name)
    common = f"{name}.{optimised or f'{name}Exception'}"
    # The SDK for Java names a class after the shape: InternalServiceFault is an InternalServiceException.
    modelled = {
        re.sub(r"(Exception|Fault)?$", "Exception", shape.name, count=1) for shape in service.error_shapes
    }
    return {common, f"{name}.SdkClientException", *(f"{name}.{error}" for error in modelled)}, common


def _check_shape(shape: Shape, value: Any, path: NodePath) -> Iterator[tuple[NodePath, str]]:
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        members = members_of(shape)
        for key in value:
            if key not in members:
                yield (*path, key), f"{shape.name} has no member {key}"
            elif key not in JSON_MEMBERS:
                yield from _check_shape(members[key], value[key], (*path, key))
        for key in shape.required_members:
            if sdk_name(key) not in value:
                yield path, f"{shape.name} needs {sdk_name(key)}"
    elif shape.type_name == "list" and isinstance(value, list):
        for place, item in enumerate(value):
            yield from _check_shape(shape.member, item, (*path, place))
    elif shape.type_name == "map" and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _check_shape(shape.value, item, (*path, key))
    elif not _is_expression(value):
        yield from ((path, message) for message in _check_literal(shape, value))


def _check_literal(shape: Shape, value: Any) -> Iterator[str]:
    expected = {
        "structure": Mapping, "map": Mapping, "list": list, "string": str, "boolean": bool,
        "integer": int, "long": int, "float": int | float, "double": int | float,
    }.get(shape.type_name, object)  # fmt: skip
    if not isinstance(value, expected) or (isinstance(value, bool) and shape.type_name != "boolean"):
        yield f"{shape.name} is a {shape.type_name}, not {value!r}"
    elif shape.type_name == "string" and shape.enum and value not in shape.enum:
        yield f"{value!r} is none of {', '.join(shape.enum)}"


def members_of(shape: StructureShape) -> dict[str, Shape]:
    return {sdk_name(name): member for name, member in shape.members.items()}


def sdk_name(member: str) -> str:
    """A member as Step Functions spells it: with a capital, which `stateMachineArn` lacks in the API."""
    return member[:1].upper() + member[1:]


def _is_expression(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("{%")
