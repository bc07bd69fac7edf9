"""A machine's role reaches what its states name: each request of each path, against its policies.

The local stack enforces the roles of functions; those of machines it does not enforce in full, so that a
resource pattern that misses would show on AWS alone.
"""

import fnmatch
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.lint_asl import ACCOUNT, REGION, STACK, states
from tests.machines.engine import machine
from tests.machines.test_paths import SCENARIOS
from tests.template import stack
from tests.template.test_names import is_lambda
from tests.template.test_security import called

SAGEMAKER = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:"
# What a request acts on, by the member that names it.
NAMED_BY = {
    "ProcessingJobName": SAGEMAKER + "processing-job/{}",
    "TrainingJobName": SAGEMAKER + "training-job/{}",
    "TransformJobName": SAGEMAKER + "transform-job/{}",
    "HyperParameterTuningJobName": SAGEMAKER + "hyper-parameter-tuning-job/{}",
    "ModelPackageGroupName": SAGEMAKER + "model-package-group/{}",
    "ModelPackageArn": "{}",
    "ModelName": SAGEMAKER + "model/{}",
    "EndpointConfigName": SAGEMAKER + "endpoint-config/{}",
    "EndpointName": SAGEMAKER + "endpoint/{}",
    "AlarmName": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:" + "{}",
}
ROLES = {"RoleArn", "ExecutionRoleArn"}


def acts_on(action: str, given: Mapping[str, Any], state: str) -> Iterator[tuple[str, str]]:
    """(action, resource) of a request; a role that it passes on is one more."""
    service, operation = action.split(":")
    if service == "lambda":
        yield "lambda:InvokeFunction", stack.arn(f"{state}Function")
    elif operation == "CopyObject":
        yield "s3:GetObjectVersion", f"arn:aws:s3:::{given['CopySource'].partition('?')[0]}"
        yield "s3:PutObject", f"arn:aws:s3:::{given['Bucket']}/{given['Key']}"
    elif operation == "CreateTransformJob":  # its model needs no permission
        yield action, NAMED_BY["TransformJobName"].format(given["TransformJobName"])
    elif service == "s3":
        yield action, f"arn:aws:s3:::{stack.BUCKET}/{given['Key']}"
    elif service == "sns":
        yield action, stack.arn("Topic")
    elif service == "events":
        for entry in given["Entries"]:
            yield action, f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{entry['EventBusName']}"
    elif service == "scheduler":
        yield action, f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/{given['GroupName']}/{given['Name']}"
        yield "iam:PassRole", stack.arn("ScheduleRole")
    elif service == "application-autoscaling":
        yield action, f"arn:aws:application-autoscaling:{REGION}:{ACCOUNT}:scalable-target/1234"
    elif operation == "GetMetricData":
        yield action, "*"
    elif operation in ("DeleteAlarms", "DescribeAlarms"):
        for name in given["AlarmNames"]:
            yield action, NAMED_BY["AlarmName"].format(name)
    else:
        for member, form in NAMED_BY.items():
            if member in given:
                yield action, form.format(given[member])
    if service == "sagemaker":
        for part in (given, given.get("TrainingJobDefinition", {})):
            for member in ROLES & set(part):
                yield "iam:PassRole", stack.arn(part[member].rsplit("/", 1)[-1])


def allows(statement: Mapping[str, Any], action: str, resource: str) -> bool:
    patterns = stack.resolve(statement["Resource"])
    patterns = [patterns] if isinstance(patterns, str) else patterns
    return action in stack.actions(statement) and any(
        fnmatch.fnmatchcase(resource, each) for each in patterns
    )


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_the_role_reaches_what_the_states_name(scenario: Any) -> None:
    statements = stack.granted(f"{scenario.machine.title()}StateMachineRole")
    known = {
        name: state["Resource"]
        for _, name, state in states(machine(scenario.machine).definition)
        if "Resource" in state
    }
    for state, calls in scenario.result.arguments.items():
        action = called(known[state])
        for given in calls:
            asked = list(acts_on(action, {} if is_lambda(known[state]) else given, state))
            assert asked, f"{state}: {action} names nothing that a policy could"
            for what, resource in asked:
                assert any(allows(each, what, resource) for each in statements), (
                    f"{state}: {what} on {resource}"
                )


def test_a_job_of_another_stack_is_out_of_reach() -> None:
    """The test can fail: a name without the stack's is refused."""
    statements = stack.granted("TrainStateMachineRole")
    for name, expected in (
        (f"{STACK}-flights-8c1f0a52d7-train", True),
        ("other-flights-8c1f0a52d7-train", False),
    ):
        resource = NAMED_BY["TrainingJobName"].format(name)
        reached = any(allows(each, "sagemaker:CreateTrainingJob", resource) for each in statements)
        assert reached is expected
