"""Tasks of the local stack that wait for somebody's answer."""

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.stack.account import Account, Json, allow, wait_for

# An answer under the role of a function.
ANSWER = """
import boto3
def handler(event, context):
    boto3.client("stepfunctions").send_task_success(taskToken=event["token"], output='{"by": "ada"}')
"""


class Waiting:
    """An execution that waits with a token, which it has sent to a queue."""

    def __init__(self, account: Account, **fields: Any) -> None:
        queue, url = account.queue()
        task = {
            "Type": "Task",
            "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            "Arguments": {"QueueUrl": url, "MessageBody": {"token": "{% $states.context.Task.Token %}"}},
            "TimeoutSeconds": 600,
            "Catch": [
                {"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput %}", "Next": "Caught"}
            ],
            "End": True,
            **fields,
        }
        states = {"Ask": task, "Caught": {"Type": "Succeed"}}
        self.account = account
        self.machine = account.machine(states, allow("sqs:SendMessage", queue))
        self.execution = account.start(self.machine)
        (message,) = account.messages(url)
        self.token = json.loads(message["Body"])["token"]

    def send(self, **answer: str) -> None:
        sfn = self.account.client("stepfunctions")
        kind = sfn.send_task_failure if "error" in answer else sfn.send_task_success
        kind(taskToken=self.token, **answer)

    def refused(self, **answer: str) -> str:
        """The code with which an answer is turned down."""
        with pytest.raises(ClientError) as refused:
            self.send(**answer)
        return refused.value.response["Error"]["Code"]

    def output(self) -> Json:
        return json.loads(wait_for(lambda: self.account.ended(self.execution))["output"])


def test_the_first_answer_counts_and_who_comes_second_is_told(account: Account) -> None:
    waiting = Waiting(account)
    waiting.send(output='{"by": "ada"}')
    assert waiting.refused(error="Refused", cause="too late") == "TaskTimedOut"
    assert waiting.output() == {"by": "ada"}
    assert waiting.refused(output="{}") == "TaskTimedOut"


def test_a_failure_is_caught_by_its_name(account: Account) -> None:
    waiting = Waiting(account)
    waiting.send(error="ApprovalRefused", cause="looks odd")
    assert waiting.output() == {"Error": "ApprovalRefused", "Cause": "looks odd"}


def test_an_answer_needs_a_permission_on_the_machine_that_waits(account: Account) -> None:
    waiting, other = Waiting(account), Waiting(account)
    function = account.function(ANSWER, allow("states:SendTaskSuccess", waiting.machine))
    answer, error = account.invoke(function, {"token": other.token})
    assert error
    assert "not authorized to perform: states:SendTaskSuccess" in answer["errorMessage"]
    assert account.invoke(function, {"token": waiting.token}) == (None, None)
    assert waiting.output() == {"by": "ada"}
    answer, error = account.invoke(function, {"token": waiting.token})
    assert answer["errorType"] == "TaskTimedOut", "late, not forbidden"


def test_a_wait_ends_with_its_time_which_may_be_an_expression(account: Account) -> None:
    start = time.monotonic()
    waiting = Waiting(account, TimeoutSeconds="{% 20 * 2 %}")
    assert waiting.output()["Error"] == "States.Timeout"
    assert time.monotonic() - start < 20, "divided as every wait is"
    assert waiting.refused(output="{}") == "TaskTimedOut"


def test_a_call_that_fails_is_not_waited_for(account: Account) -> None:
    function = account.function("def handler(e, c): raise LookupError('no owner')")
    ended = account.task(
        "lambda:invoke.waitForTaskToken",
        {"FunctionName": function, "Payload": {}},
        allow("lambda:InvokeFunction", function),
    )
    assert ended["Error"] == "LookupError"


def test_an_execution_that_is_stopped_takes_no_answer(account: Account) -> None:
    waiting = Waiting(account)
    account.client("stepfunctions").stop_execution(executionArn=waiting.execution)
    assert waiting.refused(output="{}") == "TaskTimedOut"
