"""EventBridge Scheduler in the local stack, on the virtual clock."""

import json
from datetime import UTC, datetime

from local import stack
from tests.local.stack.account import PASS, Account, allow, arn, unique, wait_for


def schedule(account: Account, expression: str, machine: str, role: str, **fields: object) -> str:
    name = unique("schedule")
    given = '{"at": "<aws.scheduler.scheduled-time>", "id": "<aws.scheduler.execution-id>"}'
    account.client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression=expression,
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": machine, "RoleArn": role, "Input": given},
        **fields,
    )
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
    dead, url = account.queue()
    name = unique("schedule")
    account.client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression="rate(1 hour)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": account.machine({"A": PASS}),
            "RoleArn": account.role("scheduler", allow("sqs:SendMessage", dead)),
            "DeadLetterConfig": {"Arn": dead},
        },
    )
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
        Name=name,
        ScheduleExpression="at(2014-06-02T00:00:00)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": bus,
            "RoleArn": account.role("scheduler", allow("events:PutEvents", bus)),
            "Input": '{"model": "flights"}',
            "EventBridgeParameters": {"DetailType": "TrainingRequested", "Source": source},
        },
    )
    running.clock.set(datetime(2014, 6, 9, tzinfo=UTC), frozen=True)
    body = json.loads(account.messages(url)[0]["Body"])
    assert (body["time"], body["detail-type"], body["detail"]) == (
        "2014-06-02T00:00:00Z",
        "TrainingRequested",
        {"model": "flights"},
    )
