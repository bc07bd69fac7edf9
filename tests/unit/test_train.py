"""The train machine's handlers: one run per model, one per cause, each ending written once."""

import json

import pytest
from evergreen import ledger, spec, times
from evergreen.errors import DataMissing, TrainingBusy
from evergreen.ledger import put
from train import admit_run, close_run, judge_challenger, pin_data

from tests.machines.engine import machine
from tests.unit import world
from tests.unit.exam import evaluation
from tests.unit.world import cause, execution, kinds, onboard, requested, uploaded


def admit(event, name="one"):
    return admit_run.handler({"event": event, "execution": execution(name)}, world.CONTEXT)


@pytest.fixture
def flights(ledger):
    return onboard(ledger)


def test_a_run_is_admitted_with_what_its_states_need(ledger, flights):
    plan = admit(requested(cause()))
    assert plan["admitted"]
    assert plan["code"] == f"s3://bucket/models/flights/{world.DIGEST}/"
    assert plan["spec"]["hyperparameters"] == {
        "iterations": "80",
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": "/opt/ml/input/data/code",
    }
    assert plan["champion"] is None
    assert ledger.holder("flights", "train")["run"] == plan["run"]
    assert [row["cause"] for row in kinds(ledger, "RunAdmitted")] == [cause()]


def test_the_champion_travels_with_the_plan(ledger, flights):
    world.champion(ledger)
    champion = admit(requested(cause()))["champion"]
    assert champion["version"] == 1
    assert champion["trained_until"] == "2013-02-15T00:00:00Z"


def test_the_same_event_five_times_is_one_run(ledger, flights, executions):
    executions.add(execution("0"))
    plans = [admit(requested(cause()), str(number)) for number in range(5)]
    assert [plan["admitted"] for plan in plans] == [True, False, False, False, False]
    assert len({plan["run"] for plan in plans}) == 1
    assert len(kinds(ledger, "RunAdmitted")) == 1
    assert all("answered already" in row["reason"] for row in kinds(ledger, "RunDropped"))
    assert len(kinds(ledger, "RunDropped")) == 4


def test_killed_after_its_side_effect_and_retried_it_gives_the_same_answer(ledger, flights):
    first = admit(requested(cause()))
    onboard(ledger, world.MODEL_YAML.replace("iterations: 80", "iterations: 90"), "fedcba987654")
    assert admit(requested(cause())) == first
    assert len(kinds(ledger, "RunAdmitted", "RunDropped")) == 1


def test_a_second_cause_waits_for_no_one_and_is_dropped_with_the_reason(ledger, flights, executions):
    executions.add(execution("one"))
    first = admit(requested(cause()))
    second = admit(requested(cause(id="request-2")), "two")
    assert not second["admitted"]
    assert second["reason"] == f"run {first['run']} is in progress"


def test_new_code_waits_for_the_run_in_progress(ledger, flights, executions):
    executions.add(execution("one"))
    admit(requested(cause()))
    code = cause("code", "fedcba987654@1")
    with pytest.raises(TrainingBusy, match="waits for its end"):
        admit(requested(code), "two")
    assert not kinds(ledger, "RunDropped"), "nothing else would ask for its training again"
    executions.clear()
    assert admit(requested(code), "two")["admitted"]


def test_a_dead_holder_loses_the_lock(ledger, flights, executions):
    admit(requested(cause()))  # its execution is not among the running ones
    second = admit(requested(cause(id="request-2")), "two")
    assert second["admitted"]
    assert ledger.holder("flights", "train")["owner"] == execution("two")


def test_an_expired_lock_is_free_whoever_holds_it(ledger, flights, executions, monkeypatch):
    executions.add(execution("one"))
    admit(requested(cause()))
    later = times.now() + times.seconds(admit_run.LOCK_SECONDS + 1)
    monkeypatch.setattr(times, "now", lambda: later)
    assert admit(requested(cause(id="request-2")), "two")["admitted"]


def test_a_run_that_had_to_wait_still_has_its_time():
    definition = machine("train").definition
    busy, _ = definition["States"]["AdmitRun"]["Retry"]
    assert (busy["ErrorEquals"], busy["JitterStrategy"]) == (["TrainingBusy"], "NONE")
    waits, to_start = busy["IntervalSeconds"] * busy["MaxAttempts"], 3600
    assert definition["TimeoutSeconds"] >= waits + spec.LONGEST + to_start
    assert definition["TimeoutSeconds"] < admit_run.LOCK_SECONDS


def test_the_loser_of_a_race_for_one_cause_is_dropped(ledger, flights, executions, monkeypatch):
    """Both deliveries have looked for the run before either has written it."""
    executions.add(execution("one"))
    admit(requested(cause()))
    real = admit_run.LEDGER.get
    monkeypatch.setattr(
        admit_run.LEDGER,
        "get",
        lambda model, sk, pk="": None if sk.startswith("RUN#") else real(model, sk, pk),
    )
    assert "answered already" in admit(requested(cause()), "two")["reason"]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (requested(cause(), model="ghosts"), "no model ghosts is onboarded"),
        (uploaded("datasets/flights/2013-03.parquet"), "does not retrain on data"),
    ],
)
def test_what_the_policy_does_not_take_is_dropped(ledger, event, reason):
    onboard(ledger, world.MODEL_YAML.replace("on: [violation, data]", "on: [violation]"))
    plan = admit(event)
    assert not plan["admitted"]
    assert reason in plan["reason"]
    assert len(kinds(ledger, "RunDropped", model=plan["model"])) == 1


def test_new_data_keeps_the_cool_down_and_a_person_does_not(ledger, flights):
    admit(requested(cause(at="2013-03-31T22:00:00Z")))
    assert "within the cool-down of 6h" in admit(uploaded("datasets/flights/a.csv"), "two")["reason"]
    assert admit(requested(cause(id="request-2", at="2013-04-01T00:00:00Z")), "three")["admitted"]


def test_the_schedule_trains_once_per_time_it_was_due(ledger, flights):
    event = {
        "source": "evergreen.schedule",
        "detail-type": "TrainingScheduled",
        "time": "2013-03-08T00:00:00Z",
        "detail": {"model": "flights", "at": "2013-03-08T00:00:00Z"},
    }
    assert admit(event)["admitted"]
    assert not admit(event, "two")["admitted"]
    event["detail"]["at"] = "2013-03-15T00:00:00Z"
    assert admit(event, "three")["admitted"]


def pin(run="flights-1"):
    return pin_data.handler({"model": "flights", "run": run}, world.CONTEXT)


@pytest.mark.parametrize(
    ("event", "at"),
    [
        (requested(cause(at="2099-01-01T00:00:00Z"), at="2013-03-31T20:00:00Z"), "2013-03-31T20:00:00Z"),
        (requested(at="2099-01-01T00:00:00Z") | {"source": "nightly.features"}, "2013-04-01T00:00:00Z"),
    ],
)
def test_a_time_to_come_holds_nothing_back_until_then(ledger, flights, monkeypatch, event, at):
    """It counts as the event's own, and an event of somebody else's as now."""
    monkeypatch.setattr(times, "now", lambda: times.parse("2013-04-01T00:00:00Z"))
    assert admit(event)["cause"]["at"] == at
    later = uploaded("datasets/flights/a.csv", "2013-04-02T00:00:00Z")
    assert admit(later, "two")["admitted"]


def test_an_event_without_id_or_source_is_one_cause_however_often_it_comes(ledger, flights, monkeypatch):
    """As a program starts the machine itself, with a clock that is ahead."""
    asked = requested(at="2099-01-01T00:00:00Z")
    del asked["id"], asked["source"]
    answers = []
    for day in (1, 2):
        monkeypatch.setattr(times, "now", lambda day=day: times.parse(f"2013-04-0{day}T00:00:00Z"))
        answers.append(admit(asked, f"delivery-{day}"))
    assert [answer["admitted"] for answer in answers] == [True, False]
    assert answers[1]["reason"].endswith(f"was answered already, by run {answers[0]['run']}")


def running(ledger, *runs, at="2013-04-01T00:00:00Z"):
    """Runs that were admitted, for causes of this time."""
    for run in runs:
        ledger.commit(put("flights", f"RUN#{run}", {"digest": world.DIGEST, "at": at}))


def test_data_is_pinned_as_it_is(ledger, bucket, flights):
    running(ledger, "flights-1", "flights-2", "flights-3")
    bucket.put("datasets/flights/2013-02.parquet", "b")
    bucket.put("datasets/flights/2013-01.parquet", "a")
    bucket.put("datasets/flights/2013-03.CSV", "a spreadsheet's")
    bucket.put("datasets/flights/README.md", "not data")
    bucket.put("datasets/flights-old/2013-01.parquet", "another model's")
    pinned = pin()
    assert (pinned["files"], pinned["capture"], pinned["labels"]) == (3, None, None)
    assert bucket.json(pinned["manifest"]) == [
        {"prefix": "s3://bucket/datasets/flights/"},
        "2013-01.parquet",
        "2013-02.parquet",
        "2013-03.CSV",
    ]
    again = pin("flights-2")
    assert again["dataVersion"] == pinned["dataVersion"]
    bucket.put("datasets/flights/2013-02.parquet", "c")
    assert pin("flights-3")["dataVersion"] != again["dataVersion"]


SLIDING = world.MODEL_YAML.replace("window: 90d}", "window: 2d, data: [base, captured]}")


def test_captured_requests_of_the_window_are_pinned_with_their_labels(ledger, bucket):
    onboard(ledger, SLIDING)
    running(ledger, "flights-1", at="2013-04-10T06:30:00Z")
    bucket.put("datasets/flights/a.csv", "a")
    hours = ["2013/04/08/05", "2013/04/08/06", "2013/04/10/06", "2013/04/10/07"]
    for hour in hours:
        bucket.put(f"capture/evergreen-flights/main/{hour}/x.jsonl", hour)
    for hour in ["2013/04/08/05", "2013/04/09/00", "2013/05/01/00"]:
        bucket.put(f"labels/flights/{hour}/x.jsonl", hour)
    for place in ("capture/evergreen-flights/main", "labels/flights"):  # moto skips a key after the marker
        bucket.put(f"{place}/2013/04/08/06", "")
    pinned = pin()
    assert bucket.json(pinned["capture"])[1:] == ["2013/04/08/06/x.jsonl", "2013/04/10/06/x.jsonl"]
    assert bucket.json(pinned["labels"])[1:] == ["2013/04/09/00/x.jsonl", "2013/05/01/00/x.jsonl"]
    listed = bucket.json("s3://bucket/runs/flights-1/data.json")
    assert listed["dataVersion"] == pinned["dataVersion"]
    assert len(listed["files"]) == 5 and all(one["version"] for one in listed["files"])


def test_requests_without_labels_are_no_training_data(ledger, bucket):
    onboard(ledger, SLIDING.replace("[base, captured]", "[captured]"))
    running(ledger, "flights-1", at="2013-04-10T06:30:00Z")
    bucket.put("datasets/flights/a.csv", "a")
    bucket.put("capture/evergreen-flights/main/2013/04/10/06/x.jsonl", "x")
    with pytest.raises(DataMissing, match="no requests with labels under s3://bucket/capture/evergreen-fl"):
        pin()


def test_no_data_says_where_to_put_it(ledger, flights):
    running(ledger, "flights-1")
    with pytest.raises(DataMissing, match="no data under s3://bucket/datasets/flights/: upload Parquet"):
        pin()


UNWATCHED = evaluation()
UNWATCHED["challenger"]["metrics"]["log_loss"] = {"value": None, "low": None, "high": None}


@pytest.mark.parametrize(
    ("figures", "passed", "reason"),
    [
        (evaluation(), True, "passes the gate's floor, 0.65; it beats the best constant prediction"),
        (evaluation(0.64), False, "misses the gate's floor, 0.65"),
        (evaluation(0.72, 0.70), True, "it beats the champion, 0.7000 on the same rows, by more than 0"),
        (evaluation(0.70, 0.72), False, "it is not shown to beat the champion"),
        (UNWATCHED, False, "log_loss could not be computed on the 1,000 held-out rows"),
    ],
)
def test_the_gate(ledger, bucket, flights, figures, passed, reason):
    run = admit(requested(cause()))["run"]
    bucket.put(f"runs/{run}/evaluation/evaluation.json", figures)
    judged = judge_challenger.handler(
        {"model": "flights", "run": run, "evaluation": f"s3://bucket/runs/{run}/evaluation/evaluation.json"},
        world.CONTEXT,
    )
    assert judged["passed"] is passed
    assert reason in judged["reason"]
    assert judged["approval"] == "PendingManualApproval"
    assert all(check["passed"] for check in judged["checks"]) is passed
    assert json.loads(json.dumps(judged)) == judged


def test_the_gates_policy_approves_only_what_passed(ledger, bucket):
    onboard(ledger, world.MODEL_YAML.replace("approval: person", "approval: auto"))
    run = admit(requested(cause()))["run"]
    for value, approval in ((0.72, "Approved"), (0.6, "PendingManualApproval")):
        bucket.put("runs/e.json", evaluation(value))
        event = {"model": "flights", "run": run, "evaluation": "s3://bucket/runs/e.json"}
        assert judge_challenger.handler(event, world.CONTEXT)["approval"] == approval


def closing(plan, outcome, name="one", **more):
    return {"plan": plan, "execution": execution(name), "outcome": outcome, "error": None} | more


REGISTERED = {
    "packageArn": f"{world.GROUP}/1",
    "version": 1,
    "artifact": "s3://bucket/runs/r/model/model.tar.gz",
    "judgement": {
        "reason": "better",
        "metrics": {"roc_auc": 0.72},
        "checks": [{"check": "floor", "passed": True, "figure": 0.72, "limit": 0.65}],
        "figures": {},
        "approval": "Approved",
    },
    "validation": {"train": {"from": "2013-01-01T00:00:00Z", "until": "2013-02-15T00:00:00Z"}},
    "data": {"dataVersion": "abc"},
}


def test_a_registered_version_is_known_and_the_lock_is_free(ledger, flights):
    plan = admit(requested(cause()))
    assert close_run.handler(closing(plan, "registered", **REGISTERED), world.CONTEXT)["reason"] == "better"
    package = ledger.need("flights", "PACKAGE#000001")
    assert (package["status"], package["run"], package["trained_until"]) == (
        "PendingManualApproval",
        plan["run"],
        "2013-02-15T00:00:00Z",
    )
    assert ledger.holder("flights", "train") is None
    assert ledger.need("flights", f"RUN#{plan['run']}")["status"] == "Ended"
    (row,) = kinds(ledger, "RunEnded")
    assert row["checks"] == package["checks"] == REGISTERED["judgement"]["checks"]


def test_what_a_search_chose_stays_with_the_version(ledger, flights):
    plan = admit(requested(cause()))
    tuned = {
        "job": "evergreen-5f0c1a9be72d4",
        "training": "evergreen-5f0c1a9be72d4-007-3c1d90ab",
        "hyperparameters": {"learning-rate": "0.0713"},
        "metric": {"name": "validation:log_loss", "value": 0.4127},
        "trainings": {"completed": 9, "stopped": 2, "failed": 1},
    }
    close_run.handler(closing(plan, "registered", **REGISTERED, tuned=tuned), world.CONTEXT)
    (row,) = kinds(ledger, "RunEnded")
    run, package = ledger.need("flights", f"RUN#{plan['run']}"), ledger.need("flights", "PACKAGE#000001")
    assert row["tuned"] == run["tuned"] == package["tuned"] == tuned


def test_closing_twice_writes_once_and_frees_no_other_runs_lock(ledger, flights, executions):
    plan = admit(requested(cause()))
    ending = closing(plan, "registered", **REGISTERED)
    close_run.handler(ending, world.CONTEXT)
    ledger.commit(ledger_put_status("Rejected"))
    executions.add(execution("two"))
    admit(requested(cause(id="request-2")), "two")
    assert close_run.handler(ending, world.CONTEXT)["reason"] == "better"
    assert len(kinds(ledger, "RunEnded")) == 1
    assert ledger.need("flights", "PACKAGE#000001")["status"] == "Rejected"
    assert ledger.holder("flights", "train")["owner"] == execution("two")


def test_a_run_whose_lock_was_taken_over_still_ends(ledger, flights, executions):
    plan = admit(requested(cause()))
    admit(requested(cause(id="request-2")), "two")  # the first execution is not among the running ones
    close_run.handler(closing(plan, "failed", error={"Error": "States.Timeout", "Cause": ""}), world.CONTEXT)
    assert [row["outcome"] for row in kinds(ledger, "RunEnded")] == ["failed"]
    assert ledger.holder("flights", "train")["owner"] == execution("two")


def test_what_is_told_of_a_run_is_what_the_ledger_has(ledger, flights):
    plan = admit(requested(cause()))
    ended = close_run.handler(closing(plan, "registered", **REGISTERED), world.CONTEXT)["ended"]
    assert {name: ended[name] for name in ("model", "run", "outcome", "version", "reason")} == {
        "model": "flights",
        "run": plan["run"],
        "outcome": "registered",
        "version": 1,
        "reason": "better",
    }
    run, package = ledger.need("flights", f"RUN#{plan['run']}"), ledger.need("flights", "PACKAGE#000001")
    assert ended["record"] == {
        name: value for name, value in run.items() if name not in ("pk", "sk", "plan", "execution")
    }
    assert ended["package"] == {name: value for name, value in package.items() if name not in ("pk", "sk")}


def ledger_put_status(status):
    return ledger.put("flights", "PACKAGE#000001", {"status": status, "version": 1})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            {
                "Error": "States.TaskFailed",
                "Cause": json.dumps(
                    {
                        "TrainingJobName": "evergreen-r-train",
                        "TrainingJobStatus": "Failed",
                        "FailureReason": "AlgorithmError: ValueError: bad, exit code: 1",
                    }
                ),
            },
            "TrainingJob evergreen-r-train failed: AlgorithmError: ValueError: bad, exit code: 1 "
            "(logs: /aws/sagemaker/TrainingJobs, stream evergreen-r-train)",
        ),
        (
            {"Error": "DataMissing", "Cause": '{"errorMessage": "no data here", "errorType": "DataMissing"}'},
            "no data here",
        ),
        ({"Error": "DataRefused", "Cause": "dep_hour: a string"}, "DataRefused: dep_hour: a string"),
        ({"Error": "States.Timeout", "Cause": ""}, "a step did not end within its time limit"),
    ],
)
def test_a_failure_is_told_in_a_sentence(ledger, flights, error, reason):
    plan = admit(requested(cause()))
    assert close_run.handler(closing(plan, "failed", error=error), world.CONTEXT)["reason"] == reason
    assert [row["reason"] for row in kinds(ledger, "RunEnded")] == [reason]
    assert ledger.holder("flights", "train") is None
