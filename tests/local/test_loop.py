"""The parts of `python -m local loop` without a stack: what is sent when, what is told, when it closed."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from local import compare, console, flights, record, world
from local.console import Console
from local.people import ApiError
from local.watch import Execution, State, Watch, cause_of, spoken
from local.world import World

EVENTS = Path(__file__).parents[2] / "events"
START = datetime(2013, 3, 1, tzinfo=UTC)


# --- what started an execution


@pytest.mark.parametrize(
    ("sample", "kind", "said"),
    [
        ("s3-object-created.model.json", "code", "new file models/"),
        ("s3-object-created.dataset.json", "data", "new file datasets/"),
        ("schedule-monitoring-scheduled.json", "schedule", "its schedule"),
        ("sagemaker-model-package-state-change.json", "person", "the approval of version"),
        ("monitor-violation-found.json", "violation", "a violation: "),
        ("respond-training-requested.json", "violation", "a violation ("),
    ],
)
def test_the_cause_of_each_event_is_said_in_words(sample, kind, said):
    cause = cause_of(json.loads((EVENTS / sample).read_text()))
    assert cause["kind"] == kind
    assert said in cause["text"]
    assert cause["id"]


def test_every_sample_event_has_a_cause():
    for path in EVENTS.glob("*.json"):
        assert cause_of(json.loads(path.read_text()))["text"], path.name


def test_a_failure_is_read_out_of_its_json():
    assert spoken('{"errorMessage": "no column late", "errorType": "DataRefused"}') == "no column late"
    assert spoken('{"FailureReason": "AlgorithmError: exit code 1"}') == "AlgorithmError: exit code 1"
    assert spoken("plain words") == "plain words"
    assert spoken(None) == ""


# --- following executions


class StepFunctions:
    """One execution whose history grows, on the page behind `newer` ones; stands for the API's client."""

    def __init__(self) -> None:
        self.status, self.events, self.began = "RUNNING", [], datetime.now(UTC)
        self.newer: list[str] = []

    def enter(self, kind: str, name: str) -> None:
        self._add(f"{kind}StateEntered", stateEnteredEventDetails={"name": name})

    def leave(self, kind: str, name: str) -> None:
        self._add(f"{kind}StateExited", stateExitedEventDetails={"name": name})

    def fail(self, error: str, cause: str) -> None:
        self._add("TaskFailed", taskFailedEventDetails={"error": error, "cause": cause})

    def _add(self, kind: str, **details: dict) -> None:
        self.events.append({"type": kind, "timestamp": datetime.now(UTC), **details})

    def describe_execution(self, **_: object) -> dict:
        event = json.loads((EVENTS / "monitor-violation-found.json").read_text())
        return {
            "status": self.status,
            "input": json.dumps(event),
            "stopDate": datetime.now(UTC),
            "cause": '{"errorMessage": "the table is gone"}',
        }

    def get_paginator(self, operation: str) -> "Pages":
        return Pages(getattr(self, operation))

    def list_executions(self) -> list[dict]:
        newer = [
            {"executionArn": f"arn:{n}", "status": "SUCCEEDED", "startDate": self.began} for n in self.newer
        ]
        first = {"executionArn": "arn:x", "status": self.status, "startDate": self.began}
        return [{"executions": page} for page in (newer, [first]) if page]

    def get_execution_history(self) -> list[dict]:
        return [{"events": list(self.events)}]


class Pages:
    def __init__(self, listed: Callable[[], list[dict]]) -> None:
        self._listed = listed

    def paginate(self, **_: object) -> list[dict]:
        return self._listed()


def test_an_execution_is_told_state_by_state():
    machine, lines = StepFunctions(), []
    watch = Watch(machine, {"train": "arn:train"}, lines.append)
    machine.enter("Task", "AdmitRun")
    watch.poll()
    assert [execution.machine for execution in watch.busy(set(), 0)] == ["train"]
    machine.leave("Task", "AdmitRun")
    machine.enter("Choice", "IsAdmitted")
    machine.leave("Choice", "IsAdmitted")
    machine.enter("Task", "PinData")
    machine.fail("LedgerGone", '{"errorMessage": "the table is gone"}')
    machine.leave("Task", "PinData")
    machine.enter("Fail", "TrainingFailed")
    machine.status = "FAILED"
    watch.poll()
    told = "\n".join(lines)
    assert "started" in lines[0] and "a violation: " in lines[0]
    assert "IsAdmitted" not in told  # a choice takes no time and says nothing
    assert "LedgerGone, caught" in told
    assert "= TrainingFailed" in lines[-1] and "the table is gone" in lines[-1]
    assert watch.busy(set(), 0) == []
    assert watch.busy({"TrainingFailed"}, 60)  # it may have started another machine


def test_an_execution_ends_behind_a_page_of_newer_ones():
    machine = StepFunctions()
    watch = Watch(machine, {"train": "arn:train"}, lambda _: None)
    watch.poll()
    machine.newer, machine.status = [f"arn:{n}" for n in range(50)], "SUCCEEDED"
    watch.poll()
    assert (len(watch.executions()), watch.running()) == (51, [])


# --- the outside world


class Clock:
    def __init__(self) -> None:
        self.moments: list[datetime] = []

    def set(self, moment: datetime, *, frozen: bool) -> None:
        self.moments.append(moment)


class Api:
    """Answers as the HTTP API does and keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict]] = []
        self.pending: list[dict] = []
        self.fails = False

    def get(self, path: str) -> dict:
        return {"pending": self.pending}

    def post(self, path: str, body: dict) -> dict:
        if self.fails:
            raise ApiError(502, "POST", path, {"message": "the model did not answer"})
        self.sent.append((path.rsplit("/", 1)[-1], body))
        return {"predictions": body.get("instances", []), "accepted": len(body.get("labels", []))}

    def of(self, what: str) -> list[dict]:
        return [body for name, body in self.sent if name == what]


class Bucket:
    def __init__(self) -> None:
        self.keys: list[str] = []
        self.computed: list[pa.Table] = []

    def upload_file(self, path: str, bucket: str, key: str) -> None:
        self.keys.append(key)

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        self.computed.append(pq.read_table(io.BytesIO(Body)))


class Machines:
    """Stands for the watch: what runs is set by the test."""

    def __init__(self) -> None:
        self.found: list[Execution] = []

    def executions(self) -> list[Execution]:
        return self.found

    def busy(self, leads_on: set[str], reaction: float) -> list[Execution]:
        return [execution for execution in self.found if execution.running]

    def poll(self) -> None:
        pass


def hourly_flights(days: int = 70, per_hour: int = 30) -> pa.Table:
    """A flight table from 1 January on."""
    hours = np.repeat(np.arange(days * 24), per_hour)
    departures = np.datetime64("2013-02-20T00:00", "us") + hours.astype("m8[h]").astype("m8[us]")
    columns = {
        "flight_id": [f"F{row}" for row in range(len(hours))],
        "scheduled_departure": pa.array(departures, pa.timestamp("us", "UTC")),
        "late": hours % 2,
        "origin": ["JFK"] * len(hours),
    }
    return pa.table(columns)


@pytest.fixture
def outside(monkeypatch, tmp_path):
    monkeypatch.setattr(flights, "table", hourly_flights)
    monkeypatch.setattr(
        flights, "write_months", lambda data: [data / f"2013-{n:02}.parquet" for n in range(1, 13)]
    )
    monkeypatch.setattr(world, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(world, "REACTION_SECONDS", 0)
    api, bucket = Api(), Bucket()
    made = World(Machines(), Clock(), bucket, "b", api, api, tmp_path, timedelta(days=7))
    made.begin(START)
    return made, api, bucket


def silent() -> None:
    """Nobody looks on."""


def test_only_the_months_that_are_over_are_there_at_the_start(outside):
    _, _, bucket = outside
    assert bucket.keys == ["datasets/flights/2013-01.parquet", "datasets/flights/2013-02.parquet"]


def test_every_flight_is_asked_about_once_in_time_order_and_without_its_label(outside):
    made, api, _ = outside
    made.replay(START + timedelta(days=3), silent)
    rows = [row for body in api.of("predictions") for row in body["instances"]]
    assert len(rows) == len({row["flight_id"] for row in rows}) == 3 * 24 * 30 == made.sent.predictions
    assert [row["scheduled_departure"] for row in rows] == sorted(row["scheduled_departure"] for row in rows)
    assert not any("late" in row for row in rows)
    assert rows[0]["scheduled_departure"].startswith("2013-03-01T00:00")


def test_what_is_asked_about_was_computed_by_the_pipeline_before(outside):
    made, api, bucket = outside
    made.replay(START + timedelta(days=3), silent)
    asked = [row["flight_id"] for body in api.of("predictions") for row in body["instances"]]
    assert [id for table in bucket.computed for id in table["flight_id"].to_pylist()] == asked
    assert not any("late" in table.column_names for table in bucket.computed)


def test_labels_come_a_day_later_and_once(outside):
    made, api, _ = outside
    made.replay(START + timedelta(days=1), silent)
    assert api.of("labels") == []
    made.replay(START + timedelta(days=4), silent)
    posted = [label["id"] for body in api.of("labels") for label in body["labels"]]
    departed_a_day_ago = 3 * 24 * 30
    assert len(posted) == len(set(posted)) <= departed_a_day_ago
    assert made.sent.labels == len(posted) > departed_a_day_ago - world.MAX_ROWS // 2 - 1


def test_a_month_is_uploaded_when_its_labels_are_known(outside):
    made, _, bucket = outside
    made.replay(datetime(2013, 4, 1, tzinfo=UTC), silent)
    assert "datasets/flights/2013-03.parquet" not in bucket.keys
    made.replay(datetime(2013, 4, 2, tzinfo=UTC), silent)
    assert bucket.keys[-1] == "datasets/flights/2013-03.parquet"


def test_the_clock_never_goes_back(outside):
    made, _, _ = outside
    made.replay(START + timedelta(days=2), silent)
    assert made.clock.moments == sorted(made.clock.moments)


def test_a_window_that_is_due_is_waited_for_once(outside, monkeypatch):
    """Also where the clock jumps over several."""
    made, _, _ = outside
    monkeypatch.setattr(world, "REACTION_SECONDS", 60)
    polls = []

    def poll() -> None:
        polls.append(made.now)
        made.watch.found.append(execution("monitor", "PickWindow", status="SUCCEEDED"))

    made.watch.poll = poll
    made.replay(START + timedelta(days=10), silent)
    made.move(START + timedelta(days=30))
    assert polls == [START + timedelta(days=7), START + timedelta(days=30)]


def test_what_is_planned_is_done_once_when_its_day_has_come(outside):
    made, _, _ = outside
    done = []
    for day in (1, 3, 9):
        made.plan(START + timedelta(days=day), lambda: done.append(made.now))
    made.replay(START + timedelta(days=3), silent)
    assert done == [START + timedelta(days=1), START + timedelta(days=3)]


def test_a_client_leaves_out_what_nobody_knows():
    rows = pa.table({"scheduled_departure": pa.array([0, 1], pa.timestamp("us")), "temp": [None, 51.1]})
    assert [sorted(row) for row in world.instances(rows)] == [
        ["scheduled_departure"],
        ["scheduled_departure", "temp"],
    ]


def execution(machine: str, *states: str, status: str = "RUNNING") -> Execution:
    found = Execution(machine, f"arn:{machine}", 0.0, {"id": "e"}, status)
    found.states = [State(name, "Task", 0.0, 1.0) for name in states]
    return found


def test_a_canary_gets_a_trickle_and_a_first_deployment_none(outside):
    made, api, _ = outside
    made.trickle([execution("deploy", "CreateEndpoint")])
    assert api.of("predictions") == []
    made.trickle([execution("deploy", "UpdateEndpoint")])
    assert [len(body["instances"]) for body in api.of("predictions")] == [world.TRICKLE_ROWS]


def test_the_person_approves_a_registered_version_once(outside):
    made, api, _ = outside
    api.pending = [{"version": 2, "reason": "roc_auc 0.77 beats 0.70"}]
    made.watch.found = [execution("train", "AdmitRun", "ModelRegistered", status="SUCCEEDED")]
    made.approve()
    made.approve()
    [decision] = api.of("approval")
    assert decision == {"decision": "approve", "reason": "looked at its figures: roc_auc 0.77 beats 0.70"}


def test_a_rejected_challenger_is_not_approved(outside):
    made, api, _ = outside
    api.pending = [{"version": 2}]
    made.watch.found = [execution("train", "ChallengerRejected", status="SUCCEEDED")]
    made.approve()
    assert api.of("approval") == []


def test_the_world_goes_on_after_a_failed_request_but_not_after_ten(outside):
    made, api, _ = outside
    api.fails = True
    with pytest.raises(ApiError, match="502"):
        made.replay(START + timedelta(days=30), silent)
    assert len(made.sent.failures) == world.FAILURES_IN_A_ROW


# --- whether it closed


def champion(version: int, kind: str) -> dict:
    return {"version": version, "cause": {"kind": kind, "id": "x"}}


def test_two_champions_the_second_by_a_violation_close_the_loop():
    assert record.missing([champion(1, "code"), champion(2, "violation")], [], []) is None


@pytest.mark.parametrize(
    ("champions", "windows", "said"),
    [
        ([], [], "no model came into service"),
        ([champion(1, "violation")], [{"violations": []}], "no violation in 1 windows"),
        ([champion(1, "code")], [{"violations": [1]}], "there were violations, but no second champion"),
        ([champion(1, "code"), champion(2, "person")], [], "no violation caused the second champion"),
    ],
)
def test_what_is_missing_is_said(champions, windows, said):
    assert said in record.missing(champions, [], windows)


def test_the_execution_that_failed_is_named_with_its_reason():
    failed = {
        "machine": "train",
        "status": "FAILED",
        "states": [{"name": "TrainModel"}, {"name": "TrainingFailed"}],
        "reason": "AlgorithmError: no module named lightgbm",
    }
    assert "train FAILED after TrainModel: AlgorithmError" in record.missing([], [failed], [])


# --- before and after


def test_metrics_of_both_models_on_the_same_rows():
    rows = hourly_flights(days=14)
    truth = rows["late"].to_numpy()
    old, new = np.full(len(truth), 0.5), np.where(truth == 1, 0.8, 0.2)
    figures = {
        row["metric"]: row for row in compare.figures(rows, old, new, START, START + timedelta(days=14))
    }
    assert figures["roc_auc"]["old"] == 0.5 and figures["roc_auc"]["new"] == 1.0
    assert figures["brier"]["old"] == pytest.approx(0.25) and figures["brier"]["new"] == pytest.approx(0.04)
    spans = [
        ("2013-02-20T00:00:00Z", "2013-02-27T00:00:00Z"),
        ("2013-12-01T00:00:00Z", "2013-12-08T00:00:00Z"),
    ]
    [week] = compare.weeks(rows, old, new, spans)  # the other week has no rows
    assert week["rows"] == 7 * 24 * 30 and week["new"]["roc_auc"] == 1.0


# --- the screen


def test_lines_carry_the_runs_time_and_no_escape_codes_without_a_terminal():
    stream = io.StringIO()
    screen = Console(stream)
    screen.status("where the world is")
    screen.say("something happened")
    assert stream.getvalue() == "0:00.0  something happened\n"


def test_a_table_is_as_wide_as_its_cells():
    text = console.table("Title", ("a", "b"), [("long cell", "x"), ("y", "z")])
    assert text == "Title\n  a          b\n  long cell  x\n  y          z"
