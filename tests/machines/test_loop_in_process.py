"""The five machines with the real handlers behind their states, event by event, in one process.

The interpreter runs the machines, moto keeps the ledger and the bucket, and a few lines stand for
SageMaker's jobs, registry and endpoint. What one handler returns, the next state reads: a key that does not
fit shows here, seconds after it was written.
"""

from typing import Any

import boto3
import pytest
from evergreen import aws
from moto import mock_aws

from tests.lint_asl import ROOT
from tests.machines import onboard_paths, respond_paths, train_paths
from tests.machines.account import ENDPOINT, GROUP, World
from tests.machines.engine import Result, Throw
from tests.machines.scenario import event
from tests.unit.conftest import ACCOUNT, REGION, SageMaker, intercept

LOST_QUALITY = {
    "feature_name": "prediction",
    "constraint_check_type": "model_quality_check",
    "description": "log_loss 0.62 is above the baseline's 0.44 by more than 0.05",
    "metric": "log_loss",
    "value": 0.62,
    "threshold": 0.49,
}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, socket_disabled: None) -> Any:
    for key, value in ACCOUNT.items():
        monkeypatch.setenv(key, value)
    with mock_aws():
        aws.client.cache_clear()
        boto3.client("dynamodb").create_table(
            TableName="ledger",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
        )
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
        sagemaker = SageMaker()
        answers = ("describe_model_package", "update_model_package", "describe_endpoint")
        intercept(monkeypatch, "sagemaker", {name: getattr(sagemaker, name) for name in answers})
        # Between two runs of this test nothing runs: whoever holds a lock is dead.
        intercept(
            monkeypatch, "stepfunctions", {"describe_execution": lambda executionArn: {"status": "SUCCEEDED"}}
        )
        yield World(sagemaker)
    aws.client.cache_clear()


def in_service(world: World) -> World:
    """Version 1 is the champion."""
    onboarded = world.run("onboard", world.publish(), FindPackageGroup=onboard_paths.NO_GROUP)
    assert onboarded.end == "ModelOnboarded", onboarded
    trained = world.run("train", world.sent(onboarded, "RequestTraining", "2013-03-01T06:00:19Z"))
    assert trained.end == "ModelRegistered", trained
    shipped = world.run("deploy", world.approve(1, "2013-03-01T08:00:00Z"))
    assert shipped.end == "ModelDeployed", shipped
    return world


def due() -> dict[str, Any]:
    """The schedule of the monitor, at the end of a week in April."""
    scheduled = {**event("schedule-monitoring-scheduled"), "time": "2013-04-19T00:00:00Z"}
    scheduled["detail"]["at"] = scheduled["time"]
    return scheduled


def violated(world: World) -> Result:
    """The week is captured, and the analysis finds that the model has lost."""
    for day in ("2013-04-13", "2013-04-16"):
        world.capture(day, 1000)
    found = world.run("monitor", due(), AnalyzeSmallWindow=world.analyze([LOST_QUALITY]))
    assert found.end == "ViolationsFound", found
    return found


def test_the_loop_closes(world: World) -> None:
    in_service(world)
    assert world.ledger.get("flights", "CHAMPION")["version"] == 1
    found = violated(world)
    answered = world.run("respond", world.sent(found, "AnnounceViolations", "2013-04-19T00:03:00Z"))
    assert answered.end == "RetrainingRequested", answered
    again = world.run("train", world.sent(answered, "RequestTraining", "2013-04-19T00:04:00Z"))
    assert again.end == "ModelRegistered", again
    assert (
        again.only("PrepareData")["Environment"]["HOLDOUT_NOT_BEFORE"]
        == train_paths.VALIDATION["train"]["until"]
    )
    shipped = world.run("deploy", world.approve(2, "2013-04-19T09:00:00Z"))
    assert shipped.end == "ModelDeployed", shipped
    assert shipped.only("UpdateEndpoint")["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    champion = world.ledger.get("flights", "CHAMPION")
    assert (champion["version"], champion["cause"]["kind"]) == (2, "violation")
    assert shipped.only("DeleteOldAlarms")["AlarmNames"] == champion["previous"]["alarms"]


def test_each_event_five_times_does_the_work_once(world: World) -> None:
    published = world.publish()
    onboarded = world.run("onboard", published)
    assert {world.run("onboard", published).end for _ in range(4)} == {"AlreadyOnboarded"}
    requested = world.sent(onboarded, "RequestTraining", "2013-03-01T06:00:19Z")
    assert [world.run("train", requested).end for _ in range(5)] == [
        "ModelRegistered",
        *["TrainingDropped"] * 4,
    ]
    approved = world.approve(1, "2013-03-01T08:00:00Z")
    assert [world.run("deploy", approved).end for _ in range(5)] == [
        "ModelDeployed",
        *["DeploymentDropped"] * 4,
    ]
    found = violated(world)
    signal = world.sent(found, "AnnounceViolations", "2013-04-19T00:03:00Z")
    assert [world.run("respond", signal).end for _ in range(5)] == ["RetrainingRequested", *["LeftAlone"] * 4]
    counted = {kind: len(world.history(kind)) for kind in ("ModelOnboarded", "RunAdmitted", "ModelDeployed")}
    assert counted == {"ModelOnboarded": 1, "RunAdmitted": 1, "ModelDeployed": 1}


def test_an_approval_withdrawn_before_its_event_is_heard_ships_nothing(world: World) -> None:
    onboarded = world.run("onboard", world.publish())
    world.run("train", world.sent(onboarded, "RequestTraining", "2013-03-01T06:00:19Z"))
    approved = world.approve(1, "2013-03-01T08:00:00Z")
    world.sagemaker.update_model_package(f"{GROUP}/1", ModelApprovalStatus="Rejected")
    assert world.run("deploy", approved).end == "DeploymentDropped"
    assert world.ledger.get("flights", "CHAMPION") is None


def test_a_challenger_under_the_floor_is_recorded_and_not_registered(world: World) -> None:
    world.auc = 0.61
    onboarded = world.run("onboard", world.publish())
    trained = world.run("train", world.sent(onboarded, "RequestTraining", "2013-03-01T06:00:19Z"))
    assert trained.end == "ChallengerRejected"
    (ended,) = world.history("RunEnded")
    assert (ended["outcome"], float(ended["metrics"]["roc_auc"])) == ("rejected", 0.61)
    assert not world.sagemaker.packages


def test_a_script_that_crashes_says_so_and_the_champion_stays(world: World) -> None:
    in_service(world)
    asked = event("api-training-requested")
    failed = world.run("train", asked, TrainModel=train_paths.FAILED_JOB)
    assert failed.end == "TrainingFailed"
    assert "learning_rate is 0" in failed.cause
    assert "learning_rate is 0" in world.history("RunEnded")[-1]["reason"]
    assert world.ledger.get("flights", "CHAMPION")["version"] == 1
    retried = {**asked, "detail": {**asked["detail"], "cause": {**asked["detail"]["cause"], "id": "another"}}}
    assert world.run("train", retried).end == "ModelRegistered"  # the lock was given back


def test_a_canary_that_fails_leaves_the_champion_and_rejects_the_package(world: World) -> None:
    in_service(world)
    assert world.run("train", event("api-training-requested")).end == "ModelRegistered"
    before = world.sagemaker.endpoints[ENDPOINT]
    alarmed = {**before, "FailureReason": "alarm went off"}
    result = world.run("deploy", world.approve(2, "2013-06-10T12:00:00Z"), DescribeEndpoint=alarmed)
    assert result.end == "DeploymentRolledBack"
    assert "alarm went off" in result.cause
    assert world.ledger.get("flights", "CHAMPION")["version"] == 1
    assert world.sagemaker.packages[f"{GROUP}/2"]["ModelApprovalStatus"] == "Rejected"


def test_an_alarm_on_probation_puts_the_champion_before_back(world: World) -> None:
    in_service(world)
    world.run("train", event("api-training-requested"))
    assert world.run("deploy", world.approve(2, "2013-06-10T12:00:00Z")).end == "ModelDeployed"
    champion = world.ledger.get("flights", "CHAMPION")
    alarm = event("cloudwatch-alarm-state-change")
    alarm["detail"]["alarmName"] = f"{champion['deployment']}-errors"
    alarm["time"] = "2013-06-10T18:00:00Z"
    result = world.run("respond", alarm)
    assert result.end == "OwnerNotified", result
    assert world.ledger.get("flights", "CHAMPION")["version"] == 1
    assert world.sagemaker.endpoints[ENDPOINT]["EndpointConfigName"] == champion["previous"]["config"]


def test_a_person_puts_the_champion_before_back(world: World) -> None:
    in_service(world)
    world.run("train", event("api-training-requested"))
    assert world.run("deploy", world.approve(2, "2013-06-10T12:00:00Z")).end == "ModelDeployed"
    champion = world.ledger.get("flights", "CHAMPION")
    asked = event("api-rollback-requested")
    asked["detail"]["deployment"] = champion["deployment"]
    ends = [world.run("respond", asked).end for _ in range(3)]
    assert ends == ["OwnerNotified", "LeftAlone", "LeftAlone"]
    assert world.ledger.get("flights", "CHAMPION")["version"] == 1
    assert world.sagemaker.endpoints[ENDPOINT]["EndpointConfigName"] == champion["previous"]["config"]
    (told,) = world.history("DeploymentRolledBack")
    assert (told["reason"], told["cause"]["by"]) == (
        asked["detail"]["reason"],
        asked["detail"]["cause"]["by"],
    )


def test_a_window_with_nothing_to_say_says_so_with_the_counts(world: World) -> None:
    in_service(world)
    assert world.run("monitor", due()).end == "NoData"
    world.capture("2013-04-13", 812)
    again = {**event("program-monitoring-requested"), "time": "2013-04-19T00:05:00Z"}
    again["detail"]["window"] = {"start": "2013-04-12T00:00:00Z", "end": "2013-04-19T00:00:00Z"}
    assert world.run("monitor", again).end == "TooFewRows"
    assert world.run("monitor", again).end == "WindowDropped"
    windows = {(row["status"], int(row["rows"])) for row in world.history("WindowAnalyzed")}
    assert windows == {("NoData", 0), ("TooFewRows", 812)}


def test_an_analysis_that_crashes_is_no_clean_window(world: World) -> None:
    in_service(world)
    world.capture("2013-04-13", 1000)
    result = world.run("monitor", due(), AnalyzeSmallWindow=Throw("JobFailed", "no baseline.json"))
    assert result.end == "MonitoringFailed"
    assert "no baseline.json" in result.cause
    assert [row["status"] for row in world.history("WindowAnalyzed")] == ["Failed"]


def test_a_native_monitor_of_our_endpoint_is_heard(world: World) -> None:
    in_service(world)
    schedule = "arn:aws:sagemaker:us-east-1:123456789012:monitoring-schedule/evergreen-flights-data"
    job = {**respond_paths.JOB, "MonitoringScheduleArn": schedule}
    result = world.run("respond", event("sagemaker-processing-job-state-change"), DescribeMonitoringJob=job)
    assert result.end == "OwnerNotified"  # drift alone must repeat before it trains
    (assessed,) = world.history("SignalAssessed")
    assert "3 violations" in assessed["reason"]


def test_mistakes_in_model_yaml_are_all_told_with_their_lines(world: World) -> None:
    published = world.publish()
    text = (ROOT / "models/flights/model.yaml").read_text()
    text = text.replace("floor: 0.65", "floor: 1.7").replace("percent: 10", "percent: 90")
    key = published["detail"]["object"]["key"]
    published["detail"]["object"]["version-id"] = world.bucket.put(
        key, text.replace("count: 1", "count: one", 1)
    )
    result = world.run("onboard", published)
    assert result.end == "OnboardingRefused"
    assert result.cause.count("line ") == 3, result.cause
    assert world.history("OnboardingRefused")
