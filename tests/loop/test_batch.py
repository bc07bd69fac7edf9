"""A model without an endpoint: files of rows come, are scored once by the version in service, and are
monitored as requests are."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from local.watch import Execution
from tests.loop import folders
from tests.loop.site import Json, Site, because_of, ships
from tests.loop.test_shipping import states

pytestmark = pytest.mark.loop

NAME = "nightly"
SHIP = """\
ship:
  strategy: all_at_once
  bake: 2m
  probation: 30d
  alarms: {errors: 1%, latency_p99: 30s}    # a busy machine is no reason to roll back
"""
BATCH = folders.APPROVED_BY_POLICY | {
    "serve: {instance: ml.m5.large}": "serve: {batch: {instance: ml.m5.large, count: 2}}",
    SHIP: "ship: {probation: 30d}\n",
}
BY_SCHEDULE = BATCH | {
    "serve: {instance: ml.m5.large}": "serve: {batch: {instance: ml.m5.large, count: 2, on: rate(5 minutes)}}"
}


@pytest.fixture(scope="module")
def nightly(site: Site) -> Iterator[Site]:
    """The first version of the model in service."""
    site.upload(NAME, "2013.parquet", folders.parquet(folders.sample()))
    deployed(site, BATCH)
    yield site
    schedule = {"GroupName": "evergreen", "Name": f"{NAME}-batch"}
    site.client("scheduler").delete_schedule(**schedule)  # or a day of other tests fires it 288 times


def deployed(site: Site, edits: dict, code: dict | None = None) -> Execution:
    """The deployment of a version, once it is trained and the policy has approved it."""
    trained = site.ended("train", because_of(site.publish(NAME, edits, code)))
    assert trained.ended_in == "ModelRegistered", trained.reason
    version = site.history(NAME, "RunEnded", trained.cause["id"])[0]["version"]
    execution = site.ended("deploy", ships(NAME, version))
    assert execution.ended_in == "ModelDeployed", execution.reason
    return execution


def put(site: Site, name: str, rows: list[Json]) -> str:
    """A file to score; its key."""
    key = f"batch/{NAME}/input/{name}"
    body = "".join(json.dumps(row) + "\n" for row in rows)
    site.client("s3").put_object(Bucket=site.bucket, Key=key, Body=body.encode())
    return key


def output(site: Site, name: str) -> list[Json]:
    """What a file's rows were answered."""
    key = f"batch/{NAME}/output/{name}.out"
    body = site.client("s3").get_object(Bucket=site.bucket, Key=key)["Body"].read()
    return [json.loads(line) for line in body.splitlines()]


def scored(site: Site, key: str) -> Execution:
    """The execution that a file started, once it has ended."""
    return site.ended("batch", lambda found: found.cause["id"] == key)


def test_a_file_that_comes_is_scored_once_and_monitored(nightly: Site) -> None:
    site = nightly
    champion = site.view(NAME)["champion"]
    assert (champion["endpoint"], champion["alarms"]) == (None, [])
    names = [each["EndpointName"] for each in site.client("sagemaker").list_endpoints()["Endpoints"]]
    assert f"evergreen-{NAME}" not in names
    rows = folders.new_flights(60)
    now = site.stack.clock.now()
    execution = scored(site, put(site, "2013-03-01/night.jsonl", rows))
    assert execution.ended_in == "BatchCompleted", execution.reason
    answers = output(site, "2013-03-01/night.jsonl")
    assert [answer["flight_id"] for answer in answers] == [row["flight_id"] for row in rows]
    assert all(answer["SageMakerOutput"]["prediction"] in (0, 1) for answer in answers)
    (told,) = site.history(NAME, "BatchScored")
    assert (told["rows"], told["version"]) == (60, champion["version"])

    assert site.deliver_again(execution).ended_in == "BatchDropped"
    assert len(site.history(NAME, "BatchStarted")) == 1

    status, answer = site.stack.api("POST", f"/models/{NAME}/predictions", {"instances": rows[:1]})
    assert (status, f"batch/{NAME}/input/" in answer["message"]) == (409, True)

    window = {"start": now.isoformat(), "end": (now + timedelta(hours=1)).isoformat()}
    site.send("test.program", "MonitoringRequested", {"model": NAME, "window": window})
    monitored = site.ended("monitor", lambda found: found.event["detail"]["model"] == NAME)
    assert monitored.ended_in in ("WindowClean", "ViolationsFound"), monitored.reason
    (analyzed,) = site.history(NAME, "WindowAnalyzed")
    assert (analyzed["rows"], analyzed["skipped_lines"]) == (60, 0)


def test_a_file_that_cannot_be_scored_is_told_of_and_scored_when_it_is_mended(nightly: Site) -> None:
    site = nightly
    rows = folders.new_flights(3)
    execution = scored(site, put(site, "broken.jsonl", [*rows, {"origin": 7}]))
    error, cause = site.failure(execution)
    assert (error, "400" in cause) == ("BatchFailed", True)
    site.inbox.wait(execution.arn, "BatchFailed")
    (told,) = site.history(NAME, "BatchFailed")
    assert (told["reason"], told["inputs"][0]["name"]) == (cause, "broken.jsonl")
    before = len(site.history(NAME, "BatchScored"))
    put(site, "broken.jsonl", rows)
    site.wait("the mended file", lambda: len(site.history(NAME, "BatchScored")) > before)
    assert len(output(site, "broken.jsonl")) == 3


def test_another_version_by_schedule_and_back_by_a_person(nightly: Site) -> None:
    site = nightly
    first = site.view(NAME)["champion"]
    execution = deployed(site, BY_SCHEDULE)
    assert not {"CreateEndpoint", "UpdateEndpoint", "PutErrorAlarm"} & set(states(site, execution))
    second = site.view(NAME)["champion"]
    assert second["version"] > first["version"]
    site.send("test.program", "BatchRequested", {"model": NAME})
    asked = site.ended("batch", lambda found: found.event["detail-type"] == "BatchRequested")
    assert asked.ended_in == "BatchDropped", "nothing is new"

    rows = folders.new_flights(4)
    for name in ("a.jsonl", "b.jsonl"):
        assert scored(site, put(site, name, rows)).ended_in == "BatchDropped", "they wait for the schedule"
    put(site, "c.jsonl", [{"origin": 7}])
    site.stack.clock.advance(300)
    batch = site.ended("batch", lambda found: found.event["detail-type"] == "BatchScheduled")
    assert site.failure(batch)[0] == "BatchFailed", "c.jsonl"
    told = site.history(NAME, "BatchScored")[0]
    assert [each["name"] for each in told["inputs"]] == ["a.jsonl", "b.jsonl"]
    assert told["version"] == second["version"]
    assert len(output(site, "b.jsonl")) == 4

    wanted = site.owner.post(f"/models/{NAME}/rollback", {"reason": "calls Newark late"})
    returned = site.ended("respond", lambda found: found.cause["id"] == wanted["cause"]["id"])
    assert returned.ended_in == "OwnerNotified", returned.reason
    assert site.view(NAME)["champion"]["version"] == first["version"]
