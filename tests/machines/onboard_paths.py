"""The paths of the onboard machine."""

from functools import partial

from tests.machines.engine import Throw
from tests.machines.scenario import Scenario, event

CAUSE = event("onboard-training-requested")["detail"]["cause"]
SCHEDULES = [
    {
        "name": "flights-train",
        "expression": "rate(7 days)",
        "state": "ENABLED",
        "machine": "train",
        "start": "",
        "detailType": "TrainingScheduled",
    },
    {
        "name": "flights-batch",
        "expression": "cron(0 4 * * ? *)",
        "state": "ENABLED",
        "machine": "batch",
        "start": "",
        "detailType": "BatchScheduled",
    },
    {
        "name": "flights-monitor",
        "expression": "rate(7 days)",
        "state": "ENABLED",
        "machine": "monitor",
        "start": "2013-03-08T00:00:00Z",
        "detailType": "MonitoringScheduled",
    },
]
PLAN = {
    "model": "flights",
    "digest": "3f9a1c07be52",
    "isNew": True,
    "isLate": False,
    "cause": CAUSE,
    "trains": True,
    "server": None,
    "schedules": SCHEDULES,
}
GROUP = "arn:aws:sagemaker:us-east-1:123456789012:model-package-group/evergreen-flights"
SCHEDULE = "arn:aws:scheduler:us-east-1:123456789012:schedule/evergreen/flights-train"
NO_GROUP = Throw("SageMaker.SageMakerException", "ModelPackageGroup evergreen-flights does not exist.")
MISTAKES = Throw(
    "SpecInvalid", "model.yaml has 1 mistake:\n  line 12: gate.floor: 1.7 is not between 0 and 1"
)

USUAL = {
    "CheckSpec": PLAN,
    "FindPackageGroup": {"ModelPackageGroupName": "evergreen-flights", "ModelPackageGroupArn": GROUP},
    "CreatePackageGroup": {"ModelPackageGroupArn": GROUP},
    "SharePackageGroup": {"ModelPackageGroupArn": GROUP},
    "CreateSchedule": {"ScheduleArn": SCHEDULE},
    "UpdateSchedule": {"ScheduleArn": SCHEDULE},
    "RecordOnboarding": {},
    "RequestTraining": {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]},
    "RecordRefusal": lambda given: {"reason": given["error"]["Cause"]},
}

path = partial(Scenario, "onboard", sample="s3-object-created.model", usual=USUAL)
_CHECKED = "CheckSpec > IsNewDigest > FindPackageGroup"
_SCHEDULED = "PutSchedules > RecordOnboarding > IsTrainedHere > RequestTraining > ModelOnboarded"

SCENARIOS = [
    path(
        "a new model",
        path=f"{_CHECKED} > CreatePackageGroup > IsServedElsewhere > {_SCHEDULED}",
        mocks={"FindPackageGroup": NO_GROUP},
    ),
    path(
        "a new digest of a known model",
        path=f"{_CHECKED} > IsServedElsewhere > {_SCHEDULED}",
        mocks={
            "CreateSchedule": Throw("Scheduler.ConflictException", "Schedule flights-train already exists.")
        },
    ),
    path(
        "another account serves it",
        path=f"{_CHECKED} > IsServedElsewhere > SharePackageGroup > {_SCHEDULED}",
        mocks={"CheckSpec": {**PLAN, "server": "222222222222", "schedules": SCHEDULES[:1]}},
    ),
    path(
        "another account trains it",
        path="CheckSpec > IsNewDigest > PutSchedules > RecordOnboarding > IsTrainedHere > ModelOnboarded",
        mocks={"CheckSpec": {**PLAN, "trains": False, "schedules": SCHEDULES[1:]}},
    ),
    path(
        "a digest of another account that a newer one has overtaken",
        path="CheckSpec > IsNewDigest > RecordOnboarding > IsTrainedHere > ModelOnboarded",
        mocks={"CheckSpec": {**PLAN, "isNew": False, "isLate": True, "trains": False}},
    ),
    path(
        "the same digest again",
        path="CheckSpec > IsNewDigest > AlreadyOnboarded",
        mocks={"CheckSpec": {**PLAN, "isNew": False}},
    ),
    path(
        "mistakes in model.yaml",
        path="CheckSpec > RecordRefusal > OnboardingRefused",
        mocks={"CheckSpec": MISTAKES},
    ),
    path(
        "the schedules cannot be made",
        path=f"{_CHECKED} > IsServedElsewhere > PutSchedules > RecordRefusal > OnboardingRefused",
        mocks={
            "CreateSchedule": Throw("Scheduler.ValidationException", "Invalid Schedule Expression"),
            "UpdateSchedule": Throw("Scheduler.ValidationException", "Invalid Schedule Expression"),
        },
    ),
]
