"""What a model says of a row that it fails on may quote the row: it goes to whoever sent it, and stays out of
the log, the ledger and the e-mails."""

import json
import logging
from io import BytesIO

import pytest
from botocore.exceptions import ClientError
from deploy import run_smoke_test
from evergreen.errors import AwsRejected
from evergreen.telemetry import logger

from tests.unit import world
from tests.unit.conftest import intercept
from tests.unit.test_api import ROW, flights, predict  # noqa: F401 (a fixture)

SAID = "could not convert string to float: 'Ann Smith'"
SAMPLE = {"row": ROW, "answer": {"prediction": 1, "probability": 0.8}}
STAGE = {"samples": "s3://bucket/runs/r/evaluation/smoke.jsonl", "endpoint": "staging", "latency": 0.2}


def failing(**params):
    """As `aws.call` translates what the model says."""
    said = {"Error": {"Code": "ModelError"}, "OriginalStatusCode": 500, "OriginalMessage": SAID}
    error = AwsRejected(f'Received server error (500) from primary with message "{SAID}"', "ModelError")
    raise error from ClientError(said, "InvokeEndpoint")


def confused(**params):
    """An answer that is no answer."""
    return {"Body": BytesIO(SAID.encode())}


def test_the_caller_is_told_and_the_log_is_not(ledger, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger=logger.name)  # as on Lambda
    world.champion(ledger)
    intercept(monkeypatch, "sagemaker-runtime", {"invoke_endpoint": failing})
    status, answer = predict(ROW)
    assert (status, SAID in answer["message"]) == (502, True)
    (record,) = caplog.records
    assert (record.message, record.status) == ("the model of evergreen-flights failed", 502)
    assert SAID not in caplog.text


@pytest.mark.parametrize(
    ("invoke", "reason"),
    [(failing, "row 1: answered with 500"), (confused, "row 1: it is 46 bytes that are no JSON, was {")],
)
def test_a_smoke_test_names_the_row_and_not_what_the_model_says_of_it(bucket, monkeypatch, invoke, reason):
    bucket.put("runs/r/evaluation/smoke.jsonl", json.dumps(SAMPLE))
    intercept(monkeypatch, "sagemaker-runtime", {"invoke_endpoint": invoke})
    verdict = run_smoke_test.test(STAGE)
    assert not verdict.passed
    assert reason in verdict.reason
    assert "Smith" not in verdict.reason
