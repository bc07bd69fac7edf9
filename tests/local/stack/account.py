"""Short ways to make roles, functions and machines in a running local stack, for tests."""

import io
import json
import textwrap
import time
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

from local.stack import ACCOUNT, REGION, Stack

Json = dict[str, Any]
PASS = {"Type": "Pass", "End": True}


def allow(actions: str | list[str], resources: str | list[str] = "*") -> Json:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def wait_for(look: Callable[[], Any], seconds: float = 15) -> Any:
    """What `look` returns once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


class Account:
    """One stack's account. Each name is used once, so that tests share a stack and do not meet."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.client = stack.client

    def role(self, service: str, *statements: Json) -> str:
        name = unique("role")
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": f"{service}.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        iam = self.client("iam")
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
        if statements:
            document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
            iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document)
        return made["Role"]["Arn"]

    def function(self, code: str, *statements: Json, **settings: Any) -> str:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as files:
            files.writestr("app.py", textwrap.dedent(code))
        defaults = {"Runtime": "python3.13", "Handler": "app.handler", "Timeout": 10}
        made = self.client("lambda").create_function(
            FunctionName=unique("function"),
            Role=self.role("lambda", *statements),
            Code={"ZipFile": archive.getvalue()},
            **(defaults | settings),
        )
        return made["FunctionArn"]

    def invoke(self, function: str, event: Any = None) -> tuple[Any, str | None]:
        """(the answer, the kind of error)."""
        answer = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event or {}))
        return json.loads(answer["Payload"].read()), answer.get("FunctionError")

    def machine(self, states: Json, *statements: Json, **fields: Any) -> str:
        """A JSONata machine of these states, in their order."""
        definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **fields}
        made = self.client("stepfunctions").create_state_machine(
            name=unique("machine"),
            definition=json.dumps(definition),
            roleArn=self.role("states", *statements),
        )
        return made["stateMachineArn"]

    def run(self, machine: str, given: Json | None = None, seconds: float = 20) -> Json:
        execution = self.start(machine, given)
        return wait_for(lambda: self.ended(execution), seconds)

    def start(self, machine: str, given: Json | None = None) -> str:
        sfn = self.client("stepfunctions")
        return sfn.start_execution(stateMachineArn=machine, input=json.dumps(given or {}))["executionArn"]

    def ended(self, execution: str) -> Json | None:
        found = self.client("stepfunctions").describe_execution(executionArn=execution)
        return found if found["status"] != "RUNNING" else None

    def task(self, resource: str, arguments: Json, *statements: Json, **fields: Any) -> Json:
        """The end of a machine of one task; its output is `output`, an error that it catches `caught`."""
        task = {
            "Type": "Task",
            "Resource": f"arn:aws:states:::{resource}",
            "Arguments": arguments,
            "End": True,
            **fields,
        }
        task.setdefault(
            "Catch",
            [{"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput %}", "Next": "Caught"}],
        )
        machine = self.machine({"Call": task, "Caught": {"Type": "Succeed"}}, *statements)
        execution = self.run(machine)
        return json.loads(execution["output"]) if execution["status"] == "SUCCEEDED" else execution

    def queue(self, *services: str) -> tuple[str, str]:
        """(ARN, URL) of a queue that the services may send to."""
        name = unique("queue")
        sqs = self.client("sqs")
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        if services:
            principal = {"Service": [f"{service}.amazonaws.com" for service in services]}
            statement = {**allow("sqs:SendMessage", arn("sqs", name)), "Principal": principal}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        return arn("sqs", name), url

    def messages(self, url: str, count: int = 1, seconds: float = 15) -> list[Json]:
        """`count` messages of a queue, as they are received."""
        found: list[Json] = []

        def look() -> bool:
            answer = self.client("sqs").receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
            )
            for message in answer.get("Messages", []):
                found.append(message)
                self.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return len(found) >= count

        wait_for(look, seconds)
        return found

    def rule(self, pattern: Json, target: Json) -> str:
        name = unique("rule")
        events = self.client("events")
        made = events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=name, Targets=[{"Id": "target", **target}])
        return made["RuleArn"]

    def put_event(self, source: str, detail: Json, **fields: Any) -> None:
        entry = {"Source": source, "DetailType": "Test", "Detail": json.dumps(detail), **fields}
        self.client("events").put_events(Entries=[entry])
