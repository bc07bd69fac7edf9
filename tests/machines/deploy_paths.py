"""The paths of the deploy machine."""

from functools import partial

from evergreen import answers

from tests.machines.engine import Throw
from tests.machines.scenario import Scenario, event

ENDPOINT, DEPLOYMENT, OLD = "evergreen-flights", "evergreen-flights-v2-9b3c1e", "evergreen-flights-v1-0d4c77"
ARN = f"arn:aws:sagemaker:us-east-1:123456789012:endpoint/{ENDPOINT}"
PACKAGE = "arn:aws:sagemaker:us-east-1:123456789012:model-package/evergreen-flights/2"
PLAN = {
    "admitted": True,
    "reason": "version 2 is approved and not yet in service",
    "model": "flights",
    "version": 2,
    "packageArn": PACKAGE,
    "run": "flights-8c1f0a52d7",
    "deployment": DEPLOYMENT,
    "endpoint": ENDPOINT,
    "way": "instance",
    "serverless": None,
    "dimensions": [
        {"Name": "EndpointName", "Value": ENDPOINT},
        {"Name": "VariantName", "Value": "main"},
        {"Name": "EndpointConfigName", "Value": DEPLOYMENT},
    ],
    "watch": None,
    "isNew": False,
    "approvedBy": "arn:aws:iam::123456789012:user/ada",
    "cause": event("deploy-model-deployed")["detail"]["cause"],
    "serve": {"instance": "ml.m5.large", "count": 1},
    "capture": "s3://bucket/capture",
    "deploymentConfig": {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {
                "Type": "CANARY",
                "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
                "WaitIntervalInSeconds": 600,
            },
            "TerminationWaitInSeconds": 60,
            "MaximumExecutionTimeoutInSeconds": 1800,
        },
        "AutoRollbackConfiguration": {
            "Alarms": [{"AlarmName": f"{DEPLOYMENT}-errors"}, {"AlarmName": f"{DEPLOYMENT}-latency"}]
        },
    },
    "alarms": {"errors": 0.01, "latency": 200_000},
    "answers": None,
    "alarmNames": [f"{DEPLOYMENT}-errors", f"{DEPLOYMENT}-latency"],
    "scaling": None,
    "scalingBefore": None,
    "deregister": False,
    "register": False,
    "retain": True,
    "shadow": None,
    "staging": None,
    "approvedAt": "2013-06-10T12:00:00Z",
    "environment": {},
}
PREVIOUS = {"deployment": OLD, "config": OLD, "alarms": [f"{OLD}-errors", f"{OLD}-latency"]}
SCALING = {"min": 1, "max": 4, "target": 500}
# Another instance type, scaled as the one before.
MOVED = {**PLAN, "scaling": SCALING, "scalingBefore": SCALING, "deregister": True, "register": True}

SHADOWED = {
    **PLAN,
    "shadow": {
        "config": f"{DEPLOYMENT}-shadow",
        "seconds": 600,
        "disagreement": 0.1,
        "champion": {"model": OLD, "config": OLD, "instance": "ml.m5.large", "count": 2},
    },
}
ANSWERS = {
    "limit": 0.5,
    "metrics": answers.metrics({"mean": 0.3, "spread": 0.1, "champion": 0.2}, DEPLOYMENT, OLD),
}
# What it answers is watched beside what the champion does.
COMPARED = {
    **PLAN,
    "answers": ANSWERS,
    "alarmNames": [*PLAN["alarmNames"], f"{DEPLOYMENT}-answers"],
}
SERVERLESS = {
    **PLAN,
    "way": "serverless",
    "serverless": {"MemorySizeInMB": 2048, "MaxConcurrency": 5},
    "serve": {"instance": None, "count": None},
    "dimensions": [
        {"Name": "EndpointName", "Value": ENDPOINT},
        {"Name": "VariantName", "Value": DEPLOYMENT},
    ],
    "watch": {"seconds": 120, "every": 60, "config": OLD},
    "deploymentConfig": None,
    "retain": False,
}
BATCH = {
    **PLAN,
    "way": "batch",
    "endpoint": None,
    "serve": {"instance": None, "count": None},
    "dimensions": [],
    "deploymentConfig": None,
    "retain": False,
}
QUIET = [{"AlarmName": f"{DEPLOYMENT}-{kind}", "StateValue": "OK"} for kind in ("errors", "latency")]
LOUD = [{"AlarmName": f"{DEPLOYMENT}-errors", "StateValue": "ALARM"}, QUIET[1]]
# By the minute, in no order that GetMetricData would promise; one that nothing was put for is empty.
METRICS = [
    {"Id": "main_requests", "Values": [240.0, 261.0]},
    {"Id": "main_errors", "Values": [0.0, 0.0]},
    {"Id": "main_latency", "Values": [11_000.0, 12_500.0]},
    {"Id": "shadow_requests", "Values": [501.0]},
    {"Id": "shadow_errors", "Values": []},
    {"Id": "shadow_latency", "Values": [14_000.0]},
]


def described(status: str, config: str = DEPLOYMENT, **more: str) -> dict[str, str]:
    """What DescribeEndpoint says."""
    return {"EndpointName": ENDPOINT, "EndpointStatus": status, "EndpointConfigName": config, **more}


UPDATING = described("Updating", OLD)
IN_SERVICE = described("InService")
USUAL = {
    "AdmitDeployment": PLAN,
    "CreateModel": {"ModelArn": "arn:aws:sagemaker:us-east-1:123456789012:model/m"},
    "CreateServerlessConfig": {
        "EndpointConfigArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/c"
    },
    "UpdateServerlessEndpoint": {"EndpointArn": ARN},
    "ReadAlarms": {"MetricAlarms": QUIET},
    "ReturnToChampion": {"EndpointArn": ARN},
    "CreateEndpointConfig": {
        "EndpointConfigArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/c"
    },
    "PutErrorAlarm": {},
    "PutLatencyAlarm": {},
    "PutAnswersAlarm": {},
    "CreateEndpoint": {"EndpointArn": ARN},
    "UpdateEndpoint": {"EndpointArn": ARN},
    "DescribeEndpoint": [UPDATING, UPDATING, IN_SERVICE],
    "PromoteChampion": {"previous": PREVIOUS},
    "CreateShadowConfig": {"EndpointConfigArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/s"},
    "StartShadow": {"EndpointArn": ARN},
    "DescribeShadow": [UPDATING, described("InService", f"{DEPLOYMENT}-shadow")],
    "ReadShadowMetrics": {"MetricDataResults": METRICS},
    "JudgeShadow": {"passed": True, "reason": "as a shadow it was sent 501 requests"},
    "DropShadow": {"EndpointArn": ARN},
    "DescribeChampion": [UPDATING, described("InService", OLD)],
    "DeregisterScalableTarget": {},
    "RegisterScalableTarget": {},
    "RestoreScalableTarget": {},
    "RestoreScalingPolicy": {"PolicyARN": "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:p"},
    "PutScalingPolicy": {"PolicyARN": "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:p"},
    "DeleteOldAlarms": {},
    "AnnounceDeployment": {"FailedEntryCount": 0},
    "RecordRollback": lambda given: {
        "reason": (given["error"] or {"Cause": given["endpoint"]["reason"]})["Cause"]
    },
    "DeleteFailedEndpoint": {},
    "DeleteAlarms": {},
    "AnnounceRollback": {"FailedEntryCount": 0},
}

path = partial(Scenario, "deploy", sample="sagemaker-model-package-state-change", usual=USUAL)
_READY = (
    "AdmitDeployment > IsAdmitted > CreateModel > IsStaged > ChooseServing > CreateEndpointConfig "
    "> PutErrorAlarm > PutLatencyAlarm > AreAnswersWatched > IsEndpointNew"
)
_COMPARED = _READY.replace("AreAnswersWatched", "AreAnswersWatched > PutAnswersAlarm")
_SERVERLESS_READY = _READY.replace("CreateEndpointConfig", "CreateServerlessConfig")
_LOOK = "WaitForEndpoint > DescribeEndpoint > IsEndpointSettled"
_UPDATED = f"{_SERVERLESS_READY} > UpdateServerlessEndpoint > {_LOOK} > {_LOOK} > {_LOOK}"
_WATCH = "WatchEndpoint > ReadAlarms > IsEndpointSound"
_SHIFTED = f"{_READY} > UpdateEndpoint > {_LOOK} > {_LOOK} > {_LOOK}"
_MOVING = f"{_READY} > DeregisterScalableTarget > UpdateEndpoint"
_SHIPPED = "PromoteChampion > IsScaled"
_CLEANED = "IsFirstFailed > DeleteAlarms > AnnounceRollback > DeploymentRolledBack"
_SHADOW_LOOK = "WaitForShadow > DescribeShadow > IsShadowUp"
_STARTED = f"{_READY} > CreateShadowConfig > StartShadow"
_JUDGED = (
    f"{_STARTED} > {_SHADOW_LOOK} > {_SHADOW_LOOK} > ObserveShadow > ReadShadowMetrics > JudgeShadow "
    "> IsShadowSound"
)
_ALONE = "WaitForChampion > DescribeChampion > IsChampionAlone"
_DROPPED = f"DropShadow > {_ALONE} > {_ALONE} > RecordRollback > {_CLEANED}"

SCENARIOS = [
    path(
        "a canary that holds",
        path=f"{_SHIFTED} > {_SHIPPED} > HasPrevious > DeleteOldAlarms > AnnounceDeployment > ModelDeployed",
    ),
    path(
        "the version before was returned to, and has no alarms any more",
        path=f"{_SHIFTED} > {_SHIPPED} > HasPrevious > AnnounceDeployment > ModelDeployed",
        mocks={"PromoteChampion": {"previous": {**PREVIOUS, "alarms": []}}},
    ),
    path(
        "the first version, with autoscaling",
        path=(
            f"{_READY} > CreateEndpoint > {_LOOK} > {_LOOK} > {_SHIPPED} > RegisterScalableTarget "
            "> PutScalingPolicy > HasPrevious > AnnounceDeployment > ModelDeployed"
        ),
        mocks={
            "AdmitDeployment": {**PLAN, "isNew": True, "scaling": SCALING, "register": True},
            "DescribeEndpoint": [described("Creating"), IN_SERVICE],
            "PromoteChampion": {"previous": None},
        },
    ),
    path(
        "not approved any more",
        path="AdmitDeployment > IsAdmitted > DeploymentDropped",
        mocks={"AdmitDeployment": {"admitted": False, "reason": "version 2 is Rejected now"}},
    ),
    path(
        "an alarm rolls the canary back",
        path=f"{_SHIFTED} > HasShadow > RecordRollback > {_CLEANED}",
        mocks={
            "DescribeEndpoint": [
                UPDATING,
                described("RollingBack", OLD),
                described("InService", OLD, FailureReason=f"alarm {DEPLOYMENT}-errors went off"),
            ]
        },
    ),
    path(
        "a canary whose answers are compared rolls back by them",
        path=f"{_COMPARED} > UpdateEndpoint > {_LOOK} > HasShadow > RecordRollback > {_CLEANED}",
        mocks={
            "AdmitDeployment": COMPARED,
            "DescribeEndpoint": described(
                "InService", OLD, FailureReason=f"alarm {DEPLOYMENT}-answers went off"
            ),
        },
    ),
    path(
        "the first endpoint never answers /ping",
        path=(
            f"{_READY} > CreateEndpoint > {_LOOK} > HasShadow > RecordRollback > IsFirstFailed "
            "> DeleteFailedEndpoint > DeleteAlarms > AnnounceRollback > DeploymentRolledBack"
        ),
        mocks={
            "AdmitDeployment": {**PLAN, "isNew": True},
            "DescribeEndpoint": described(
                "Failed", FailureReason="The container did not pass the ping check."
            ),
        },
    ),
    path(
        "a rolling update that neither arrives nor comes back",
        path=f"{_SHIFTED} > RecordRollback > {_CLEANED}",
        mocks={
            "DescribeEndpoint": [
                UPDATING,
                described("RollingBack", OLD),
                described("UpdateRollbackFailed", FailureReason="ml.m5.large: no capacity"),
            ]
        },
    ),
    path(
        "the update is refused",
        path=f"{_READY} > UpdateEndpoint > HasShadow > RecordRollback > {_CLEANED}",
        mocks={
            "UpdateEndpoint": Throw("SageMaker.ResourceLimitExceededException", "ml.m5.large: 2 of 2 in use")
        },
    ),
    path(
        "another instance type under autoscaling",
        path=(
            f"{_MOVING} > {_LOOK} > {_LOOK} > {_LOOK} > {_SHIPPED} > RegisterScalableTarget "
            "> PutScalingPolicy > HasPrevious > DeleteOldAlarms > AnnounceDeployment > ModelDeployed"
        ),
        mocks={"AdmitDeployment": MOVED},
    ),
    path(
        "another instance type rolls back, and the champion scales again",
        path=(
            f"{_MOVING} > {_LOOK} > HasShadow > RecordRollback > IsFirstFailed > RestoreScalableTarget "
            "> RestoreScalingPolicy > DeleteAlarms > AnnounceRollback "
            "> DeploymentRolledBack"
        ),
        mocks={
            "AdmitDeployment": MOVED,
            # Somebody has taken it off by hand.
            "DeregisterScalableTarget": Throw("ApplicationAutoScaling.ObjectNotFoundException"),
            "DescribeEndpoint": described("InService", OLD, FailureReason="alarm went off"),
        },
    ),
    path(
        "a shadow that holds",
        path=(
            f"{_JUDGED} > UpdateEndpoint > {_LOOK} > {_LOOK} > {_LOOK} > {_SHIPPED} > HasPrevious "
            "> DeleteOldAlarms > AnnounceDeployment > ModelDeployed"
        ),
        mocks={"AdmitDeployment": SHADOWED},
    ),
    path(
        "a shadow on another instance type, under autoscaling",
        path=(
            f"{_JUDGED} > DeregisterScalableTarget > UpdateEndpoint > {_LOOK} > {_LOOK} > {_LOOK} "
            f"> {_SHIPPED} > RegisterScalableTarget > PutScalingPolicy > HasPrevious > DeleteOldAlarms "
            "> AnnounceDeployment > ModelDeployed"
        ),
        mocks={"AdmitDeployment": {**MOVED, "shadow": SHADOWED["shadow"]}},
    ),
    path(
        "a shadow that fails is dropped",
        path=f"{_JUDGED} > {_DROPPED}",
        mocks={
            "AdmitDeployment": SHADOWED,
            "JudgeShadow": {"passed": False, "reason": "80.00% failed (production: 0.00%)"},
        },
    ),
    path(
        "a shadow that does not start",
        path=f"{_STARTED} > {_SHADOW_LOOK} > RecordRollback > {_CLEANED}",
        mocks={
            "AdmitDeployment": SHADOWED,
            "DescribeShadow": described(
                "InService", OLD, FailureReason="The container did not pass the ping check."
            ),
        },
    ),
    path(
        "a shadow that held, and an alarm under the full traffic",
        path=f"{_JUDGED} > UpdateEndpoint > {_LOOK} > HasShadow > {_DROPPED}",
        mocks={
            "AdmitDeployment": SHADOWED,
            "DescribeEndpoint": described(
                "InService", f"{DEPLOYMENT}-shadow", FailureReason=f"alarm {DEPLOYMENT}-errors went off"
            ),
        },
    ),
    path(
        "a serverless version that holds",
        path=(
            f"{_UPDATED} > {_WATCH} > {_WATCH} > {_SHIPPED} > HasPrevious > DeleteOldAlarms "
            "> AnnounceDeployment > ModelDeployed"
        ),
        mocks={"AdmitDeployment": SERVERLESS},
    ),
    path(
        "the first serverless version has nothing to return to",
        path=(
            f"{_SERVERLESS_READY} > CreateEndpoint > {_LOOK} > {_SHIPPED} > HasPrevious "
            "> AnnounceDeployment > ModelDeployed"
        ),
        mocks={
            "AdmitDeployment": {**SERVERLESS, "isNew": True, "watch": None},
            "DescribeEndpoint": IN_SERVICE,
            "PromoteChampion": {"previous": None},
        },
    ),
    path(
        "an alarm after a serverless update puts the champion back",
        path=(
            f"{_UPDATED} > {_WATCH} > {_WATCH} > ReturnToChampion > {_ALONE} > {_ALONE} > RecordRollback "
            f"> {_CLEANED}"
        ),
        mocks={
            "AdmitDeployment": SERVERLESS,
            "ReadAlarms": [{"MetricAlarms": QUIET}, {"MetricAlarms": LOUD}],
        },
    ),
    path(
        "an alarm that is gone watches nothing",
        path=f"{_UPDATED} > {_WATCH} > ReturnToChampion > {_ALONE} > {_ALONE} > RecordRollback > {_CLEANED}",
        mocks={"AdmitDeployment": SERVERLESS, "ReadAlarms": {"MetricAlarms": QUIET[:1]}},
    ),
    path(
        "a version that scores batches",
        path=(
            f"AdmitDeployment > IsAdmitted > CreateModel > IsStaged > ChooseServing > {_SHIPPED} "
            "> HasPrevious > AnnounceDeployment > ModelDeployed"
        ),
        mocks={
            "AdmitDeployment": BATCH,
            "PromoteChampion": {"previous": {**PREVIOUS, "alarms": []}},
        },
    ),
    path(
        "a version that scores batches and has no model",
        path=(
            "AdmitDeployment > IsAdmitted > CreateModel > RecordRollback > IsFirstFailed > AnnounceRollback "
            "> DeploymentRolledBack"
        ),
        mocks={
            "AdmitDeployment": BATCH,
            "CreateModel": Throw("SageMaker.ResourceLimitExceededException", "Could not find model data"),
        },
    ),
    path(
        "admission fails",
        path="AdmitDeployment > DeploymentFailed",
        mocks={"AdmitDeployment": Throw("PackageUnknown", "version 2 has no run")},
    ),
]
