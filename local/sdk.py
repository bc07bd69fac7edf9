"""How Step Functions and Scheduler spell an API: as the AWS SDK for Java, over botocore's models."""

import base64
import re
from datetime import UTC, datetime
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.model import OperationModel, Shape
from botocore.response import StreamingBody

BOTO_NAMES = {
    "applicationautoscaling": "application-autoscaling",
    "cloudwatchlogs": "logs",
    "eventbridge": "events",
    "sagemakerruntime": "sagemaker-runtime",
    "sfn": "stepfunctions",
    "states": "stepfunctions",
}


def boto_name(service: str) -> str:
    return BOTO_NAMES.get(service, service)


def operation(client: Any, action: str) -> OperationModel:
    """The operation of a lower camel case action: createSchedule."""
    return client.meta.service_model.operation_model(action[:1].upper() + action[1:])


def method(client: Any, action: str) -> str:
    return xform_name(action[:1].upper() + action[1:])


def to_parameters(value: Any, shape: Shape | None) -> Any:
    """Arguments in the SDK's spelling (each member with a capital) as botocore's parameters."""
    if shape is None or value is None:
        return value
    if shape.type_name == "structure" and isinstance(value, dict):
        names = {_sdk_name(shape, name): name for name in shape.members}
        found = ((names.get(key, key), item) for key, item in value.items() if item is not None)
        return {key: to_parameters(item, shape.members.get(key)) for key, item in found}
    if shape.type_name == "list" and isinstance(value, list):
        return [to_parameters(item, shape.member) for item in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: to_parameters(item, shape.value) for key, item in value.items()}
    if shape.type_name in ("integer", "long") and isinstance(value, float) and value.is_integer():
        return int(value)  # JSONata has one kind of number
    if shape.type_name == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


def to_output(value: Any, shape: Shape | None) -> Any:
    """botocore's answer as a task's result: the SDK's spelling, ISO times, text for bodies."""
    if isinstance(value, StreamingBody):
        value = value.read()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    if shape is None:
        return {} if isinstance(value, dict) else value
    if shape.type_name == "structure" and isinstance(value, dict):
        known = ((key, item) for key, item in value.items() if key in shape.members and item is not None)
        return {_sdk_name(shape, key): to_output(item, shape.members[key]) for key, item in known}
    if shape.type_name == "list" and isinstance(value, list | tuple):
        return [to_output(item, shape.member) for item in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {key: to_output(item, shape.value) for key, item in value.items()}
    return value


def error(client: Any, called: OperationModel, raised: ClientError, unmodelled: str = "") -> tuple[str, str]:
    """(Error, Cause) as Step Functions reports it.

    A modelled error is named after its class (Scheduler.ConflictException, SageMaker.ResourceInUseException),
    any other after the service's common one (SageMaker.SageMakerException; optimised integrations, built on
    the older SDK, have SageMaker.AmazonSageMakerException).
    """
    code = raised.response["Error"]["Code"]
    service_id = called.service_model.service_id
    service = service_id.replace(" ", "") if unmodelled else class_name(service_id)
    modelled = {shape.error_code or shape.name for shape in called.service_model.error_shapes}
    modelled |= {shape.name for shape in called.service_model.error_shapes}
    name = (
        re.sub(r"(Fault|Exception)$", "", code) + "Exception"
        if code in modelled
        else f"{unmodelled}{service}Exception"
    )
    metadata = raised.response.get("ResponseMetadata", {})
    message = raised.response["Error"].get("Message", "")
    status, request = metadata.get("HTTPStatusCode", 400), metadata.get("RequestId", "")
    cause = (
        f"{message} (Service: {service}, Status Code: {status}, Request ID: {request}, Error Code: {code})"
    )
    return f"{service}.{name}", cause


def class_name(service_id: str) -> str:
    """Application Auto Scaling -> ApplicationAutoScaling, DynamoDB -> DynamoDb."""
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+", service_id)
    return "".join(word[:1].upper() + word[1:].lower() for word in words)


def _sdk_name(shape: Shape, member: str) -> str:
    if (shape.name, member) == ("AttributeValue", "NULL"):
        return "Nul"
    return member[:1].upper() + member[1:]
