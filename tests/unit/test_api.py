"""The API: bad input gets a 4xx with the field and the reason; each decision of a person is made once."""

import json
from io import BytesIO

import app
import champions
import labels
import predictions
import pytest
from evergreen import aws, partner, times
from evergreen.errors import AwsRejected, AwsUnavailable
from evergreen.ledger import Write, acquire, history, put

from tests.unit import world
from tests.unit.conftest import intercept
from tests.unit.world import execution

ANN = "arn:aws:iam::123456789012:user/ann"
ROW = {"flight_id": "f1", "origin": "JFK", "dep_hour": 8, "distance": 100.5, "temp": None}


@pytest.fixture(autouse=True)
def flights(ledger, executions, sagemaker):
    champions._in_service.cache_clear()
    champions.specification.cache_clear()
    world.onboard(ledger)


def call(method, path, body=None, query=None, headers=None, at="2013-04-01T10:30:00Z", request="JKJa=X/1"):
    event = {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json"} | (headers or {}),
        "queryStringParameters": query,
        "body": body if isinstance(body, str) else json.dumps(body) if body is not None else None,
        "isBase64Encoded": False,
        "requestContext": {
            "http": {"method": method, "path": path},
            "requestId": request,
            "stage": "$default",
            "timeEpoch": int(times.parse(at).timestamp() * 1000),
            "authorizer": {"iam": {"userArn": ANN}},
        },
    }
    answer = app.handler(event, world.CONTEXT)
    return answer["statusCode"], json.loads(answer["body"])


def test_a_version_that_leaves_staging_while_it_is_looked_at_is_not_shown_there(ledger):
    package = {"version": 2, "status": "Staging", "deployment": "evergreen-flights-v2-aaaaaa"}
    going_on = {"version": 2, "status": "Started", "plan": {"staging": None}}
    ledger.commit(
        put("flights", "PACKAGE#000002", package),
        put("flights", "DEPLOYMENT#evergreen-flights-v2-aaaaaa", going_on),
    )
    status, answer = call("GET", "/models/flights")
    assert (status, answer["staged"]) == (200, [])


@pytest.mark.parametrize("path", ["predictions", "labels", "rollback"])
def test_an_account_that_trains_says_which_one_serves(monkeypatch, path):
    monkeypatch.setattr(partner, "SERVING", "222222222222")
    status, answer = call("POST", f"/models/flights/{path}", {})
    assert (status, answer["message"]) == (
        409,
        "flights is served in account 222222222222: ask the API there",
    )


def test_an_account_that_serves_says_which_one_approves(monkeypatch):
    monkeypatch.setattr(partner, "TRAINING", "111111111111")
    status, answer = call("POST", "/models/flights/versions/1/approval", {})
    assert (status, "in account 111111111111" in answer["message"]) == (409, True)


@pytest.fixture
def endpoint(monkeypatch, ledger):
    """What the endpoint was asked, and what it answers."""
    asked = []

    def invoke(**params):
        asked.append(params)
        rows = [json.loads(line) for line in params["Body"].splitlines()]
        lines = [json.dumps({"prediction": 0, "probability": 0.1}) for _ in rows]
        return {"Body": BytesIO("\n".join(lines).encode())}

    world.champion(ledger)
    intercept(monkeypatch, "sagemaker-runtime", {"invoke_endpoint": invoke})
    return asked


def predict(*rows):
    return call("POST", "/models/flights/predictions", {"instances": list(rows)})


def test_predictions_come_with_ids(endpoint):
    status, answer = predict(ROW, {name: value for name, value in ROW.items() if name != "flight_id"})
    assert status == 200
    assert (answer["model"], answer["version"]) == ("flights", 1)
    assert answer["predictions"][0] == {"id": "f1", "prediction": 0, "probability": 0.1}
    sent = [json.loads(line) for line in endpoint[0]["Body"].splitlines()]
    assert sent[1]["flight_id"] == answer["predictions"][1]["id"]
    assert endpoint[0]["InferenceId"] == "JKJaX1"
    assert endpoint[0]["EndpointName"] == "evergreen-flights"


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"dep_hour": "eight"}, "dep_hour", '"eight" is not an integer'),
        ({"dep_hour": 8.5}, "dep_hour", "8.5 is not an integer"),
        ({"dep_hour": True}, "dep_hour", "true is not an integer"),
        ({"dep_hour": None}, "dep_hour", "must not be null"),
        ({"distance": "far"}, "distance", '"far" is not a number'),
        ({"origin": 3}, "origin", "3 is not a string"),
        ({"flight_id": [1]}, "flight_id", "must be a text or a whole number"),
        ({"flight_id": ""}, "flight_id", "must be a text or a whole number"),
        ({"flight_id": None}, "flight_id", "must be a text or a whole number"),
    ],
)
def test_a_bad_value_names_its_field_and_the_reason(endpoint, change, field, reason):
    status, answer = predict(ROW, ROW | {"flight_id": "f2"} | change)
    assert status == 400
    assert answer["errors"] == [{"instance": 1, "field": field, "reason": reason}]
    assert not endpoint


def test_a_missing_column_and_a_repeated_id_are_bad(endpoint):
    short = {name: value for name, value in ROW.items() if name not in ("origin", "temp")}
    status, answer = predict(ROW, short)
    assert status == 400
    assert answer["message"] == "2 values will not do"
    assert [(error["field"], error["reason"]) for error in answer["errors"]] == [
        ("origin", "is missing"),
        ("flight_id", "'f1' is the id of another row"),
    ]


def test_a_value_out_of_range_is_the_monitors_affair(endpoint):
    assert predict(ROW | {"dep_hour": 99, "origin": "SFO", "unknown": [1]})[0] == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{", "the body is not JSON"),
        ("[1]", "the body is not a JSON object"),
        ({}, "instances must be a list with at least one object"),
        ({"instances": []}, "instances must be a list with at least one object"),
        ({"instances": [ROW] * 1001}, "instances has 1001 entries; 1000 are the most"),
        ({"instances": ["row"]}, "a value will not do"),
    ],
)
def test_a_bad_body_says_why(endpoint, body, message):
    status, answer = call("POST", "/models/flights/predictions", body)
    assert status == 400
    assert message in answer["message"]


def test_no_model_no_champion_no_endpoint(ledger, monkeypatch):
    assert call("POST", "/models/ghosts/predictions", {"instances": [ROW]})[0] == 404
    status, answer = predict(ROW)
    assert (status, answer["message"]) == (409, "flights has no version in service yet")


@pytest.mark.parametrize(
    ("error", "status"), [(AwsRejected("boom", "ModelError"), 502), (AwsUnavailable("slow down"), 503)]
)
def test_a_model_that_fails(ledger, monkeypatch, error, status):
    def invoke(**params):
        raise error

    world.champion(ledger)
    intercept(monkeypatch, "sagemaker-runtime", {"invoke_endpoint": invoke})
    assert predict(ROW)[0] == status


def test_an_answer_of_another_length_is_the_models_failure(endpoint, monkeypatch):
    monkeypatch.setattr(aws, "call", lambda *args, **params: {"Body": BytesIO(b"")})
    with pytest.raises(predictions.Refused, match="answered 0 rows for 1"):
        predictions.invoke("e", [ROW], "r")


def stored(key):
    body = aws.client("s3").get_object(Bucket="bucket", Key=key)["Body"].read()
    return [json.loads(line) for line in body.splitlines()]


def test_labels_are_stored_under_the_hour_they_came_in():
    body = {"labels": [{"id": "f1", "label": 1}, {"id": 7, "label": False}]}
    for _ in range(2):  # the same request again changes nothing
        assert call("POST", "/models/flights/labels", body) == (202, {"accepted": 2})
    keys = aws.client("s3").list_objects_v2(Bucket="bucket", Prefix="labels/")["Contents"]
    assert [found["Key"] for found in keys] == ["labels/flights/2013/04/01/10/JKJaX1.jsonl"]
    assert stored(keys[0]["Key"]) == [
        {
            "groundTruthData": {"data": data, "encoding": "CSV"},
            "eventMetadata": {"eventId": id},
            "eventVersion": "0",
        }
        for id, data in (("f1", "1"), ("7", "0"))
    ]


@pytest.mark.parametrize(
    ("entry", "field", "reason"),
    [
        ({"id": "f1", "label": 2}, "label", "must be 0 or 1"),
        ({"id": "f1", "label": "late"}, "label", "must be 0 or 1"),
        ({"id": "f1"}, "label", "must be 0 or 1"),
        ({"label": 1}, "id", "must be a text or a whole number"),
        ("f1", "", "is not an object with id and label"),
    ],
)
def test_a_bad_label_names_its_field_and_the_reason(entry, field, reason):
    status, answer = call("POST", "/models/flights/labels", {"labels": [{"id": "f0", "label": 1}, entry]})
    assert status == 400
    assert answer["errors"] == [{"instance": 1, "field": field, "reason": reason}]


@pytest.mark.parametrize(
    ("task", "good", "bad"),
    [("multiclass_classification", ["a", 3], [None, 1.5, []]), ("regression", [1, -2.5], ["1", True, None])],
)
def test_labels_of_other_tasks(task, good, bad):
    assert not [error for label in good for error in labels.check(0, {"id": "a", "label": label}, task)]
    assert all(labels.check(0, {"id": "a", "label": label}, task) for label in bad)


def test_what_a_model_is_doing(ledger, sagemaker, executions):
    world.champion(ledger)
    world.registered(ledger, 2)
    world.registered(ledger, 3)
    sagemaker.package(f"{world.GROUP}/2", "PendingManualApproval")
    sagemaker.package(f"{world.GROUP}/3", "Rejected")  # in Studio: the ledger does not know
    violation = {"feature_name": "origin", "constraint_check_type": "baseline_drift_check"}
    for day, found in ((1, []), (2, [violation])):
        ledger.commit(
            put(
                "flights",
                f"WINDOW#2013040{day}T000000Z_2013040{day + 1}T000000Z",
                {"status": "Completed", "violations": found},
            )
        )
    ledger.commit(acquire("flights", "train", execution("t"), 3600, run="flights-9"))
    executions.add(execution("t"))
    status, answer = call("GET", "/models/flights")
    assert status == 200
    assert answer["champion"]["version"] == 1
    assert [package["version"] for package in answer["pending"]] == [2]
    assert answer["violations"] == [violation]
    assert answer["run"] == "flights-9"
    assert len(answer["windows"]) == 2
    assert call("GET", "/models/ghosts")[0] == 404


def test_models_are_listed(ledger):
    listed = {"name": "flights", "task": "binary_classification", "published_at": "2013-03-01T00:00:00Z"}
    ledger.commit(Write("flights", "flights", listed, pk="MODELS"))
    world.champion(ledger)
    assert call("GET", "/models")[1]["models"] == [
        listed | {"version": 1, "endpoint": "evergreen-flights"},
    ]


def test_history_pages_from_the_newest(ledger):
    for day in range(1, 6):
        ledger.append(history("flights", f"2013-04-0{day}T00:00:00Z", "RunDropped", str(day)))
    _, first = call("GET", "/models/flights/history", query={"limit": "2"})
    assert [row["id"] for row in first["history"]] == ["5", "4"]
    _, second = call("GET", "/models/flights/history", query={"limit": "2", "next": first["next"]})
    _, third = call("GET", "/models/flights/history", query={"limit": "2", "next": second["next"]})
    assert [row["id"] for row in second["history"] + third["history"]] == ["3", "2", "1"]
    assert third["next"] is None
    assert call("GET", "/models/flights/history", query={"limit": "0"})[0] == 400
    assert call("GET", "/models/flights/history", query={"next": "%%%"})[0] == 400


def test_a_folder_that_was_refused_at_first_has_a_history(ledger):
    ledger.append(history("newborn", "2013-04-01T00:00:00Z", "OnboardingRefused", "1", reason="line 3"))
    status, answer = call("GET", "/models/newborn/history")
    assert (status, [row["reason"] for row in answer["history"]]) == (200, ["line 3"])
    assert call("GET", "/models/nobody/history")[0] == 404


@pytest.fixture
def sent(monkeypatch):
    """What was put on the bus."""
    entries = []

    def put_events(Entries):
        entries.extend(Entries)
        return {"FailedEntryCount": 0, "Entries": [{}]}

    intercept(monkeypatch, "events", {"put_events": put_events})
    return entries


def test_a_person_asks_for_a_training(sent):
    status, answer = call("POST", "/models/flights/train", headers={"idempotency-key": "monday"})
    assert status == 202
    assert answer["cause"] == {"kind": "person", "id": "monday", "at": "2013-04-01T10:30:00Z", "by": ANN}
    assert json.loads(sent[0]["Detail"]) == {"model": "flights", "cause": answer["cause"]}
    assert (sent[0]["EventBusName"], sent[0]["DetailType"]) == ("evergreen", "TrainingRequested")
    assert call("POST", "/models/ghosts/train")[0] == 404
    assert call("POST", "/models/flights/train", headers={"idempotency-key": "a b"})[0] == 400


def roll_back(**more):
    return call("POST", "/models/flights/rollback", {"reason": "calls Newark late"} | more)


def test_a_person_asks_for_the_version_before(ledger, sent):
    before = world.champion(ledger)
    second = world.champion(ledger, 2, previous=before)
    status, answer = roll_back()
    assert status == 202
    assert (answer["version"], answer["returns_to"], answer["cause"]["by"]) == (2, 1, ANN)
    named = {"reason": "calls Newark late", "version": 2, "deployment": second["deployment"]}
    assert json.loads(sent[0]["Detail"]) == {"model": "flights", "cause": answer["cause"]} | named
    assert (sent[0]["Source"], sent[0]["DetailType"]) == ("evergreen.api", "RollbackRequested")


def test_nothing_to_return_to_is_409_with_the_reason(ledger, sent, executions):
    assert roll_back() == (409, {"message": "flights: no version is in service"})
    before = world.champion(ledger)
    assert roll_back() == (409, {"message": "flights: there is no version before version 1 to return to"})
    world.champion(ledger, 2, previous=before)
    ledger.commit(acquire("flights", "deploy", execution("d"), 3600, deployment="evergreen-flights-v3-b"))
    executions.add(execution("d"))
    assert roll_back() == (409, {"message": "flights: evergreen-flights-v3-b is being deployed"})
    executions.clear()  # a dead execution deploys nothing
    assert roll_back()[0] == 202
    assert roll_back(reason=" ")[0] == 400
    assert call("POST", "/models/ghosts/rollback", {"reason": "x"})[0] == 404
    assert len(sent) == 1


def test_an_unknown_route_is_404():
    assert call("GET", "/elsewhere")[0] == 404
