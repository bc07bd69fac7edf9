"""A model in its serving container, asked from the same machine: requests, latencies, and what goes wrong."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from jobs import hosted
from jobs.contract import JobError
from jobs.hosted import Hosted

ECHO = """
def model_fn(folder):
    return open(folder + "/bias").read()

def predict_fn(rows, model):
    return [{"prediction": row["x"] + float(model)} for row in rows]
"""


@pytest.fixture
def host(tmp_path: Path) -> Callable[..., Hosted]:
    def start(script: str, port: int = 0, name: str = "challenger", bias: float = 0) -> Hosted:
        artifact, code = tmp_path / f"{name}-artifact", tmp_path / f"{name}-code"
        for folder in (artifact, code):
            folder.mkdir()
        (tmp_path / "bias").write_text(str(bias))
        with tarfile.open(artifact / "model.tar.gz", "w:gz") as archive:
            archive.add(tmp_path / "bias", arcname="bias")
        (code / "inference.py").write_text(script)
        return Hosted(tmp_path / name, artifact, code, "inference.py", port or hosted.free_ports(1)[0])

    return start


def table(count: int) -> pa.Table:
    at = pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * count)
    return pa.table({"x": [float(row) for row in range(count)], "at": at})


def test_two_models_answer_each_row_in_order_from_their_own_container(host) -> None:
    first, second = hosted.free_ports(2)
    assert first != second
    with host(ECHO, first) as ours, host(ECHO, second, "champion", 0.5) as theirs:
        scored = ours.score(table(2500)), theirs.score(table(2500))
        measured = ours.latency(table(2500))
    for found, bias in zip(scored, (0, 0.5), strict=True):
        assert [answer["prediction"] for answer in found.answers] == [row + bias for row in range(2500)]
    assert scored[0].serving["artifact_bytes"] > 0 < scored[0].serving["unpacked_bytes"]
    assert measured["requests"] == hosted.REQUESTS
    assert 0 < measured["p50_ms"] <= measured["p99_ms"]


def test_nothing_is_left_running(host) -> None:
    with host(ECHO) as model:
        model.score(table(1))
    with pytest.raises(JobError, match="the challenger cannot score the holdout"):
        model.score(table(1))


def test_latency_is_measured_for_so_long_and_no_longer(host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosted, "MEASURED", 0.2)
    slow = ECHO.replace("    return [{", "    __import__('time').sleep(0.05)\n    return [{")
    monkeypatch.setattr(hosted, "WARM_UP", 0)
    with host(slow) as model:
        model.score(table(1))
        measured = model.latency(table(1000))
    assert 1 <= measured["requests"] <= 5
    assert measured["p50_ms"] >= 50


def test_a_container_that_never_answers_ping_is_not_waited_for_forever(
    host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted, "STARTUP", 0.5)
    monkeypatch.setattr(hosted, "PING", 0.1)
    with (
        host("import time\ntime.sleep(3600)\n") as model,
        pytest.raises(JobError, match=r"its container did not answer /ping within 0\.5 seconds"),
    ):
        model.score(table(1))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"prediction": NaN}', "its answers are not JSON lines: NaN is no number there"),
        ('{"prediction": -Infinity}', "its answers are not JSON lines: Infinity is no number there"),
        (
            "Mrs Smith,0.5",
            "its answers are not JSON lines: unexpected character, expected a JSON value at character 1",
        ),
    ],
)
def test_answers_that_are_no_json_are_refused(host, answer: str, said: str) -> None:
    script = "def model_fn(d): pass\ndef predict_fn(rows, model): pass\n"
    script += f"def output_fn(prediction, accept): return {answer!r}, accept\n"
    with host(script) as model, pytest.raises(JobError) as raised:
        model.score(table(1))
    assert str(raised.value).endswith(said)


def test_a_port_that_is_taken_fails_and_says_so(host) -> None:
    """The other one's answers are not taken for this model's."""
    (port,) = hosted.free_ports(1)
    with host(ECHO, port) as ours:
        ours.score(table(1))
        with host(ECHO, port, "champion", 0.5) as theirs, pytest.raises(JobError, match="exit code 1"):
            theirs.score(table(1))


def test_bodies_hold_so_many_rows_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = list(hosted._batches(table(2500)))
    assert [count for _, count in bodies] == [1000, 1000, 500]
    assert json.loads(bodies[0][0].splitlines()[1]) == {"x": 1.0, "at": "2026-01-01T00:00:00+00:00"}
    monkeypatch.setattr(hosted, "BATCH_BYTES", 100)
    small = list(hosted._batches(table(5)))
    assert [count for _, count in small] == [2, 2, 1] and all(len(body) <= 100 for body, _ in small)
    monkeypatch.setattr(hosted, "BATCH_BYTES", 10)
    assert [count for _, count in hosted._batches(table(3))] == [1, 1, 1]  # a row is not split


@pytest.mark.parametrize(
    ("times", "share", "found"),
    [([], 0.99, None), ([1.0], 0.5, 1000), ([1, 2, 3, 4], 0.5, 2000), ([*range(1, 101)], 0.99, 99000)],
)
def test_quantiles_are_of_the_requests(times: list[float], share: float, found: float | None) -> None:
    assert hosted._at(times, share) == found
