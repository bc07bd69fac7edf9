"""What a batch has scored is captured as requests are: once, whatever is cut off and called again, and as the
monitor reads it."""

import json

import pytest
from batch import capture_rows
from evergreen import aws, capture, times
from evergreen.errors import BatchInvalid

from jobs.monitor.capture import Reader, chunks
from tests.unit import world
from tests.unit.test_batch import AT, admit, came, flights, nightly, scheduled  # noqa: F401 (a fixture)


def joined(place):
    return {"flight_id": f"f{place}", "origin": "JFK", "SageMakerOutput": {"prediction": place % 2}}


def output(bucket, lines, name="a.jsonl"):
    bucket.put(f"batch/flights/output/{name}.out", "".join(json.dumps(line) + "\n" for line in lines))


def capture_all(plan, seconds=300.0):
    """Calls until all is captured; how many it took, and the rows."""
    progress, calls = None, 0
    while not (progress and progress["done"]):
        event = {"plan": plan, "inputs": plan["inputs"], "progress": progress, "seconds": seconds}
        progress, calls = capture_rows.handler(event, world.CONTEXT), calls + 1
    return calls, progress["rows"]


def captured_events(folder, start="2013-04-01T10:00:00Z", end="2013-04-01T11:00:00Z"):
    """As the monitor reads them."""
    moments = times.parse(start), times.parse(end)
    for found in capture.files("bucket", capture.prefix("evergreen-flights"), *moments):
        body = aws.client("s3").get_object(Bucket="bucket", Key=found["Key"])["Body"].read()
        (folder / found["Key"].replace("/", "-")).write_bytes(body)
    reader = Reader(*(int(moment.timestamp() * 1e6) for moment in moments))
    read = [reader.events(chunk) for chunk in chunks(folder)]
    assert not any(one.skipped.lines for one in read)
    return [event for one in read for event in one.table.to_pylist()]


def test_rows_are_captured_when_they_were_scored(bucket, tmp_path):
    plan = admit(came(bucket))
    output(bucket, map(joined, range(3)))
    assert capture_all(plan) == (1, 3)
    (event,) = captured_events(tmp_path)
    assert event["time"] == int(times.parse("2013-04-01T10:05:00Z").timestamp() * 1e6)
    rows = [json.loads(line) for line in event["input"].splitlines()]
    assert rows == [{"flight_id": f"f{place}", "origin": "JFK"} for place in range(3)]
    assert [json.loads(line) for line in event["output"].splitlines()] == [
        {"prediction": place % 2} for place in range(3)
    ]


def test_a_large_output_is_captured_in_calls_and_parts_and_twice_is_once(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(capture_rows, "EVENT_ROWS", 10)
    monkeypatch.setattr(capture_rows, "PART_BYTES", 4000)
    monkeypatch.setattr(capture_rows, "BUDGET_SECONDS", -1.0)
    plan = admit(came(bucket))
    output(bucket, map(joined, range(500)))
    calls, rows = capture_all(plan)
    assert (calls > 5, rows) == (True, 500)
    capture_all(plan)
    monkeypatch.setattr(capture_rows, "BUDGET_SECONDS", 60.0)
    assert capture_all(plan) == (1, 500), "however the calls were cut"
    events = captured_events(tmp_path)
    ids = [json.loads(line)["flight_id"] for event in events for line in event["input"].splitlines()]
    assert sorted(ids) == sorted({f"f{place}" for place in range(500)})
    assert len({event["event"] for event in events}) == len(events)


def test_each_file_of_a_batch_is_captured(bucket, tmp_path, ledger):
    nightly(ledger)
    came(bucket, "a.jsonl")
    came(bucket, "b.jsonl")
    plan = admit(scheduled(AT))
    output(bucket, map(joined, range(3)))
    output(bucket, map(joined, range(3, 7)), "b.jsonl")
    assert capture_all(plan) == (1, 7)
    assert sum(len(event["input"].splitlines()) for event in captured_events(tmp_path)) == 7


@pytest.mark.parametrize("line", ['{"flight_id": "f0"}', "[1]", "nothing"])
def test_an_output_that_is_not_what_was_asked_for_is_told(bucket, line):
    plan = admit(came(bucket))
    bucket.put("batch/flights/output/a.jsonl.out", json.dumps(joined(0)) + "\n" + line + "\n")
    with pytest.raises(BatchInvalid, match="a line is no row with its answer"):
        capture_all(plan)
