"""InvokeEndpoint: the SageMaker Runtime API, a proxy in the server's event loop.

Nothing here blocks: the router picks an instance, the pool carries the request, capture and metrics note it.
"""

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..host import AccessDenied
from .capture import DEFAULT_CONTENT_TYPE, Payload
from .connections import Answer, ContainerError, Unreachable
from .errors import SageMakerError
from .hosting import Endpoint, Hosting
from .metrics import Source
from .routing import Cold, Fleet, Lease, NoCapacity, Side, Throttled, UnknownVariant
from .variants import Instance, LaunchFailed

if TYPE_CHECKING:
    from .service import Service

LARGEST_BODY = 6_291_456  # bytes
PATH = re.compile(r"/endpoints/([^/]+)/invocations/?")
_SAGEMAKER = "x-amzn-sagemaker-"
# SageMaker strips every header but those of the API before the container sees the request.
_FORWARDED = {
    "content-type": "Content-Type",
    "accept": "Accept",
    f"{_SAGEMAKER}custom-attributes": "X-Amzn-SageMaker-Custom-Attributes",
    f"{_SAGEMAKER}inference-id": "X-Amzn-SageMaker-Inference-Id",
    f"{_SAGEMAKER}session-id": "X-Amzn-SageMaker-Session-Id",
}
_RETURNED = {
    "content-type": "Content-Type",
    f"{_SAGEMAKER}custom-attributes": "X-Amzn-SageMaker-Custom-Attributes",
    f"{_SAGEMAKER}new-session-id": "X-Amzn-SageMaker-New-Session-Id",
    f"{_SAGEMAKER}closed-session-id": "X-Amzn-SageMaker-Closed-Session-Id",
}
_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency "
    "metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
)

_mirroring: set[asyncio.Task] = set()  # the loop itself holds tasks only weakly

log = logging.getLogger(__name__)
Response = tuple[int, dict[str, str], bytes]


class ModelError(SageMakerError):
    """The container answered with an error, or not at all (`original_status` 0)."""

    def __init__(self, endpoint: Endpoint, container: str, original_status: int, original: str) -> None:
        host = endpoint.service.host
        kind = "client" if 400 <= original_status < 500 else "server"
        group = f"/aws/sagemaker/Endpoints/{endpoint.name}"
        console = f"https://{host.region}.console.aws.amazon.com/cloudwatch/home?region={host.region}"
        super().__init__(
            "ModelError",
            f'Received {kind} error ({original_status}) from {container} with message "{original}". See '
            f"{console}#logEventViewer:group={group} in account {host.account} for more information.",
            status=424,
        )
        self.details = {
            "OriginalStatusCode": original_status,
            "OriginalMessage": original,
            "LogStreamArn": f"arn:aws:logs:{host.region}:{host.account}:log-group:{group}",
        }


class Invocation(NamedTuple):
    """A request as the runtime reads it; header names in lower case."""

    headers: Mapping[str, str]
    body: bytes
    began: float  # time.perf_counter()

    def option(self, name: str) -> str | None:
        return self.headers.get(f"{_SAGEMAKER}{name}")

    def forwarded(self) -> dict[str, str]:
        return {sent: self.headers[name] for name, sent in _FORWARDED.items() if name in self.headers}

    def payload(self) -> Payload:
        return Payload(self.headers.get("content-type", DEFAULT_CONTENT_TYPE), self.body)


async def handle_invoke(
    service: "Service",
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    query: Mapping[str, object],
) -> Response:
    """Answer `POST /endpoints/{EndpointName}/invocations` as the SageMaker Runtime does."""
    began = time.perf_counter()
    request_id = str(uuid.uuid4())
    try:
        match = PATH.fullmatch(path)
        if method != "POST" or not match:
            raise SageMakerError("UnknownOperationException", f"{method} {path} is not an operation.", 404)
        lowered = {name.lower(): value for name, value in headers.items()}
        answer = await _invoke(service, match[1], Invocation(lowered, body, began))
    except SageMakerError as error:
        return _failed(error, request_id)
    except Exception:
        log.exception("InvokeEndpoint %s failed (request %s)", path, request_id)
        return _failed(SageMakerError("InternalFailure", "The local SageMaker failed.", 500), request_id)
    return answer[0], answer[1] | {"x-amzn-RequestId": request_id}, answer[2]


async def _invoke(service: "Service", name: str, call: Invocation) -> Response:
    _authorize(service, call, name)
    if len(call.body) > LARGEST_BODY:
        raise _invalid(
            "1 validation error detected: Value at 'body' failed to satisfy constraint: "
            f"Member must have length less than or equal to {LARGEST_BODY}"
        )
    endpoint = service.part(Hosting).endpoints.get(name)
    if endpoint is None or endpoint.router.blue is None:
        raise _invalid(f"Endpoint {name} of account {service.host.account} not found.")
    tried: list[Instance] = []
    while True:
        lease = await _acquire(endpoint, call, tried)
        try:
            return await _serve(endpoint, lease, call)
        except Unreachable as error:
            tried.append(lease.instance)  # it never saw the request: the next instance may have it
            log.warning("endpoint %s: instance %s is not reachable: %s", name, lease.instance.id, error)
        finally:
            endpoint.router.release(lease)


def _authorize(service: "Service", call: Invocation, name: str) -> None:
    try:
        service.host.authorize(
            dict(call.headers), "sagemaker:InvokeEndpoint", service.store.arn("Endpoint", name)
        )
    except AccessDenied as denied:
        raise SageMakerError("AccessDeniedException", str(denied), 403) from denied


async def _acquire(endpoint: Endpoint, call: Invocation, tried: list[Instance]) -> Lease:
    target = call.option("target-variant")
    try:
        return endpoint.router.acquire(target, tried)
    except UnknownVariant:
        raise _invalid(f"Variant {target} of endpoint {endpoint.name} not found.") from None
    except Cold as cold:
        return await _warm_up(endpoint, cold, call) or await _acquire(endpoint, call, tried)
    except Throttled:
        raise SageMakerError("ThrottlingException", "Rate exceeded", 400) from None
    except NoCapacity as error:
        side = endpoint.router.blue
        variant = target or next(iter(side.fleets)) if side else ""
        _count(endpoint, Source(endpoint.name, variant, side.config if side else ""), 0, 0.0, call)
        raise ModelError(endpoint, "primary", 0, str(error)) from None


async def _warm_up(endpoint: Endpoint, cold: Cold, call: Invocation) -> Lease | None:
    """A serverless variant's cold start, which the request waits for; None where an update has taken the
    variant out of service meanwhile."""
    started = asyncio.ensure_future(asyncio.to_thread(endpoint.warm_up, cold.side, cold.fleet))
    try:
        return await asyncio.shield(started)
    except asyncio.CancelledError:
        started.add_done_callback(partial(_let_go, endpoint))
        raise
    except NoCapacity:
        return None
    except LaunchFailed as error:
        _count(endpoint, _source(endpoint, cold.side, cold.fleet), 0, 0.0, call)
        raise ModelError(endpoint, "primary", 0, str(error)) from error


def _let_go(endpoint: Endpoint, started: "asyncio.Future[Lease]") -> None:
    """The request is gone; the instance that it waited for takes the next one."""
    if not started.cancelled() and not started.exception():
        endpoint.router.release(started.result())


def _source(endpoint: Endpoint, side: Side, fleet: Fleet) -> Source:
    """Whose metrics a request of a fleet is: those of serverless variants do not name the configuration."""
    return Source(endpoint.name, fleet.variant, "" if fleet.serverless else side.config)


async def _serve(endpoint: Endpoint, lease: Lease, call: Invocation) -> Response:
    """One instance's answer, measured and captured; shadow variants get a copy."""
    hostname = call.option("target-container-hostname")
    if hostname and not lease.instance.has_container(hostname):
        raise _invalid(f"Container {hostname} of endpoint {endpoint.name} not found.")
    for shadow in endpoint.router.shadows(lease):
        task = asyncio.create_task(_mirror(endpoint, shadow, call))
        _mirroring.add(task)
        task.add_done_callback(_mirroring.discard)
    answer, container = await _send(endpoint, lease, call, hostname)
    if not 200 <= answer.status < 300:
        original = answer.body.decode(errors="replace")
        raise ModelError(endpoint, container, answer.status, original)
    returned = {sent: answer.headers[name] for name, sent in _RETURNED.items() if name in answer.headers}
    returned.setdefault("Content-Type", DEFAULT_CONTENT_TYPE)
    returned["x-Amzn-Invoked-Production-Variant"] = lease.fleet.variant
    return 200, returned, answer.body


async def _send(
    endpoint: Endpoint, lease: Lease, call: Invocation, hostname: str | None
) -> tuple[Answer, str]:
    """The exchange with the container, counted in the metrics; a good answer is captured."""
    source = _source(endpoint, lease.side, lease.fleet)
    sent = time.perf_counter()
    status = 0
    try:
        answer, container = await lease.instance.post(call.forwarded(), call.body, hostname)
        status = answer.status
    except TimeoutError:
        _count(endpoint, source, 0, time.perf_counter() - sent, call)
        raise ModelError(endpoint, "primary", 0, _TIMED_OUT) from None
    except Unreachable:
        raise
    except ContainerError as error:
        _count(endpoint, source, 500, time.perf_counter() - sent, call)
        original = f"The container closed the connection before it answered ({error})."
        raise ModelError(endpoint, "primary", 500, original) from error
    _count(endpoint, source, status, time.perf_counter() - sent, call)
    if lease.side.capture and 200 <= status < 300:
        response = Payload(answer.headers.get("content-type", DEFAULT_CONTENT_TYPE), answer.body)
        attributes = answer.headers.get(f"{_SAGEMAKER}custom-attributes", "")
        lease.side.capture.record(
            lease.fleet.variant, call.payload(), response, call.option("inference-id") or "", attributes
        )
    return answer, container


async def _mirror(endpoint: Endpoint, lease: Lease, call: Invocation) -> None:
    """A shadow variant's copy: measured and captured, its answer goes nowhere."""
    try:
        await _send(endpoint, lease, call._replace(began=time.perf_counter()), None)
    except (SageMakerError, ContainerError):
        log.info("endpoint %s: shadow variant %s failed", endpoint.name, lease.fleet.variant)
    finally:
        endpoint.router.release(lease)


def _count(endpoint: Endpoint, source: Source, status: int, model_seconds: float, call: Invocation) -> None:
    overhead = time.perf_counter() - call.began - model_seconds
    endpoint.hosting.metrics.count(source, status, model_seconds, overhead)


def _invalid(message: str) -> SageMakerError:
    """The runtime's error, which unlike the control plane's is no `...Exception`."""
    return SageMakerError("ValidationError", message)


def _failed(error: SageMakerError, request_id: str) -> Response:
    body = {"Message": error.message} | getattr(error, "details", {})
    headers = {
        "Content-Type": "application/json",
        "x-amzn-ErrorType": error.code,
        "x-amzn-RequestId": request_id,
    }
    return error.status, headers, json.dumps(body).encode()
