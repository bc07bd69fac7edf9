"""The batch machine: each version of a file is scored once, by the version in service, and told."""

import json
from datetime import timedelta

import pytest
from batch import admit_batch, find_outputs, record_batch, record_batch_failure
from evergreen import aws, batches, events, times
from evergreen.errors import AwsUnavailable, EventInvalid

from tests.unit import world
from tests.unit.world import execution, kinds, uploaded

AT = "2013-04-01T10:00:00Z"
ROWS = "".join(json.dumps({"flight_id": f"f{place}", "origin": "JFK"}) + "\n" for place in range(3))


@pytest.fixture(autouse=True)
def flights(ledger, executions):
    world.onboard(ledger, world.served(world.BATCH))
    world.champion(ledger, endpoint=None)


def came(bucket, name="a.jsonl", rows=ROWS, at=AT):
    """A file came: its event."""
    return uploaded(f"batch/flights/input/{name}", at, bucket.put(f"batch/flights/input/{name}", rows))


def scheduled(at="2013-04-02T06:00:00Z"):
    detail = {"model": "flights", "at": at}
    return {"source": "evergreen.schedule", "detail-type": "BatchScheduled", "time": at, "detail": detail}


def requested(id="event-7"):
    detail = {"model": "flights"}
    event = {"source": "nightly", "detail-type": "BatchRequested", "time": AT, "id": id, "detail": detail}
    return event | {"account": "123456789012"}


def admit(event, name="one"):
    return admit_batch.handler({"event": event, "execution": execution(name, "batch")}, world.CONTEXT)


def names(plan):
    return [each["name"] for each in plan["inputs"]]


def scored(plan, inputs=None, rows=3, name="one"):
    event = {"plan": plan, "inputs": inputs or plan["inputs"], "rows": rows}
    return record_batch.handler(event | {"execution": execution(name, "batch")}, world.CONTEXT)


def failed(plan, done=(), name="one"):
    error = {
        "Error": "States.TaskFailed",
        "Cause": '{"TransformJobName": "t", "FailureReason": "row 2 is bad"}',
    }
    event = {"plan": plan, "scored": list(done), "error": error, "execution": execution(name, "batch")}
    return record_batch_failure.handler(event, world.CONTEXT)


def nightly(ledger):
    world.onboard(ledger, world.served("batch: {instance: ml.m5.large, count: 4, on: rate(1 day)}"))


def test_a_file_is_planned_as_it_came(bucket, ledger):
    event = came(bucket, "2013/a.jsonl")
    version = event["detail"]["object"]["version-id"]
    plan = admit(event)
    assert plan["admitted"]
    assert plan["inputs"] == [
        {"name": "2013/a.jsonl", "version": version, "source": "bucket/batch/flights/input/2013/a.jsonl"}
    ]
    assert (plan["version"], plan["deployment"]) == (1, "evergreen-flights-v1-aaaaaa")
    assert plan["transform"] == {
        "instance": "ml.m5.large",
        "count": 1,
        "strategy": "MultiRecord",
        "payload": 6,
        "concurrency": 1,
    }
    assert plan["pinned"] == f"pinned/flights/{plan['batch']}/"
    assert len(plan["batch"]) <= 63 - len("evergreen--score")
    (started,) = kinds(ledger, "BatchStarted")
    assert (started["version"], started["cause"]["kind"]) == (1, "input")


def test_the_same_event_five_times_is_one_batch(bucket, ledger, executions):
    event = came(bucket)
    executions.add(execution("0", "batch"))
    plans = [admit(event, str(number)) for number in range(5)]
    assert [plan["admitted"] for plan in plans] == [True, False, False, False, False]
    assert len(kinds(ledger, "BatchStarted")) == 1
    assert len(kinds(ledger, "BatchDropped")) == 4
    scored(plans[0], name="0")
    executions.clear()
    assert not admit(event, "late")["admitted"]


def test_killed_after_its_side_effect_and_retried_it_gives_the_same_answer(bucket, ledger):
    event = came(bucket)
    assert admit(event) == admit(event)
    assert len(kinds(ledger, "BatchStarted", "BatchDropped")) == 1


def test_a_batch_whose_execution_died_is_taken_over(bucket, ledger, executions):
    event = came(bucket)
    executions.add(execution("one", "batch"))
    first = admit(event, "one")
    executions.clear()
    second = admit(event, "two")
    assert second["admitted"]
    assert second["batch"] == first["batch"]


def test_another_version_of_a_file_is_scored_again(bucket):
    scored(admit(came(bucket)))
    again = admit(came(bucket, rows=ROWS * 2), "two")
    assert again["admitted"]


def test_an_event_that_comes_late_leaves_the_newer_version_to_its_own(bucket):
    late, newer = came(bucket), came(bucket, rows=ROWS * 2)
    plan = admit(late)
    assert plan["reason"] == "a newer version of a.jsonl is there, which has an event of its own"
    assert admit(newer, "two")["admitted"]


def test_a_file_that_was_removed_is_not_scored(bucket):
    event = came(bucket)
    aws.client("s3").delete_object(Bucket="bucket", Key="batch/flights/input/a.jsonl")
    assert admit(event)["reason"] == "a.jsonl is not there any more"


@pytest.mark.parametrize(
    ("name", "rows", "reason"),
    [
        ("a.csv", ROWS, "a.csv is not a file of JSON lines: its name does not end in .jsonl"),
        ("a b.jsonl", ROWS, "a b.jsonl has more in its name than letters, digits and . _ - = /"),
        ("old/input/a.jsonl", ROWS, "old/input/a.jsonl lies in a folder called input"),
        ("a.jsonl", "", "a.jsonl is empty"),
    ],
)
def test_a_file_that_cannot_be_scored_is_told_so(bucket, ledger, name, rows, reason):
    assert admit(came(bucket, name, rows))["reason"] == reason
    (dropped,) = kinds(ledger, "BatchDropped")
    assert dropped["reason"] == reason


def test_a_file_too_large_to_pin_is_told_so():
    assert "split it" in batches.unfit(batches.Input("a.jsonl", "v", 6 * 1024**3))


def test_a_model_that_cannot_score_says_why(bucket, ledger):
    event = came(bucket)
    world.onboard(ledger)
    world.champion(ledger)
    assert admit(event)["reason"] == "flights has an endpoint: it scores no batches"


def test_a_model_without_a_version_says_so_and_scores_the_file_when_it_is_asked_to(bucket, ledger):
    item = ledger.need("flights", "SPEC")
    ledger.commit(world.put("trains", "SPEC", item), world.put("trains", f"SPEC#{world.DIGEST}", item))
    bucket.put("batch/trains/input/a.jsonl", ROWS)
    assert admit(uploaded("batch/trains/input/a.jsonl"))["reason"] == "trains has no version in service"
    assert len(kinds(ledger, "BatchDropped", model="trains")) == 1
    ledger.commit(world.put("trains", "CHAMPION", ledger.need("flights", "CHAMPION")))
    asked = requested()
    asked["detail"] = {"model": "trains"}
    assert names(admit(asked, "two")) == ["a.jsonl"]


def test_a_model_that_nobody_knows_gets_no_history(ledger):
    assert not admit(uploaded("batch/ships/input/a.jsonl"))["admitted"]
    assert not kinds(ledger, "BatchDropped", model="ships")


def test_files_wait_for_the_schedule_where_there_is_one(bucket, ledger):
    nightly(ledger)
    for name in ("b.jsonl", "a.jsonl", "c.txt"):
        plan = admit(came(bucket, name), name)
        assert (plan["admitted"], plan["reason"]) == (False, "flights scores what has come by rate(1 day)")
    assert not kinds(ledger, "BatchDropped"), "that is as it should be"
    plan = admit(scheduled())
    assert names(plan) == ["a.jsonl", "b.jsonl"]
    assert plan["transform"]["count"] == 2, "an instance takes whole files"
    scored(plan)
    assert admit(scheduled("2013-04-03T06:00:00Z"), "two")["reason"].startswith("nothing new is under s3://")


def test_files_beyond_a_batchs_most_wait_for_the_next(bucket, ledger, monkeypatch):
    nightly(ledger)
    monkeypatch.setattr(batches, "MOST_INPUTS", 2)
    for name in "abc":
        came(bucket, f"{name}.jsonl")
    plan = admit(scheduled())
    assert plan["reason"] == "2 files to score by version 1; 1 more are left for the next time"
    scored(plan)
    assert names(admit(scheduled("2013-04-03T06:00:00Z"), "two")) == ["c.jsonl"]


def test_the_most_files_are_one_transaction(bucket, ledger):
    nightly(ledger)
    for number in range(batches.MOST_INPUTS + 1):
        came(bucket, f"{number:02d}.jsonl")
    plan = admit(scheduled())
    assert len(plan["inputs"]) == batches.MOST_INPUTS
    scored(plan)
    assert len(json.dumps(plan)) < 100_000, "a payload of Step Functions"


def test_what_failed_is_scored_again_when_somebody_asks_not_by_itself(bucket, ledger):
    nightly(ledger)
    came(bucket)
    plan = admit(scheduled())
    assert (
        failed(plan)["reason"]
        == "TransformJob t failed: row 2 is bad (logs: /aws/sagemaker/TransformJobs, stream t)"
    )
    (told,) = kinds(ledger, "BatchFailed")
    assert (told["batch"], told["inputs"][0]["name"]) == (plan["batch"], "a.jsonl")
    assert not admit(scheduled("2013-04-03T06:00:00Z"), "two")["admitted"]
    again = admit(requested(), "three")
    assert names(again) == ["a.jsonl"]
    assert again["batch"] != plan["batch"], "a transform job's name is used once"


def test_one_bad_file_leaves_the_others_scored(bucket, ledger):
    nightly(ledger)
    came(bucket, "a.jsonl")
    came(bucket, "b.jsonl")
    plan = admit(scheduled())
    since = times.now() - timedelta(minutes=1)
    bucket.put("batch/flights/output/b.jsonl.out", "{}")
    event = {"plan": plan, "since": since.isoformat()}
    found = find_outputs.handler(event, world.CONTEXT)["inputs"]
    assert [each["name"] for each in found] == ["b.jsonl"]
    later = (times.now() + timedelta(minutes=1)).isoformat()
    assert find_outputs.handler({"plan": plan, "since": later}, world.CONTEXT) == {"inputs": []}
    scored(plan, found)
    failed(plan, found)
    (good,), (bad,) = kinds(ledger, "BatchScored"), kinds(ledger, "BatchFailed")
    assert (good["inputs"][0]["name"], bad["inputs"][0]["name"]) == ("b.jsonl", "a.jsonl")
    assert names(admit(requested(), "two")) == ["a.jsonl"]


def test_an_end_is_recorded_once_and_leaves_a_newer_version_alone(bucket, ledger, executions):
    executions.add(execution("one", "batch"))
    plan = admit(came(bucket))
    newer = admit(came(bucket, rows=ROWS * 2), "two")
    for _ in range(2):
        scored(plan)
    assert len(kinds(ledger, "BatchScored")) == 1
    assert ledger.need("flights", "INPUT#a.jsonl")["batch"] == newer["batch"]
    scored(newer, name="two")
    assert ledger.need("flights", "INPUT#a.jsonl")["status"] == "Scored"


def test_two_batches_do_not_take_one_file(bucket, ledger, monkeypatch):
    nightly(ledger)
    came(bucket)
    real, first = batches.claim, []

    def raced(*given):
        if not first:
            first.append(True)
            admit(requested(), "other")
        return real(*given)

    monkeypatch.setattr(batches, "claim", raced)
    with pytest.raises(AwsUnavailable, match="taken by another batch"):
        admit(scheduled())
    monkeypatch.undo()


@pytest.mark.parametrize("name", ["", "2013-06/"])
def test_a_folder_made_in_the_console_is_left(bucket, ledger, name):
    key = f"batch/flights/input/{name}"
    plan = admit(uploaded(key, version=bucket.put(key, "")))
    assert (plan["admitted"], plan["reason"]) == (False, "a folder is nothing to score")
    assert not kinds(ledger, "BatchDropped")


@pytest.mark.parametrize("key", ["batch/flights/output/a.jsonl", "batch/Flights!/input/a.jsonl"])
def test_a_key_that_is_no_input_is_refused(key):
    with pytest.raises(EventInvalid):
        events.cause_of(uploaded(key))
