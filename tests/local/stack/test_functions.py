"""Lambda in the local stack: errors, roles, logs, metrics, retries."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.local.stack.account import Account, allow, unique


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
        Namespace="Test",
        MetricName="Rows",
        Dimensions=[{"Name": "model", "Value": "flights"}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )
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
