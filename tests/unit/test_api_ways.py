"""Predictions where no data capture is SageMaker's: the API keeps what a serverless model was asked, and says
where to put what a model without an endpoint is to score."""

import json

import pytest
from evergreen import aws, capture, times
from evergreen.errors import AwsUnavailable

from jobs.monitor.capture import Reader, chunks
from tests.unit import world
from tests.unit.test_api import ROW, call, endpoint, flights, predict  # noqa: F401 (fixtures)

START, END = times.parse("2013-04-01T10:00:00Z"), times.parse("2013-04-01T11:00:00Z")


@pytest.fixture
def kept(endpoint, ledger):  # noqa: F811
    """The captured objects of a serverless model in service."""
    world.onboard(ledger, world.served(world.SERVERLESS))
    return lambda: list(capture.files("bucket", capture.prefix("evergreen-flights"), START, END))


def test_what_a_serverless_model_is_asked_is_kept_as_sagemaker_would(kept, tmp_path):
    status, _ = predict(ROW, ROW | {"flight_id": "f2"})
    assert status == 200
    (found,) = kept()
    assert found["Key"] == "capture/evergreen-flights/main/2013/04/01/10/30-00-JKJaX1.jsonl"
    line = aws.client("s3").get_object(Bucket="bucket", Key=found["Key"])["Body"].read()
    assert capture.rows_of(line, START, END) == 2
    (tmp_path / "a.jsonl").write_bytes(line)
    (chunk,) = chunks(tmp_path)
    reader = Reader(*(int(moment.timestamp() * 1e6) for moment in (START, END)))
    events = reader.events(chunk)
    assert events.skipped.problems == []
    (event,) = events.table.to_pylist()
    assert [json.loads(row)["flight_id"] for row in event["input"].splitlines()] == ["f1", "f2"]
    assert [json.loads(row)["prediction"] for row in event["output"].splitlines()] == [0, 0]
    assert (event["event"], event["inference"]) == ("JKJaX1", "JKJaX1")
    assert (event["input_encoding"], event["input_type"]) == ("JSON", "application/jsonlines")


def test_an_answer_does_not_wait_for_a_capture_that_fails(kept, monkeypatch, capsys):
    real = aws.call

    def full(service, operation, **params):
        if operation == "put_object":
            raise AwsUnavailable("s3:put_object: SlowDown")
        return real(service, operation, **params)

    monkeypatch.setattr(aws, "call", full)
    status, answer = predict(ROW)
    assert (status, len(answer["predictions"])) == (200, 1)
    assert "UncapturedRequests" in capsys.readouterr().out
    assert kept() == []


def test_what_sagemaker_captures_is_not_captured_twice(endpoint):  # noqa: F811
    assert predict(ROW)[0] == 200
    assert not list(capture.files("bucket", capture.prefix("evergreen-flights"), START, END))


def test_a_model_without_an_endpoint_says_where_its_rows_go(ledger):
    world.onboard(ledger, world.served(world.BATCH))
    world.champion(ledger, endpoint=None)
    status, answer = predict(ROW)
    assert status == 409
    assert answer["message"].endswith(
        "it scores the JSON lines that come under s3://bucket/batch/flights/input/"
    )


def test_a_throttled_model_may_be_asked_again(kept, monkeypatch):
    def busy(*_, **__):
        raise AwsUnavailable("sagemaker-runtime:invoke_endpoint: ThrottlingException: Rate exceeded")

    real = aws.call
    monkeypatch.setattr(
        aws,
        "call",
        lambda service, *rest, **params: (busy if service == "sagemaker-runtime" else real)(
            service, *rest, **params
        ),
    )
    assert call("POST", "/models/flights/predictions", {"instances": [ROW]})[0] == 503
    assert kept() == []
