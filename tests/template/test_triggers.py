"""Each event starts what it should and nothing else: samples and their near misses against the rules."""

import copy
import json
import re
from typing import Any

import pytest

from tests.lint_asl import ROOT
from tests.template import stack

SAMPLES = {file.name.removesuffix(".json"): file for file in sorted((ROOT / "events").glob("*.json"))}
NOBODY: list[str] = []
# What the design promises; the template is held against this, never made into it.
STARTS = {
    "s3-object-created.model": ["OnboardStateMachine"],
    "s3-object-created.dataset": ["TrainStateMachine"],
    "s3-object-created.export": ["TrainStateMachine"],
    "s3-object-created.batch": ["BatchStateMachine"],
    "program-batch-requested": ["BatchStateMachine"],
    "onboard-training-requested": ["TrainStateMachine"],
    "respond-training-requested": ["TrainStateMachine"],
    "api-training-requested": ["TrainStateMachine"],
    "program-training-requested": ["TrainStateMachine"],
    "sagemaker-model-package-state-change": ["DeployStateMachine", "RenewCardFunction"],
    "program-monitoring-requested": ["MonitorStateMachine"],
    "monitor-violation-found": ["RespondStateMachine"],
    "api-rollback-requested": ["RespondStateMachine"],
    "cloudwatch-alarm-state-change": ["RespondStateMachine"],
    "sagemaker-processing-job-state-change": ["RespondStateMachine"],
    "states-step-functions-execution-status-change": ["Topic"],
    "states-step-functions-execution-status-change.deploy": ["DeployStateMachine", "Topic"],
    "deploy-approval-requested": ["Topic"],
    "deploy-deployment-refused": ["DeleteLeftoversFunction", "RenewCardFunction"],
    # For whoever listens outside the loop, and for the card: the states that follow were reached already.
    "train-training-ended": NOBODY,
    "train-model-registered": ["RenewCardFunction"],
    "deploy-model-deployed": ["DeleteLeftoversFunction", "RenewCardFunction"],
    "batch-completed": NOBODY,
    "deploy-deployment-rolled-back": ["DeleteLeftoversFunction", "RenewCardFunction"],
    "respond-deployment-rolled-back": ["DeleteLeftoversFunction", "RenewCardFunction"],
}
# EventBridge Scheduler starts these machines itself, without a bus; `test_samples` holds their samples.
SCHEDULED = {"schedule-training-scheduled", "schedule-batch-scheduled", "schedule-monitoring-scheduled"}


def sample(name: str) -> dict[str, Any]:
    return json.loads(SAMPLES[name].read_text())


def changed(name: str, path: str, value: Any) -> dict[str, Any]:
    """A sample with one member changed: `detail.state.value`."""
    event = copy.deepcopy(sample(name))
    *parents, last = path.split(".")
    place = event
    for key in parents:
        place = place[key]
    assert last in place, f"{name} has no {path}"
    place[last] = value
    return event


def test_every_sample_has_its_place_here() -> None:
    assert set(SAMPLES) == set(STARTS) | SCHEDULED


@pytest.mark.parametrize("name", STARTS)
def test_sample_starts(name: str) -> None:
    assert stack.started_by(sample(name)) == STARTS[name]


def test_every_rule_is_met_by_a_sample() -> None:
    met = {rule.name for name in STARTS for rule in stack.rules() if rule.matches(sample(name))}
    assert met == {rule.name for rule in stack.rules()}


PACKAGE = "sagemaker-model-package-state-change"
ALARM = "cloudwatch-alarm-state-change"
JOB = "sagemaker-processing-job-state-change"
EXECUTION = "states-step-functions-execution-status-change"
MODEL, DATASET = "s3-object-created.model", "s3-object-created.dataset"
INPUT = "s3-object-created.batch"
VIOLATION = "monitor-violation-found"
ROLLBACK = "api-rollback-requested"
APPROVAL = "deploy-approval-requested"


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        (PACKAGE, "detail.ModelApprovalStatus", "PendingManualApproval"),
        (PACKAGE, "detail.ModelPackageGroupName", "another-stack-flights"),
        (PACKAGE, "detail.ModelPackageGroupName", "evergreenflights"),
        (PACKAGE, "source", "evergreen.person"),
        (ALARM, "detail.state.value", "OK"),
        (ALARM, "detail.state.value", "INSUFFICIENT_DATA"),
        (ALARM, "detail.alarmName", "another-stack-flights-v2-errors"),
        (ALARM, "detail.alarmName", "TargetTracking-endpoint/evergreen-flights/variant/main-AlarmHigh-1"),
        (JOB, "detail.ProcessingJobStatus", "InProgress"),
        (JOB, "detail.ProcessingJobStatus", "Failed"),
        (JOB, "detail.ProcessingJobName", "evergreen-flights-8c1f0a52d7-analyze"),
        (JOB, "detail-type", "SageMaker Training Job State Change"),
        (EXECUTION, "detail.status", "RUNNING"),
        (EXECUTION, "detail.status", "SUCCEEDED"),
        (
            EXECUTION,
            "detail.stateMachineArn",
            "arn:aws:states:us-east-1:123456789012:stateMachine:other-train",
        ),
        (MODEL, "detail.object.key", "models/flights/3f9a1c07be52/train.py"),
        (MODEL, "detail.object.key", "models/flights/model.yaml"),
        (MODEL, "detail.object.key", "runs/flights-8c1f0a52d7/models/a/b/model.yaml"),
        (MODEL, "detail.bucket.name", "another-bucket"),
        (MODEL, "detail-type", "Object Deleted"),
        (DATASET, "detail.object.key", "datasets/readme.txt"),
        (DATASET, "detail.object.key", "datasets/flights/"),
        (DATASET, "detail.object.key", "datasets/flights/2013-05/_SUCCESS"),
        (DATASET, "detail.object.key", "labels/flights/2013/06/01/00/a.jsonl"),
        (DATASET, "detail.object.key", "runs/flights-8c1f0a52d7/train/train.parquet"),
        (DATASET, "detail.bucket.name", "another-bucket"),
        (INPUT, "detail.object.key", "batch/flights/output/2013-06-08/night.jsonl.out"),
        (INPUT, "detail.object.key", "pinned/flights/flights-4ac81d90e3/2013-06-08/night.jsonl"),
        (INPUT, "detail.bucket.name", "another-bucket"),
        (VIOLATION, "source", "evergreen.train"),
        (VIOLATION, "detail-type", "ViolationsFound"),
        (APPROVAL, "source", "nightly.features"),
        (ROLLBACK, "source", "nightly.features"),
        (ROLLBACK, "detail-type", "RollbackWanted"),
    ],
)
def test_near_miss_starts_nothing(name: str, path: str, value: Any) -> None:
    assert stack.started_by(changed(name, path, value)) == NOBODY


@pytest.mark.parametrize("name", ["a.csv", "EXPORT.CSV", "2013/05.PARQUET"])
def test_data_files_are_known_by_their_suffix(name: str) -> None:
    assert stack.started_by(changed(DATASET, "detail.object.key", f"datasets/flights/{name}")) == [
        "TrainStateMachine"
    ]


@pytest.mark.parametrize("rule", stack.rules(), ids=lambda rule: rule.name)
def test_no_pattern_is_too_complex(rule: stack.Rule) -> None:
    """EventBridge refuses a rule of which too many beginnings may match at once, and publishes no limit: four
    patterns with two wildcards each were refused, three were not."""
    assert sum(text.count("*") for text in re.findall(r'"wildcard": "(.*?)"', json.dumps(rule.pattern))) <= 6


def test_a_rejection_ships_nothing_and_is_written_on_the_card() -> None:
    rejected = changed(PACKAGE, "detail.ModelApprovalStatus", "Rejected")
    assert stack.started_by(rejected) == ["RenewCardFunction"]


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "ABORTED"])
@pytest.mark.parametrize("machine", ["onboard", "train", "deploy", "batch", "monitor", "respond", "follow"])
def test_every_failed_execution_of_ours_is_told(machine: str, status: str) -> None:
    event = changed(EXECUTION, "detail.status", status)
    event["detail"]["stateMachineArn"] = (
        f"arn:aws:states:us-east-1:123456789012:stateMachine:evergreen-{machine}"
    )
    stopped = machine == "deploy" and status != "FAILED"
    assert stack.started_by(event) == (["DeployStateMachine", "Topic"] if stopped else ["Topic"])


def test_own_events_are_heard_on_our_bus_alone() -> None:
    own = [rule for rule in stack.rules() if rule.matches(sample("onboard-training-requested"))]
    assert {rule.bus for rule in own} == {stack.STACK}


def test_a_trigger_stands_on_the_machine_that_it_starts() -> None:
    """SAM makes a rule of a machine's Events; one written apart is missed by who reads the machine."""
    for rule in stack.rules():
        for target in rule.targets:
            if target.endswith("StateMachine"):
                assert rule.name.startswith(target), rule.name
