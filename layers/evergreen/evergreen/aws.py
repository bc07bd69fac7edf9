"""The one door to AWS: clients made once, and botocore's errors translated into ours."""

import functools
import re
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from .errors import AwsConflict, AwsDenied, AwsError, AwsNotFound, AwsRejected, AwsUnavailable

# A handler has seconds, not minutes; the state machine tries again with patience.
_ATTEMPTS = 4
# A model that hangs would be asked four times while the caller waits, and each time may be captured.
_ASKED_ONCE = ("sagemaker-runtime",)

_NOT_FOUND = {"404", "NoSuchKey", "NoSuchVersion", "ResourceNotFound", "ResourceNotFoundException"}
_NOT_FOUND |= {"ExecutionDoesNotExist", "NotFound"}
_MISSING = re.compile("Could not find|does not exist", re.IGNORECASE)
_CONFLICT = {"ConditionalCheckFailedException", "TransactionCanceledException", "ConflictException"}
_DENIED = {"AccessDenied", "AccessDeniedException", "403", "UnauthorizedOperation"}
_UNAVAILABLE = {"TransactionInProgressException", "ServiceUnavailable", "SlowDown", "LimitExceededException"}


@functools.cache
def client(service: str) -> Any:
    """The boto3 client of a service: made at its first use and kept for the life of the process."""
    retries = {"mode": "standard", "total_max_attempts": 1 if service in _ASKED_ONCE else _ATTEMPTS}
    return boto3.client(service, config=Config(connect_timeout=3, read_timeout=25, retries=retries))


def call(service: str, operation: str, **params: Any) -> dict[str, Any]:
    """Call an operation by its boto3 name; raises a subclass of AwsError.

    >>> call("s3", "get_object", Bucket="b", Key="k")["Body"]
    """
    try:
        return getattr(client(service), operation)(**params)
    except (ClientError, BotoCoreError) as error:
        raise _translated(error, f"{service}:{operation}") from error


def pages(service: str, operation: str, key: str, **params: Any) -> Iterator[dict[str, Any]]:
    """The items under `key` over every page of a list operation."""
    try:
        for page in client(service).get_paginator(operation).paginate(**params):
            yield from page.get(key, ())
    except (ClientError, BotoCoreError) as error:
        raise _translated(error, f"{service}:{operation}") from error


def _translated(error: ClientError | BotoCoreError, operation: str) -> AwsError:
    if isinstance(error, ParamValidationError):
        return AwsRejected(f"{operation}: {error}", type(error).__name__)
    if isinstance(error, BotoCoreError):
        return AwsUnavailable(f"{operation}: {error}", type(error).__name__)
    code = error.response["Error"].get("Code", "")
    message = f"{operation}: {code}: {error.response['Error'].get('Message', '')}"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    if code == "TransactionCanceledException":
        return _cancelled(error.response, message, code)
    if code in _CONFLICT:
        return AwsConflict(message, code)
    # SageMaker has no code of its own for a thing that is not there.
    if code in _NOT_FOUND or (code == "ValidationException" and _MISSING.search(message)):
        return AwsNotFound(message, code)
    if code in _DENIED:
        return AwsDenied(message, code)
    if code in _UNAVAILABLE or "Throttl" in code or code == "TooManyRequestsException" or status >= 500:
        return AwsUnavailable(message, code)
    return AwsRejected(message, code)


def _cancelled(response: dict[str, Any], message: str, code: str) -> AwsError:
    """A transaction that lost a race may be tried again; one whose condition failed may not."""
    reasons = [reason.get("Code", "None") for reason in response.get("CancellationReasons", ())]
    failed = frozenset(place for place, why in enumerate(reasons) if why == "ConditionalCheckFailed")
    if failed:
        return AwsConflict(message, code, failed)
    if any(why in ("TransactionConflict", "ThrottlingError") for why in reasons):
        return AwsUnavailable(message, code)
    return AwsRejected(message, code)
