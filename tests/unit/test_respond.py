"""The respond machine's handlers: one decision for each signal, at the signal's own time, with its reason."""

from datetime import timedelta

import pytest
from evergreen import decisions, names, times, trainings
from evergreen.errors import AwsUnavailable, EventInvalid
from evergreen.events import Cause
from evergreen.ledger import acquire, put
from respond import admit_return, assess_signal, record_return

from tests.unit import world
from tests.unit.test_monitor import DRIFT, LOSS
from tests.unit.world import cause, execution, kinds

MODEL = world.spec.parse(world.MODEL_YAML)


@pytest.fixture(autouse=True)
def flights(ledger, executions):
    world.onboard(ledger)
    world.champion(ledger)


def window(ledger, day, violations=(LOSS,), version=1, labelled=100, status="Completed"):
    start = times.parse(f"2013-04-{day:02}T00:00:00Z")
    end = start + timedelta(days=1)
    key = f"{times.compact(start)}_{times.compact(end)}"
    edges = {"start": times.iso(start), "end": times.iso(end)}
    record = edges | {
        "status": status,
        "version": version,
        "violations": list(violations),
        "labelled": labelled,
        "rows": 500,
    }
    ledger.commit(put("flights", f"WINDOW#{key}", record))
    return {
        "source": "evergreen.monitor",
        "detail-type": "ViolationFound",
        "time": edges["end"],
        "detail": {
            "model": "flights",
            "window": edges,
            "version": version,
            "signal": f"flights/{key}/abc",
            "violations": len(violations),
            "top": list(violations),
            "cause": cause("violation", f"flights/{key}", edges["end"], "evergreen.monitor"),
        },
    }


def assess(event, name="one", job=None):
    payload = {"event": event, "job": job, "execution": execution(name, "respond")}
    return assess_signal.handler(payload, world.CONTEXT)


def trained(ledger, at, id="earlier", kind="schedule", treats=(), outcome=None, package=None, version=2):
    """A training, admitted; where it has an outcome, ended after half an hour; and what became of its
    version."""
    why = Cause(kind, id, at, "test")
    run = names.run("flights", why.key)
    started = "2026-11-20T00:00:00Z"
    writes = [trainings.record("flights", why, "Admitted", MODEL, frozenset(treats))]
    ended = {"status": "Ended", "outcome": outcome, "ended_at": "2026-11-20T00:30:00Z"}
    record = {"status": "Running", "started_at": started} | (ended if outcome else {})
    if package:
        writes.append(put("flights", names.package(version), {"status": package, "version": version}))
        record["version"] = version
    ledger.commit(*writes, put("flights", f"RUN#{run}", record))
    return run


def test_a_loss_of_quality_retrains_at_once(ledger):
    decision = assess(window(ledger, 10))
    assert decision["action"] == "retrain"
    assert decision["cause"]["kind"] == "violation"
    assert decision["cause"]["at"] == "2013-04-11T00:00:00Z"
    assert "log_loss: worse" in decision["reason"]
    assert [row["action"] for row in kinds(ledger, "SignalAssessed")] == ["retrain"]


def test_on_too_few_labels_it_must_repeat(ledger):
    decision = assess(window(ledger, 10, labelled=49))
    assert decision["action"] == "notify"
    assert "49 labels are fewer than 50" in decision["reason"]


def test_drift_alone_must_repeat(ledger):
    first = assess(window(ledger, 10, [DRIFT], labelled=0))
    assert first["action"] == "notify"
    assert "this is window 1 in a row of the 2 it takes" in first["reason"]
    window(ledger, 11, status="TooFewRows", violations=())  # neither breaks nor lengthens the row
    assert assess(window(ledger, 12, [DRIFT], labelled=0), "two")["action"] == "retrain"


def test_a_clean_window_breaks_the_row(ledger):
    assess(window(ledger, 10, [DRIFT], labelled=0))
    window(ledger, 11, ())
    assert assess(window(ledger, 12, [DRIFT], labelled=0), "two")["action"] == "notify"


def test_windows_of_the_model_before_do_not_count(ledger):
    window(ledger, 10, [DRIFT], labelled=0)
    world.champion(ledger, 2)
    assert assess(window(ledger, 12, [DRIFT], version=2, labelled=0))["action"] == "notify"


def test_a_window_of_a_replaced_model_is_left(ledger):
    world.champion(ledger, 2)
    decision = assess(window(ledger, 10, version=1))
    assert (decision["action"], decision["reason"]) == (
        "leave",
        "log_loss: worse on version 1; version 2 has replaced it",
    )


def test_a_metric_is_named_once(ledger):
    """Most descriptions of a lost metric begin with its name."""
    said = "log_loss 0.62 lies over 0.49"
    decision = assess(window(ledger, 10, [LOSS | {"description": said}]))
    assert decision["reason"].startswith(f"{said}; ")


def test_the_same_signal_five_times_is_one_decision(ledger):
    event = window(ledger, 10)
    actions = [assess(event, str(number))["action"] for number in range(5)]
    assert actions == ["retrain"] + ["leave"] * 4
    reasons = [row["reason"] for row in kinds(ledger, "SignalAssessed")]
    assert sum(reason.startswith("already decided: retrain") for reason in reasons) == 4


def test_killed_after_its_side_effect_and_retried_it_gives_the_same_answer(ledger):
    event = window(ledger, 10)
    first = assess(event)
    trained(ledger, "2013-04-11T00:00:00Z")  # it acted already; judged anew, this would say cool-down
    assert assess(event) == first
    assert len(kinds(ledger, "SignalAssessed")) == 1


def test_two_signals_at_once_do_not_both_find_the_budget_unspent(ledger, monkeypatch):
    """Between the reading and the writing of one judgement another signal is judged."""
    first, second = window(ledger, 10), window(ledger, 11)
    real, raced = decisions.assess, []

    def slow(signal, spec, now):
        if not raced:
            raced.append(True)
            raced.append(assess(second, "two")["action"])
        return real(signal, spec, now)

    monkeypatch.setattr(decisions, "assess", slow)
    late = assess(first)
    assert raced[1] == "retrain"
    assert late["action"] == "leave"
    assert "was asked for on 2013-04-12T00:00:00Z and is about to train" in late["reason"]


def test_cool_down_and_budget(ledger):
    trained(ledger, "2013-04-10T20:00:00Z")
    decision = assess(window(ledger, 10))
    assert decision["action"] == "leave"
    assert "4.0 h after the last training, within the cool-down of 6h" in decision["reason"]
    trained(ledger, "2013-04-11T01:00:00Z", "b")
    trained(ledger, "2013-04-11T02:00:00Z", "c")
    decision = assess(window(ledger, 11), "two")
    assert "3 trainings in 24 hours use up the budget of 2" not in decision["reason"]
    assert "2 trainings in 24 hours use up the budget of 2" in decision["reason"]


def test_a_late_signal_is_judged_at_its_own_time(ledger):
    trained(ledger, "2013-04-20T00:00:00Z")
    decision = assess(window(ledger, 10))
    assert decision["action"] == "leave"
    assert "a training of 2013-04-20T00:00:00Z came after it" in decision["reason"]


def test_a_window_that_ends_in_days_to_come_is_judged_as_of_its_event(ledger):
    """Asked for by a program, as until now and more: its training must not hold back until then."""
    asked = window(ledger, 20) | {"time": "2013-04-20T09:00:00Z"}
    decision = assess(asked)
    assert (decision["action"], decision["cause"]["at"]) == ("retrain", "2013-04-20T09:00:00Z")


def test_while_a_run_is_in_progress_it_is_left(ledger, executions):
    ledger.commit(acquire("flights", "train", execution("t"), 3600, run="flights-1"))
    executions.add(execution("t"))
    assert "run flights-1 is training already" in assess(window(ledger, 10))["reason"]
    executions.clear()
    assert assess(window(ledger, 11), "two")["action"] == "retrain"


def test_a_model_that_does_not_retrain_on_violations_notifies(ledger):
    world.onboard(ledger, world.MODEL_YAML.replace("on: [violation, data]", "on: [data]"))
    assert assess(window(ledger, 10))["action"] == "notify"


def alarm(at, deployment="evergreen-flights-v2-aaaaaa"):
    return {
        "source": "aws.cloudwatch",
        "detail-type": "CloudWatch Alarm State Change",
        "time": at,
        "detail": {"alarmName": f"{deployment}-errors", "state": {"value": "ALARM"}},
    }


def second_champion(ledger):
    before = ledger.get("flights", "CHAMPION")
    world.champion(ledger, 2, promoted_at="2013-07-01T00:00:00Z", previous=before)
    deployment = "evergreen-flights-v2-aaaaaa"
    ledger.commit(put("flights", f"DEPLOYMENT#{deployment}", {"status": "Promoted"}))


def test_an_alarm_within_probation_returns_to_the_version_before(ledger, sagemaker):
    second_champion(ledger)
    sagemaker.package(f"{world.GROUP}/2")
    decision = assess(alarm("2013-07-01T20:00:00Z"))
    assert decision["action"] == "rollback"
    assert decision["rollback"]["config"] == "evergreen-flights-v1-aaaaaa"
    assert ledger.holder("flights", "deploy")["owner"] == execution("one", "respond")
    for _ in range(2):  # killed after its side effect, and retried
        event = {"decision": decision, "execution": execution("one", "respond")}
        assert record_return.handler(event, world.CONTEXT) == {"version": 1}
    champion = ledger.need("flights", "CHAMPION")
    assert (champion["version"], champion["previous"]) == (1, None)
    assert sagemaker.packages[f"{world.GROUP}/2"]["ModelApprovalStatus"] == "Rejected"
    assert len(sagemaker.updates) == 1
    assert ledger.need("flights", "PACKAGE#000002")["status"] == "RolledBack"
    assert ledger.need("flights", "PACKAGE#000001")["status"] == "InService"
    assert ledger.holder("flights", "deploy") is None
    assert len(kinds(ledger, "DeploymentRolledBack", "ModelDeployed")) == 2


def asked(deployment="evergreen-flights-v2-aaaaaa", id="request-1", **more):
    """As the API sends it."""
    detail = {"model": "flights", "deployment": deployment, "version": 2, "reason": "calls Newark late"}
    detail |= {"cause": cause("person", id, "2013-09-01T00:00:00Z", "ann")} | more
    return {
        "source": "evergreen.api",
        "detail-type": "RollbackRequested",
        "time": "2013-09-01T00:00:00Z",
        "detail": detail,
    }


def admit(event, name="one"):
    return admit_return.handler({"event": event, "execution": execution(name, "respond")}, world.CONTEXT)


def test_a_person_returns_to_the_version_before_at_any_time(ledger, sagemaker, executions):
    second_champion(ledger)
    sagemaker.package(f"{world.GROUP}/2")
    executions.add(execution("one", "respond"))
    decision = admit(asked())
    assert admit(asked()) == decision  # killed after its side effect, and retried
    assert (decision["action"], decision["rollback"]["config"]) == ("rollback", "evergreen-flights-v1-aaaaaa")
    assert ledger.holder("flights", "deploy")["owner"] == execution("one", "respond")
    assert "already decided: rollback" in admit(asked(), "two")["reason"]
    again = admit(asked(id="request-2"), "three")
    assert (again["action"], "is being taken out of service already" in again["reason"]) == ("notify", True)
    record_return.handler({"decision": decision, "execution": execution("one", "respond")}, world.CONTEXT)
    assert ledger.need("flights", "CHAMPION")["version"] == 1
    rejected = sagemaker.packages[f"{world.GROUP}/2"]
    assert rejected["ApprovalDescription"] == "rolled back: calls Newark late (by ann)"
    (told,) = kinds(ledger, "DeploymentRolledBack")
    assert (told["reason"], told["cause"]["by"], told["at"]) == (
        "calls Newark late",
        "ann",
        "2013-09-01T00:00:00Z",
    )
    late = admit(asked(id="request-3"), "four")
    assert (late["action"], "is not in service any more" in late["reason"]) == ("leave", True)
    actions = [row["action"] for row in kinds(ledger, "SignalAssessed")]
    assert sorted(actions) == ["leave", "leave", "notify", "rollback"]


def test_a_person_is_told_what_is_in_the_way_of_a_return(ledger, executions):
    assert "there is no version before version 1" in admit(asked("evergreen-flights-v1-aaaaaa"))["reason"]
    second_champion(ledger)
    ledger.commit(
        acquire("flights", "deploy", execution("d"), 3600, deployment="evergreen-flights-v3-bbbbbb")
    )
    executions.add(execution("d"))
    decision = admit(asked(id="request-2"), "two")
    assert decision["action"] == "notify"
    assert "evergreen-flights-v3-bbbbbb is being deployed" in decision["message"]


def test_a_deployment_that_begins_meanwhile_is_met_again(ledger, executions, monkeypatch):
    second_champion(ledger)
    executions.add(execution("d"))
    ledger.commit(
        acquire("flights", "deploy", execution("d"), 3600, deployment="evergreen-flights-v3-bbbbbb")
    )
    with monkeypatch.context() as patch:
        patch.setattr(admit_return.deployments, "under_way", lambda *args: "")
        patch.setattr(admit_return.LEDGER, "holder", lambda *args: None)
        with pytest.raises(AwsUnavailable):
            admit(asked())
    assert admit(asked())["action"] == "notify"
    with pytest.raises(EventInvalid):
        admit(asked(reason="", id="request-9"))


def test_a_dead_deployments_lock_does_not_hinder_the_return(ledger):
    second_champion(ledger)
    ledger.commit(acquire("flights", "deploy", execution("dead"), 3600, deployment="x"))
    assert assess(alarm("2013-07-01T20:00:00Z"))["action"] == "rollback"
    assert ledger.holder("flights", "deploy")["owner"] == execution("one", "respond")


@pytest.mark.parametrize(
    ("at", "deployment", "action", "reason"),
    [
        ("2013-07-02T01:00:00Z", "evergreen-flights-v2-aaaaaa", "notify", "past its probation of 1d"),
        ("2013-07-01T01:00:00Z", "evergreen-flights-v1-aaaaaa", "leave", "which is not in service"),
        ("2013-07-01T01:00:00Z", "another-flights-v1-aaaaaa", "leave", "is not a rollback alarm"),
    ],
)
def test_other_alarms(ledger, at, deployment, action, reason):
    second_champion(ledger)
    decision = assess(alarm(at, deployment))
    assert decision["action"] == action
    assert reason in decision["reason"]


def test_an_alarm_of_a_model_that_nobody_published_is_left(ledger):
    """Of a stack whose name begins with ours: evergreen-prod's model flights would be our prod-flights."""
    decision = assess(alarm("2013-07-01T01:00:00Z", "evergreen-prod-flights-v1-aaaaaa"))
    assert (decision["action"], decision["reason"]) == ("leave", "no model prod-flights is onboarded")
    assert not list(ledger.query("prod-flights", "H#"))


def test_a_violation_of_a_model_that_nobody_published_is_left(ledger):
    event = window(ledger, 10)
    event["detail"]["model"] = "ghosts"
    assert assess(event)["reason"] == "no model ghosts is onboarded"


def test_an_alarm_during_a_deployment_is_sagemakers(ledger, executions):
    second_champion(ledger)
    going = "evergreen-flights-v3-bbbbbb"
    ledger.commit(acquire("flights", "deploy", execution("d"), 3600, deployment=going))
    executions.add(execution("d"))
    assert "rolls back by itself" in assess(alarm("2013-07-01T01:00:00Z", going))["reason"]
    decision = assess(alarm("2013-07-01T02:00:00Z"), "two")
    assert decision["action"] == "notify"
    assert f"{going} is being deployed" in decision["reason"]


def test_with_nothing_to_return_to_a_person_is_called(ledger):
    assert assess(alarm("2013-03-01T01:00:00Z", "evergreen-flights-v1-aaaaaa"))["action"] == "notify"


def native(name="job-1", end="2013-04-11T00:00:00Z"):
    event = {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Processing Job State Change",
        "time": end,
        "detail": {"ProcessingJobName": name, "ProcessingJobStatus": "Completed"},
    }
    job = {
        "schedule": "arn:aws:sagemaker:eu-central-1:1:monitoring-schedule/evergreen-flights-hourly",
        "message": "CompletedWithViolations: Job completed successfully with 3 violations.",
        "environment": {"start_time": "2013-04-10T23:00:00Z", "end_time": end},
    }
    return event, job


def test_a_native_monitors_violations_count_like_drift(ledger):
    event, job = native()
    decision = assess(event, job=job)
    assert decision["action"] == "notify"
    assert "SageMaker Model Monitor found 3 violations, job job-1" in decision["reason"]
    event, job = native("job-2", "2013-04-12T00:00:00Z")
    assert assess(event, "two", job)["action"] == "retrain"


def test_another_monitors_schedule_is_left(ledger):
    event, job = native()
    job["schedule"] = job["schedule"].replace("evergreen-flights", "theirs")
    decision = assess(event, job=job)
    assert (decision["action"], decision["model"]) == ("leave", "")
