"""The paths of the respond machine."""

from functools import partial

from tests.machines.engine import Throw
from tests.machines.scenario import Scenario, event

ROLLED_BACK = event("respond-deployment-rolled-back")["detail"]
CAUSE = event("respond-training-requested")["detail"]["cause"]
ROLLBACK = {
    "way": "instance",
    "endpoint": "evergreen-flights",
    "config": "evergreen-flights-v1-0d4c77",
    "deployment": "evergreen-flights-v2-9b3c1e",
    "packageArn": ROLLED_BACK["packageArn"],
    "version": 2,
    "previousVersion": 1,
    "scaling": None,
    "scalingBefore": None,
    "deregister": False,
    "register": False,
    "retain": True,
}
SCALING = {"min": 1, "max": 4, "target": 500}
# The version before runs on another instance type, scaled too.
SCALED_LESS = {"min": 2, "max": 3, "target": 400}
MOVED = {**ROLLBACK, "scaling": SCALING, "scalingBefore": SCALED_LESS, "deregister": True, "register": True}
JOB = {
    "ProcessingJobName": event("sagemaker-processing-job-state-change")["detail"]["ProcessingJobName"],
    "ProcessingJobStatus": "Completed",
    "ExitMessage": "CompletedWithViolations: Job completed successfully with 3 violations.",
    "MonitoringScheduleArn": "arn:aws:sagemaker:us-east-1:123456789012:monitoring-schedule/flights-data",
    "Environment": {"end_time": "2013-06-08T01:00:00Z"},
}
NO_VIOLATIONS = "Completed: Job completed successfully with no violations."


def decided(action: str, **more: object) -> dict[str, object]:
    """What AssessSignal decides."""
    return {
        "action": action,
        "reason": f"{action}: roc_auc fell by more than 0.02",
        "model": "flights",
        "cause": CAUSE,
        "message": f"flights: {action}",
        "rollback": None,
        **more,
    }


def described(status: str, config: str = ROLLBACK["config"]) -> dict[str, str]:
    """What DescribeEndpoint says."""
    return {"EndpointName": "evergreen-flights", "EndpointStatus": status, "EndpointConfigName": config}


USUAL = {
    "DescribeMonitoringJob": JOB,
    "AssessSignal": decided("retrain"),
    "AdmitReturn": decided("rollback", rollback=ROLLBACK),
    "RequestTraining": {"FailedEntryCount": 0},
    "RestorePrevious": {"EndpointArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/evergreen-flights"},
    "DescribeEndpoint": [described("Updating", ROLLBACK["deployment"]), described("InService")],
    "RecordReturn": {},
    "DeregisterScalableTarget": {},
    "RegisterScalableTarget": {},
    "PutScalingPolicy": {"PolicyARN": "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:p"},
    "RestoreScalableTarget": {},
    "RestoreScalingPolicy": {"PolicyARN": "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:p"},
    "AnnounceRollback": {"FailedEntryCount": 0},
    "NotifyOwner": {"MessageId": "1"},
}

path = partial(Scenario, "respond", usual=USUAL)
_OWN = "ChooseReader > AssessSignal > ChooseAction"
_ASKED = "ChooseReader > AdmitReturn > ChooseAction"
_NATIVE = "ChooseReader > DescribeMonitoringJob > HasNativeViolations"
_LOOK = "WaitForEndpoint > DescribeEndpoint > IsEndpointSettled"
_BACK = f"RestorePrevious > {_LOOK} > {_LOOK}"
_RETURNED = f"{_OWN} > {_BACK}"
_TOLD = "AnnounceRollback > NotifyOwner > OwnerNotified"
_MOVED = (
    f"DeregisterScalableTarget > {_BACK} > RecordReturn > IsScaled > RegisterScalableTarget "
    f"> PutScalingPolicy > {_TOLD}"
)

_RESCALED = "IsScalingLost > RestoreScalableTarget > RestoreScalingPolicy > ReturnFailed"

SCENARIOS = [
    path(
        "a violation asks for a training",
        "monitor-violation-found",
        f"{_OWN} > RequestTraining > RetrainingRequested",
    ),
    path(
        "a violation within the cool-down",
        "monitor-violation-found",
        f"{_OWN} > LeftAlone",
        mocks={"AssessSignal": decided("leave")},
    ),
    path(
        "drift that a person should see",
        "monitor-violation-found",
        f"{_OWN} > NotifyOwner > OwnerNotified",
        mocks={"AssessSignal": decided("notify")},
    ),
    path(
        "an alarm on probation returns to the previous champion",
        "cloudwatch-alarm-state-change",
        f"{_RETURNED} > RecordReturn > IsScaled > {_TOLD}",
        mocks={"AssessSignal": decided("rollback", rollback=ROLLBACK)},
    ),
    path(
        "a model without an endpoint has nothing to update",
        "cloudwatch-alarm-state-change",
        f"ChooseReader > AssessSignal > ChooseAction > RecordReturn > IsScaled > {_TOLD}",
        mocks={"AssessSignal": decided("rollback", rollback={**ROLLBACK, "way": "batch", "endpoint": None})},
    ),
    path(
        "the previous champion does not come back",
        "cloudwatch-alarm-state-change",
        f"{_RETURNED} > IsScalingLost > ReturnFailed",
        mocks={
            "AssessSignal": decided("rollback", rollback=ROLLBACK),
            "DescribeEndpoint": [
                described("Updating"),
                described("UpdateRollbackFailed", ROLLBACK["deployment"]),
            ],
        },
    ),
    path(
        "a native Model Monitor job with violations",
        "sagemaker-processing-job-state-change",
        f"{_NATIVE} > AssessSignal > ChooseAction > RequestTraining > RetrainingRequested",
    ),
    path(
        "a native Model Monitor job without violations",
        "sagemaker-processing-job-state-change",
        f"{_NATIVE} > LeftAlone",
        mocks={"DescribeMonitoringJob": {**JOB, "ExitMessage": NO_VIOLATIONS}},
    ),
    path(
        "a processing job of somebody else",
        "sagemaker-processing-job-state-change",
        f"{_NATIVE} > LeftAlone",
        mocks={"DescribeMonitoringJob": {"ProcessingJobName": "etl", "ProcessingJobStatus": "Completed"}},
    ),
    path(
        "a person returns to the previous champion",
        "api-rollback-requested",
        f"{_ASKED} > {_BACK} > RecordReturn > IsScaled > {_TOLD}",
    ),
    path(
        "a return to another instance type, under autoscaling",
        "cloudwatch-alarm-state-change",
        f"{_OWN} > {_MOVED}",
        mocks={"AssessSignal": decided("rollback", rollback=MOVED)},
    ),
    path(
        "a return whose scalable target is gone already",
        "api-rollback-requested",
        f"{_ASKED} > {_MOVED}",
        mocks={
            "AdmitReturn": decided("rollback", rollback=MOVED),
            "DeregisterScalableTarget": Throw("ApplicationAutoScaling.ObjectNotFoundException"),
        },
    ),
    path(
        "SageMaker refuses a return, and the version in service scales again",
        "cloudwatch-alarm-state-change",
        f"{_OWN} > DeregisterScalableTarget > RestorePrevious > {_RESCALED}",
        mocks={
            "AssessSignal": decided("rollback", rollback=MOVED),
            "RestorePrevious": Throw("SageMaker.ResourceLimitExceededException", "no ml.c5.large is left"),
        },
    ),
    path(
        "a return that rolls back itself, and the version in service scales again",
        "cloudwatch-alarm-state-change",
        f"{_OWN} > DeregisterScalableTarget > {_BACK} > {_RESCALED}",
        mocks={
            "AssessSignal": decided("rollback", rollback=MOVED),
            "DescribeEndpoint": [described("Updating"), described("InService", ROLLBACK["deployment"])],
        },
    ),
    path(
        "a return that cannot be recorded, and the version before scales as it did",
        "cloudwatch-alarm-state-change",
        f"{_OWN} > DeregisterScalableTarget > {_BACK} > RecordReturn > {_RESCALED}",
        mocks={
            "AssessSignal": decided("rollback", rollback=MOVED),
            "RecordReturn": Throw("RecordMissing", "flights has no CHAMPION"),
        },
    ),
    path(
        "a person asks while another version is being deployed",
        "api-rollback-requested",
        f"{_ASKED} > NotifyOwner > OwnerNotified",
        mocks={"AdmitReturn": decided("notify")},
    ),
    path(
        "a person asks for what another has asked for",
        "api-rollback-requested",
        f"{_ASKED} > LeftAlone",
        mocks={"AdmitReturn": decided("leave")},
    ),
    path(
        "the signal cannot be read",
        "cloudwatch-alarm-state-change",
        "ChooseReader > AssessSignal > ResponseFailed",
        mocks={"AssessSignal": Throw("EventInvalid", "no deployment has this alarm")},
    ),
]
