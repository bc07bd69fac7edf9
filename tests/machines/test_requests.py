"""What the machines ask of SageMaker and tell the bus: the members that the loop's promises rest on."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.machines import batch_paths, deploy_paths, monitor_paths, onboard_paths, respond_paths, train_paths
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
SCORED = scenario(batch_paths, "a file is scored")
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


def test_only_the_training_is_done_on_the_instances_that_train() -> None:
    """Not each type that trains also processes, and a job that counts rows needs no GPU."""
    for state in ("PrepareData", "EvaluateModel"):
        job = PENDING.result.only(state)
        cluster = {"InstanceCount": 1, "InstanceType": "ml.c5.xlarge", "VolumeSizeInGB": 50}
        assert job["ProcessingResources"]["ClusterConfig"] == cluster
        assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 7200}
    job = PENDING.result.only("TrainModel")
    assert job["ResourceConfig"] == {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 30}
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600}


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


def test_the_answers_of_both_fleets_are_compared_where_that_is_asked_for():
    compared = scenario(deploy_paths, "a canary whose answers are compared rolls back by them").result
    alarm = compared.only("PutAnswersAlarm")
    assert (alarm["AlarmName"], alarm["Threshold"]) == (f"{deploy_paths.DEPLOYMENT}-answers", 0.5)
    [shown] = [each for each in alarm["Metrics"] if each["ReturnData"]]
    assert shown["Expression"].startswith("ABS((new - old) / 0.100000000 - 1.000000000) - 4 *")
    watched = {
        each["MetricStat"]["Metric"]["Dimensions"][0]["Value"]
        for each in alarm["Metrics"]
        if "MetricStat" in each
    }
    assert watched == {deploy_paths.DEPLOYMENT, deploy_paths.OLD}
    assert compared.only("DeleteAlarms")["AlarmNames"] == deploy_paths.COMPARED["alarmNames"]
    assert CANARY.result.only("CreateModel")["PrimaryContainer"]["Environment"] == {}


@pytest.mark.parametrize("state", ["PutErrorAlarm", "PutLatencyAlarm"])
@pytest.mark.parametrize(("shipped", "by"), [(CANARY, "EndpointConfigName"), (SERVERLESS, "VariantName")])
def test_an_alarm_watches_the_new_version_alone(shipped: Scenario, by: str, state: str) -> None:
    alarm = shipped.result.only(state)
    dimensions = {each["Name"]: each["Value"] for each in alarm["Dimensions"]}
    assert dimensions[by] == deploy_paths.DEPLOYMENT
    assert alarm["TreatMissingData"] == "notBreaching"


def test_a_serverless_version_is_a_variant_of_its_own_without_what_sagemaker_refuses_it() -> None:
    config = SERVERLESS.result.only("CreateServerlessConfig")
    (variant,) = config["ProductionVariants"]
    assert variant["VariantName"] == deploy_paths.DEPLOYMENT
    assert "DataCaptureConfig" not in config
    assert not {"InstanceType", "InitialInstanceCount"} & set(variant)
    assert set(SERVERLESS.result.only("UpdateServerlessEndpoint")) == {"EndpointName", "EndpointConfigName"}


def test_a_serverless_version_is_watched_for_its_bake_and_taken_back_by_name() -> None:
    assert SERVERLESS.result.waits == [30, 30, 30, 60, 60]
    back = scenario(deploy_paths, "an alarm after a serverless update puts the champion back").result
    assert back.only("ReturnToChampion")["EndpointConfigName"] == deploy_paths.OLD
    assert f"{deploy_paths.DEPLOYMENT}-errors" in back.cause
    assert f"{deploy_paths.DEPLOYMENT}-latency" not in back.cause


def test_the_endpoint_is_looked_at_every_half_minute() -> None:
    assert CANARY.result.waits == [30, 30, 30]


def test_a_rollback_is_recorded_with_what_the_endpoint_says_and_its_alarms_go() -> None:
    recorded = ROLLED_BACK.result.only("RecordRollback")
    assert recorded["error"] is None
    assert recorded["endpoint"]["config"] == deploy_paths.OLD
    assert f"{deploy_paths.DEPLOYMENT}-errors" in recorded["endpoint"]["reason"]
    assert set(ROLLED_BACK.result.only("DeleteAlarms")["AlarmNames"]) == {
        f"{deploy_paths.DEPLOYMENT}-errors",
        f"{deploy_paths.DEPLOYMENT}-latency",
    }


def test_only_the_alarms_of_the_champion_before_are_deleted() -> None:
    assert CANARY.result.only("DeleteOldAlarms")["AlarmNames"] == deploy_paths.PREVIOUS["alarms"]


def test_scaling_is_of_the_variant_and_by_invocations() -> None:
    target = SCALED.result.only("RegisterScalableTarget")
    assert target["ResourceId"] == f"endpoint/{deploy_paths.ENDPOINT}/variant/main"
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 4)


def test_another_instance_type_is_off_the_scaling_while_it_moves() -> None:
    """SageMaker refuses to change the type of a variant that is a scalable target."""
    moved = scenario(deploy_paths, "another instance type under autoscaling").result
    order = [moved.states.index(f"{verb}ScalableTarget") for verb in ("Deregister", "Register")]
    assert order[0] < moved.states.index("UpdateEndpoint") < order[1]
    back = scenario(deploy_paths, "another instance type rolls back, and the champion scales again").result
    target, policy = back.only("RestoreScalableTarget"), back.only("RestoreScalingPolicy")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 4)
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 500
    assert policy == moved.only("PutScalingPolicy")


SHADOW = scenario(deploy_paths, "a shadow that holds")
DROPPED = scenario(deploy_paths, "a shadow that fails is dropped")


def test_a_shadow_gets_a_copy_of_each_request_and_the_champion_answers() -> None:
    config = SHADOW.result.only("CreateShadowConfig")
    ((main,), (shadow,)) = config["ProductionVariants"], config["ShadowProductionVariants"]
    assert (main["ModelName"], shadow["ModelName"]) == (deploy_paths.OLD, deploy_paths.DEPLOYMENT)
    assert main["InitialVariantWeight"] == shadow["InitialVariantWeight"]
    assert config["DataCaptureConfig"] == SHADOW.result.only("CreateEndpointConfig")["DataCaptureConfig"]
    assert 600 in SHADOW.result.waits
    assert SHADOW.result.only("UpdateEndpoint")["EndpointConfigName"] == deploy_paths.DEPLOYMENT


def test_a_shadow_is_judged_by_all_its_minutes() -> None:
    read = SHADOW.result.only("ReadShadowMetrics")
    assert read["StartTime"] <= read["EndTime"]  # no time passes between the states here
    assert SHADOW.result.only("JudgeShadow")["series"] == {
        each["Id"]: each["Values"] for each in deploy_paths.METRICS
    }
    assert {each["Id"] for each in read["MetricDataQueries"]} == {each["Id"] for each in deploy_paths.METRICS}


def test_a_shadow_that_is_dropped_leaves_the_champion_alone_with_the_reason_told() -> None:
    assert DROPPED.result.only("DropShadow")["EndpointConfigName"] == deploy_paths.OLD
    assert "80.00% failed" in DROPPED.result.only("RecordRollback")["error"]["Cause"]
    assert "80.00% failed" in DROPPED.result.cause


# batch


def test_a_batch_scores_its_pinned_files_and_each_answer_comes_with_its_row() -> None:
    copy, job = SCORED.result.only("CopyInput"), SCORED.result.only("ScoreBatch")
    assert copy["Key"] == f"{batch_paths.PLAN['pinned']}{batch_paths.ONE['name']}"
    assert copy["CopySource"].endswith(f"?versionId={batch_paths.VERSION}")
    source = job["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    assert source == f"s3://{batch_paths.BUCKET}/{batch_paths.PLAN['pinned']}"
    assert job["DataProcessing"]["JoinSource"] == "Input"
    assert job["ModelName"] == batch_paths.PLAN["deployment"]
    large = scenario(batch_paths, "a large output is captured in several calls").result
    first, second = large.arguments["CaptureRows"]
    assert (first["progress"], second["progress"]) == (None, batch_paths.HALF)
    assert first["seconds"] == second["seconds"], "the calls of one batch agree on its time"


def test_what_one_bad_file_left_is_told_for_each_file() -> None:
    result = scenario(batch_paths, "one file of two cannot be scored").result
    assert result.only("RecordBatch")["inputs"] == [batch_paths.OTHER]
    assert result.only("AnnounceBatch")["Entries"][0]["Detail"]["inputs"] == ["late.jsonl"]
    assert result.only("RecordBatchFailure")["scored"] == [batch_paths.OTHER]


# monitor and respond


def test_the_analysis_is_of_the_window_and_the_champions_baseline() -> None:
    job = VIOLATIONS.result.only("AnalyzeWindow")
    window = monitor_paths.WINDOW
    assert job["Environment"] == {"WINDOW_START": window["start"], "WINDOW_END": window["end"]}
    assert set(inputs(job)) == {"capture", "baseline", "code", "labels", "model", "pipeline"}
    without = scenario(monitor_paths, "no labels yet").result.only("AnalyzeWindow")
    assert set(inputs(without)) == {"capture", "baseline", "code", "model"}
    large = scenario(monitor_paths, "a large window is counted by several instances").result
    cluster = {"InstanceCount": 4, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 50}
    assert large.only("ProfileShards")["ProcessingResources"]["ClusterConfig"] == cluster
    for state in ("ProfileShards", "AnalyzeWindow"):
        assert large.only(state)["StoppingCondition"] == {"MaxRuntimeInSeconds": 5400}
    merged = inputs(large.only("AnalyzeWindow"))
    assert set(merged) == {"shards", "baseline", "code", "labels", "model", "pipeline", "state"}
    (output,) = large.only("ProfileShards")["ProcessingOutputConfig"]["Outputs"]
    assert merged["shards"] == output["S3Output"]["S3Uri"]
    small = scenario(monitor_paths, "a small window needs no instance").result
    large = scenario(monitor_paths, "a window without violations").result
    assert small.only("AnalyzeSmallWindow") == large.only("AnalyzeWindow"), "one request, whoever runs it"


def test_a_return_goes_to_the_previous_config_and_its_package_is_named() -> None:
    assert RETURN.result.only("RestorePrevious")["EndpointConfigName"] == respond_paths.ROLLBACK["config"]
    assert announced(RETURN.result, "AnnounceRollback")["Detail"]["version"] == 2


@pytest.mark.parametrize(
    ("name", "scaling"),
    [
        ("SageMaker refuses a return, and the version in service scales again", respond_paths.SCALED_LESS),
        (
            "a return that rolls back itself, and the version in service scales again",
            respond_paths.SCALED_LESS,
        ),
        ("a return that cannot be recorded, and the version before scales as it did", respond_paths.SCALING),
    ],
)
def test_a_return_that_fails_leaves_what_serves_scaling(name: str, scaling: dict[str, int]) -> None:
    failed = scenario(respond_paths, name).result
    target, policy = failed.only("RestoreScalableTarget"), failed.only("RestoreScalingPolicy")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (scaling["min"], scaling["max"])
    tracked = policy["TargetTrackingScalingPolicyConfiguration"]
    assert tracked["TargetValue"] == scaling["target"]
    well = scenario(respond_paths, "a return to another instance type, under autoscaling").result
    assert target.keys() == well.only("RegisterScalableTarget").keys()
    assert {**policy, "TargetTrackingScalingPolicyConfiguration": None} == {
        **well.only("PutScalingPolicy"),
        "TargetTrackingScalingPolicyConfiguration": None,
    }


def test_a_native_job_is_read_before_it_is_judged() -> None:
    native = scenario(respond_paths, "a native Model Monitor job with violations").result
    job = native.only("AssessSignal")["job"]
    assert job["message"].startswith("CompletedWithViolations")
    assert RETRAIN.result.only("AssessSignal")["job"] is None


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
        ("batch-completed", SCORED, "AnnounceBatch"),
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
    [
        ("schedule-training-scheduled", "Train"),
        ("schedule-batch-scheduled", "Batch"),
        ("schedule-monitoring-scheduled", "Monitor"),
    ],
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
