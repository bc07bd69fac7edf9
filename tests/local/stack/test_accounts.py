"""Two accounts on one server: what the one does not share the other does not see, whatever its own policies
allow."""

import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local import stack
from tests.local.stack.account import PASS, REGION, Account, Json, allow, unique, wait_for

OTHER = "222222222222"
IMAGE = f"{stack.ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/evergreen-jobs:local"


@pytest.fixture(scope="module")
def other(running: stack.Stack) -> Account:
    return Account(running.of(OTHER))


def grant(actions: list[str], *resources: str, **condition: Any) -> str:
    """A resource policy for the other account."""
    statement = allow(actions, list(resources)) | {"Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"}}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement | condition]})


@pytest.fixture(scope="module")
def bucket(account: Account) -> str:
    """With a model that is worth sharing."""
    name, packed = unique("bucket"), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz"):
        pass
    account.client("s3").create_bucket(Bucket=name)
    account.client("s3").put_object(Bucket=name, Key="shared/model.tar.gz", Body=packed.getvalue())
    account.client("s3").put_object(Bucket=name, Key="private/a", Body=b"a")
    return name


@pytest.fixture(scope="module")
def package(account: Account, bucket: str) -> str:
    """The ARN of a version of a group that has no policy yet."""
    sagemaker, name = account.client("sagemaker"), unique("group")
    sagemaker.create_model_package_group(ModelPackageGroupName=name)
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{bucket}/shared/model.tar.gz"}
    specification = {
        "Containers": [container],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    made = sagemaker.create_model_package(ModelPackageGroupName=name, InferenceSpecification=specification)
    return made["ModelPackageArn"]


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    assert refused.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException")
    return refused.value.response["Error"]["Message"]


def test_the_same_name_is_two_things(account: Account, other: Account) -> None:
    name = unique("group")
    for each in (account, other):
        made = each.client("sagemaker").create_model_package_group(ModelPackageGroupName=name)
        assert made["ModelPackageGroupArn"].split(":")[4] == each.stack.account
    account.client("sagemaker").delete_model_package_group(ModelPackageGroupName=name)
    other.client("sagemaker").describe_model_package_group(ModelPackageGroupName=name)


def test_a_bucket_is_read_across_by_its_policy_alone(account: Account, other: Account, bucket: str) -> None:
    read = other.client("s3").get_object
    refusal(read, Bucket=bucket, Key="shared/model.tar.gz")
    policy = grant(["s3:GetObject"], f"arn:aws:s3:::{bucket}/shared/*")
    account.client("s3").put_bucket_policy(Bucket=bucket, Policy=policy)
    read(Bucket=bucket, Key="shared/model.tar.gz")
    refusal(read, Bucket=bucket, Key="private/a")


def test_a_package_is_shared_by_the_policy_of_its_group_and_the_role_that_asks(
    account: Account, other: Account, package: str, bucket: str
) -> None:
    group = package.split("/")[1]

    def describe(*statements: Json) -> Json:
        return other.task(
            "aws-sdk:sagemaker:describeModelPackage", {"ModelPackageName": package}, *statements
        )

    may = allow("sagemaker:DescribeModelPackage", package)
    assert "no resource-based policy allows" in describe(may)["Cause"]
    policy = grant(["sagemaker:DescribeModelPackage"], package)
    account.client("sagemaker").put_model_package_group_policy(
        ModelPackageGroupName=group, ResourcePolicy=policy
    )
    assert describe(may)["ModelPackageArn"] == package
    assert "no identity-based policy allows" in describe()["Cause"]
    reject = {"ModelPackageArn": package, "ModelApprovalStatus": "Rejected"}
    message = refusal(other.client("sagemaker").update_model_package, **reject)
    assert "sagemaker:UpdateModelPackage" in message

    model = {
        "ModelName": unique("model"),
        "ExecutionRoleArn": other.role("sagemaker"),
        "PrimaryContainer": {"ModelPackageName": package},
    }
    create = other.client("sagemaker").create_model
    assert "sagemaker:CreateModel" in refusal(create, **model)
    policy = grant(["sagemaker:DescribeModelPackage", "sagemaker:CreateModel"], package)
    account.client("sagemaker").put_model_package_group_policy(
        ModelPackageGroupName=group, ResourcePolicy=policy
    )
    account.client("s3").put_bucket_policy(
        Bucket=bucket, Policy=grant(["s3:GetObject"], f"arn:aws:s3:::{bucket}/shared/*")
    )
    assert create(**model)["ModelArn"].split(":")[4] == OTHER


TEMPLATE = """
Parameters: {Name: {Type: String}}
Resources:
  Bus:
    Type: AWS::Events::EventBus
    Properties:
      Name: !Ref Name
      Policy:
        Version: '2012-10-17'
        Statement:
          - Effect: Allow
            Principal: {AWS: 'arn:aws:iam::000000000000:root'}
            Action: events:PutEvents
            Resource: !Sub 'arn:aws:events:us-east-1:222222222222:event-bus/${Name}'
            Condition:
              StringEquals: {events:detail-type: Test}
              ForAllValues:StringEquals: {events:source: wanted}
"""


def test_a_bus_takes_from_another_account_what_its_policy_names(account: Account, other: Account) -> None:
    dead, url = account.queue("events")
    bus = unique("bus")
    cloudformation = other.client("cloudformation")
    parameter = {"ParameterKey": "Name", "ParameterValue": bus}
    cloudformation.create_stack(StackName=bus, TemplateBody=TEMPLATE, Parameters=[parameter])
    cloudformation.get_waiter("stack_create_complete").wait(StackName=bus, WaiterConfig={"Delay": 1})
    target = f"arn:aws:events:{REGION}:{OTHER}:event-bus/{bus}"
    sqs = other.client("sqs")
    inbox = sqs.create_queue(QueueName=bus)["QueueUrl"]
    queue = f"arn:aws:sqs:{REGION}:{OTHER}:{bus}"
    statement = allow("sqs:SendMessage", queue) | {"Principal": {"Service": "events.amazonaws.com"}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=inbox, Attributes={"Policy": policy})
    pattern = json.dumps({"account": [stack.ACCOUNT]})
    other.client("events").put_rule(Name="all", EventBusName=bus, EventPattern=pattern)
    other.client("events").put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": "q", "Arn": queue}])

    role = account.role("events", allow("events:PutEvents", target))
    forward = {"Arn": target, "RoleArn": role, "DeadLetterConfig": {"Arn": dead}}
    account.rule({"source": ["wanted", "unwanted"]}, forward)
    account.put_event("unwanted", {"a": 1})
    [message] = account.messages(url)
    assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_PERMISSIONS"
    assert "no resource-based policy" in message["MessageAttributes"]["ERROR_MESSAGE"]["StringValue"]
    buried = json.loads(message["Body"])
    assert (buried["source"], buried["detail-type"], buried["detail"]) == ("unwanted", "Test", {"a": 1})
    account.put_event("wanted", {"b": 1})
    [message] = other.messages(inbox)
    event = json.loads(message["Body"])
    assert (event["account"], event["source"], event["detail"]) == (stack.ACCOUNT, "wanted", {"b": 1})


def test_a_schedule_fires_in_its_account(other: Account) -> None:
    machine = other.machine({"A": PASS})
    role = other.role("scheduler", allow("states:StartExecution", machine))
    target = {"Arn": machine, "RoleArn": role, "Input": "{}"}
    other.client("scheduler").create_schedule(
        Name=unique("schedule"),
        ScheduleExpression="rate(1 hour)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=target,
    )
    executions = other.client("stepfunctions").list_executions
    other.stack.clock.advance(3700)
    [started, *_] = wait_for(lambda: executions(stateMachineArn=machine)["executions"])
    assert started["executionArn"].split(":")[4] == OTHER


def test_an_alarm_goes_off_in_its_account(other: Account) -> None:
    name = unique("alarm")
    metric = {"Namespace": "Test", "MetricName": name, "Statistic": "Sum", "Period": 60}
    above = {"EvaluationPeriods": 1, "Threshold": 0, "ComparisonOperator": "GreaterThanThreshold"}
    cloudwatch = other.client("cloudwatch")
    cloudwatch.put_metric_alarm(AlarmName=name, **metric, **above)
    cloudwatch.put_metric_data(Namespace="Test", MetricData=[{"MetricName": name, "Value": 1.0}])

    def state() -> bool:
        [alarm] = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return alarm["StateValue"] == "ALARM"

    wait_for(state)
