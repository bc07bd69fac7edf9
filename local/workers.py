"""One Lambda function in a process: AWS's runtime client (awslambdaric) and the Runtime API that it asks.

A worker has one listening socket. Its process asks for its next event on a connection that stays open; the
thread that invokes it answers there and reads the result: no server thread stands between, which makes a warm
call take a fraction of a millisecond.
"""

import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from local.sagemaker.processes import Processes

INIT_SECONDS = (
    60.0  # AWS allows 10; two busy cores may need longer, and a slow start is no fault of the function
)
MAX_RESPONSE = 6 * 1024 * 1024


@dataclass(frozen=True)
class Function:
    """What a worker is started from. `key` changes with anything that would need a new worker. An image
    brings its own `command`, and its packages with it."""

    key: str
    arn: str
    timeout: float  # seconds
    environment: dict[str, str]
    code: Path
    layers: Path | None
    command: tuple[str, ...] = ()


@dataclass
class Result:
    """An invocation's end: `body` is the handler's answer or AWS's error document."""

    body: object
    log: str = ""
    is_error: bool = False


class _Exited(Exception):
    """The process ended before it answered."""


@dataclass
class _Connection:
    socket: socket.socket
    buffer: bytearray = field(default_factory=bytearray)

    def request(self) -> tuple[str, bytes] | None:
        """The next whole request, as (path, body), or None while it is still arriving."""
        head_end = self.buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        head, *headers = bytes(self.buffer[:head_end]).split(b"\r\n")
        length = next((int(h[15:]) for h in headers if h.lower().startswith(b"content-length:")), 0)
        end = head_end + 4 + length
        if len(self.buffer) < end:
            return None
        body = bytes(self.buffer[head_end + 4 : end])
        del self.buffer[:end]
        return head.split(b" ")[1].decode(), body

    def answer(self, status: str, headers: dict[str, str], body: bytes) -> None:
        lines = [
            f"HTTP/1.1 {status}",
            *(f"{k}: {v}" for k, v in headers.items()),
            f"Content-Length: {len(body)}",
        ]
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


class Worker:
    """One process of one function. Not thread safe: the pool lends it to one caller at a time."""

    def __init__(self, processes: Processes, function: Function, packages: Path) -> None:
        self.function = function
        self.last_used = time.monotonic()
        self._processes = processes
        self._output = bytearray()
        self._waiting: _Connection | None = None  # the connection on which it asked for its next event
        self._init_error: bytes | None = None
        self._ready = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        environment = function.environment | {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._listener.getsockname()[1]}"
        }
        command = function.command
        if not command:
            roots = [function.code, *([function.layers / "python"] if function.layers else []), packages]
            environment["PYTHONPATH"] = os.pathsep.join(str(root) for root in roots)
            # -S: what the project's own environment holds must not stand in for what a layer lacks.
            command = (sys.executable, "-S", "-m", "awslambdaric", environment["_HANDLER"])
        self._process = processes.start(command, env=environment, cwd=function.code, stdout=subprocess.PIPE)
        self._pipe = self._process.stdout.fileno()
        os.set_blocking(self._pipe, False)
        self._selector.register(self._pipe, selectors.EVENT_READ)

    def invoke(self, event: bytes, request_id: str, trace_id: str | None) -> tuple[Result, bool]:
        """The result, and whether the worker can serve again."""
        try:
            if not self._ready and (failed := self._initialise()) is not None:
                return failed, False
            return self._run(event, request_id, trace_id)
        except TimeoutError:
            seconds = self.function.timeout
            return self._failed(
                "Sandbox.Timedout", request_id, f"Task timed out after {seconds:.2f} seconds"
            ), False
        except (_Exited, ConnectionError):
            return self._failed("Runtime.ExitError", request_id, self._exit_text()), False

    def close(self) -> None:
        self._processes.finish(self._process)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, _Connection):
                key.data.socket.close()
        self._selector.close()
        self._listener.close()
        self._process.stdout.close()

    def _initialise(self) -> Result | None:
        """Waits until the handler is imported; the result of the invocation if that failed."""
        try:
            self._waiting, _, body = self._next("/runtime/", time.monotonic() + INIT_SECONDS)
        except TimeoutError:
            return Result(
                _error("Sandbox.Timedout", f"Init timed out after {INIT_SECONDS:.0f} seconds"),
                self._log(),
                True,
            )
        if body:  # POST /runtime/init/error
            return Result(json.loads(body), self._log(), True)
        self._ready = True
        return None

    def _run(self, event: bytes, request_id: str, trace_id: str | None) -> tuple[Result, bool]:
        deadline = time.monotonic() + self.function.timeout
        if self._waiting is None:
            self._waiting, _, _ = self._next("/next", deadline)
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + self.function.timeout) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self.function.arn,
        }
        if trace_id:
            headers["Lambda-Runtime-Trace-Id"] = trace_id
        connection, self._waiting = self._waiting, None
        connection.answer("200 OK", headers, event)
        _, path, body = self._next(f"/runtime/invocation/{request_id}/", deadline)
        if path.endswith("/error"):
            return Result(json.loads(body or b"{}"), self._log(), True), True
        if len(body) > MAX_RESPONSE:
            text = f"Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE} bytes)."
            return Result(_error("Function.ResponseSizeTooLarge", text), self._log(), True), True
        return Result(json.loads(body or b"null"), self._log()), True

    def _next(self, wanted: str, deadline: float) -> tuple[_Connection, str, bytes]:
        """The next request whose path holds `wanted`; what the process prints meanwhile is kept."""
        while True:
            for connection in self._readable(deadline):
                request = connection.request()
                if request is None:
                    continue
                path, body = request
                if not path.endswith("/next"):
                    connection.answer(
                        "202 Accepted", {"Content-Type": "application/json"}, b'{"status":"OK"}'
                    )
                if wanted in path:
                    return connection, path, body
                if path.endswith("/next"):
                    self._waiting = connection

    def _readable(self, deadline: float) -> Iterator[_Connection]:
        for connection in self._connections():
            if connection.buffer:
                yield connection
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        for key, _ in self._selector.select(left):
            if key.fileobj is self._listener:
                accepted, _ = self._listener.accept()
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._selector.register(accepted, selectors.EVENT_READ, _Connection(accepted))
            elif isinstance(key.data, _Connection):
                if self._receive(key.data):
                    yield key.data
            elif not self._read_output():
                self._selector.unregister(self._pipe)
                raise _Exited

    def _connections(self) -> list[_Connection]:
        return [key.data for key in self._selector.get_map().values() if isinstance(key.data, _Connection)]

    def _receive(self, connection: _Connection) -> bool:
        chunk = connection.socket.recv(1 << 20)
        if chunk:
            connection.buffer += chunk
            return True
        self._selector.unregister(connection.socket)
        connection.socket.close()
        return False

    def _read_output(self) -> bool:
        """Reads what the process has printed; False at its end."""
        try:
            while chunk := os.read(self._pipe, 1 << 16):
                self._output += chunk
        except BlockingIOError:
            return True
        return False

    def _log(self) -> str:
        self._read_output()
        text = self._output.decode(errors="replace").replace("\r", "\n").replace("\u00a0", " ")
        self._output.clear()
        return text

    def _failed(self, error_type: str, request_id: str, text: str) -> Result:
        return Result(_error(error_type, f"RequestId: {request_id} Error: {text}"), self._log(), True)

    def _exit_text(self) -> str:
        code = self._process.wait(5)
        how = f"signal: {-code}" if code < 0 else f"exit status {code}"
        return f"Runtime exited with error: {how}"


def _error(error_type: str, message: str) -> dict[str, str]:
    return {"errorMessage": message, "errorType": error_type}
