"""The paths of the train machine."""

import json
from functools import partial
from typing import Any

from tests.machines.engine import Throw
from tests.machines.scenario import Scenario, event

RUN = "flights-8c1f0a52d7"
RUNS = f"s3://bucket/runs/{RUN}"
ARTIFACT = f"{RUNS}/model/evergreen-{RUN}-train/output/model.tar.gz"
PACKAGE = "arn:aws:sagemaker:us-east-1:123456789012:model-package/evergreen-flights/2"
CAUSE = event("respond-training-requested")["detail"]["cause"]
CHAMPION = {
    "version": 1,
    "model_data": "s3://bucket/runs/flights-0d4c770000/model/evergreen-flights-0d4c770000-train/output/model.tar.gz",
    "code": "s3://bucket/models/flights/3f9a1c07be52/",
    "trained_until": "2013-02-14T23:59:00Z",
}
PLAN = {
    "admitted": True,
    "reason": "the cause is new and no other run is in progress",
    "model": "flights",
    "run": RUN,
    "cause": CAUSE,
    "digest": "3f9a1c07be52",
    "code": "s3://bucket/models/flights/3f9a1c07be52/",
    "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/evergreen-jobs:1",
    "spec": {
        "instance": "ml.m5.large",
        "count": 1,
        "volumeGb": 30,
        "timeout": 3600,
        "hyperparameters": {
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": "/opt/ml/input/data/code",
            "learning_rate": "0.1",
        },
        "inferenceEntry": "inference.py",
        "instances": {"hosting": ["ml.m5.large"], "transforming": ["ml.m5.large", "ml.m5.xlarge"]},
    },
    "processing": {"instance": "ml.c5.xlarge", "volumeGb": 50, "timeout": 7200},
    "tuning": None,
    "champion": CHAMPION,
}
TUNING = {
    "name": "evergreen-5f0c1a9be72d4",
    "config": {
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:log_loss"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 12, "MaxParallelTrainingJobs": 3},
        "ParameterRanges": {
            "ContinuousParameterRanges": [
                {
                    "Name": "learning-rate",
                    "MinValue": "0.01",
                    "MaxValue": "0.3",
                    "ScalingType": "Logarithmic",
                }
            ]
        },
        "TrainingJobEarlyStoppingType": "Auto",
        "RandomSeed": 7,
    },
    "metric": {"Name": "validation:log_loss", "Regex": "validation:log_loss=([0-9.]+)"},
}
TUNED = {**PLAN, "tuning": TUNING}
BEST = f"{TUNING['name']}-007-3c1d90ab"
BEST_ARTIFACT = f"{RUNS}/model/{BEST}/output/model.tar.gz"
TUNING_JOB = {
    "HyperParameterTuningJobName": TUNING["name"],
    "HyperParameterTuningJobStatus": "Completed",
    "TrainingJobStatusCounters": {
        "Completed": 9,
        "InProgress": 0,
        "RetryableError": 0,
        "NonRetryableError": 1,
        "Stopped": 2,
    },
    "BestTrainingJob": {
        "TrainingJobName": BEST,
        "TrainingJobStatus": "Completed",
        "TunedHyperParameters": {"learning-rate": "0.0713", "loss": "log, weighted"},
        "FinalHyperParameterTuningJobObjectiveMetric": {
            "Type": "Minimize",
            "MetricName": "validation:log_loss",
            "Value": 0.4127,
        },
    },
}
DATA = {
    "manifest": f"{RUNS}/data.manifest",
    "capture": None,
    "labels": None,
    "dataVersion": "77f01c4be9d2",
    "files": 3,
    "bytes": 2_733_612,
}
CAPTURED = {**DATA, "capture": f"{RUNS}/capture.manifest", "labels": f"{RUNS}/labels.manifest"}
VALIDATION = {
    "accepted": True,
    "reason": "3 files of 3 hold what model.yaml says",
    "findings": [],
    "rows": {"read": 82_000, "train": 63_796, "holdout": 18_204},
    "train": {"from": "2013-03-10T00:00:00Z", "until": "2013-05-24T23:59:00Z"},
    "holdout": {"from": "2013-05-25T00:00:00Z", "until": "2013-06-07T23:59:00Z"},
}
REFUSED = {**VALIDATION, "accepted": False, "reason": "column dep_hour of 2013-05.parquet: 'noon' at row 17"}
JUDGEMENT = {
    "passed": True,
    "reason": "roc_auc 0.748 is above the floor of 0.65 and beats the champion's 0.702",
    "approval": "PendingManualApproval",
    "metrics": {"roc_auc": 0.748},
    "checks": [],
    "figures": {"rows": 18_204},
}
FAILED_JOB = Throw(
    "States.TaskFailed",
    json.dumps(
        {
            "TrainingJobName": f"evergreen-{RUN}-train",
            "TrainingJobStatus": "Failed",
            "FailureReason": "AlgorithmError: ValueError: learning_rate is 0, exit code: 1",
        }
    ),
)
FAILED_TUNING = Throw(
    "States.TaskFailed",
    json.dumps(
        {
            "HyperParameterTuningJobName": TUNING["name"],
            "HyperParameterTuningJobStatus": "Failed",
            "FailureReason": "All training jobs failed.",
        }
    ),
)
FAILED_TRAINING = {
    "TrainingJobName": f"{TUNING['name']}-001-0af3b211",
    "TrainingJobStatus": "Failed",
    "FailureReason": "AlgorithmError: ValueError: learning_rate is 0, exit code: 1",
}


def closed(given: dict[str, Any]) -> dict[str, Any]:
    """As CloseRun answers: the reason, and what is told of the run."""
    reason = given["error"]["Cause"] if given["error"] else given["outcome"]
    ended = event("train-training-ended")["detail"] | {"outcome": given["outcome"], "reason": reason}
    return {"reason": reason, "ended": ended}


USUAL = {
    "AdmitRun": PLAN,
    "PinData": DATA,
    "PrepareData": {"ProcessingJobName": f"evergreen-{RUN}-prepare", "ProcessingJobStatus": "Completed"},
    "ReadValidation": {"Body": json.dumps(VALIDATION), "ContentType": "application/json"},
    "TrainModel": {"TrainingJobStatus": "Completed", "ModelArtifacts": {"S3ModelArtifacts": ARTIFACT}},
    "TuneModel": TUNING_JOB,
    "FindBestModel": {
        "TrainingJobStatus": "Completed",
        "ModelArtifacts": {"S3ModelArtifacts": BEST_ARTIFACT},
    },
    "FindFailedTraining": {"TrainingJobSummaries": [FAILED_TRAINING]},
    "EvaluateModel": {"ProcessingJobName": f"evergreen-{RUN}-evaluate", "ProcessingJobStatus": "Completed"},
    "JudgeChallenger": JUDGEMENT,
    "WriteCard": {"page": f"{RUNS}/card/card.html", "content": "{}"},
    "RegisterModel": {"ModelPackageArn": PACKAGE},
    "CloseRun": closed,
    "AnnounceEnd": {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]},
    "ApproveModel": {"ModelPackageArn": PACKAGE},
    "AnnounceModel": {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]},
}

path = partial(Scenario, "train", usual=USUAL)
_PREPARED = "AdmitRun > IsAdmitted > PinData > PrepareData > ReadValidation > IsDataAccepted"
_JUDGED = "EvaluateModel > JudgeChallenger > IsGatePassed"
_TRAINED = f"{_PREPARED} > IsTuned > TrainModel > {_JUDGED}"
_REGISTERED = f"{_TRAINED} > WriteCard > RegisterModel > CloseRun > AnnounceEnd > HowDidItEnd"

SCENARIOS = [
    path(
        "a challenger passes and waits for a person",
        "respond-training-requested",
        f"{_REGISTERED} > AnnounceModel > ModelRegistered",
    ),
    path(
        "the first challenger of a model has no champion to beat",
        "onboard-training-requested",
        f"{_REGISTERED} > AnnounceModel > ModelRegistered",
        mocks={"AdmitRun": {**PLAN, "champion": None}},
    ),
    path(
        "the policy approves",
        "schedule-training-scheduled",
        f"{_REGISTERED} > ApproveModel > AnnounceModel > ModelRegistered",
        mocks={"JudgeChallenger": {**JUDGEMENT, "approval": "Approved"}},
    ),
    path(
        "a challenger under the gate is recorded, not registered",
        "api-training-requested",
        f"{_TRAINED} > RejectChallenger > CloseRun > AnnounceEnd > HowDidItEnd > ChallengerRejected",
        mocks={"JudgeChallenger": {**JUDGEMENT, "passed": False, "reason": "roc_auc 0.61 is under 0.65"}},
    ),
    path(
        "a request is dropped",
        "s3-object-created.dataset",
        "AdmitRun > IsAdmitted > TrainingDropped",
        mocks={
            "AdmitRun": {"admitted": False, "reason": "flights does not retrain on data", "model": "flights"}
        },
    ),
    path(
        "there is no data",
        "program-training-requested",
        "AdmitRun > IsAdmitted > PinData > CloseRun > AnnounceEnd > HowDidItEnd > TrainingRefused",
        mocks={"PinData": Throw("DataMissing", "no data under s3://bucket/datasets/flights/")},
    ),
    path(
        "new code waits for the run in progress",
        "onboard-training-requested",
        f"{_TRAINED} > RejectChallenger > CloseRun > AnnounceEnd > HowDidItEnd > ChallengerRejected",
        mocks={
            "AdmitRun": [Throw("TrainingBusy", "run flights-0d4c7700aa is in progress"), PLAN],
            "JudgeChallenger": {**JUDGEMENT, "passed": False, "reason": "roc_auc 0.61 is under 0.65"},
        },
    ),
    path(
        "captured requests with labels train beside the base data",
        "api-training-requested",
        f"{_PREPARED} > RefuseData > CloseRun > AnnounceEnd > HowDidItEnd > TrainingRefused",
        mocks={"PinData": CAPTURED, "ReadValidation": {"Body": json.dumps(REFUSED)}},
    ),
    path(
        "the data is refused",
        "api-training-requested",
        f"{_PREPARED} > RefuseData > CloseRun > AnnounceEnd > HowDidItEnd > TrainingRefused",
        mocks={"ReadValidation": {"Body": json.dumps(REFUSED)}},
    ),
    path(
        "the training script crashes",
        "api-training-requested",
        f"{_PREPARED} > IsTuned > TrainModel > CloseRun > AnnounceEnd > HowDidItEnd > TrainingFailed",
        mocks={"TrainModel": FAILED_JOB},
    ),
    path(
        "the best of a search is registered",
        "api-training-requested",
        f"{_PREPARED} > IsTuned > TuneModel > FindBestModel > {_JUDGED} > WriteCard > RegisterModel > "
        "CloseRun > AnnounceEnd > HowDidItEnd > AnnounceModel > ModelRegistered",
        mocks={"AdmitRun": TUNED},
    ),
    path(
        "every training of a search fails",
        "api-training-requested",
        f"{_PREPARED} > IsTuned > TuneModel > FindFailedTraining > CloseRun > "
        "AnnounceEnd > HowDidItEnd > TrainingFailed",
        mocks={"AdmitRun": TUNED, "TuneModel": FAILED_TUNING},
    ),
    path(
        "a search is stopped before any of its trainings failed",
        "api-training-requested",
        f"{_PREPARED} > IsTuned > TuneModel > FindFailedTraining > CloseRun > "
        "AnnounceEnd > HowDidItEnd > TrainingFailed",
        mocks={
            "AdmitRun": TUNED,
            "TuneModel": FAILED_TUNING,
            "FindFailedTraining": {"TrainingJobSummaries": []},
        },
    ),
    path(
        "admission fails",
        "api-training-requested",
        "AdmitRun > TrainingFailed",
        mocks={"AdmitRun": Throw("LedgerUnreadable", "RUN#x has no outcome")},
    ),
]
