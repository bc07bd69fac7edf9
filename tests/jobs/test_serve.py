"""The model container as SageMaker runs it: /ping, /invocations, and what bad input gets."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs import serve
from jobs.inference import JSON_LINES
from models import publish
from tests.jobs.conftest import FLIGHTS, ROOT, Job


class Container:
    def __init__(self, base: Path, source: str):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jobs", "serve"],
            env=os.environ
            | {
                "SAGEMAKER_BASE_DIR": str(base),
                "SAGEMAKER_BIND_TO_HOST": "127.0.0.1",
                "SAGEMAKER_BIND_TO_PORT": str(self.port),
                "SAGEMAKER_SUBMIT_DIRECTORY": source,
                "PYTHONPATH": str(ROOT),
            },
            cwd=base,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def request(self, method: str, path: str, body: bytes = b"", kind: str = JSON_LINES) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body, {"Content-Type": kind})
        response = connection.getresponse()
        return response.status, response.read()

    def wait_until_healthy(self, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                assert self.request("GET", "/ping")[0] == 200
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"no /ping: {self.stop()}")

    def stop(self) -> str:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        return self.process.communicate(timeout=20)[1]


def model_folder(base: Path, trained: Job) -> None:
    with tarfile.open(trained.input("challenger") / "model.tar.gz") as archive:
        archive.extractall(base / "model", filter="data")


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory, trained: Job) -> Iterator[Container]:
    """Served from source.tar.gz, as published."""
    base = tmp_path_factory.mktemp("serve")
    model_folder(base, trained)
    (base / "code.tar.gz").write_bytes(publish.archive(publish.read_folder(FLIGHTS)))
    container = Container(base, str(base / "code.tar.gz"))
    container.wait_until_healthy()
    yield container
    container.stop()


@pytest.fixture(scope="module")
def rows(january_and_february: pa.Table) -> list[dict[str, Any]]:
    rows = january_and_february.slice(0, 1000).drop_columns("late").to_pylist()
    return [row | {"scheduled_departure": row["scheduled_departure"].isoformat()} for row in rows]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def test_a_thousand_rows_are_answered_in_order_and_quickly(
    container: Container, rows: list[dict[str, Any]]
) -> None:
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        status, body = container.request("POST", "/invocations", lines(rows))
        seconds.append(time.perf_counter() - start)
    answers = [json.loads(line) for line in body.splitlines()]
    assert status == 200
    assert len(answers) == 1000
    assert all(0 < answer["probability"] < 1 and answer["prediction"] in (0, 1) for answer in answers)
    _, alone = container.request("POST", "/invocations", lines(rows[500:501]))
    assert json.loads(alone) == answers[500]
    assert min(seconds) < 0.2, "15 ms on an idle core"


def test_json_instances_and_csv_give_the_same_answers(
    container: Container, rows: list[dict[str, Any]]
) -> None:
    some = rows[:3]
    expected = container.request("POST", "/invocations", lines(some))
    instances = json.dumps({"instances": some}).encode()
    assert container.request("POST", "/invocations", instances, "application/json") == expected
    table = [list(some[0]), *([str(value) for value in row.values()] for row in some)]
    text = "\n".join(",".join(line) for line in table).encode()
    assert container.request("POST", "/invocations", text, "text/csv") == expected


def test_a_category_never_seen_is_answered(container: Container, rows: list[dict[str, Any]]) -> None:
    status, body = container.request("POST", "/invocations", lines([rows[0] | {"dest": "XXX"}]))
    assert status == 200
    assert json.loads(body)["probability"] > 0


@pytest.mark.parametrize(
    ("body", "kind", "status", "field", "reason"),
    [
        (b'{"origin": "JFK"}', JSON_LINES, 400, "dest", "is missing"),
        (b"not json", JSON_LINES, 400, None, "not JSON"),
        (b"", JSON_LINES, 400, None, "the request has no rows"),
        (b"[1]", "application/json", 400, None, "a row must be an object"),
        (b"1,2", "text/csv", 400, None, "has 2 values, expected 13"),
        (b"x", "image/png", 415, None, "content type 'image/png' is none of"),
    ],
)
def test_bad_input_is_refused_with_its_field_and_reason(
    container: Container, body: bytes, kind: str, status: int, field: str | None, reason: str
) -> None:
    found, answer = container.request("POST", "/invocations", body, kind)
    assert found == status
    content = json.loads(answer)
    if field:
        assert content["errors"][0] == {"instance": 0, "field": field, "reason": reason}
    assert reason in content["message"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"distance": "far"}, "must be a number, not 'far'"),
        ({"distance": None}, "may not be null"),
        ({"weekday": 1.5}, "must be a whole number, not 1.5"),
        ({"origin": 7}, "must be text, not 7"),
    ],
)
def test_a_wrong_value_is_named(
    container: Container, rows: list[dict[str, Any]], change: dict[str, Any], reason: str
) -> None:
    status, body = container.request("POST", "/invocations", lines([rows[0], rows[1] | change]))
    assert status == 400
    assert json.loads(body)["errors"] == [{"instance": 1, "field": next(iter(change)), "reason": reason}]


def test_there_is_nothing_else(container: Container) -> None:
    assert container.request("GET", "/")[0] == 404


def test_a_script_that_fails_answers_500_and_stays(tmp_path: Path) -> None:
    code = tmp_path / "code_folder"
    code.mkdir()
    (code / "inference.py").write_text("def model_fn(d): pass\ndef predict_fn(rows, model): return 1 / 0\n")
    container = Container(tmp_path, str(code))
    try:
        container.wait_until_healthy()
        status, body = container.request("POST", "/invocations", b'{"x": 1}')
        assert (status, json.loads(body)["message"]) == (500, "ZeroDivisionError: division by zero")
        assert container.request("GET", "/ping")[0] == 200
    finally:
        log = container.stop()
    assert "1 / 0" in log


def test_a_model_that_does_not_load_never_answers_ping(tmp_path: Path) -> None:
    code = tmp_path / "code_folder"
    code.mkdir()
    (code / "inference.py").write_text("def model_fn(d): raise OSError('no model here')\n")
    container = Container(tmp_path, str(code))
    assert container.process.wait(timeout=30) != 0
    assert "no model here" in container.stop()


@pytest.mark.parametrize(("told", "status"), [(None, 413), ("8", 200)])
def test_a_payload_may_be_as_large_as_a_transform_says(
    told: str | None, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAGEMAKER_MAX_PAYLOAD_IN_MB", raising=False)
    if told:
        monkeypatch.setenv("SAGEMAKER_MAX_PAYLOAD_IN_MB", told)
    body = b" " * (7 * serve.MEGABYTE)
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/invocations", "CONTENT_LENGTH": str(len(body))}
    environ |= {"wsgi.input": io.BytesIO(body), "HTTP_ACCEPT": JSON_LINES}

    class Model:
        def invoke(self, received: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
            assert len(received) == len(body)
            return b"{}", accept

    assert serve.respond(Model(), environ)[0] == status
