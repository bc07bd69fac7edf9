"""Starts the local stack, deploys the template into it with the real SAM CLI, and stops it without a trace.

with stack.running() as running:
    running.client("stepfunctions").list_state_machines()
    running.clock.set(datetime(2013, 3, 1, tzinfo=UTC))
"""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.machine import CLIENT_CONFIG, ROOT, root_keys
from local.sam import REGION, ROOT_DIR, Progress, StackError, deploy_template

STATE_DIR = ROOT_DIR / ".cache" / "local"
ACCOUNT = "000000000000"
DEFAULT_PORT = 4566
TIME_SCALE = 40.0
READY_SECONDS = 60.0


@dataclass(frozen=True)
class Clock:
    """The virtual clock of a running stack."""

    url: str

    def now(self) -> datetime:
        return self._call(None)

    def set(self, moment: datetime, *, frozen: bool = False) -> datetime:
        """Moves the clock; returns when all schedules that became due have started their targets."""
        return self._call({"now": moment.isoformat(), "frozen": frozen})

    def advance(self, seconds: float) -> datetime:
        return self._call({"advance": seconds})

    def _call(self, body: dict[str, Any] | None) -> datetime:
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(
            f"{self.url}/_evergreen/clock", data=data, method="POST" if body else "GET"
        )
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                return datetime.fromisoformat(json.load(answer)["now"])
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error).get("message")) from None


@dataclass
class Stack:
    """A running local stack."""

    url: str
    process: subprocess.Popen
    log: Path
    account: str = ACCOUNT
    outputs: dict[str, str] = field(default_factory=dict)
    _clients: dict[str, Any] = field(default_factory=dict)

    def of(self, account: str) -> "Stack":
        """The same server as another account sees it; nothing is deployed there yet."""
        return replace(self, account=account, outputs={}, _clients={})

    def deploy(
        self, project: Path = ROOT_DIR, progress: Progress = lambda _: None, **parameters: str
    ) -> dict[str, str]:
        """The template into this account, with the parameters; its outputs."""
        self.outputs = deploy_template(self.url, project, progress, root_keys(self.account), parameters)
        return self.outputs

    @property
    def clock(self) -> Clock:
        return Clock(self.url)

    @property
    def api_url(self) -> str:
        """Where the HTTP API is on this machine; AWS's own name for it does not resolve here."""
        return f"{self.url}/_aws/execute-api/{self.outputs['ApiId']}/$default"

    def client(self, service: str) -> Any:
        """A shared boto3 client with the account's root credentials."""
        if service not in self._clients:
            self._clients[service] = boto3.Session(region_name=REGION).client(
                service,
                endpoint_url=self.url,
                config=CLIENT_CONFIG,
                aws_access_key_id=self.account,
                aws_secret_access_key=ROOT["AWS_SECRET_ACCESS_KEY"],
            )
        return self._clients[service]

    def api(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """A signed request to the HTTP API: (status, the answer's JSON or text)."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        request = AWSRequest(
            method, self.api_url + path, {"Content-Type": "application/json", **(headers or {})}, data
        )
        keys = Credentials(*root_keys(self.account).values())
        SigV4Auth(keys, "execute-api", REGION).add_auth(request)
        sent = urllib.request.Request(request.url, data, dict(request.headers.items()), method=method)
        try:
            with urllib.request.urlopen(sent, timeout=300) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        with contextlib.suppress(ValueError):
            return status, json.loads(text)
        return status, text.decode(errors="replace")

    def stop(self) -> None:
        """Ends the server and, through it, every subprocess."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextlib.contextmanager
def running(
    *,
    port: int | None = None,
    time_scale: float = TIME_SCALE,
    deploy: bool = True,
    directory: Path | None = None,
    project: Path = ROOT_DIR,
    progress: Progress = lambda _: None,
) -> Iterator[Stack]:
    """A started stack, with the template of `project` deployed into it unless deploy is False."""
    stack = start(port=port, time_scale=time_scale, directory=directory, progress=progress)
    try:
        if deploy:
            stack.deploy(project, progress)
        yield stack
    finally:
        stack.stop()


def start(
    *,
    port: int | None = None,
    time_scale: float = TIME_SCALE,
    directory: Path | None = None,
    progress: Progress = lambda _: None,
) -> Stack:
    """Starts the server and waits until it answers. Each directory is one stack's, emptied at its start."""
    chosen = _free_port(port)
    directory = directory or STATE_DIR / str(chosen)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    progress(f"starting the local stack on 127.0.0.1:{chosen}")
    log = directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local.server"],
            cwd=ROOT_DIR,
            env=_environment(chosen, time_scale, directory),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the caller, who stops the server in order
        )
    (directory / "server.pid").write_text(str(process.pid))
    stack = Stack(f"http://127.0.0.1:{chosen}", process, log)
    try:
        _wait_until_ready(stack)
    except BaseException:
        stack.stop()
        raise
    return stack


def _environment(port: int, time_scale: float, directory: Path) -> dict[str, str]:
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "MINISTACK_"))
    }
    return inherited | ROOT | {
        "AWS_DEFAULT_REGION": REGION,
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_WORKER_THREADS": "32",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "AUTH": "true",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "SFN_WAIT_SCALE": str(1 / time_scale),
        "TIME_SCALE": str(time_scale),
        "LOG_LEVEL": os.environ.get("LOG_LEVEL", "WARNING"),
        "EVERGREEN_ROOT": str(directory),
        "EVERGREEN_PARENT": str(os.getpid()),
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT_DIR), inherited.get("PYTHONPATH")))),
    }  # fmt: skip


def _free_port(wanted: int | None) -> int:
    """The wanted port (0 is any); without one 4566 if it is free. Raises StackError where it is taken.

    Any is one below those that the system gives to clients, so that none of them takes it before the server
    does.
    """
    if wanted is not None and not 0 <= wanted < 65536:
        raise StackError(f"{wanted} is not a port: give one from 1 to 65535")
    anywhere = random.sample(range(20_000, 32_000), 20)
    candidates = {None: [DEFAULT_PORT, *anywhere], 0: anywhere}.get(wanted, [wanted])
    for port in candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise StackError(
        f"port {wanted} is taken: stop what listens there (python -m local down) or give another --port"
    )


def _wait_until_ready(stack: Stack) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if stack.process.poll() is not None:
            raise StackError(f"the local stack ended while it started; its log:\n{_tail(stack.log)}")
        with contextlib.suppress(OSError):
            stack.clock.now()
            return
        time.sleep(0.05)
    raise StackError(
        f"the local stack did not answer within {READY_SECONDS:.0f} s; its log:\n{_tail(stack.log)}"
    )


def _tail(log: Path, lines: int = 30) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def stop_all() -> list[int]:
    """Ends every stack that was left running; their ports."""
    stopped = []
    for pid_file in sorted(STATE_DIR.glob("*/server.pid")):
        pid = int(pid_file.read_text())
        with contextlib.suppress(ProcessLookupError):
            if "local.server" in _command_line(pid):
                os.kill(pid, signal.SIGTERM)
                _wait_for_end(pid)
                stopped.append(int(pid_file.parent.name))
        pid_file.unlink(missing_ok=True)
    return stopped


def _command_line(pid: int) -> str:
    result = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True)
    return result.stdout


def _wait_for_end(pid: int, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and "local.server" in _command_line(pid):
        time.sleep(0.1)


def port_of(url: str) -> int:
    return urlsplit(url).port or DEFAULT_PORT
