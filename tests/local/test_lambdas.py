"""The pool of Lambda workers, without a server."""

import io
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local import lambdas
from local.embedded import store_metrics
from local.workers import MAX_RESPONSE, Function

MakeFunction = Callable[..., Function]


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[lambdas.Pool]:
    found = lambdas.Pool(tmp_path)
    yield found
    found.close()


@pytest.fixture
def function(pool: lambdas.Pool) -> MakeFunction:
    def make(code: str, layers: Path | None = None, timeout: float = 5, **variables: str) -> Function:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as files:
            files.writestr("app.py", code)
        environment = {"_HANDLER": "app.handler", "PATH": os.environ["PATH"], **variables}
        folder = pool.unpack(str(hash(code)), [archive.getvalue()])
        return Function(str(hash(code)), "arn:aws:lambda:::f", timeout, environment, folder, layers)

    return make


def test_a_worker_is_kept_for_the_next_event(pool: lambdas.Pool, function: MakeFunction) -> None:
    counting = function(
        "import os\nseen = []\ndef handler(e, c): seen.append(e); return [os.getpid(), len(seen)]"
    )
    first, second = (pool.invoke(counting, {}, f"r{i}").body for i in range(2))
    assert (first[0], second[1]) == (second[0], 2)


def test_concurrent_events_have_workers_of_their_own(pool: lambdas.Pool, function: MakeFunction) -> None:
    slow = function("import os, time\ndef handler(e, c): time.sleep(0.5); return os.getpid()")
    with ThreadPoolExecutor(3) as threads:
        pids = list(threads.map(lambda i: pool.invoke(slow, {}, f"r{i}").body, range(3)))
    assert len(set(pids)) == 3


def test_a_warm_call_is_quick(pool: lambdas.Pool, function: MakeFunction) -> None:
    echo = function("def handler(e, c): return e")
    pool.invoke(echo, {}, "r")
    started = time.perf_counter()
    for i in range(100):
        assert pool.invoke(echo, {"i": i}, f"r{i}").body == {"i": i}
    assert (time.perf_counter() - started) / 100 < 0.01  # 0.0002 on an idle machine


def test_a_function_sees_its_own_environment_and_its_layer(
    pool: lambdas.Pool, function: MakeFunction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
    layer = tmp_path / "opt"
    (layer / "python").mkdir(parents=True)
    (layer / "python" / "shared.py").write_text("VALUE = 7")
    looking = function(
        "import os, shared\ndef handler(e, c): return [shared.VALUE, dict(os.environ)]", layer, TABLE="t"
    )
    value, environment = pool.invoke(looking, {}, "r").body
    assert (value, environment["TABLE"]) == (7, "t")
    assert "SECRET_OF_THE_HOST" not in environment


def test_a_large_answer_is_refused_and_the_worker_lives(pool: lambdas.Pool, function: MakeFunction) -> None:
    large = function("import os\ndef handler(e, c): return 'x' * e['n'] or os.getpid()")
    pid = pool.invoke(large, {"n": 0}, "r1").body
    refused = pool.invoke(large, {"n": MAX_RESPONSE + 1}, "r2")
    assert refused.body["errorType"] == "Function.ResponseSizeTooLarge"
    assert pool.invoke(large, {"n": 0}, "r3").body == pid


def test_what_is_printed_belongs_to_its_event(pool: lambdas.Pool, function: MakeFunction) -> None:
    printing = function("def handler(e, c): print('x' * 200_000, e)")
    logs = [pool.invoke(printing, i, f"r{i}").log for i in range(3)]
    assert [log.split()[-1] for log in logs] == ["0", "1", "2"]
    assert all(len(log) > 200_000 for log in logs)


def test_idle_workers_are_ended(
    pool: lambdas.Pool, function: MakeFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lambdas, "MAX_IDLE", 1)
    first, second = (function(f"import os\ndef handler(e, c): return os.getpid() # {i}") for i in range(2))
    pid = pool.invoke(first, {}, "r1").body
    pool.invoke(second, {}, "r2")
    assert pool.invoke(first, {}, "r3").body != pid


def test_a_line_that_only_looks_like_a_metric_is_left_alone() -> None:
    store_metrics('"_aws" is a word\n{"_aws": {"CloudWatchMetrics": [{}]}}\n{"_aws": broken'.splitlines())
