"""The local stack's core, in a real server: what AWS does where MiniStack alone does not."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local import stack
from tests.local.account import Account, Json, allow, arn, unique, wait_for

PASS = {"Type": "Pass", "End": True}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Stack]:
    directory = tmp_path_factory.mktemp("stack") / "state"
    with stack.running(port=0, deploy=False, directory=directory) as found:
        yield found


@pytest.fixture(scope="module")
def account(running: stack.Stack) -> Account:
    return Account(running)


# ---------------------------------------------------------------- functions


def test_a_functions_error_has_the_name_of_its_class(account: Account) -> None:
    function = account.function("""
        class NotEnoughRows(Exception): pass
        def handler(event, context): raise NotEnoughRows("only 12")
    """)
    body, kind = account.invoke(function)
    assert (body["errorType"], body["errorMessage"], kind) == ("NotEnoughRows", "only 12", "Unhandled")
    assert "in handler" in body["stackTrace"][0]


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        (
            "import time\ndef handler(e, c): time.sleep(9)",
            "Sandbox.Timedout",
            "Task timed out after 1.00 seconds",
        ),
        ("import os\ndef handler(e, c): os._exit(3)", "Runtime.ExitError", "exit status 3"),
        ("import nowhere", "Runtime.ImportModuleError", "No module named 'nowhere'"),
        ("raise ValueError('no TABLE')", "ValueError", "no TABLE"),
    ],
)
def test_a_function_that_ends_badly_says_how(account: Account, code: str, error: str, text: str) -> None:
    body, kind = account.invoke(account.function(code, Timeout=1))
    assert (body["errorType"], kind) == (error, "Unhandled")
    assert text in body["errorMessage"]


def test_a_function_finds_the_runtimes_packages_and_no_others(account: Account) -> None:
    body, _ = account.invoke(account.function("import boto3, yaml"))
    assert body["errorMessage"] == "Unable to import module 'app': No module named 'yaml'"


def test_a_function_has_its_roles_permissions_and_no_more(account: Account) -> None:
    bucket = unique("bucket")
    account.client("s3").create_bucket(Bucket=bucket)
    code = """
        import boto3
        s3 = boto3.client("s3")
        def handler(event, context): s3.put_object(Bucket=event["bucket"], Key=event["key"], Body=b"x")
    """
    function = account.function(code, allow("s3:PutObject", f"arn:aws:s3:::{bucket}/mine/*"))
    assert account.invoke(function, {"bucket": bucket, "key": "mine/a"}) == (None, None)
    body, _ = account.invoke(function, {"bucket": bucket, "key": "yours/a"})
    assert "AccessDenied" in body["errorMessage"]


def test_what_a_function_logs_is_in_cloudwatch_and_its_embedded_metrics_too(account: Account) -> None:
    document = {
        "_aws": {
            "Timestamp": 1,
            "CloudWatchMetrics": [
                {
                    "Namespace": "Test",
                    "Dimensions": [["model"]],
                    "Metrics": [{"Name": "Rows", "Unit": "Count"}],
                }
            ],
        },
        "model": "flights",
        "Rows": 17,
    }
    function = account.function(f"def handler(e, c): print({json.dumps(document)!r})")
    account.invoke(function)
    logs = account.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{function.split(':')[-1]}")
    assert any('"Rows": 17' in event["message"] for event in logs["events"])
    now = datetime.now(UTC)
    points = account.client("cloudwatch").get_metric_statistics(
        Namespace="Test", MetricName="Rows", Dimensions=[{"Name": "model", "Value": "flights"}],
        StartTime=now - timedelta(minutes=5), EndTime=now + timedelta(minutes=1), Period=60, Statistics=["Sum"],
    )  # fmt: skip
    assert [point["Sum"] for point in points["Datapoints"]] == [17]


def test_a_function_called_asynchronously_is_retried_and_its_event_kept(account: Account) -> None:
    queue, url = account.queue("lambda")
    function = account.function("def handler(e, c): raise RuntimeError(e)")
    account.client("lambda").put_function_event_invoke_config(
        FunctionName=function, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": queue}}
    )
    account.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=b'{"a": 1}')
    [message] = account.messages(url)
    assert json.loads(message["Body"])["requestPayload"] == {"a": 1}


# ---------------------------------------------------------------- state machines


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
        "AlarmName": unique("alarm"), "Namespace": "N", "MetricName": "M", "Statistic": "Sum", "Period": 60,
        "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching",
    }  # fmt: skip
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


# ---------------------------------------------------------------- events


def test_events_and_objects_are_stamped_by_the_virtual_clock(account: Account, running: stack.Stack) -> None:
    queue, url = account.queue("events")
    source, bucket = unique("evergreen"), unique("bucket")
    s3 = account.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    account.rule({"source": [source]}, {"Arn": queue})
    account.rule({"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}, {"Arn": queue})
    running.clock.set(datetime(2013, 3, 1, 12, tzinfo=UTC), frozen=True)
    account.put_event(source, {})
    account.put_event(source, {}, Time=datetime(2013, 1, 5, tzinfo=UTC))
    version = s3.put_object(Bucket=bucket, Key="a", Body=b"x")["VersionId"]
    bodies = [json.loads(message["Body"]) for message in account.messages(url, 3)]
    times = sorted(body["time"] for body in bodies)
    assert times == ["2013-01-05T00:00:00Z", "2013-03-01T12:00:00Z", "2013-03-01T12:00:00Z"]
    [stored] = [body["detail"]["object"] for body in bodies if body["source"] == "aws.s3"]
    assert stored["version-id"] == version


def test_a_target_that_is_not_there_ends_in_the_dead_letter_queue(account: Account) -> None:
    dead, url = account.queue("events")
    source = unique("evergreen")
    role = account.role("events", allow("states:StartExecution"))
    target = {
        "Arn": arn("states", "stateMachine:nowhere"),
        "RoleArn": role,
        "DeadLetterConfig": {"Arn": dead},
    }
    rule = account.rule({"source": [source]}, target)
    account.put_event(source, {"a": 1})
    [message] = account.messages(url)
    attributes = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
    assert json.loads(message["Body"])["detail"] == {"a": 1}
    assert attributes["ERROR_CODE"] == "NO_RESOURCE"
    assert (attributes["RULE_ARN"], attributes["TARGET_ARN"]) == (rule, target["Arn"])


def test_a_rule_whose_role_may_not_start_the_machine_is_refused(account: Account) -> None:
    dead, url = account.queue("events")
    source, machine = unique("evergreen"), account.machine({"A": PASS})
    account.rule(
        {"source": [source]},
        {"Arn": machine, "RoleArn": account.role("events"), "DeadLetterConfig": {"Arn": dead}},
    )
    account.put_event(source, {})
    [message] = account.messages(url)
    assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_PERMISSIONS"


def test_a_rule_starts_a_machine_under_its_role(account: Account) -> None:
    source, machine = unique("evergreen"), account.machine({"A": PASS})
    account.rule(
        {"source": [source]},
        {"Arn": machine, "RoleArn": account.role("events", allow("states:StartExecution", machine))},
    )
    account.put_event(source, {})
    wait_for(lambda: account.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"])


# ---------------------------------------------------------------- schedules


def schedule(account: Account, expression: str, machine: str, role: str, **fields: object) -> str:
    name = unique("schedule")
    given = '{"at": "<aws.scheduler.scheduled-time>", "id": "<aws.scheduler.execution-id>"}'
    account.client("scheduler").create_schedule(
        Name=name, ScheduleExpression=expression, FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": machine, "RoleArn": role, "Input": given}, **fields,
    )  # fmt: skip
    return name


def fired_at(account: Account, machine: str) -> list[str]:
    sfn = account.client("stepfunctions")
    executions = [e["executionArn"] for e in sfn.list_executions(stateMachineArn=machine)["executions"]]
    return sorted(json.loads(sfn.describe_execution(executionArn=e)["input"])["at"] for e in executions)


def test_schedules_follow_the_virtual_clock_and_miss_nothing(account: Account, running: stack.Stack) -> None:
    machine = account.machine({"A": PASS})
    role = account.role("scheduler", allow("states:StartExecution", machine))
    running.clock.set(datetime(2014, 1, 1, tzinfo=UTC), frozen=True)
    weekly = schedule(account, "rate(7 days)", machine, role, StartDate=datetime(2014, 1, 8, tzinfo=UTC))
    monthly = schedule(account, "cron(0 6 1 * ? *)", machine, role)
    once = schedule(account, "at(2014-01-20T10:30:00)", machine, role, ActionAfterCompletion="DELETE")
    running.clock.advance(86400)
    assert fired_at(account, machine) == ["2014-01-01T06:00:00Z"]
    running.clock.set(datetime(2014, 2, 2, tzinfo=UTC), frozen=True)
    weeks = [f"2014-01-{day:02}T00:00:00Z" for day in (8, 15, 22, 29)]
    expected = sorted([*weeks, "2014-01-01T06:00:00Z", "2014-01-20T10:30:00Z", "2014-02-01T06:00:00Z"])
    assert fired_at(account, machine) == expected
    scheduler = account.client("scheduler")
    names = {s["Name"] for s in scheduler.list_schedules()["Schedules"]}
    assert once not in names
    for name in (weekly, monthly):
        scheduler.delete_schedule(Name=name)
    running.clock.advance(90 * 86400)
    assert fired_at(account, machine) == expected


def test_a_rate_without_a_start_fires_at_once(account: Account, running: stack.Stack) -> None:
    machine = account.machine({"A": PASS})
    role = account.role("scheduler", allow("states:StartExecution", machine))
    name = schedule(account, "rate(1 hour)", machine, role)
    assert len(wait_for(lambda: fired_at(account, machine))) == 1
    account.client("scheduler").delete_schedule(Name=name)


def test_a_schedule_that_may_not_start_its_target_is_buried(account: Account, running: stack.Stack) -> None:
    dead, url = account.queue("scheduler")
    name = unique("schedule")
    account.client("scheduler").create_schedule(
        Name=name, ScheduleExpression="rate(1 hour)", FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": account.machine({"A": PASS}), "RoleArn": account.role("scheduler"), "DeadLetterConfig": {"Arn": dead}},
    )  # fmt: skip
    [message] = account.messages(url)
    assert message["MessageAttributes"]["SCHEDULE_ARN"]["StringValue"].endswith(name)
    account.client("scheduler").delete_schedule(Name=name)


def test_a_schedule_puts_events_at_its_own_time(account: Account, running: stack.Stack) -> None:
    queue, url = account.queue("events")
    source = unique("evergreen")
    account.rule({"source": [source]}, {"Arn": queue})
    bus = arn("events", "event-bus/default")
    running.clock.set(datetime(2014, 6, 1, tzinfo=UTC), frozen=True)
    name = unique("schedule")
    account.client("scheduler").create_schedule(
        Name=name, ScheduleExpression="at(2014-06-02T00:00:00)", FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": bus, "RoleArn": account.role("scheduler", allow("events:PutEvents", bus)), "Input": '{"model": "flights"}',
            "EventBridgeParameters": {"DetailType": "TrainingRequested", "Source": source},
        },
    )  # fmt: skip
    running.clock.set(datetime(2014, 6, 9, tzinfo=UTC), frozen=True)
    body = json.loads(account.messages(url)[0]["Body"])
    assert (body["time"], body["detail-type"], body["detail"]) == (
        "2014-06-02T00:00:00Z",
        "TrainingRequested",
        {"model": "flights"},
    )


# ---------------------------------------------------------------- alarms


def test_an_alarm_has_its_own_dimensions_and_is_announced(account: Account) -> None:
    queue, url = account.queue("events")
    name, namespace = unique("alarm"), unique("N")
    cloudwatch = account.client("cloudwatch")
    account.rule(
        {"source": ["aws.cloudwatch"], "detail": {"alarmName": [name], "state": {"value": ["ALARM"]}}},
        {"Arn": queue},
    )
    mine, other = [{"Name": "V", "Value": "green"}], [{"Name": "V", "Value": "blue"}]
    cloudwatch.put_metric_alarm(
        AlarmName=name, Namespace=namespace, MetricName="Errors", Dimensions=mine, Statistic="Average", Period=60,
        EvaluationPeriods=1, Threshold=0.01, ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching",
    )  # fmt: skip

    def state() -> str:
        return cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"]

    cloudwatch.put_metric_data(
        Namespace=namespace, MetricData=[{"MetricName": "Errors", "Dimensions": other, "Value": 1}]
    )
    wait_for(lambda: state() == "OK")
    cloudwatch.put_metric_data(
        Namespace=namespace, MetricData=[{"MetricName": "Errors", "Dimensions": mine, "Value": 1}]
    )
    wait_for(lambda: state() == "ALARM")
    detail = json.loads(account.messages(url)[0]["Body"])["detail"]
    assert (detail["state"]["value"], detail["previousState"]["value"]) == ("ALARM", "OK")


def test_an_alarm_over_metric_math(account: Account) -> None:
    name, namespace = unique("alarm"), unique("N")
    cloudwatch = account.client("cloudwatch")

    def metric(identity: str) -> Json:
        stat = {"Metric": {"Namespace": namespace, "MetricName": identity}, "Period": 60, "Stat": "Sum"}
        return {"Id": identity, "MetricStat": stat, "ReturnData": False}

    cloudwatch.put_metric_alarm(
        AlarmName=name, EvaluationPeriods=1, Threshold=5, ComparisonOperator="GreaterThanThreshold",
        Metrics=[metric("errors"), metric("calls"), {"Id": "rate", "Expression": "100 * FILL(errors, 0) / calls"}],
    )  # fmt: skip
    data = [{"MetricName": "errors", "Value": 1}, {"MetricName": "calls", "Value": 10}]
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)
    wait_for(
        lambda: cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"] == "ALARM"
    )


# ---------------------------------------------------------------- the HTTP API, CloudFormation, the process


def http_api(account: Account) -> tuple[str, str]:
    """(API id, YAML machine's name) of a small CloudFormation stack as SAM translates an HttpApi and a DefinitionUri."""
    function = account.function("def handler(e, c): return e['requestContext']")
    uri = f"arn:aws:apigateway:{stack.REGION}:lambda:path/2015-03-31/functions/{function}/invocations"
    integration = {"type": "aws_proxy", "httpMethod": "POST", "payloadFormatVersion": "2.0", "uri": uri}
    operation = {"x-amazon-apigateway-integration": integration, "security": [{"AWS_IAM": []}]}
    bucket, name = unique("bucket"), unique("machine")
    account.client("s3").create_bucket(Bucket=bucket)
    account.client("s3").put_object(
        Bucket=bucket,
        Key="d",
        Body=b"# YAML\nStartAt: A\nStates:\n  A: { Type: Pass, Result: '${What}', End: true }\n",
    )
    resources = {
        "Api": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Body": {"openapi": "3.0.1", "info": {"title": "api"}, "paths": {"/models/{model}": {"get": operation}}}}},
        "Stage": {"Type": "AWS::ApiGatewayV2::Stage", "Properties": {"ApiId": {"Ref": "Api"}, "StageName": "$default", "AutoDeploy": True}},
        "Machine": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {
                "StateMachineName": name, "RoleArn": account.role("states"), "DefinitionS3Location": {"Bucket": bucket, "Key": "d"},
                "DefinitionSubstitutions": {"What": "substituted"},
            },
        },
    }  # fmt: skip
    cloudformation, stack_name = account.client("cloudformation"), unique("stack")
    template = json.dumps({"Resources": resources, "Outputs": {"Api": {"Value": {"Ref": "Api"}}}})
    cloudformation.create_stack(StackName=stack_name, TemplateBody=template)

    def outputs() -> list[Json]:
        found = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]
        assert "ROLLBACK" not in found["StackStatus"], found
        return found.get("Outputs", []) if found["StackStatus"] == "CREATE_COMPLETE" else []

    return wait_for(outputs)[0]["OutputValue"], name


def test_an_http_api_has_its_bodys_routes_and_asks_for_a_signature(
    account: Account, running: stack.Stack
) -> None:
    api, machine = http_api(account)
    running.outputs["ApiId"] = api
    running.clock.set(datetime(2015, 1, 1, tzinfo=UTC), frozen=True)
    status, context = running.api("GET", "/models/flights")
    assert status == 200
    assert context["timeEpoch"] == datetime(2015, 1, 1, tzinfo=UTC).timestamp() * 1000
    assert context["authorizer"]["iam"]["accountId"] == stack.ACCOUNT
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{running.api_url}/models/flights")
    assert refused.value.code == 403
    assert running.api("GET", "/elsewhere")[0] == 404
    assert account.run(arn("states", f"stateMachine:{machine}"))["output"] == '"substituted"'


def test_the_clock_can_be_read_and_moved(running: stack.Stack) -> None:
    moment = datetime(2016, 5, 1, tzinfo=UTC)
    assert running.clock.set(moment, frozen=True) == moment
    assert running.clock.advance(60) == moment + timedelta(minutes=1)
    assert running.clock.now() == moment + timedelta(minutes=1)
    running.clock.set(moment)
    time.sleep(0.01)
    assert running.clock.now() > moment
    with pytest.raises(ValueError, match="the clock takes"):
        running.clock._call({"then": 1})


def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from local import stack\n"
        "s = stack.start(port=0, directory=Path(sys.argv[1])); print(s.process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "s")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=stack.ROOT_DIR,
    )
    assert parent.stdout
    server = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    wait_for(lambda: "local.server" not in stack._command_line(server), 10)


def test_a_taken_port_is_refused_with_what_to_do(running: stack.Stack) -> None:
    with pytest.raises(stack.StackError, match=r"port \d+ is taken: stop what listens there"):
        stack.start(port=stack.port_of(running.url))
