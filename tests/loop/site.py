"""A deployed stack seen from outside: what people and programs do to it, and what they can find out.

Nothing sleeps for a time that was guessed: `wait` looks until something is there, and says at its deadline
what the machines did last and what the server wrote.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from local import people, stack
from local.loop import MACHINES
from local.people import ApiError, Caller
from local.watch import Execution, Watch
from models.publish import publish
from tests.loop import folders

log = logging.getLogger(__name__)
Json = dict[str, Any]
Found = TypeVar("Found")
PATIENCE = 90.0  # seconds
LOOK_EVERY = 0.1
SHOWN = 40  # lines of what happened, where a wait is in vain


class Site:
    """One stack with its people: an owner who decides, traffic, and a reader of the notifications."""

    def __init__(self, running: stack.Stack, root: Path) -> None:
        self.stack, self.root = running, root
        self.client, self.outputs = running.client, running.outputs
        self.bucket = running.outputs["Bucket"]
        known = MACHINES | {"follow": "FollowMachine"}  # an account has those of its part
        self.machines = {name: running.outputs[key] for name, key in known.items() if key in running.outputs}
        self._told: list[str] = []
        self.watch = Watch(running.client("stepfunctions"), self.machines, self._tell)
        self.owner = self._hire("owner")
        self.inbox = Inbox(self)
        self._published = 0

    def _tell(self, line: str) -> None:
        """Kept for a wait that is in vain; shown as it happens with pytest's --log-cli-level=info."""
        self._told.append(line)
        log.info(line)

    def _hire(self, name: str) -> Caller:
        return people.hire(self.client("iam"), name, self.stack.api_url, stack.REGION)

    # -- what is done ----------------------------------------------------------------------------------------

    def publish(self, name: str, edits: Mapping[str, str], code: Mapping | None = None) -> str:
        """Publishes a model's folder; its digest."""
        self._published += 1
        root = self.root / str(self._published)
        made = folders.folder(root, name, edits, code)
        return publish(made, self.bucket, self.client("s3"), say=lambda _: None)

    def upload(self, name: str, file: str, content: bytes) -> str:
        """A file of data; its key."""
        key = f"datasets/{name}/{file}"
        self.client("s3").put_object(Bucket=self.bucket, Key=key, Body=content)
        return key

    def remove(self, key: str) -> None:
        self.client("s3").delete_object(Bucket=self.bucket, Key=key)

    def send(self, source: str, kind: str, detail: Json, times: int = 1) -> None:
        """The same own event, so many times."""
        entry = {"Source": source, "DetailType": kind, "Detail": json.dumps(detail)}
        answer = self.client("events").put_events(
            Entries=[entry | {"EventBusName": self.outputs["Bus"]}] * times
        )
        assert answer["FailedEntryCount"] == 0, answer

    def deliver_again(self, execution: Execution) -> Execution:
        """EventBridge may deliver an event twice: the same machine starts with the same input."""
        return self.deliver(execution.machine, execution.event)

    def deliver(self, machine: str, event: Json) -> Execution:
        """What a rule does with an event: it starts the machine with it. The execution, ended."""
        sfn = self.client("stepfunctions")
        started = sfn.start_execution(stateMachineArn=self.machines[machine], input=json.dumps(event))
        return self.ended(machine, lambda found: found.arn == started["executionArn"])

    def pending(self, model: str) -> int:
        """The newest version that waits for a person."""
        pending = self.wait(f"a version of {model} to approve", lambda: self.view(model)["pending"])
        return pending[0]["version"]

    def approve(self, model: str, version: int) -> None:
        decision = {"decision": "approve", "reason": "good enough for a test"}
        self.owner.post(f"/models/{model}/versions/{version}/approval", decision)

    def ship(
        self, model: str, edits: Mapping[str, str], code: Mapping | None = None
    ) -> tuple[int, Execution]:
        """Publishes a folder and approves what is trained of it: (version, how its deployment ended)."""
        trained = self.ended("train", because_of(self.publish(model, edits, code)))
        assert trained.ended_in == "ModelRegistered", trained.reason
        version = self.history(model, "RunEnded", trained.cause["id"])[0]["version"]
        self.approve(model, version)
        return version, self.ended("deploy", ships(model, version))

    def predict(self, model: str, rows: list[Json], caller: Caller | None = None) -> Json:
        return (caller or self.owner).post(f"/models/{model}/predictions", {"instances": rows})

    def traffic(self, model: str, rows: list[Json]) -> "Traffic":
        return Traffic(self, model, rows, self._hire(f"traffic-{model}"))

    # -- what is found out -----------------------------------------------------------------------------------

    def view(self, model: str) -> Json:
        """What the API says of a model; nothing before it is onboarded."""
        try:
            return self.owner.get(f"/models/{model}")
        except ApiError as error:
            if error.status != 404:
                raise
            return {"pending": [], "champion": None}

    def history(self, model: str, kind: str, cause: str = "") -> list[Json]:
        """The ledger's rows of one kind, newest first; those of the cause whose id begins so."""
        rows = self.owner.get(f"/models/{model}/history?limit=200")["history"]
        return [row for row in rows if row["kind"] == kind and cause_of(row).startswith(cause)]

    def published(self, model: str, digest: str) -> str:
        """A published model.yaml."""
        key = f"models/{model}/{digest}/model.yaml"
        return self.client("s3").get_object(Bucket=self.bucket, Key=key)["Body"].read().decode()

    def champion(self, model: str) -> Json:
        """What serves, after a look that it does: the ledger, the endpoint and an answer agree."""
        champion = self.view(model)["champion"]
        endpoint = self.client("sagemaker").describe_endpoint(EndpointName=champion["endpoint"])
        assert (endpoint["EndpointStatus"], endpoint["EndpointConfigName"]) == (
            "InService",
            champion["config"],
        )
        rows = folders.new_flights(3)

        def answered() -> Json | None:
            answer = self.predict(model, rows)
            return answer if answer["version"] == champion["version"] else None

        # The API may name the version before for a few seconds.
        answer = self.wait(f"version {champion['version']} of {model} to answer", answered)
        assert [found["id"] for found in answer["predictions"]] == [row["flight_id"] for row in rows]
        return {"version": champion["version"], "config": champion["config"]}

    def package(self, model: str, version: int) -> Json:
        group = f"arn:aws:sagemaker:{stack.REGION}:{self.stack.account}:model-package/evergreen-{model}"
        return self.client("sagemaker").describe_model_package(ModelPackageName=f"{group}/{version}")

    def executions(self, machine: str, matches: Callable[[Execution], bool]) -> list[Execution]:
        return [found for found in self.watch.executions() if found.machine == machine and matches(found)]

    def ended(self, machine: str, matches: Callable[[Execution], bool], *, count: int = 1) -> Any:
        """The execution that an event started, once it has ended; a list where several are waited for."""

        def look() -> list[Execution]:
            found = [execution for execution in self.executions(machine, matches) if not execution.running]
            return found if len(found) >= count else []

        found = self.wait(f"{count} execution(s) of {machine} to end", look)
        return found if count > 1 else found[-1]

    def failure(self, execution: Execution) -> tuple[str, str]:
        """(Error, Cause) of an execution that failed."""
        described = self.client("stepfunctions").describe_execution(executionArn=execution.arn)
        assert described["status"] == "FAILED", (
            f"{execution.machine} {described['status']} in {execution.ended_in}"
        )
        return described["error"], described["cause"]

    def wait(self, what: str, look: Callable[[], Found], seconds: float = PATIENCE) -> Found:
        """What `look` returns once it is true; the test fails at the deadline."""
        deadline = time.monotonic() + seconds
        while not (found := look()):
            if self.stack.process.poll() is not None:
                pytest.fail(f"the stack ended while waiting for {what}\n{self.last_seen()}")
            if time.monotonic() > deadline:
                pytest.fail(f"waited {seconds:.0f} s in vain for {what}\n{self.last_seen()}")
            time.sleep(LOOK_EVERY)
        return found

    def last_seen(self) -> str:
        running = [
            f"  {e.machine} {e.ended_in} {e.seconds:.0f} s: {e.cause['text']}" for e in self.watch.running()
        ]
        log = self.stack.log.read_text(errors="replace").splitlines()
        parts = {
            "still running": running,
            "last states": self._told[-SHOWN:],
            "server log": log[-SHOWN:],
        }
        return "\n".join(f"{title}:\n" + "\n".join(lines or ["  none"]) for title, lines in parts.items())


def cause_of(row: Json) -> str:
    """The id of a history row's cause; deployments that start or are dropped have none."""
    return row["cause"]["id"] if "cause" in row else ""


def because_of(digest: str) -> Callable[[Execution], bool]:
    """Executions that the publication of a folder caused."""
    return lambda found: digest in found.cause["id"]


def caused_by(id: str) -> Callable[[Execution], bool]:
    """Executions of one cause."""
    return lambda found: found.cause["id"] == id


def ships(model: str, version: int) -> Callable[[Execution], bool]:
    """Deployments of a version."""
    wanted = (f"evergreen-{model}", version)
    return lambda found: (
        wanted
        == (
            found.event["detail"].get("ModelPackageGroupName"),
            found.event["detail"].get("ModelPackageVersion"),
        )
    )


class Inbox:
    """A queue that is subscribed to the topic, as somebody's mailbox would be."""

    def __init__(self, site: Site) -> None:
        self._site, self._sqs = site, site.client("sqs")
        self._messages: list[str] = []
        self._url = self._sqs.create_queue(QueueName="inbox")["QueueUrl"]
        arn = f"arn:aws:sqs:{stack.REGION}:{site.stack.account}:inbox"
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._sqs.set_queue_attributes(QueueUrl=self._url, Attributes={"Policy": policy})
        site.client("sns").subscribe(TopicArn=site.outputs["Topic"], Protocol="sqs", Endpoint=arn)

    def with_text(self, *texts: str) -> list[str]:
        """The messages so far that have all the texts in them."""
        self._receive()
        return [message for message in self._messages if all(text in message for text in texts)]

    def wait(self, *texts: str) -> str:
        """The first message with all the texts."""
        return self._site.wait(f"a notification with {texts}", lambda: self.with_text(*texts))[0]

    def _receive(self) -> None:
        while True:
            found = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages", [])
            for message in found:
                self._messages.append(json.loads(message["Body"])["Message"])
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
            if not found:
                return


class Traffic:
    """While entered, one request after the other; `answers` has each request's version, or its refusal."""

    def __init__(self, site: Site, model: str, rows: list[Json], caller: Caller) -> None:
        self._site, self._model, self._rows, self._caller = site, model, rows, caller
        self.answers: list[int | ApiError] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, name=f"traffic-{model}", daemon=True)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    @property
    def refusals(self) -> list[ApiError]:
        return [answer for answer in self.answers if isinstance(answer, ApiError)]

    def _send(self) -> None:
        while not self._stop.wait(0.05):
            try:
                self.answers.append(self._site.predict(self._model, self._rows, self._caller)["version"])
            except ApiError as error:
                self.answers.append(error)
