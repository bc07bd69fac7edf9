"""The loop on a slice of the example's data, through the code of `make loop`: one flight in four, from the
last days of March to the week of April in which the first model loses its quality; then a faulty version."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from boto3.dynamodb.types import TypeDeserializer

from local import flights, loop, stack
from local.console import Console
from local.memory import Memory
from tests.loop import folders

pytestmark = pytest.mark.loop

EVERY = 4  # one flight in so many
BEGIN, END = datetime(2013, 3, 29, tzinfo=UTC), "2013-05-09"
FAULTY_ON, REPEATED_ON = datetime(2013, 5, 8, tzinfo=UTC), datetime(2013, 5, 8, 12, tzinfo=UTC)
# The example's thresholds, for a quarter of its rows.
EDITS = {
    "tolerance: 0.05": "tolerance: 0.0",
    "floor: 0.65": "floor: 0.5",
    "margin: 0.0": "margin: -0.1",
    "min_rows: 2000": "min_rows: 500",
    "min_rows: 1000": "min_rows: 500",
    "latency_p99: 150ms": "latency_p99: 30s",  # a busy machine is no reason to refuse a model
    "latency_p99: 200ms": "latency_p99: 30s",  # or to roll it back
}
GOOD_ENDS = {
    "onboard": {"ModelOnboarded"},
    "train": {"ModelRegistered", "TrainingDropped"},
    "deploy": {"ModelDeployed", "DeploymentRolledBack", "DeploymentDropped"},
    "monitor": {"NoData", "TooFewRows", "WindowClean", "ViolationsFound"},
    "respond": {"RetrainingRequested", "OwnerNotified", "LeftAlone"},
}


@dataclass
class Run:
    """A run that is over, in a stack that is still up."""

    status: int
    record: dict
    loop: loop.Loop
    out: Path

    def package(self, version: int) -> str:
        """The ARN of a version."""
        [found] = self.ledger(f"PACKAGE#{version:06d}")
        return found["package_arn"]

    def ledger(self, key: str) -> list[dict]:
        """The model's records whose sort key begins so."""
        found = self.loop.stack.client("dynamodb").query(
            TableName=self.loop.stack.outputs["Table"],
            KeyConditionExpression="pk = :pk AND begins_with(sk, :key)",
            ExpressionAttributeValues={":pk": {"S": "MODEL#flights"}, ":key": {"S": key}},
        )
        decode = TypeDeserializer().deserialize
        return [{name: decode(value) for name, value in item.items()} for item in found["Items"]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    root = tmp_path_factory.mktemp("loop")
    folder = Path(
        shutil.copytree(loop.FOLDER, root / "flights", ignore=shutil.ignore_patterns("__pycache__"))
    )
    folders.replace(folder / "model.yaml", EDITS)
    few = flights.table().take(list(range(0, len(flights.table()), EVERY)))
    options = loop.parse(["--until", END, "--out", str(root / "out")])
    with pytest.MonkeyPatch.context() as patch, stack.running(port=0, directory=root / "state") as running:
        patch.setattr(flights, "table", lambda: few)
        patch.setattr(loop, "FOLDER", folder)
        patch.setattr(loop, "BEGIN", BEGIN)
        patch.setattr(loop, "FAULTY_ON", FAULTY_ON)
        patch.setattr(loop, "REPEATED_ON", REPEATED_ON)
        with Memory() as memory:
            followed = loop.Loop(running, options, Console())
            status = loop.follow(followed, memory)
        yield Run(status, json.loads((root / "out" / "loop.json").read_text()), followed, root / "out")


def test_it_closed(run: Run) -> None:
    assert run.record["missing"] is None
    assert (run.status, run.record["closed"]) == (0, True)
    assert (run.out / "report.html").stat().st_size > 10_000


def test_a_person_approved_the_first_champion_and_a_violation_caused_the_second(run: Run) -> None:
    first, second = run.record["champions"]
    assert [first["version"], second["version"]] == [1, 2]
    assert [first["cause"]["kind"], second["cause"]["kind"]] == ["code", "violation"]
    assert first["approved_by"].endswith(":user/evergreen-owner")
    assert {"value", "low", "high"} <= second["metrics"]["roc_auc"].keys()
    assert first["run"] != second["run"]
    retrained = [found for found in run.record["decisions"] if found["decision"] == "retrain"]
    assert second["cause"]["id"] in {found["signal"]["id"] for found in retrained}
    assert any(window["violations"] for window in run.record["windows"])


def test_what_was_asked_is_what_the_pipeline_had_computed(run: Run) -> None:
    s3, bucket = run.loop.stack.client("s3"), run.loop.stack.outputs["Bucket"]
    listed = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="monitor/flights/")
    keys = [found["Key"] for page in listed for found in page.get("Contents", [])]
    analyses = [
        json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        for key in keys
        if key.endswith("/analysis.json")
    ]
    assert analyses
    for analysis in analyses:
        assert analysis["skew"]["rows"] == analysis["rows"]
        assert {found["different"] for found in analysis["skew"]["features"].values()} == {0}


def test_every_execution_ended_well_and_nothing_was_left_over(run: Run) -> None:
    ends = {(found["machine"], found["status"], found["ended_in"]) for found in run.record["executions"]}
    bad = {end for end in ends if end[1] != "SUCCEEDED" or end[2] not in GOOD_ENDS[end[0]]}
    assert bad == {("deploy", "FAILED", "DeploymentRolledBack")}
    assert {machine for machine, _, _ in ends} == set(GOOD_ENDS)
    assert all(found["states"] and found["cause_event_id"] for found in run.record["executions"])
    sqs = run.loop.stack.client("sqs")
    url = sqs.get_queue_url(QueueName="evergreen-dead-letters")["QueueUrl"]
    assert "Messages" not in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)


def test_the_record_has_what_its_readers_know(run: Run) -> None:
    for name, keys in {
        "executions": {"machine", "arn", "cause_event_id", "status", "seconds", "states"},
        "champions": {"version", "run", "metrics", "cause", "approved_by"},
        "windows": {"start", "end", "rows", "status", "violations"},
        "decisions": {"signal", "decision", "reason"},
        "before_after": {"metric", "old", "new", "rows", "from", "to"},
    }.items():
        assert run.record[name], name
        assert all(keys <= entry.keys() for entry in run.record[name]), name
    assert all(decision["reason"] for decision in run.record["decisions"])


def test_the_ledger_has_every_champion_and_the_locks_are_free(run: Run) -> None:
    [champion] = run.ledger("CHAMPION")
    assert (champion["version"], champion["previous"]["version"]) == (2, 1)
    statuses = {package["version"]: package["status"] for package in run.ledger("PACKAGE#")}
    assert statuses == {1: "Replaced", 2: "InService", 3: "RolledBack"}
    deployed = [row for row in run.ledger("H#") if row["kind"] == "ModelDeployed"]
    assert [row["version"] for row in deployed] == [1, 2]
    locks = {lock["sk"]: int(lock["expires_at"]) for lock in run.ledger("LOCK#")}
    assert locks == {"LOCK#train": 0, "LOCK#deploy": 0}


def test_a_faulty_version_that_a_person_approved_came_back_and_cost_only_what_it_failed(run: Run) -> None:
    [found] = run.record["rollbacks"]
    assert (found["version"], found["cause"]["kind"]) == (3, "code")
    assert found["approved_by"].endswith(":user/evergreen-owner")
    assert f"{found['deployment']}-errors" in found["reason"]
    assert found["dropped"] == "version 3 is Rejected in the registry now"
    assert found["failed"]["challenger"] == len(run.loop.world.sent.failures) > 0
    assert (found["failed"]["champion"], run.record["counts"]["lost"]) == (0, 0)
    assert all("KeyError: 'pressure'" in failure for failure in run.loop.world.sent.failures)
    package = run.loop.stack.client("sagemaker").describe_model_package(ModelPackageName=run.package(3))
    assert package["ModelApprovalStatus"] == "Rejected"
    assert found["reason"] in package["ApprovalDescription"]


def test_each_version_has_a_card_that_says_how_it_ended(run: Run) -> None:
    sagemaker, s3 = (run.loop.stack.client(name) for name in ("sagemaker", "s3"))
    ended = {1: ("Approved", "was in service"), 2: ("Approved", "in service"), 3: ("Draft", "rolled back")}
    for version, (status, said) in ended.items():
        package = sagemaker.describe_model_package(ModelPackageName=run.package(version))
        assert package["ModelCard"]["ModelCardStatus"] == status
        bucket, key = package["CustomerMetadataProperties"]["card"].removeprefix("s3://").split("/", 1)
        page = s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()
        assert f">{said}</span><h1>flights version {version} passed its gate</h1>" in page
        assert "approved by arn:aws:iam::000000000000:user/evergreen-owner" in page
        for report in ("Bias", "Explainability"):
            bucket, key = (
                package["ModelMetrics"][report]["Report"]["S3Uri"].removeprefix("s3://").split("/", 1)
            )
            assert json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())["version"] == "1.0"


def test_the_endpoint_serves_the_second(run: Run) -> None:
    endpoint = run.loop.stack.client("sagemaker").describe_endpoint(EndpointName="evergreen-flights")
    assert endpoint["EndpointStatus"] == "InService"
    assert endpoint["EndpointConfigName"] == run.record["champions"][1]["deployment"]
    answer = run.loop.person.post("/models/flights/predictions", {"instances": flight(3)})
    assert (answer["version"], len(answer["predictions"])) == (2, 3)


def flight(count: int) -> list[dict]:
    """The year's first flights as a request has them."""
    rows = flights.table().slice(0, count).to_pylist()
    return [row | {"scheduled_departure": row["scheduled_departure"].isoformat()} for row in rows]
