"""What a reviewer of the stack asks: least privilege, encryption, nothing public, lost or unlogged."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.lint_asl import Machine, load_all, states
from tests.lint_integrations import operation_of
from tests.lint_translated import TEMPLATE
from tests.template import stack

ALL = load_all()
FUNCTIONS = [name for name, each in stack.source().items() if each["Type"] == "AWS::Serverless::Function"]
# An IAM prefix where it is not botocore's name of the service.
IAM_PREFIXES = {"stepfunctions": "states"}
IAM_ACTIONS = {"lambda:Invoke": "lambda:InvokeFunction"}
# What a call needs beside its own action: AWS's "IAM policies for integrated services".
COMPANIONS = {
    "CreateProcessingJob": {"DescribeProcessingJob", "StopProcessingJob", "AddTags", "ListTags"},
    "CreateTrainingJob": {"DescribeTrainingJob", "StopTrainingJob", "AddTags", "ListTags"},
    "CreateTransformJob": {"DescribeTransformJob", "StopTransformJob", "AddTags", "ListTags"},
    "CreateHyperParameterTuningJob": {
        "DescribeHyperParameterTuningJob",
        "StopHyperParameterTuningJob",
        "AddTags",
        "ListTags",
    },
}
# CopyObject has no action of its own; of a version, where the copy takes no tags along.
COPIES = {"s3:GetObjectVersion", "s3:PutObject"}
RULE_ACTIONS = {"events:PutTargets", "events:PutRule", "events:DescribeRule"}
# Application Auto Scaling asks its caller for what it will do itself (its guide's identity-based policies).
SCALING_ACTIONS = {
    "sagemaker:DescribeEndpoint",
    "sagemaker:DescribeEndpointConfig",
    "sagemaker:UpdateEndpointWeightsAndCapacities",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:PutMetricAlarm",
    "cloudwatch:DeleteAlarms",
}
PASSES_A_ROLE = {
    "CreateProcessingJob", "CreateTrainingJob", "CreateHyperParameterTuningJob", "CreateModel",
    "CreateSchedule", "UpdateSchedule",
}  # fmt: skip
TAGGED = {
    "CreateModelPackageGroup",
    "CreateModelPackage",
    "CreateModel",
    "CreateEndpointConfig",
    "CreateEndpoint",
}
# Granted for other reasons than a call of the machine's own, each with its reason.
BESIDES = {
    "sagemaker:DescribeModelPackage",  # CreateModel reads the package that it is made from
    "cloudwatch:TagResource",  # PutMetricAlarm with Tags
    "iam:CreateServiceLinkedRole",  # the first scalable target of an account
    "kms:Decrypt",  # the topic's key
    "kms:GenerateDataKey",
}
LOGS_AND_TRACES = {"logs", "xray"}


def test_no_action_has_a_star() -> None:
    starred = [
        (name, action)
        for name, statement in stack.statements()
        if statement["Effect"] == "Allow"
        for action in stack.actions(statement)
        if "*" in action
    ]
    assert not starred


def test_nothing_is_allowed_by_exclusion() -> None:
    for name, statement in stack.statements():
        assert not {"NotAction", "NotResource", "NotPrincipal"} & set(statement), name


def _starred_resources(node: yaml.Node) -> Iterator[int]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            items = value.value if isinstance(value, yaml.SequenceNode) else [value]
            if key.value == "Resource":
                yield from (item.start_mark.line for item in items if item.value == "*")
            yield from _starred_resources(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _starred_resources(item)


def test_every_starred_resource_says_why_on_its_line() -> None:
    lines = TEMPLATE.read_text().splitlines()
    starred = list(_starred_resources(yaml.compose(TEMPLATE.read_text())))
    assert starred
    assert not [lines[line].strip() for line in starred if " # " not in lines[line]]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_has_a_role_of_its_own(name: str) -> None:
    roles = [str(each["Properties"]["Role"]) for each in stack.of_type("AWS::Lambda::Function").values()]
    own = stack.resources()[name]["Properties"]["Role"]
    assert roles.count(str(own)) == 1
    assert own == {"Fn::GetAtt": [f"{name}Role", "Arn"]}


def test_only_their_services_assume_the_roles() -> None:
    for name, role in stack.of_type("AWS::IAM::Role").items():
        for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]:
            assert set(statement["Principal"]) == {"Service"}, name


@pytest.mark.parametrize("machine", ALL, ids=lambda machine: machine.name)
def test_a_machine_may_do_what_its_states_do_and_no_more(machine: Machine) -> None:
    granted = {
        action
        for statement in stack.granted(f"{machine.name.title()}StateMachineRole")
        for action in stack.actions(statement)
    }
    needed = set().union(
        *(_needs(state) for _, _, state in states(machine.definition) if "Resource" in state)
    )
    assert not needed - granted
    surplus = {action for action in granted - needed - BESIDES if action.split(":")[0] not in LOGS_AND_TRACES}
    assert not surplus


def called(resource: str) -> str:
    """The IAM action of a Task's own call."""
    operation = operation_of(resource)
    # botocore signs CloudWatch as `monitoring`; IAM names it as the API does.
    service = operation.service_model.service_name
    prefix = service if service == "cloudwatch" else operation.service_model.signing_name
    action = f"{IAM_PREFIXES.get(prefix, prefix)}:{operation.name}"
    return IAM_ACTIONS.get(action, action)


def _needs(state: dict[str, Any]) -> set[str]:
    action = called(state["Resource"])
    prefix, operation = action.split(":")
    needed = COPIES if action == "s3:CopyObject" else {action}
    if state["Resource"].endswith(".sync"):
        needed |= {f"{prefix}:{companion}" for companion in COMPANIONS[operation]} | RULE_ACTIONS
    if prefix == "application-autoscaling":
        needed |= SCALING_ACTIONS
    if operation in TAGGED:
        needed.add(f"{prefix}:AddTags")
    if operation in PASSES_A_ROLE:
        needed.add("iam:PassRole")
    return needed


def test_a_role_is_passed_to_its_service_alone() -> None:
    for name, statement in stack.statements():
        if "iam:PassRole" in stack.actions(statement):
            assert "iam:PassedToService" in str(statement.get("Condition")), name


def test_what_no_target_took_is_kept_after_retries() -> None:
    for name, rule in stack.of_type("AWS::Events::Rule").items():
        for target in rule["Properties"]["Targets"]:
            assert "DeadLetterConfig" in target, name
            assert "RetryPolicy" in target, name


def test_what_a_function_could_not_do_with_an_event_is_kept_too() -> None:
    """Lambda takes an event at once, tries three times in as many minutes, and then forgets it."""
    heard = {
        target["Arn"]["Fn::GetAtt"][0]
        for rule in stack.of_type("AWS::Events::Rule").values()
        for target in rule["Properties"]["Targets"]
        if "Fn::GetAtt" in target["Arn"]
    } & set(stack.of_type("AWS::Lambda::Function"))
    assert heard
    queue = {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}
    for name in heard:
        assert stack.resources()[name]["Properties"]["DeadLetterConfig"] == {"TargetArn": queue}, name
        actions = {action for each in stack.granted(f"{name}Role") for action in stack.actions(each)}
        assert "sqs:SendMessage" in actions, name


def test_somebody_is_told_of_a_dead_letter() -> None:
    (alarm,) = stack.of_type("AWS::CloudWatch::Alarm").values()
    properties = alarm["Properties"]
    assert properties["Dimensions"] == [
        {"Name": "QueueName", "Value": {"Fn::GetAtt": ["DeadLetterQueue", "QueueName"]}}
    ]
    assert properties["AlarmActions"] == [{"Ref": "Topic"}]
    # The respond machine takes alarms of this prefix for those of a deployment.
    assert not properties["AlarmName"]["Fn::Sub"].startswith("${AWS::StackName}-")
    publishers = [each for owner, each in stack.statements() if owner == "TopicPolicy"]
    assert "cloudwatch.amazonaws.com" in [each["Principal"]["Service"] for each in publishers]


def test_who_may_publish_may_use_the_topics_key() -> None:
    """SNS's guide, "Key management": aws:SourceAccount and aws:SourceArn in a key's policy are not supported
    for EventBridge-to-encrypted topics. Nothing would say that a notification was lost."""
    (key,) = [
        each for owner, each in stack.statements() if owner == "TopicKey" and "Service" in each["Principal"]
    ]
    publishers = {
        each["Principal"]["Service"] for owner, each in stack.statements() if owner == "TopicPolicy"
    }
    assert set(key["Principal"]["Service"]) == publishers
    assert set(key["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey"}
    ((operator, conditions),) = key["Condition"].items()
    assert (operator, set(conditions)) == ("StringEquals", {"kms:EncryptionContext:aws:sns:topicArn"})


def test_the_bucket_is_private_encrypted_versioned_and_heard() -> None:
    bucket = stack.source()["Bucket"]
    properties = bucket["Properties"]
    assert all(properties["PublicAccessBlockConfiguration"].values())
    assert len(properties["PublicAccessBlockConfiguration"]) == 4
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert properties["NotificationConfiguration"]["EventBridgeConfiguration"]["EventBridgeEnabled"] is True


def test_plain_http_is_denied() -> None:
    denials = [
        each for name, each in stack.statements() if name == "BucketPolicy" and each["Effect"] == "Deny"
    ]
    assert any(each["Condition"] == {"Bool": {"aws:SecureTransport": "false"}} for each in denials)


def test_the_ledger_is_encrypted_and_restorable() -> None:
    properties = stack.source()["Table"]["Properties"]
    assert properties["SSESpecification"]["SSEEnabled"] is True
    assert properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True


@pytest.mark.parametrize("name", ["Bucket", "Table"])
def test_what_cannot_be_made_again_outlives_the_stack(name: str) -> None:
    assert stack.source()[name]["DeletionPolicy"] == "Retain"
    assert stack.source()[name]["UpdateReplacePolicy"] == "Retain"


def test_queues_and_topics_are_encrypted() -> None:
    for name, each in stack.of_type("AWS::SQS::Queue").items():
        assert each["Properties"].get("SqsManagedSseEnabled") or each["Properties"].get("KmsMasterKeyId"), (
            name
        )
    for name, each in stack.of_type("AWS::SNS::Topic").items():
        assert each["Properties"].get("KmsMasterKeyId"), name


def test_logs_are_kept_for_a_time_and_no_function_makes_its_own() -> None:
    groups = stack.of_type("AWS::Logs::LogGroup")
    assert all("RetentionInDays" in group["Properties"] for group in groups.values())
    for name, each in stack.of_type("AWS::Lambda::Function").items():
        assert each["Properties"]["LoggingConfig"]["LogGroup"]["Ref"] in groups, name


def test_machines_log_without_payloads_and_are_traced() -> None:
    for name, each in stack.of_type("AWS::StepFunctions::StateMachine").items():
        logging = each["Properties"]["LoggingConfiguration"]
        assert logging["IncludeExecutionData"] is False, name  # payloads may hold rows of data
        assert logging["Level"] in ("ALL", "ERROR"), name
        assert each["Properties"]["TracingConfiguration"]["Enabled"] is True, name


def test_functions_are_traced_and_end_in_time() -> None:
    for name, each in stack.of_type("AWS::Lambda::Function").items():
        properties = each["Properties"]
        assert properties["TracingConfig"] == {"Mode": "Active"}, name
        patience = 330 if "ImageConfig" in properties else 120  # its state gives up then
        assert properties["Timeout"] < patience, name


def test_no_route_of_the_api_is_open() -> None:
    for name, api in stack.of_type("AWS::ApiGatewayV2::Api").items():
        paths = api["Properties"]["Body"]["paths"]
        assert paths
        for path, methods in paths.items():
            for method, operation in methods.items():
                assert operation["security"] == [{"AWS_IAM": []}], f"{name} {method} {path}"
