"""What the machines ask of SageMaker and tell the bus: the members that the loop's promises rest on."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.machines import deploy_paths, monitor_paths, onboard_paths, respond_paths, train_paths
from tests.machines.engine import Result
from tests.machines.scenario import Scenario, event


def scenario(module: Any, name: str) -> Scenario:
    return next(each for each in module.SCENARIOS if each.name == name)


PENDING = scenario(train_paths, "a challenger passes and waits for a person")
FIRST = scenario(train_paths, "the first challenger of a model has no champion to beat")
BY_POLICY = scenario(train_paths, "the policy approves")
CANARY = scenario(deploy_paths, "a canary that holds")
SERVERLESS = scenario(deploy_paths, "a serverless version that holds")
SCALED = scenario(deploy_paths, "the first version, with autoscaling")
ROLLED_BACK = scenario(deploy_paths, "an alarm rolls the canary back")
VIOLATIONS = scenario(monitor_paths, "a window with violations")
RETRAIN = scenario(respond_paths, "a violation asks for a training")
RETURN = scenario(respond_paths, "an alarm on probation returns to the previous champion")


def inputs(arguments: Mapping[str, Any]) -> dict[str, str]:
    """A processing job's inputs: name to S3 address."""
    return {each["InputName"]: each["S3Input"]["S3Uri"] for each in arguments["ProcessingInputs"]}


def announced(result: Result, state: str) -> dict[str, Any]:
    """The one event that a state put on the bus."""
    (entry,) = result.only(state)["Entries"]
    assert entry["EventBusName"] == "evergreen"
    return entry


# train


def test_the_holdout_is_newer_than_all_that_the_champion_saw() -> None:
    environment = PENDING.result.only("PrepareData")["Environment"]
    assert environment == {"HOLDOUT_NOT_BEFORE": train_paths.CHAMPION["trained_until"]}
    assert FIRST.result.only("PrepareData")["Environment"] == {}


def test_prepare_reads_the_pinned_files() -> None:
    job = PENDING.result.only("PrepareData")
    assert inputs(job) == {"code": train_paths.PLAN["code"], "data": train_paths.DATA["manifest"]}
    captured = "captured requests with labels train beside the base data"
    job = scenario(train_paths, captured).result.only("PrepareData")
    assert set(inputs(job)) == {"code", "data", "capture", "labels"}
    assert job["ProcessingInputs"][-1]["S3Input"]["S3DataType"] == "ManifestFile"


def test_champion_and_challenger_score_the_same_rows() -> None:
    given = inputs(PENDING.result.only("EvaluateModel"))
    assert given["holdout"] == f"{train_paths.RUNS}/holdout/"
    assert given["challenger"] == train_paths.ARTIFACT
    assert given["champion"] == train_paths.CHAMPION["model_data"]
    assert given["champion_code"] == train_paths.CHAMPION["code"]
    job = PENDING.result.only("EvaluateModel")
    assert job["Environment"] == {"CHAMPION_TRAINED_UNTIL": train_paths.CHAMPION["trained_until"]}
    assert FIRST.result.only("EvaluateModel")["Environment"] == {}


def test_without_a_champion_the_challenger_is_scored_alone() -> None:
    assert set(inputs(FIRST.result.only("EvaluateModel"))) == {"holdout", "train", "challenger", "code"}


def test_jobs_are_named_after_the_run() -> None:
    run = train_paths.RUN
    assert PENDING.result.only("PrepareData")["ProcessingJobName"] == f"evergreen-{run}-prepare"
    assert PENDING.result.only("TrainModel")["TrainingJobName"] == f"evergreen-{run}-train"
    assert PENDING.result.only("EvaluateModel")["ProcessingJobName"] == f"evergreen-{run}-evaluate"


@pytest.mark.parametrize("each", [PENDING, BY_POLICY], ids=str)
def test_a_version_is_registered_once_and_pending(each: Scenario) -> None:
    """The ledger must know a version before its approval is heard, so even the policy approves afterwards."""
    package = each.result.only("RegisterModel")
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    assert package["ClientToken"] == train_paths.RUN
    assert package["CustomerMetadataProperties"]["run"] == train_paths.RUN


def test_a_version_is_registered_with_its_card_and_its_reports() -> None:
    given, package = PENDING.result.only("WriteCard"), PENDING.result.only("RegisterModel")
    assert given["judgement"] == train_paths.JUDGEMENT and given["validation"] == train_paths.VALIDATION
    written = train_paths.USUAL["WriteCard"]
    assert package["CustomerMetadataProperties"]["card"] == written["page"]
    card = {"ModelCardStatus": "PendingReview", "ModelCardContent": written["content"]}
    assert package["ModelCard"] == card
    folder = f"{train_paths.RUNS}/evaluation"
    reports = {name: package["ModelMetrics"][name]["Report"]["S3Uri"] for name in ("Bias", "Explainability")}
    assert reports == {"Bias": f"{folder}/bias.json", "Explainability": f"{folder}/explanation.json"}
    # In one call: an update of the card alone would be announced as one more approval.
    assert BY_POLICY.result.only("ApproveModel")["ModelCard"] == {"ModelCardStatus": "Approved"}


def test_only_the_policy_approves_by_itself() -> None:
    assert "ApproveModel" not in PENDING.result.arguments
    approval = BY_POLICY.result.only("ApproveModel")
    assert approval["ModelApprovalStatus"] == "Approved"
    assert approval["ApprovalDescription"].endswith("(by gate policy)")


def test_a_run_is_closed_with_its_outcome_and_its_reason() -> None:
    outcomes = {each.name: each.result.arguments.get("CloseRun", [{}])[0] for each in train_paths.SCENARIOS}
    assert outcomes["the data is refused"]["outcome"] == "refused"
    assert outcomes["the data is refused"]["error"]["Cause"] == train_paths.REFUSED["reason"]
    assert outcomes["the training script crashes"]["outcome"] == "failed"
    assert "learning_rate is 0" in outcomes["the training script crashes"]["error"]["Cause"]
    assert outcomes["there is no data"]["outcome"] == "refused"
    assert outcomes["a challenger under the gate is recorded, not registered"]["outcome"] == "rejected"
    registered = outcomes[PENDING.name]
    assert (registered["outcome"], registered["version"]) == ("registered", 2)
    assert registered["packageArn"] == train_paths.PACKAGE


TUNED = scenario(train_paths, "the best of a search is registered")


def test_a_search_trains_as_a_single_training_does_and_its_best_model_is_judged() -> None:
    search = TUNED.result.only("TuneModel")
    alone = PENDING.result.only("TrainModel")
    each = search["TrainingJobDefinition"]
    own = {"AlgorithmSpecification", "StaticHyperParameters"}
    assert {key: each[key] for key in each if key not in own} == {
        key: alone[key] for key in each.keys() - own
    }
    assert each["StaticHyperParameters"] == alone["HyperParameters"]
    assert search["Tags"] == alone["Tags"]
    metric = {"MetricDefinitions": [train_paths.TUNING["metric"]]}
    assert each["AlgorithmSpecification"] == alone["AlgorithmSpecification"] | metric
    assert TUNED.result.only("FindBestModel") == {"TrainingJobName": train_paths.BEST}
    assert inputs(TUNED.result.only("EvaluateModel"))["challenger"] == train_paths.BEST_ARTIFACT


def test_what_a_search_chose_is_in_the_registry_and_told_to_the_ledger() -> None:
    package = TUNED.result.only("RegisterModel")
    assert package["CustomerMetadataProperties"]["tuned"] == "learning-rate=0.0713 loss=log_ weighted"
    assert PENDING.result.only("RegisterModel")["CustomerMetadataProperties"]["tuned"] == "no"
    assert PENDING.result.only("CloseRun")["tuned"] is None
    tuned = TUNED.result.only("CloseRun")["tuned"]
    assert tuned == {
        "job": train_paths.TUNING["name"],
        "training": train_paths.BEST,
        "hyperparameters": {"learning-rate": "0.0713", "loss": "log, weighted"},
        "metric": {"name": "validation:log_loss", "value": 0.4127},
        "trainings": {"completed": 9, "stopped": 2, "failed": 1},
    }


def test_a_search_that_fails_says_why_a_training_of_it_did() -> None:
    failed = scenario(train_paths, "every training of a search fails").result
    assert "learning_rate is 0" in failed.only("CloseRun")["error"]["Cause"]
    stopped = scenario(train_paths, "a search is stopped before any of its trainings failed").result
    assert "All training jobs failed." in stopped.only("CloseRun")["error"]["Cause"]


# deploy


def test_every_config_captures_requests_and_answers() -> None:
    capture = CANARY.result.only("CreateEndpointConfig")["DataCaptureConfig"]
    assert capture["EnableCapture"] is True
    assert capture["CaptureOptions"] == [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}]
    assert "application/jsonlines" in capture["CaptureContentTypeHeader"]["JsonContentTypes"]


def test_an_update_shifts_traffic_under_alarms_and_keeps_the_capacity() -> None:
    update = CANARY.result.only("UpdateEndpoint")
    assert update["RetainAllVariantProperties"] is True
    assert update["DeploymentConfig"] == deploy_paths.PLAN["deploymentConfig"]
    watched = {CANARY.result.only(state)["AlarmName"] for state in ("PutErrorAlarm", "PutLatencyAlarm")}
    assert watched == {
        each["AlarmName"] for each in update["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    }


# two accounts


def test_a_group_is_shared_with_the_account_that_serves_and_no_more_than_it_needs() -> None:
    shared = scenario(onboard_paths, "another account serves it").result.only("SharePackageGroup")
    (statement,) = json.loads(shared["ResourcePolicy"])["Statement"]
    assert statement["Principal"] == {"AWS": "arn:aws:iam::222222222222:root"}
    assert statement["Action"] == ["sagemaker:DescribeModelPackage", "sagemaker:CreateModel"]
    assert statement["Resource"] == f"{train_paths.PACKAGE.rpartition('/')[0]}/*"


# The samples are what the machines send


@pytest.mark.parametrize(
    ("sample", "sender", "state"),
    [
        ("onboard-training-requested", scenario(onboard_paths, "a new model"), "RequestTraining"),
        ("respond-training-requested", RETRAIN, "RequestTraining"),
        ("train-training-ended", PENDING, "AnnounceEnd"),
        ("train-model-registered", PENDING, "AnnounceModel"),
        ("deploy-model-deployed", CANARY, "AnnounceDeployment"),
        ("deploy-deployment-rolled-back", ROLLED_BACK, "AnnounceRollback"),
        ("respond-deployment-rolled-back", RETURN, "AnnounceRollback"),
        ("monitor-violation-found", VIOLATIONS, "AnnounceViolations"),
    ],
    ids=str,
)
def test_sample_is_what_its_machine_sends(sample: str, sender: Scenario, state: str) -> None:
    sent, kept = announced(sender.result, state), event(sample)
    assert (sent["Source"], sent["DetailType"]) == (kept["source"], kept["detail-type"])
    assert set(sent["Detail"]) == set(kept["detail"])
    assert set(sent["Detail"]["cause"]) == {"kind", "id", "at", "by"}


@pytest.mark.parametrize(
    ("sample", "machine"),
    [("schedule-training-scheduled", "Train"), ("schedule-monitoring-scheduled", "Monitor")],
)
def test_sample_is_what_the_scheduler_starts_its_machine_with(sample: str, machine: str) -> None:
    created = scenario(onboard_paths, "a new model").result.arguments["CreateSchedule"]
    (target,) = [
        each["Target"] for each in created if each["Target"]["Arn"].endswith(f"{machine}StateMachine")
    ]
    kept = event(sample)
    filled = target["Input"].replace("<aws.scheduler.scheduled-time>", kept["time"])
    assert json.loads(filled.replace("<aws.scheduler.execution-id>", kept["id"])) == kept
    assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0
    assert target["DeadLetterConfig"]["Arn"].endswith("DeadLetterQueue")


@pytest.mark.parametrize("each", [PENDING, CANARY, VIOLATIONS, RETURN], ids=str)
def test_the_same_event_asks_for_the_same_things(each: Scenario) -> None:
    """Names derive from the run: a second execution of the same event asks SageMaker for nothing new."""
    again = each.run().arguments
    for state, calls in each.result.arguments.items():
        for call, repeated in zip(calls, again[state], strict=True):
            assert {**call, "execution": None} == {**repeated, "execution": None}
