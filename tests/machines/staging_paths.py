"""The paths of the deploy machine through staging."""

from functools import partial

from tests.machines.deploy_paths import DEPLOYMENT, PLAN, USUAL, path
from tests.machines.engine import Throw

STAGING = f"{DEPLOYMENT}-staging"
ARN = f"arn:aws:sagemaker:us-east-1:123456789012:endpoint/{STAGING}"
STAGED = {
    **PLAN,
    "staging": {
        "endpoint": STAGING,
        "variant": {
            "VariantName": "main",
            "ModelName": DEPLOYMENT,
            "InitialVariantWeight": 1,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
        },
        "samples": "s3://bucket/runs/flights-8c1f0a52d7/evaluation/smoke.jsonl",
        "latency": 0.2,
        "approval": "person",
        "expires": 86400,
    },
}
BY_TEST = {**STAGED, "staging": {**STAGED["staging"], "approval": "auto"}}
PASSED = {"passed": True, "reason": "50 rows are answered as when the model was judged, in 12 ms"}
FAILED = {
    "passed": False,
    "reason": "50 of 50 rows are answered otherwise: row 1: probability is 0.9, was 0.1",
}
APPROVAL = {
    "by": "arn:aws:iam::123456789012:user/ada",
    "reason": "looked at it",
    "at": "2013-06-11T08:00:00Z",
}
GONE = Throw("SageMaker.SageMakerException", f'Could not find endpoint "{ARN}".')


def described(status: str, **more: str) -> dict[str, str]:
    """What DescribeEndpoint says of the staging endpoint."""
    return {"EndpointName": STAGING, "EndpointStatus": status, "EndpointConfigName": STAGING, **more}


staged = partial(
    path,
    usual={
        **USUAL,
        "AdmitDeployment": STAGED,
        "CreateStagingConfig": {
            "EndpointConfigArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/t"
        },
        "CreateStagingEndpoint": {"EndpointArn": ARN},
        "DescribeStaging": [described("Creating"), described("InService")],
        "RunSmokeTest": PASSED,
        "AskApproval": APPROVAL,
        "DeleteStagingEndpoint": {},
        "AdmitProduction": {**PLAN, "reason": "looked at it"},
        "RefuseDeployment": lambda given: {"reason": given["error"]["Cause"]},
        "AnnounceRefusal": {"FailedEntryCount": 0},
    },
)
_MADE = "AdmitDeployment > IsAdmitted > CreateModel > IsStaged > CreateStagingConfig > CreateStagingEndpoint"
_LOOK = "WaitForStaging > DescribeStaging > IsStagingUp"
_TESTED = f"{_MADE} > {_LOOK} > {_LOOK} > RunSmokeTest > IsSmokeTestPassed"
_ASKED = f"{_TESTED} > AskApproval > DeleteStagingEndpoint"
_ADMITTED = "IsStagingPassed > AdmitProduction > IsProductionAdmitted"
_WATCHED = "WaitForEndpoint > DescribeEndpoint > IsEndpointSettled"
_SHIPPED = (
    "ChooseServing > CreateEndpointConfig > PutErrorAlarm > PutLatencyAlarm > AreAnswersWatched "
    f"> IsEndpointNew > UpdateEndpoint > {_WATCHED} > {_WATCHED} > {_WATCHED} > PromoteChampion > IsScaled "
    "> HasPrevious > DeleteOldAlarms > AnnounceDeployment > ModelDeployed"
)
_REFUSED = "RefuseDeployment > AnnounceRefusal > DeploymentRefused"

SCENARIOS = [
    staged("a person lets a staged version go on", path=f"{_ASKED} > {_ADMITTED} > {_SHIPPED}"),
    staged(
        "the smoke test alone lets a staged version go on",
        path=f"{_TESTED} > DeleteStagingEndpoint > {_ADMITTED} > {_SHIPPED}",
        mocks={"AdmitDeployment": BY_TEST},
    ),
    staged(
        "a staged version answers otherwise than it was judged",
        path=f"{_TESTED} > FailSmokeTest > DeleteStagingEndpoint > IsStagingPassed > {_REFUSED}",
        mocks={"RunSmokeTest": FAILED},
    ),
    staged(
        "a person refuses a staged version",
        path=f"{_ASKED} > IsStagingPassed > {_REFUSED}",
        mocks={"AskApproval": Throw("ApprovalRefused", "calls Newark late (refused by ada)")},
    ),
    staged(
        "nobody answers in time",
        path=f"{_ASKED} > IsStagingPassed > {_REFUSED}",
        mocks={"AskApproval": Throw("States.Timeout", "")},
    ),
    staged(
        "the staging endpoint does not start",
        path=(f"{_MADE} > {_LOOK} > RefuseStaging > DeleteStagingEndpoint > IsStagingPassed > {_REFUSED}"),
        mocks={
            "DescribeStaging": described("Failed", FailureReason="The container did not pass the ping check.")
        },
    ),
    staged(
        "the staging endpoint was never made",
        path=f"{_MADE} > DeleteStagingEndpoint > {_REFUSED}",
        mocks={
            "CreateStagingEndpoint": Throw("SageMaker.ResourceLimitExceededException", "ml.m5.large: 2 of 2"),
            "DeleteStagingEndpoint": GONE,
        },
    ),
    staged(
        "an execution was stopped in staging: what it left is taken down",
        sample="states-step-functions-execution-status-change.deploy",
        path=f"AdmitDeployment > IsAdmitted > DeleteStagingEndpoint > IsStagingPassed > {_REFUSED}",
        mocks={"AdmitDeployment": {**STAGED, "admitted": False, "stopped": "the execution was ABORTED"}},
    ),
    staged(
        "another version has overtaken the staged one",
        path=f"{_ASKED} > {_ADMITTED} > DeploymentDropped",
        mocks={"AdmitProduction": {**STAGED, "admitted": False, "reason": "version 3 is in service"}},
    ),
]
