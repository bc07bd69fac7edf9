"""What no client should send and some do, and what no model should answer: a refusal that says why, never a
failure of ours."""

import base64
import json
from io import BytesIO

import app
import pytest

from tests.unit import world
from tests.unit.conftest import intercept
from tests.unit.test_api import ANN, ROW, call, endpoint, flights, predict  # noqa: F401 (fixtures)

HUGE = 10**400  # no float can hold it


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("distance", "Infinity is not a number"),
        ("dep_hour", "Infinity is not an integer"),
        ("flight_id", "must be a text or a whole number"),
    ],
)
def test_a_whole_number_too_large_to_calculate_with_is_a_bad_value(endpoint, field, reason):  # noqa: F811
    status, answer = predict(ROW | {field: HUGE})
    assert (status, answer["errors"]) == (400, [{"instance": 0, "field": field, "reason": reason}])
    assert not endpoint


def test_a_label_too_large_to_calculate_with_is_a_bad_label():
    status, answer = call("POST", "/models/flights/labels", {"labels": [{"id": "f1", "label": HUGE}]})
    assert (status, answer["errors"][0]["reason"]) == (400, "must be 0 or 1")


def test_a_body_nested_too_deeply_is_no_json():
    status, answer = call("POST", "/models/flights/labels", "[" * 100_000)
    assert (status, "the body is not JSON" in answer["message"]) == (400, True)


def test_a_compressed_body_is_no_text():
    path = "/models/flights/labels"
    event = {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "content-encoding": "gzip"},
        "body": base64.b64encode(b"\x1f\x8b\x08\xff").decode(),
        "isBase64Encoded": True,
        "requestContext": {
            "http": {"method": "POST", "path": path},
            "requestId": "r",
            "stage": "$default",
            "timeEpoch": 1364812200000,
            "authorizer": {"iam": {"userArn": ANN}},
        },
    }
    answer = app.handler(event, world.CONTEXT)
    assert answer["statusCode"] == 400
    assert json.loads(answer["body"]) == {"message": "the body is not text in UTF-8"}


def test_numbers_that_no_version_and_no_page_has():
    long = "9" * 5000  # Python converts 4,300 digits at most
    assert call("GET", f"/models/flights/versions/{long}/card")[0] == 404
    assert call("GET", "/models/flights/history", query={"limit": long})[0] == 400


@pytest.mark.parametrize(
    "body", [b"late", b"\xff", b"[1]", b"0.1", b"null"], ids=["text", "bytes", "list", "number", "null"]
)
def test_an_answer_that_is_no_object_of_json_is_the_models_failure(ledger, monkeypatch, body):
    world.champion(ledger)
    intercept(monkeypatch, "sagemaker-runtime", {"invoke_endpoint": lambda **_: {"Body": BytesIO(body)}})
    status, answer = predict(ROW)
    assert (status, answer["message"].startswith("the model answered")) == (502, True)


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("rollback", {}),
        ("versions/1/approval", {"decision": "reject"}),
        ("deployments/evergreen-flights-v1-aaaaaa/approval", {"decision": "reject"}),
    ],
)
def test_a_reason_that_no_event_could_carry_is_refused(ledger, sagemaker, path, more):
    world.registered(ledger)
    sagemaker.package(f"{world.GROUP}/1", "PendingManualApproval")
    status, answer = call("POST", f"/models/flights/{path}", more | {"reason": "x" * 300_000})
    assert (status, answer["message"]) == (400, "reason has 300000 characters; 1000 are the most")
    assert sagemaker.updates == []


def test_a_reason_may_be_as_long_as_the_registry_keeps(ledger, sagemaker):
    world.registered(ledger)
    sagemaker.package(f"{world.GROUP}/1", "PendingManualApproval")
    body = {"decision": "approve", "reason": "x" * 900}
    assert call("POST", "/models/flights/versions/1/approval", body)[0] == 200
    (update,) = sagemaker.updates
    assert update["ApprovalDescription"].startswith("x" * 900)
