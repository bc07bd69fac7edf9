"""An instance of a variant: the container processes that serve a model over HTTP, from start to stop.

The contract is SageMaker's: the image is run with `serve`, finds the model in `<base>/model`, answers
`GET /ping` with 200 once it can take requests, and `POST /invocations`.
"""

import contextlib
import http.client
import io
import random
import shutil
import signal
import socket
import tarfile
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from . import transfer
from .connections import Answer, ConnectionPool, ContainerError
from .containers import UnknownImage, environment, find_image
from .logs import Logs
from .models import container_name, model_source, resolve
from .store import Record

if TYPE_CHECKING:
    from .service import Service

PING_INTERVAL, PING_TIMEOUT = 0.1, 2.0  # seconds
STARTUP_LIMIT, LEAST_STARTUP_LIMIT = 600, 10.0  # seconds: SageMaker's, at its time scale, and ours at least
STOP_GRACE = 5.0  # seconds
PORTS = (20_000, 32_000)
LONGEST_INVOCATION = 60.0  # seconds, SageMaker's limit


class LaunchFailed(Exception):
    """An instance did not come into service; the message is what SageMaker puts into FailureReason."""


class Whose(NamedTuple):
    """Where an instance's output goes, and how SageMaker's messages name it."""

    log_group: str
    log_stream: str
    owner: str  # `production variant main`


class ContainerServer:
    """One container of an instance."""

    def __init__(self, service: "Service", spec: Record, name: str, base: Path, model: Record) -> None:
        self.service, self.spec, self.name, self.base, self.model = service, spec, name, base, model
        self.port = 0
        self.pool = ConnectionPool(0)
        self._process = None

    def start(self, whose: Whose) -> None:
        """Start the process; the model is fetched the first time. Raises LaunchFailed."""
        try:
            image = find_image(self.service, self.spec["Image"])
            self._place_model()
        except UnknownImage as unknown:
            raise LaunchFailed(str(unknown)) from unknown
        except (transfer.TransferFailed, tarfile.TarError) as failure:
            raise LaunchFailed(self._no_model(failure)) from failure
        self.port = _free_port()
        self.pool = ConnectionPool(self.port)
        variables = environment(
            self.service,
            image,
            self.base,
            self.model.get("ExecutionRoleArn"),
            self.spec.get("Environment"),
            # Only this machine: a container that knows the second variable listens nowhere else.
            {"SAGEMAKER_BIND_TO_PORT": str(self.port), "SAGEMAKER_BIND_TO_HOST": "127.0.0.1"},
            isolated=self.model.get("EnableNetworkIsolation", False),
        )
        self._process = self.service.processes.start(
            [*image.entrypoint, "serve"], env=variables, cwd=self.base
        )
        lines = io.TextIOWrapper(self._process.stdout, errors="replace")
        follow = partial(self.service.part(Logs).follow, lines, whose.log_group, whose.log_stream, _ignore)
        threading.Thread(target=follow, name=f"logs-{whose.log_stream}", daemon=True).start()

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def answers_ping(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PING_TIMEOUT)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def post(self, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        """One invocation that blocks its thread (batch transform); raises OSError or HTTPException."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("POST", "/invocations", body, dict(headers))
            response = connection.getresponse()
            answered = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, answered, response.read())
        finally:
            connection.close()

    def terminate(self) -> None:
        self.pool.close()  # a server that ends gracefully would wait for idle connections
        if self.is_alive():
            self.service.processes.signal(self._process, signal.SIGTERM)

    def stop(self) -> None:
        if self._process:
            self.service.processes.stop(self._process, STOP_GRACE)

    def _place_model(self) -> None:
        folder = self.base / "model"
        if folder.exists():
            return
        folder.mkdir(parents=True)
        source = model_source(self.spec)
        if source is None:
            return
        s3 = transfer.client_of_role(self.service, self.model.get("ExecutionRoleArn"))
        if source["CompressionType"] == "None":
            transfer.download(s3, {"S3DataType": "S3Prefix", "S3Uri": source["S3Uri"]}, folder)
            return
        download = self.base / "download"
        one = {"S3DataType": "S3Prefix", "S3Uri": source["S3Uri"]}
        for archive in transfer.download(s3, one, download):
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
        shutil.rmtree(download)

    def _no_model(self, why: Exception) -> str:
        return (
            f'Failed to download model data for container "{self.name}" from URL: '
            f'"{model_source(self.spec)["S3Uri"]}". Please ensure that there is an object located at the URL '
            f"and that the role passed to CreateModel has permissions to download the object. ({why})"
        )


class Instance:
    """A model's containers, started and stopped together; several are a pipeline, called in turn.

    containers: the model's, resolved (`models.resolve`). model: its record.

    `ready`, `in_flight` and `idle_since` belong to the router: it sends requests to ready instances and
    counts them.
    """

    def __init__(
        self, service: "Service", containers: list[Record], model: Record, folder: Path, whose: Whose
    ) -> None:
        self.id = f"i-{uuid.uuid4().hex[:17]}"
        self.whose = whose._replace(log_stream=f"{whose.log_stream}/{self.id}")
        self.startup_limit = LEAST_STARTUP_LIMIT
        self.ready, self.in_flight, self.stopped = False, 0, False
        self.idle_since = time.monotonic()
        self._service, self._folder, self._lock = service, folder / self.id, threading.Lock()
        single = len(containers) == 1
        self._containers = [
            ContainerServer(
                service,
                spec,
                container_name(spec, place, single),
                self._folder if single else self._folder / str(place),
                model,
            )
            for place, spec in enumerate(containers, start=1)
        ]

    def start(self) -> None:
        """Start what is not running. Raises LaunchFailed."""
        for container in self._containers:
            with self._lock:
                if self.stopped:
                    raise LaunchFailed("The instance was stopped.")
                if not container.is_alive():
                    container.start(self.whose)

    def is_alive(self) -> bool:
        return all(container.is_alive() for container in self._containers)

    def healthy(self) -> bool:
        """Whether every container answers /ping now."""
        return all(container.answers_ping() for container in self._containers)

    def unhealthy_container(self) -> ContainerServer | None:
        return next((container for container in self._containers if not container.answers_ping()), None)

    def note(self, line: str) -> None:
        """A line in the instance's log that is not the container's."""
        self._service.part(Logs).write(self.whose.log_group, self.whose.log_stream, line)

    async def post(
        self, headers: Mapping[str, str], body: bytes, hostname: str | None = None
    ) -> tuple[Answer, str]:
        """One invocation from the event loop: the answer and the container that gave it.

        Raises ContainerError or TimeoutError. `hostname`: that container alone, for direct invocation.
        """
        for container in self._chain(hostname):
            answer = await container.pool.post("/invocations", headers, body, LONGEST_INVOCATION)
            if not 200 <= answer.status < 300:
                break
            headers, body = _handed_on(headers, answer), answer.body
        return answer, container.name

    def invoke(
        self, body: bytes, headers: Mapping[str, str], timeout: float = 600.0
    ) -> tuple[int, dict[str, str], bytes]:
        """One invocation from a thread (batch transform). Raises ContainerError."""
        for container in self._chain(None):
            try:
                answer = container.post(headers, body, timeout)
            except (OSError, http.client.HTTPException) as error:
                raise ContainerError(f"{container.name}: {error}") from error
            if not 200 <= answer.status < 300:
                break
            headers, body = _handed_on(headers, answer), answer.body
        return answer

    def terminate(self) -> None:
        """Ask the processes to end, without waiting."""
        with self._lock:
            self.ready, self.stopped = False, True
        for container in self._containers:
            container.terminate()

    def stop(self) -> None:
        """End the processes and remove their files."""
        self.terminate()
        for container in self._containers:
            container.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _chain(self, hostname: str | None) -> list[ContainerServer]:
        if hostname is None:
            return self._containers
        return [container for container in self._containers if container.name == hostname]

    def has_container(self, hostname: str) -> bool:
        return bool(self._chain(hostname))


def startup_limit(settings: Record, time_scale: float) -> float:
    """Real seconds that a container has to answer /ping."""
    nominal = settings.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_LIMIT)
    return max(LEAST_STARTUP_LIMIT, nominal / time_scale)


def wait_until_healthy(instances: Iterable[Instance], closing: threading.Event) -> None:
    """Return once every instance answers /ping; raises LaunchFailed for the first that will not.

    A process that ended will not: SageMaker starts it again until the time is up, which says no more.
    """
    began = time.monotonic()
    waiting = list(instances)
    while waiting and not closing.is_set():
        for instance in list(waiting):
            # Looked at first: a process that ends after its ping was answered is found by the next look.
            alive = instance.is_alive()
            failing = instance.unhealthy_container()
            if failing is None:
                waiting.remove(instance)
            elif not alive or time.monotonic() - began > instance.startup_limit:
                raise LaunchFailed(
                    f"The {failing.name} container for {instance.whose.owner} did not pass the ping health "
                    "check. Please check CloudWatch logs for this endpoint."
                )
        if waiting:
            closing.wait(PING_INTERVAL)


def start(service: "Service", name: str, model: Record, base: Path) -> Instance:
    """One instance of a Model that answers /ping, for a batch transform job `name`; the caller stops it."""
    whose = Whose("/aws/sagemaker/TransformJobs", name, f"transform job {name}")
    instance = Instance(service, resolve(service, model), model, base, whose)
    try:
        instance.start()
        wait_until_healthy([instance], threading.Event())
    except BaseException:
        instance.stop()
        raise
    return instance


def _handed_on(headers: Mapping[str, str], answer: Answer) -> dict[str, str]:
    """What the next container of a pipeline is told: the last one's content type, the request's rest."""
    kept = {name: value for name, value in headers.items() if name.lower() != "content-type"}
    return kept | {"Content-Type": answer.headers.get("content-type", "application/octet-stream")}


def _free_port() -> int:
    """A port that nothing listens on, below those that outgoing connections get, so that none takes it."""
    while True:
        port = random.randrange(*PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _ignore(line: str) -> None:
    pass
