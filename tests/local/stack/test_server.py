"""The HTTP API, CloudFormation, the clock and the process of the local stack."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local import stack
from tests.local.stack.account import Account, Json, arn, unique, wait_for


def http_api(account: Account) -> tuple[str, str]:
    """(API id, name of a machine in YAML) of a stack as SAM translates an HttpApi and a DefinitionUri."""
    function = account.function("""
        def handler(event, context):
            if event["pathParameters"]["model"] == "broken": raise ValueError("secret")
            return event["requestContext"]
    """)
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
        "Api": {
            "Type": "AWS::ApiGatewayV2::Api",
            "Properties": {
                "Body": {
                    "openapi": "3.0.1",
                    "info": {"title": "api"},
                    "paths": {"/models/{model}": {"get": operation}},
                }
            },
        },
        "Stage": {
            "Type": "AWS::ApiGatewayV2::Stage",
            "Properties": {"ApiId": {"Ref": "Api"}, "StageName": "$default", "AutoDeploy": True},
        },
        "Machine": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {
                "StateMachineName": name,
                "RoleArn": account.role("states"),
                "DefinitionS3Location": {"Bucket": bucket, "Key": "d"},
                "DefinitionSubstitutions": {"What": "substituted"},
                "LoggingConfiguration": {
                    "Level": "ALL",
                    "IncludeExecutionData": False,
                    "Destinations": [
                        {"CloudWatchLogsLogGroup": {"LogGroupArn": arn("logs", f"log-group:{name}:*")}}
                    ],
                },
            },
        },
    }
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
    assert running.api("GET", "/models/broken") == (500, {"message": "Internal Server Error"})
    assert account.run(arn("states", f"stateMachine:{machine}"))["output"] == '"substituted"'
    events = account.client("logs").filter_log_events(logGroupName=machine)["events"]
    lines = [json.loads(event["message"]) for event in events]
    assert [line["type"] for line in lines] == [
        "ExecutionStarted",
        "PassStateEntered",
        "PassStateExited",
        "ExecutionSucceeded",
    ]
    assert "output" not in lines[-1]["details"]


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
        "s = stack.start(port=0, directory=Path(sys.argv[1])); print(s.process.pid, flush=True)\n"
        "time.sleep(60)"
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
