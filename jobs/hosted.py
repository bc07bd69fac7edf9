"""A model behind its own serving container: the very process that will answer in service (`python -m jobs
serve`, laid out as SageMaker does), on this machine and a free port. What is judged is what will serve.

Rows travel as requests do, without the label. Latencies are of one client that waits for each answer: the
time that the container takes, without SageMaker's network.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from jobs.contract import JobError
from jobs.monitor import explained
from jobs.train import last_exception

ROOT = Path(__file__).parents[1]  # where the package `jobs` lies
JSON_LINES = "application/jsonlines"
STARTUP = 480  # seconds: SageMaker waits eight minutes for the first /ping
PING = 2  # seconds: SageMaker waits as long for one answer to /ping
TIMEOUT = 60  # seconds: SageMaker waits as long for an answer
BATCH_ROWS = 1000
BATCH_BYTES = 5 * 1024 * 1024  # under InvokeEndpoint's limit of 6 MB
REQUESTS = 300  # of one row, for the latency
WARM_UP = 20
MEASURED = 20  # seconds at most


@dataclass(frozen=True)
class Scored:
    """`answers`: one per row; `serving`: what was measured of the container."""

    answers: list[dict[str, Any]]
    serving: dict[str, Any]


class Hosted:
    """One model in its container; a context manager, so that nothing is left running."""

    def __init__(self, folder: Path, artifact: Path, code: Path, entry: str, port: int) -> None:
        """`folder`: its base directory, whose name it gets; `artifact`: the folder of its model.tar.gz;
        `port`: one of `free_ports`."""
        self._name, self._log = folder.name, folder / "log"
        model = folder / "model"
        model.mkdir(parents=True)
        explained.extract(artifact, model)
        self._size = {
            "artifact_bytes": sum(path.stat().st_size for path in artifact.glob("*.tar.gz")),
            "unpacked_bytes": sum(path.stat().st_size for path in model.rglob("*") if path.is_file()),
        }
        self._started = time.perf_counter()
        self._port = port
        self._process = _serve(folder, code, entry, port, self._log)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)

    def __enter__(self) -> Hosted:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        print(self._log.read_text(errors="replace"), file=sys.stderr, end="")

    def score(self, rows: pa.Table) -> Scored:
        """Raises JobError with what the script raised, or where it does not answer each row."""
        self._wait_for_ping()
        started = round(time.perf_counter() - self._started, 2)
        answers: list[dict[str, Any]] = []
        seconds = []
        for body, count in _batches(rows):
            before = time.perf_counter()
            response = self._ask(body)
            seconds.append(time.perf_counter() - before)
            answers += self._answers(response, count)
        batch = {"batch_rows": BATCH_ROWS, "batch_p50_ms": _at(sorted(seconds), 0.5)}
        return Scored(answers, {**batch, **self._size, "started_s": started})

    def latency(self, rows: pa.Table) -> dict[str, Any]:
        """p50 and p99 of requests of one row each, of rows from all over the table; memory after them."""
        step = max(1, len(rows) // REQUESTS)
        asked = [body for body, _ in _batches(rows.take(list(range(0, len(rows), step))[:REQUESTS]), 1)]
        for body in asked[:WARM_UP]:
            self._ask(body)
        seconds, end = [], time.perf_counter() + MEASURED
        for body in asked:
            before = time.perf_counter()
            self._ask(body)
            seconds.append(time.perf_counter() - before)
            if time.perf_counter() > end:
                break
        seconds.sort()
        return {
            "requests": len(seconds),
            "p50_ms": _at(seconds, 0.5),
            "p99_ms": _at(seconds, 0.99),
            "memory_mb": _peak_memory(self._process.pid),
        }

    def _wait_for_ping(self) -> None:
        while time.perf_counter() < self._started + STARTUP:
            if self._process.poll() is not None:
                raise self._problem(_last_words(self._log) or f"exit code {self._process.returncode}")
            # gunicorn starts its worker once the port is its own: until then somebody else may answer.
            if _ping(self._port) and _workers(self._process.pid) != []:
                return
            time.sleep(0.02)
        raise self._problem(f"its container did not answer /ping within {STARTUP} seconds")

    def _ask(self, body: bytes) -> bytes:
        try:
            self._connection.request(
                "POST", "/invocations", body, {"Content-Type": JSON_LINES, "Accept": JSON_LINES}
            )
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            reason = _last_words(self._log) or f"its container did not answer ({type(error).__name__})"
            raise self._problem(reason) from error
        if response.status != 200:
            raise self._problem(_message(content) or f"its container answered {response.status}")
        return content

    def _answers(self, response: bytes, count: int) -> list[dict[str, Any]]:
        lines = response.splitlines()
        if len(lines) != count:
            raise self._problem(f"it answered {len(lines)} predictions for {count} rows")
        try:
            return [orjson.loads(line) for line in lines]
        except orjson.JSONDecodeError as error:
            raise self._problem(f"its answers are not JSON lines{_not_json(error)}") from None

    def _problem(self, reason: str) -> JobError:
        return JobError(f"the {self._name} cannot score the holdout: {reason}")


def _not_json(error: orjson.JSONDecodeError) -> str:
    """Python writes NaN and Infinity, which JSON does not have; what else an answer holds is not quoted."""
    found = re.match(r"NaN|Infinity", error.doc[error.pos :])
    return f": {found[0]} is no number there" if found else f": {error.msg} at character {error.pos + 1}"


def free_ports(count: int) -> list[int]:
    """Different ones: a model must never be asked in another one's place."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _serve(folder: Path, code: Path, entry: str, port: int, log: Path) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {
        "PYTHONPATH": path,
        "SAGEMAKER_BASE_DIR": str(folder),
        "SAGEMAKER_BIND_TO_HOST": "127.0.0.1",
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_PROGRAM": entry,
        "SAGEMAKER_SUBMIT_DIRECTORY": str(code),
    }
    with log.open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "jobs", "serve"], env=environment, stdout=said, stderr=said
        )


def _ping(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PING)) as connection:
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def _batches(rows: pa.Table, most: int = BATCH_ROWS) -> Iterator[tuple[bytes, int]]:
    """Bodies of JSON lines and their rows, each body within BATCH_BYTES unless one row is larger."""
    lines: list[bytes] = []
    size = 0
    for batch in rows.to_batches(max_chunksize=BATCH_ROWS):
        for row in batch.to_pylist():
            line = orjson.dumps(row, default=str)
            if lines and (len(lines) == most or size + len(line) > BATCH_BYTES):
                yield b"\n".join(lines), len(lines)
                lines, size = [], 0
            lines.append(line)
            size += len(line) + 1
    if lines:
        yield b"\n".join(lines), len(lines)


def _message(content: bytes) -> str | None:
    """The container's own words of an error."""
    try:
        return str(orjson.loads(content)["message"])
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return None


def _last_words(log: Path) -> str | None:
    """The first line of the last exception in the container's log; gunicorn repeats the others."""
    words = last_exception(log.read_text(errors="replace").splitlines())
    return words.partition("\n")[0] if words else None


def _workers(process: int) -> list[str] | None:
    """Ids of a server's processes; None where the system does not tell."""
    try:
        return Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return None


def _peak_memory(process: int) -> float | None:
    """Megabytes (10^6): the peak resident set of the server and its workers together, None where the system
    does not tell."""
    try:
        states = [Path(f"/proc/{each}/status").read_text() for each in (process, *(_workers(process) or []))]
    except OSError:
        return None
    return round(sum(int(re.search(r"VmHWM:\s+(\d+)", state)[1]) for state in states) * 1024 / 1e6, 1)


def _at(ordered: list[float], share: float) -> float | None:
    """Milliseconds: the smallest time within which `share` of the requests were answered."""
    if not ordered:
        return None
    return round(1000 * ordered[min(len(ordered), -int(-share * len(ordered) // 1)) - 1], 2)
