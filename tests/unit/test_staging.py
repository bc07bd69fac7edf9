"""Staging: a version is tested beside production, and waits for a person without keeping anybody waiting."""

import json
import re
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import releases
from botocore.exceptions import ClientError
from deploy import admit_deployment, admit_production, ask_approval, refuse_deployment, run_smoke_test
from evergreen import deployments, smoke, spec, staging
from evergreen.errors import AwsRejected, AwsUnavailable, EndpointBusy, SamplesMissing, SpecInvalid
from evergreen.ledger import acquire
from evergreen.smoke import Reply

from jobs.answers import SMOKE_TEST
from tests.unit import world
from tests.unit.conftest import intercept
from tests.unit.test_api import ANN, call
from tests.unit.test_deploy import approved
from tests.unit.world import GROUP, execution, kinds

BY_PERSON = world.MODEL_YAML.replace(
    "ship: {", "ship: {staging: {instance: ml.t2.medium, approval: person, expires: 2d}, "
)
BY_TEST = world.MODEL_YAML.replace("ship: {", "ship: {staging: {}, ")
EVENTS = Path(__file__).parents[2] / "events"
SMOKE = {"passed": True, "reason": "2 rows are answered as when the model was judged, in 12 ms"}
RELEASED = {"by": ANN, "reason": "looked at it", "at": "2013-03-02T08:00:00Z"}
ANSWER = {"prediction": 1, "probability": 0.8}
ROWS = [{"flight_id": f"f{place}", "distance": place} for place in (1, 2)]


@pytest.fixture(autouse=True)
def flights(ledger, sagemaker, executions):
    world.onboard(ledger, BY_PERSON)
    world.registered(ledger)
    sagemaker.package(f"{GROUP}/1")


def admit(event=None, name="one"):
    event = {"event": event or approved(), "execution": execution(name, "deploy")}
    return admit_deployment.handler(event, world.CONTEXT)


def go_on(plan, name="one", approval=RELEASED):
    event = {"plan": plan, "smoke": SMOKE, "approval": approval, "execution": execution(name, "deploy")}
    return admit_production.handler(event, world.CONTEXT)


def ask(plan, token="secret-token"):
    return ask_approval.handler({"plan": plan, "smoke": SMOKE, "token": token}, world.CONTEXT)


def refuse(plan, cause="calls Newark late"):
    error = {"Error": "ApprovalRefused", "Cause": cause}
    return refuse_deployment.handler({"plan": plan, "error": error}, world.CONTEXT)


# model.yaml


@pytest.mark.parametrize(
    ("ship", "serve", "mistake"),
    [
        ("{staging: {approval: nobody}}", "", "ship.staging.approval: 'nobody' is not one of auto, person"),
        ("{staging: {approval: person, expires: 8d}}", "", "expires: '8d' is not between 10m and 7d"),
        ("{staging: {expires: 2h}}", "", "ship.staging.expires: nobody is asked, so nothing expires: set"),
        ("{staging: {instance: large}}", "", "instance: 'large' is not an instance type such as"),
        ("{staging: {count: 2}}", "", "ship.staging.count: is not a key here"),
        (
            "{staging: {}}",
            "{batch: {instance: ml.m5.large}}",
            "ship.staging: is an endpoint: a model served in",
        ),
        (
            "{staging: {instance: ml.m5.large}}",
            "{serverless: {memory_mb: 2048, concurrency: 2}}",
            "ship.staging.instance: is of instances: the staging endpoint is serverless",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(ship, serve, mistake):
    lines = world.MODEL_YAML.splitlines()
    (place,) = [number for number, line in enumerate(lines) if line.startswith("ship:")]
    lines[place] = f"ship: {ship}"
    if serve:
        lines = [f"serve: {serve}" if line.startswith("serve:") else line for line in lines]
    with pytest.raises(SpecInvalid, match=r"model\.yaml has") as refused:
        spec.parse("\n".join(lines))
    (told,) = [line for line in str(refused.value).splitlines() if mistake in line]
    assert told.startswith(f"  line {place + 1}: ")


# admission


def test_a_staged_version_is_planned_without_the_lock(ledger, sagemaker):
    sagemaker.endpoints["evergreen-flights"] = {"EndpointStatus": "Updating"}  # production may be busy
    plan = admit()
    assert plan["staging"] == {
        "endpoint": f"{plan['deployment']}-staging",
        "variant": {
            "VariantName": "main",
            "ModelName": plan["deployment"],
            "InitialVariantWeight": 1,
            "InstanceType": "ml.t2.medium",
            "InitialInstanceCount": 1,
        },
        "samples": "s3://bucket/runs/flights-0000000001/evaluation/smoke.jsonl",
        "latency": 0.2,
        "approval": "person",
        "expires": 172800,
    }
    assert ledger.holder("flights", "deploy") is None
    assert ledger.need("flights", "PACKAGE#000001")["status"] == "Staging"
    assert admit() == plan, "killed after its side effect, and retried"


def test_a_serverless_model_is_staged_serverless(ledger, sagemaker):
    yaml = BY_TEST.replace(
        "instance: ml.m5.large, count: 2}", "serverless: {memory_mb: 2048, concurrency: 5}}"
    )
    world.onboard(ledger, yaml.replace("strategy: canary, percent: 10, ", ""), "eeeeeeeeeeee")
    world.registered(ledger, 2, digest="eeeeeeeeeeee")
    sagemaker.package(f"{GROUP}/2")
    variant = admit(approved(2))["staging"]["variant"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    assert not {"InstanceType", "InitialInstanceCount"} & set(variant)


def test_names_fit_into_sagemakers_at_their_longest():
    deployment = f"{'p' * 18}-{'m' * 20}-v123456-abcdef"
    package = {"baseline": "s3://bucket/runs/r/baseline/"}
    ship = spec.parse(BY_TEST)["ship"]
    assert len(staging.plan(ship, {"instance": "ml.m5.large"}, None, package, deployment)["endpoint"]) <= 63


def test_a_version_that_waits_for_a_person_keeps_nobody_waiting(ledger, sagemaker, executions):
    """Neither a rollback of what is in service, nor another version."""
    before = world.champion(ledger, 5)
    champion = world.champion(ledger, 6, previous=before)
    world.registered(ledger, 7)
    sagemaker.package(f"{GROUP}/7")
    executions.add(execution("one", "deploy"))
    ask(admit(approved(7)))
    assert deployments.no_way_back(champion, deployments.under_way(ledger, "flights")) == ""
    world.registered(ledger, 8)
    sagemaker.package(f"{GROUP}/8")
    assert admit(approved(8), "two")["admitted"]


def test_a_version_is_staged_once_at_a_time(ledger, sagemaker, executions):
    executions.add(execution("one", "deploy"))
    plan = admit()
    sagemaker.update_model_package(f"{GROUP}/1")  # somebody edited the package: another approval event
    again = admit(approved(at="2013-03-03T00:00:00Z"), "two")
    assert again["reason"] == f"version 1 is in staging already, as {plan['deployment']}"
    executions.clear()  # that one died
    assert admit(approved(at="2013-03-03T00:00:00Z"), "three")["admitted"]


def test_production_is_planned_with_what_is_in_service_then(ledger, sagemaker):
    plan = admit()
    sagemaker.endpoints["evergreen-flights"] = {"EndpointStatus": "InService"}
    world.champion(ledger, 5)  # came meanwhile
    ready = go_on(plan)
    assert ready["admitted"] and not ready["isNew"] and ready["staging"] is None
    assert ready["deployment"] == plan["deployment"]
    assert ledger.holder("flights", "deploy")["owner"] == execution("one", "deploy")
    assert ledger.need("flights", "PACKAGE#000001")["status"] == "Deploying"
    (row,) = kinds(ledger, "ProductionAdmitted")
    assert (row["by"], row["at"]) == (ANN, RELEASED["at"])
    assert row["reason"] == f"{SMOKE['reason']}; looked at it (by {ANN})"
    assert go_on(plan) == ready, "killed after its side effect, and retried"


def test_production_waits_for_another_deployment(ledger, executions):
    plan = admit()
    executions.add(execution("other", "deploy"))
    ledger.commit(acquire("flights", "deploy", execution("other", "deploy"), 3600, deployment="another"))
    with pytest.raises(EndpointBusy, match="another is being deployed"):
        go_on(plan)
    assert ledger.need("flights", "PACKAGE#000001")["status"] == "Staging"
    executions.clear()
    assert go_on(plan)["admitted"]


@pytest.mark.parametrize("overtaken", ["Rejected", "newer"])
def test_a_version_that_was_overtaken_does_not_go_on(ledger, sagemaker, overtaken):
    plan = admit()
    if overtaken == "newer":
        world.champion(ledger, 2, approved_at="2013-03-05T00:00:00Z")
    else:
        sagemaker.package(f"{GROUP}/1", overtaken, ApprovalDescription="smells (by bea)")
    answer = go_on(plan)
    assert not answer["admitted"]
    assert go_on(plan) == answer
    assert len(kinds(ledger, "DeploymentDropped")) == 1
    assert ledger.holder("flights", "deploy") is None
    assert ledger.need("flights", "PACKAGE#000001")["status"] == "Dropped"
    assert not sagemaker.updates, "what the registry says was somebody's word"


def test_a_refused_version_is_rejected_once_with_the_reason(ledger, sagemaker):
    plan = admit()
    assert refuse(plan) == refuse(plan) == {"reason": "ApprovalRefused: calls Newark late"}
    assert len(sagemaker.updates) == 1
    assert "not shipped: ApprovalRefused: calls Newark late" in sagemaker.updates[0]["ApprovalDescription"]
    assert len(kinds(ledger, "DeploymentRefused")) == 1
    assert ledger.need("flights", "PACKAGE#000001")["status"] == "Refused"
    assert not admit(name="late")["admitted"], "it does not come back by itself"


def stopped(name="one", given=None, status="ABORTED"):
    """The event of an execution that somebody stopped, or that ran out of time."""
    sample = EVENTS / "states-step-functions-execution-status-change.deploy.json"
    event = json.loads(sample.read_text())
    event["detail"] |= {"executionArn": execution(name, "deploy"), "status": status}
    event["detail"]["input"] = json.dumps(given or approved())
    return event


def test_what_a_stopped_execution_has_in_staging_is_named(ledger):
    plan = admit()
    found = admit(stopped(status="TIMED_OUT"), "two")
    assert found["staging"] == plan["staging"]
    assert not found["admitted"]
    assert found["stopped"] == f"{execution('one', 'deploy')} was TIMED_OUT while version 1 was in staging"
    refuse(plan)
    assert "stopped" not in admit(stopped(), "three")


def test_a_stopped_execution_without_anything_in_staging_is_left(ledger):
    go_on(admit())
    for event in (stopped(), stopped("another"), stopped(given=stopped())):
        answer = admit(event, "two")
        assert not answer["admitted"] and "stopped" not in answer
        assert answer["reason"].endswith("was ABORTED and left nothing in staging")
    assert not kinds(ledger, "DeploymentDropped")


# the smoke test


@pytest.fixture
def endpoint(monkeypatch, bucket):
    """What the staging endpoint is asked; `say` is a function of the row, or raises."""
    told = SimpleNamespace(asked=[], marks=set(), say=lambda row: ANSWER)

    def invoke(EndpointName, Body, CustomAttributes, **more):
        told.marks.add(CustomAttributes)
        told.asked.append((EndpointName, json.loads(Body)))
        return answering(Body, told.say)

    kept(bucket)
    intercept(monkeypatch, "sagemaker-runtime", {"invoke_endpoint": invoke})
    return told


def kept(bucket):
    """The rows of version 1, as its evaluation leaves them."""
    lines = (json.dumps({"row": row, "answer": ANSWER}) for row in ROWS)
    bucket.put("runs/flights-0000000001/evaluation/smoke.jsonl", "\n".join(lines))


def answering(Body, say=lambda row: ANSWER, **more):
    """An endpoint that answers each row, and says 400 to one without any column."""
    row = json.loads(Body)
    if not row:
        raise rejected(400)
    return {"Body": BytesIO(json.dumps(say(row)).encode())}


def rejected(status, code="ModelError"):
    """As `aws.call` translates what the container says."""
    said = {"Error": {"Code": code}, "OriginalStatusCode": status, "OriginalMessage": "row 0: no"}
    error = AwsRejected("Received client error", code)
    error.__cause__ = ClientError(said, "InvokeEndpoint")
    return error


def smoke_test(plan):
    return run_smoke_test.handler({"plan": plan}, world.CONTEXT)


def test_a_version_that_answers_as_it_was_judged_passes(ledger, endpoint):
    plan = admit()
    answer = smoke_test(plan)
    assert answer["passed"]
    assert "2 rows are answered as when the model was judged" in answer["reason"]
    assert [row for _, row in endpoint.asked] == [ROWS[0], *ROWS, {}, ROWS[0]]
    assert {name for name, _ in endpoint.asked} == {f"{plan['deployment']}-staging"}
    assert endpoint.marks == {SMOKE_TEST}, "or the alarm on the answers would count them"
    (row,) = kinds(ledger, "SmokeTested")
    assert row["figures"]["rows"] == 2 and row["figures"]["malformed"] == 400


def test_a_version_that_answers_otherwise_fails_and_stays_failed(endpoint):
    plan = admit()
    endpoint.say = lambda row: ANSWER | {"probability": 0.3}
    answer = smoke_test(plan)
    assert answer == {
        "passed": False,
        "reason": "2 of 2 rows are answered otherwise than when the model was judged: row 1: "
        "probability is 0.3, was 0.8",
    }
    endpoint.say = lambda row: ANSWER
    assert smoke_test(plan) == answer, "killed after its side effect, and retried"


def test_a_run_without_rows_cannot_be_tested():
    with pytest.raises(
        SamplesMissing, match=r"no rows to test with at s3://bucket/runs/flights-0000000001/.* \(NoSuchKey\)"
    ):
        smoke_test(admit())


def test_what_is_no_answer_of_the_model_is_no_verdict(endpoint, monkeypatch):
    plan = admit()

    def denied(**params):
        raise rejected(0, "ValidationError")

    intercept(monkeypatch, "sagemaker-runtime", {"invoke_endpoint": denied})
    with pytest.raises(AwsRejected):
        smoke_test(plan)


def reply(status=200, answer=ANSWER, seconds=0.01):
    return Reply(status, answer, seconds)


@pytest.mark.parametrize(
    ("change", "passed", "reason"),
    [
        ({}, True, "2 rows are answered as when the model was judged, in 10 ms"),
        ({"malformed": reply(500)}, True, "a row without any column is answered with 500, which ship.alarms"),
        (
            {"replies": [reply(), reply(503, None)]},
            False,
            "1 of 2 rows .* row 2: answered with 503$",
        ),
        (
            {"replies": [reply(seconds=0.3), reply(seconds=0.5)]},
            False,
            "half of 2 requests took 400 ms or more",
        ),
        ({"replies": [reply()]}, True, "1 rows"),
        (
            {"afterwards": reply(500, None)},
            False,
            r"after a row without any column \(answered with 400\) a row",
        ),
    ],
)
def test_verdicts(change, passed, reason):
    given = {"replies": [reply(), reply()], "malformed": reply(400), "afterwards": reply()} | change
    verdict = smoke.judge([ANSWER, ANSWER], **given, limit=0.2)
    assert verdict.passed is passed
    assert re.search(reason, verdict.reason)


@pytest.mark.parametrize(
    ("expected", "found", "different"),
    [
        (0.3, 0.30001, ""),
        (0.3, 0.301, "it is 0.301, was 0.3"),
        (1, 1.0, ""),
        (1, True, "it is True, was 1"),
        (0.0, 1e-7, ""),
        ({"a": [1, {"b": "x"}]}, {"a": [1, {"b": "y"}]}, "a[1].b is y, was x"),
        ({"a": 1}, {"a": 1, "b": 2}, "it has a, b; had a"),
        ([1, 2], [1], "it is [1], was [1, 2]"),
        (None, 0, "it is 0, was None"),
    ],
)
def test_differences(expected, found, different):
    assert smoke.difference(expected, found) == different


# the person


@pytest.fixture
def sent(monkeypatch):
    entries = []

    def put_events(Entries):
        entries.extend(Entries)
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}

    intercept(monkeypatch, "events", {"put_events": put_events})
    return entries


@pytest.fixture
def answers(monkeypatch):
    """What Step Functions is told; the first answer counts."""
    told = []

    def send(**params):
        if told:
            raise AwsRejected("Provided task does not exist anymore", "TaskTimedOut")
        told.append(params)
        return {}

    intercept(monkeypatch, "stepfunctions", {"send_task_success": send, "send_task_failure": send})
    return told


def decide(plan, decision="approve", reason="looked at it", model="flights"):
    path = f"/models/{model}/deployments/{plan['deployment']}/approval"
    return call("POST", path, {"decision": decision, "reason": reason})


def test_a_person_is_asked_with_what_they_need_and_without_the_token(ledger, sent):
    plan = admit()
    ask(plan)
    ask(plan, "secret-token-of-the-second-attempt")
    detail = json.loads(sent[0]["Detail"])
    sample = json.loads((EVENTS / "deploy-approval-requested.json").read_text())
    assert (sent[0]["Source"], sent[0]["DetailType"]) == (sample["source"], sample["detail-type"])
    assert detail.keys() == sample["detail"].keys()
    assert detail["approval"] == f"/models/flights/deployments/{plan['deployment']}/approval"
    assert detail["metrics"] == {"roc_auc": 0.72}
    assert ledger.need("flights", f"TOKEN#{plan['deployment']}")["token"].endswith("second-attempt")
    assert len(kinds(ledger, "ApprovalRequested")) == 1
    shown = [call("GET", path) for path in ("/models", "/models/flights", "/models/flights/history")]
    assert "secret" not in json.dumps([sent, shown, list(ledger.query("flights", "DEPLOYMENT#"))])
    (staged,) = shown[1][1]["staged"]
    assert (staged["version"], staged["deployment"]) == (1, plan["deployment"])
    assert staged["approval"]["expires"] == json.loads(sent[-1]["Detail"])["expires"]


def test_a_question_that_nobody_hears_is_asked_again(monkeypatch):
    failed = {"FailedEntryCount": 1, "Entries": [{"ErrorMessage": "throttled"}]}
    intercept(monkeypatch, "events", {"put_events": lambda Entries: failed})
    with pytest.raises(AwsUnavailable, match="throttled"):
        ask(admit())


def test_an_approval_is_passed_on_once(ledger, sent, answers):
    plan = admit()
    ask(plan)
    status, answer = decide(plan)
    assert status == 200
    assert answer == {
        "model": "flights", "version": 1, "deployment": plan["deployment"], "decision": "approve", "by": ANN,
    }  # fmt: skip
    told = {"by": ANN, "reason": "looked at it", "at": "2013-04-01T10:30:00Z"}
    assert answers[0]["taskToken"] == "secret-token"
    assert json.loads(answers[0]["output"]) == told
    status, refused = decide(plan, "reject", "no, wait")
    assert status == 409
    assert "does not wait for a person any more" in refused["message"]
    (row,) = kinds(ledger, "ApprovalDecided")
    assert (row["decision"], row["by"], row["reason"]) == ("approve", ANN, "looked at it")
    assert "secret" not in json.dumps([answer, refused, row])


def test_a_refusal_fails_the_run_with_who_and_why(sent, answers):
    plan = admit()
    ask(plan)
    assert decide(plan, "reject", "calls Newark\nlate")[0] == 200
    assert answers[0] == {
        "taskToken": "secret-token",
        "error": "ApprovalRefused",
        "cause": f"calls Newark late (refused by {ANN})",
    }


def test_what_does_not_wait_is_409_and_what_is_not_there_404(ledger, sent, answers):
    plan = admit()
    assert decide(plan)[0] == 409, "still being tested"
    ask(plan)
    assert decide(plan, "perhaps")[0] == 400
    assert decide(plan, reason=" ")[0] == 400
    assert decide(plan | {"deployment": "evergreen-flights-v9-aaaaaa"})[0] == 404
    assert decide(plan, model="ghosts")[0] == 404
    refuse(plan, "nobody approved or refused it within 48 h")
    status, answer = decide(plan)
    assert status == 409
    assert "it is Refused: ApprovalRefused: nobody approved" in answer["message"]
    assert not answers and not kinds(ledger, "ApprovalDecided")


def test_another_mistake_of_step_functions_is_no_refusal(monkeypatch, sent):
    plan = admit()
    ask(plan)

    def broken(**params):
        raise AwsRejected("no such output", "InvalidOutput")

    intercept(monkeypatch, "stepfunctions", {"send_task_success": broken})
    with pytest.raises(AwsRejected):
        releases.send("secret-token", "approve", RELEASED, {})
