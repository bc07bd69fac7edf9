"""EventBridge in the local stack: times, permissions, dead letters."""

import json
from datetime import UTC, datetime

from local import stack
from tests.local.stack.account import PASS, Account, allow, arn, unique, wait_for


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
