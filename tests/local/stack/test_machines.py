"""Step Functions in the local stack: roles, service integrations, errors, timeouts, limits."""

import json

import pytest

from local import stack
from tests.local.stack.account import PASS, Account, Json, allow, arn, unique, wait_for


def test_a_catch_on_the_exceptions_name_matches(account: Account) -> None:
    function = account.function(
        "class DataMissing(Exception): pass\ndef handler(e, c): raise DataMissing('no file')"
    )
    catch = [{"ErrorEquals": ["DataMissing"], "Output": "{% $states.errorOutput %}", "Next": "Caught"}]
    caught = account.task(
        "lambda:invoke", {"FunctionName": function}, allow("lambda:InvokeFunction", function), Catch=catch
    )
    assert caught["Error"] == "DataMissing"
    assert json.loads(caught["Cause"])["errorMessage"] == "no file"


def test_a_machine_may_do_what_its_role_may(account: Account) -> None:
    function = account.function("def handler(e, c): return 1")
    assert account.task("lambda:invoke", {"FunctionName": function})["Error"] == "Lambda.AWSLambdaException"
    group = {"ModelPackageGroupName": unique("group")}
    refused = account.task("aws-sdk:sagemaker:createModelPackageGroup", group)
    assert refused["Error"] == "SageMaker.SageMakerException"
    assert "is not authorized to perform: sagemaker:CreateModelPackageGroup" in refused["Cause"]
    granted = allow(
        "sagemaker:CreateModelPackageGroup",
        arn("sagemaker", f"model-package-group/{group['ModelPackageGroupName']}"),
    )
    assert "ModelPackageGroupArn" in account.task("aws-sdk:sagemaker:createModelPackageGroup", group, granted)


def test_every_alarm_that_a_call_names_is_asked_for(account: Account) -> None:
    ours = allow("cloudwatch:DeleteAlarms", arn("cloudwatch", "alarm:evergreen-*"))
    names = {"AlarmNames": ["evergreen-a-errors", "evergreen-a-latency"]}
    assert account.task("aws-sdk:cloudwatch:deleteAlarms", names, ours) == {}
    names["AlarmNames"].append("theirs")
    assert (
        account.task("aws-sdk:cloudwatch:deleteAlarms", names, ours)["Error"]
        == "CloudWatch.CloudWatchException"
    )


def test_a_schedules_group_is_part_of_what_is_asked_for(account: Account) -> None:
    group, name = unique("group"), unique("schedule")
    account.client("scheduler").create_schedule_group(Name=group)
    statements = [allow("scheduler:GetSchedule", arn("scheduler", f"schedule/{group}/*"))]
    missing = account.task("aws-sdk:scheduler:getSchedule", {"GroupName": group, "Name": name}, *statements)
    assert missing["Error"] == "Scheduler.ResourceNotFoundException"
    refused = account.task("aws-sdk:scheduler:getSchedule", {"Name": name}, *statements)
    assert refused["Error"] == "Scheduler.SchedulerException"


def test_a_role_that_does_not_trust_step_functions_is_refused(account: Account) -> None:
    sfn = account.client("stepfunctions")
    definition = {
        "StartAt": "A",
        "States": {"A": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:listBuckets", "End": True}},
    }
    machine = sfn.create_state_machine(
        name=unique("machine"),
        definition=json.dumps(definition),
        roleArn=account.role("lambda", allow("s3:ListAllMyBuckets")),
    )["stateMachineArn"]
    execution = account.run(machine)
    assert execution["status"] == "FAILED"
    assert "does not trust states.amazonaws.com" in execution["cause"]


@pytest.mark.parametrize(
    ("resource", "arguments", "error"),
    [
        ("aws-sdk:scheduler:getSchedule", {"Name": "nowhere"}, "Scheduler.ResourceNotFoundException"),
        ("aws-sdk:s3:getObject", {"Bucket": "nowhere-12345", "Key": "k"}, "S3.NoSuchBucketException"),
        ("aws-sdk:sagemaker:describeEndpoint", {"EndpointName": "nowhere"}, "SageMaker.SageMakerException"),
        (
            "sagemaker:createEndpoint",
            {"EndpointName": "e", "EndpointConfigName": "nowhere"},
            "SageMaker.AmazonSageMakerException",
        ),
        (
            "aws-sdk:applicationautoscaling:deregisterScalableTarget",
            {
                "ServiceNamespace": "sagemaker",
                "ResourceId": "endpoint/e/variant/main",
                "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
            },
            "ApplicationAutoScaling.ObjectNotFoundException",
        ),
        ("aws-sdk:sagemaker:describeEndpoint", {"Endpoint": "e"}, "States.Runtime"),
    ],
)
def test_errors_are_named_as_step_functions_names_them(
    account: Account, resource: str, arguments: Json, error: str
) -> None:
    everything = allow(["scheduler:*", "s3:*", "sagemaker:*", "application-autoscaling:*"])
    assert account.task(resource, arguments, everything)["Error"] == error


def test_calls_are_spelt_as_the_sdk_spells_them(account: Account) -> None:
    bucket = unique("bucket")
    account.client("s3").create_bucket(Bucket=bucket)
    account.client("s3").put_object(Bucket=bucket, Key="a.json", Body=b'{"accepted": true}')
    arguments = {"Bucket": bucket, "Key": "a.json"}
    assert (
        account.task("aws-sdk:s3:getObject", arguments, allow("s3:GetObject"))["Body"] == '{"accepted": true}'
    )
    group = {"Name": unique("group")}
    made = account.task(
        "aws-sdk:scheduler:createScheduleGroup", group, allow("scheduler:CreateScheduleGroup")
    )
    assert made["ScheduleGroupArn"].endswith(group["Name"])
    alarm = {
        "AlarmName": unique("alarm"),
        "Namespace": "N",
        "MetricName": "M",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    }
    assert account.task("aws-sdk:cloudwatch:putMetricAlarm", alarm, allow("cloudwatch:PutMetricAlarm")) == {}
    deleted = account.task(
        "aws-sdk:cloudwatch:deleteAlarms",
        {"AlarmNames": [alarm["AlarmName"]]},
        allow("cloudwatch:DeleteAlarms"),
    )
    assert deleted == {}


def test_put_events_takes_json_and_fails_where_an_entry_failed(account: Account) -> None:
    queue, url = account.queue("events")
    source = unique("evergreen")
    account.rule({"source": [source]}, {"Arn": queue})
    entry = {"Source": source, "DetailType": "T", "Detail": {"model": "flights"}}
    put = allow("events:PutEvents", arn("events", "event-bus/default"))
    assert account.task("events:putEvents", {"Entries": [entry]}, put)["FailedEntryCount"] == 0
    [message] = account.messages(url)
    assert json.loads(message["Body"])["detail"] == {"model": "flights"}
    failed = account.task("events:putEvents", {"Entries": [entry | {"Source": "aws.forged"}]}, put)
    assert failed["Error"] == "EventBridge.FailedEntry"


def processing_job(account: Account, script: str) -> tuple[Json, list[Json]]:
    """(arguments of createProcessingJob, the statements that its machine needs)."""
    role = account.role("sagemaker")
    arguments = {
        "ProcessingJobName": unique("job"),
        "RoleArn": role,
        "AppSpecification": {
            "ImageUri": f"{stack.ACCOUNT}.dkr.ecr.{stack.REGION}.amazonaws.com/evergreen-jobs:1",
            "ContainerEntrypoint": ["python", "-c", script],
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
    }
    jobs = ["sagemaker:CreateProcessingJob", "sagemaker:DescribeProcessingJob", "sagemaker:StopProcessingJob"]
    rule = arn("events", "rule/StepFunctionsGetEventsForSageMakerProcessingJobsRule")
    events = allow(["events:PutTargets", "events:PutRule", "events:DescribeRule"], rule)
    return arguments, [allow(jobs), allow("iam:PassRole", role), events]


def test_sync_returns_the_description_or_fails_with_it(account: Account) -> None:
    arguments, statements = processing_job(account, "print('done')")
    done = account.task("sagemaker:createProcessingJob.sync", arguments, *statements)
    assert done["ProcessingJobStatus"] == "Completed"
    arguments, statements = processing_job(account, "raise SystemExit(3)")
    failed = account.task("sagemaker:createProcessingJob.sync", arguments, *statements)
    assert failed["Error"] == "States.TaskFailed"
    assert json.loads(failed["Cause"])["ProcessingJobStatus"] == "Failed"


def test_sync_needs_the_managed_rule(account: Account) -> None:
    arguments, statements = processing_job(account, "print('done')")
    refused = account.task("sagemaker:createProcessingJob.sync", arguments, *statements[:2])
    assert refused["Error"] == "SageMaker.AmazonSageMakerException"
    assert "events:PutTargets" in refused["Cause"]


def job_status(account: Account, arguments: Json) -> str:
    name = arguments["ProcessingJobName"]
    return account.client("sagemaker").describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"]


def test_stopping_an_execution_stops_its_job(account: Account) -> None:
    arguments, statements = processing_job(account, "import time; time.sleep(60)")
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sagemaker:createProcessingJob.sync",
        "Arguments": arguments,
        "End": True,
    }
    execution = account.start(account.machine({"Job": task}, *statements))
    sagemaker = account.client("sagemaker")
    wait_for(
        lambda: sagemaker.list_processing_jobs(NameContains=arguments["ProcessingJobName"])[
            "ProcessingJobSummaries"
        ]
    )
    account.client("stepfunctions").stop_execution(executionArn=execution)
    wait_for(lambda: job_status(account, arguments) == "Stopped")
    assert (account.ended(execution) or {})["status"] == "ABORTED"


def test_a_tasks_timeout_stops_its_job(account: Account) -> None:
    arguments, statements = processing_job(account, "import time; time.sleep(60)")
    ended = account.task("sagemaker:createProcessingJob.sync", arguments, *statements, TimeoutSeconds=1)
    assert ended["Error"] == "States.Timeout"
    wait_for(lambda: job_status(account, arguments) == "Stopped")


def test_a_machine_whose_time_is_up_says_so_on_the_bus(account: Account) -> None:
    queue, url = account.queue("events")
    function = account.function("import time\ndef handler(e, c): time.sleep(5)")
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": function},
        "End": True,
    }
    machine = account.machine({"Slow": task}, allow("lambda:InvokeFunction"), TimeoutSeconds=1)
    pattern = {
        "source": ["aws.states"],
        "detail": {"stateMachineArn": [machine], "status": ["TIMED_OUT", "FAILED"]},
    }
    account.rule(pattern, {"Arn": queue})
    assert account.run(machine)["status"] == "TIMED_OUT"
    [message] = account.messages(url)
    assert json.loads(message["Body"])["detail"]["status"] == "TIMED_OUT"


def test_a_failed_execution_is_announced_with_its_error(account: Account) -> None:
    queue, url = account.queue("events")
    machine = account.machine({"End": {"Type": "Fail", "Error": "DataRefused", "Cause": "origin: unknown"}})
    account.rule(
        {"source": ["aws.states"], "detail": {"stateMachineArn": [machine], "status": ["FAILED"]}},
        {"Arn": queue},
    )
    account.run(machine)
    detail = json.loads(account.messages(url)[0]["Body"])["detail"]
    assert (detail["error"], detail["cause"]) == ("DataRefused", "origin: unknown")


def test_input_over_256_kilobytes_is_refused(account: Account) -> None:
    machine = account.machine({"A": PASS})
    sfn = account.client("stepfunctions")
    with pytest.raises(sfn.exceptions.InvalidExecutionInput):
        sfn.start_execution(stateMachineArn=machine, input=json.dumps({"a": "x" * 300_000}))
