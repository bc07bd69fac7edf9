"""What every kind of job shares: its turn on the machine, its subprocesses, its status and its events.

A job's record shows `<kind>Status`; a training job's also SecondaryStatus and its transitions, which the
other kinds keep to themselves. A state-change event follows each change that a Describe would show.
"""

import io
import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .containers import UnknownImage
from .errors import invalid
from .logs import Logs
from .shapes import project, service_model
from .store import KINDS, Record, now
from .transfer import TransferFailed

if TYPE_CHECKING:
    from subprocess import Popen

    from .service import Service

log = logging.getLogger(__name__)
CONCURRENT_JOBS = 2  # two cores: a third job would only slow the others and the endpoints
STOP_GRACE = 120.0  # seconds from SIGTERM to SIGKILL, divided by the host's time scale
REASON_LENGTH = 1024
ENDED = {"Completed", "Failed", "Stopped"}
_EVENTS = {
    "TrainingJob": "SageMaker Training Job State Change",
    "ProcessingJob": "SageMaker Processing Job State Change",
    "TransformJob": "SageMaker Transform Job State Change",
    "HyperParameterTuningJob": "SageMaker HyperParameter Tuning Job State Change",
}


_STOPPED = {
    "Stopped": "Job stopped",
    "MaxRuntimeExceeded": "Job runtime exceeded MaxRuntimeInSeconds provided",
}


class JobFailed(Exception):
    """The message is the job's FailureReason."""


class JobStopped(Exception):
    """The message is the SecondaryStatus: `Stopped`, or `MaxRuntimeExceeded`."""


@dataclass
class Host:
    """One instance of a job's cluster: its own `/opt/ml` and one process."""

    name: str
    base: Path
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


class Job:
    """A job in flight, driven by the `work` function of its kind in a thread of its own."""

    def __init__(self, service: "Service", noun: str, name: str) -> None:
        self.service = service
        self.noun = noun
        self.name = name
        self.prefix = noun.removesuffix("Job")
        self.record = service.store.get(noun, name)
        self.folder = service.root / KINDS[noun].arn / name
        self.stopping = threading.Event()
        self.ended = threading.Event()
        self.abandoned = False  # the server is closing: no grace, no events
        self._deadline: float | None = None
        self._announced: tuple = ()

    # -- status --------------------------------------------------------------------------------------------

    def begin(self, secondary: str, message: str, limit: float | None = None) -> None:
        """The instances are up: the clock of MaxRuntimeInSeconds (or of `limit`, in seconds) starts."""
        limit = limit or self.record.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
        self._deadline = time.monotonic() + limit if limit else None
        self.advance(secondary, message, **{f"{self.prefix}StartTime": now()})

    def advance(self, secondary: str, message: str, **fields: Any) -> None:
        """Move to a secondary status; raises JobStopped first if the job is to stop."""
        self.check()
        self._record(secondary, message, **fields)

    def check(self) -> None:
        if self.stopping.is_set():
            raise JobStopped("Stopped")
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise JobStopped("MaxRuntimeExceeded")

    def end(self, status: str, secondary: str, message: str, **fields: Any) -> None:
        ended = now()
        if started := self.record.get(f"{self.prefix}StartTime"):
            seconds = max(1, round((ended - started).total_seconds()))
            fields |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
        fields |= {f"{self.prefix}EndTime": ended, f"{self.noun}Status": status}
        self._record(secondary, message, **fields)

    def _record(self, secondary: str, message: str, **fields: Any) -> None:
        store, at = self.service.store, now()
        with store.lock:
            transitions = self.record.setdefault("SecondaryStatusTransitions", [])
            if transitions:
                transitions[-1].setdefault("EndTime", at)
            transitions.append({"Status": secondary, "StartTime": at, "StatusMessage": message})
            store.update(self.noun, self.name, SecondaryStatus=secondary, **fields)
        self.announce()

    def announce(self) -> None:
        """Emit a state-change event if a Describe would show another status than at the last one."""
        shown = describe(self.service, self.noun, self.name)
        status = (shown[f"{self.noun}Status"], shown.get("SecondaryStatus"))
        if status != self._announced and not self.abandoned:
            self._announced = status
            detail = to_detail(shown) | {"Tags": self.service.store.tags.get(shown[f"{self.noun}Arn"], {})}
            self.service.host.emit(_EVENTS[self.noun], detail, [shown[f"{self.noun}Arn"]])

    # -- processes -----------------------------------------------------------------------------------------

    def hosts(self, count: int) -> list[Host]:
        """`algo-1` and so on, each with an empty folder in place of `/opt/ml`."""
        names = [f"algo-{number}" for number in range(1, count + 1)]
        hosts = [Host(name, self.folder / name) for name in names]
        for host in hosts:
            host.base.mkdir(parents=True)
        return hosts

    def run(self, hosts: list[Host], group: str, seen: Callable[[str], None] = lambda line: None) -> int:
        """Run every host's command at once; the first exit code that is not 0, or 0.

        seen: gets each line of output. Raises JobStopped once the processes have ended.
        """
        logs = self.service.part(Logs)
        started = int(time.time())
        processes, readers = [], []
        try:
            for host in hosts:
                process = self.service.processes.start(host.command, env=host.environment, cwd=host.base)
                stream = f"{self.name}/{host.name}-{started}"
                processes.append(process)
                lines = io.TextIOWrapper(process.stdout, errors="replace")
                readers.append(threading.Thread(target=logs.follow, args=(lines, group, stream, seen)))
                readers[-1].start()
            return self._watch(processes)
        except OSError as error:
            raise JobFailed(f"ClientError: the container's command does not start: {error}") from error
        finally:
            for process in processes:
                self.service.processes.finish(process)
            for reader in readers:
                reader.join()
            logs.flush()

    def _watch(self, processes: "list[Popen]") -> int:
        while True:
            codes = [process.poll() for process in processes]
            if failed := next((code for code in codes if code), None):
                return failed if failed > 0 else 128 - failed  # by a signal, as a shell or Docker counts
            if None not in codes:
                return 0
            try:
                self.check()
            except JobStopped:
                self._terminate(processes)
                raise
            self.stopping.wait(0.02)

    def _terminate(self, processes: "list[Popen]") -> None:
        """SIGTERM to all, then as long as SageMaker would wait (scaled) before the caller kills them."""
        for process in processes:
            self.service.processes.signal(process, signal.SIGTERM)
        until = time.monotonic() + STOP_GRACE / self.service.host.time_scale
        while any(process.poll() is None for process in processes):
            if self.abandoned or time.monotonic() > until:
                return
            time.sleep(0.02)


Work = Callable[[Job], None]


class Runner:
    """Takes jobs in turn, `CONCURRENT_JOBS` at a time (a part: `service.part(Runner)`)."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._pool = ThreadPoolExecutor(CONCURRENT_JOBS, thread_name_prefix="sagemaker-job")
        self._jobs: dict[tuple[str, str], Job] = {}

    def launch(self, noun: str, params: Record, work: Work, *, in_turn: bool = True, **fields: Any) -> Record:
        """Keep the record of a new job, and queue `work(job)`.

        work ends the job, or raises JobFailed or JobStopped. in_turn: False for what only waits for others.
        """
        store, name = self._service.store, params[f"{noun}Name"]
        with store.lock:
            fields[f"{noun}Status"] = "InProgress"
            record = store.create(noun, name, params, **fields)
            job = self._jobs[noun, name] = Job(self._service, noun, name)
        job.announce()
        if in_turn:
            self._pool.submit(_run, job, work)
        else:
            threading.Thread(target=_run, args=(job, work), name=f"sagemaker-{name}").start()
        return record

    def stop(self, noun: str, name: str) -> None:
        """Ask a job to stop; raises as SageMaker does if it has ended."""
        store = self._service.store
        with store.lock:
            status = store.get(noun, name)[f"{noun}Status"]
            if status in ENDED:
                kind = KINDS[noun].arn.replace("-", " ")
                raise invalid(f"The request was rejected because the {kind} is in status {status}.")
            if status == "Stopping":
                return
            store.update(noun, name, **{f"{noun}Status": "Stopping"})
            job = self._jobs[noun, name]
        job.announce()
        job.stopping.set()

    def wait(self, noun: str, name: str, timeout: float | None = None) -> Record:
        """Block until the job has ended, and describe it; raises TimeoutError."""
        if not self._jobs[noun, name].ended.wait(timeout):
            raise TimeoutError(f"{noun} {name} still runs")
        return describe(self._service, noun, name)

    def close(self) -> None:
        running = [job for job in list(self._jobs.values()) if not job.ended.is_set()]
        for job in running:
            job.abandoned = True
            job.stopping.set()
        for job in running:
            job.ended.wait()
        self._pool.shutdown()


def _run(job: Job, work: Work) -> None:
    try:
        job.check()
        work(job)
        shutil.rmtree(job.folder, ignore_errors=True)
    except JobStopped as stopped:
        job.end("Stopped", str(stopped), _STOPPED[str(stopped)])
    except (TransferFailed, UnknownImage) as error:
        _fail(job, f"ClientError: {error}")
    except JobFailed as error:
        _fail(job, str(error))
    except Exception as error:
        if not job.abandoned:
            log.exception("%s %s failed inside the local SageMaker", job.noun, job.name)
        _fail(job, f"InternalServerError: the local SageMaker failed: {error!r}")
    finally:
        job.ended.set()


def _fail(job: Job, reason: str) -> None:
    job.end("Failed", "Failed", reason, FailureReason=reason[:REASON_LENGTH])


def describe(service: "Service", noun: str, name: str) -> Record:
    """The record as Describe answers it."""
    snapshot = service.store.snapshot(service.store.get(noun, name))
    return project(service_model().operation_model(f"Describe{noun}").output_shape, snapshot)


def to_detail(value: Any) -> Any:
    """A description as the events of jobs carry it: timestamps in milliseconds since the epoch."""
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    if isinstance(value, dict):
        return {key: to_detail(item) for key, item in value.items()}
    return [to_detail(item) for item in value] if isinstance(value, list) else value


def read_text(path: Path) -> str:
    """What a container left for the job's description, or nothing."""
    return path.read_text(errors="replace").strip()[:REASON_LENGTH] if path.is_file() else ""


def failure_reason(hosts: list[Host], code: int) -> str:
    """SageMaker's words for a container that failed, with what it left in /opt/ml/output/failure."""
    text = next(filter(None, (read_text(host.base / "output/failure") for host in hosts)), "")
    end = f", exit code: {code}"
    start = f"AlgorithmError: {text}"
    return f"{start[: REASON_LENGTH - len(end)]}{end}"
