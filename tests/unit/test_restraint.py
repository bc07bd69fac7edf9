"""Restraint through the handlers: signals at once, out of order and twice, executions that die, requests that
are lost."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from threading import Lock

import pytest
from evergreen import aws, budget, names, times, trainings
from evergreen.ledger import Ledger, put
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from respond import assess_signal
from train import admit_run, close_run

from tests.unit import world
from tests.unit.memory import Table
from tests.unit.test_respond import window
from tests.unit.world import execution, kinds

START = times.parse("2013-04-01T00:00:00Z")
LOSS = {"feature_name": "log_loss", "constraint_check_type": "model_quality_check", "description": "worse"}


@pytest.fixture
def table(executions, monkeypatch) -> Table:
    """The ledger's table in memory."""
    memory = Table()
    memory.install(monkeypatch)
    return memory


def storm(ledger, signals):
    """So many different signals of one window, eight at a time."""
    world.onboard(ledger)
    world.champion(ledger)
    event = window(ledger, 10)

    def answer(number):
        detail = event["detail"] | {"signal": f"storm-{number}"}
        payload = {"event": event | {"detail": detail}, "job": None}
        payload["execution"] = execution(str(number), "respond")
        return assess_signal.handler(payload, world.CONTEXT)

    with ThreadPoolExecutor(8) as pool:
        decisions = list(pool.map(answer, range(signals)))
    assert sorted(decision["action"] for decision in decisions) == ["leave"] * (signals - 1) + ["retrain"]
    assert len(list(ledger.query("flights", "TRAINING#"))) == 1
    rows = kinds(ledger, "SignalAssessed")
    assert len(rows) == signals and all(row["reason"] for row in rows)


def test_a_storm_of_a_thousand_signals_is_one_training(ledger, table):
    storm(ledger, 1000)


def test_a_storm_on_dynamodbs_own_conditions(ledger, executions, monkeypatch):
    """moto's DynamoDB, whose calls are made atomic; what lies between them is not."""
    call, pages, one = aws.call, aws.pages, Lock()

    def guarded(*args, **kwargs):
        with one:
            return call(*args, **kwargs)

    def listed(*args, **kwargs):
        with one:
            return iter(list(pages(*args, **kwargs)))

    monkeypatch.setattr(aws, "call", guarded)
    monkeypatch.setattr(aws, "pages", listed)
    storm(ledger, 40)


# Of the train machine: Step Functions ends what runs longer.
TIMEOUT = timedelta(hours=25)
hours = st.integers(0, 24 * 40)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("signal"), st.integers(0, 40)),
        st.tuples(st.just("deliver"), st.integers(0, 3)),
        st.tuples(st.sampled_from(["schedule", "data", "person", "program"]), hours),
        st.tuples(st.just("end"), st.sampled_from(["rejected", "failed", "refused"])),
        st.tuples(st.just("crash"), st.none()),
        st.tuples(st.just("wait"), st.sampled_from([10, 3 * 3600, 30 * 3600])),
    ),
    max_size=14,
)
fresh = count()


class World:
    """One model, its machines in their executions' places, and a clock for expiries."""

    def __init__(self, ledger: Ledger, running: set[str], monkeypatch: pytest.MonkeyPatch, jobs: int):
        self.ledger, self.running, self.model = ledger, running, f"m{next(fresh)}"
        self.now = times.parse("2026-11-20T00:00:00Z")
        monkeypatch.setattr(times, "now", lambda: self.now)
        running.clear()
        self.spec = world.spec.parse(world.MODEL_YAML)
        self.spec["retrain"] |= {"budget": 2.0, "cool_down": 3600, "per_day": 2}
        self.spec["retrain"]["on"] = ["violation", "data"]
        if jobs > 1:
            space = {"rate": {"type": "number", "min": 0.1, "max": 0.9, "scale": "auto"}}
            search = {"strategy": "random", "metric": None, "ranges": space, "early_stopping": False}
            self.spec["train"]["tune"] = search | {"jobs": jobs, "parallel": 3}
        item = {"spec": json.dumps(self.spec), "digest": world.DIGEST}
        champion = {"version": 1, "deployment": "d1", "promoted_at": "2013-03-01T00:00:00Z", "previous": None}
        carried = {"model_data": "s3://b/m", "code": "s3://b/c/", "trained_until": "2013-02-15T00:00:00Z"}
        ledger.commit(put(self.model, "SPEC", item), put(self.model, f"SPEC#{world.DIGEST}", item))
        ledger.commit(put(self.model, "CHAMPION", champion | carried | {"run": "r0"}))
        self.plans: dict[str, dict] = {}
        self.asked: list[dict] = []
        self.began = {}
        self.number = count()

    def signal(self, day):
        start = START + timedelta(days=day)
        edges = {"start": times.iso(start), "end": times.iso(start + timedelta(days=1))}
        key = f"{times.compact(start)}_{times.compact(start + timedelta(days=1))}"
        record = {"status": "Completed", "version": 1, "violations": [LOSS], "labelled": 100}
        self.ledger.commit(put(self.model, f"WINDOW#{key}", edges | record))
        why = world.cause("violation", f"{self.model}/{key}", edges["end"], "evergreen.monitor")
        detail = {"model": self.model, "window": edges, "version": 1, "signal": f"{self.model}/{key}/x"}
        event = {
            "source": "evergreen.monitor",
            "detail-type": "ViolationFound",
            "time": edges["end"],
            "detail": detail | {"cause": why},
        }
        payload = {"event": event, "job": None, "execution": execution(f"r{next(self.number)}", "respond")}
        decision = assess_signal.handler(payload, world.CONTEXT)
        assert decision["reason"]
        if decision["action"] == "retrain":
            self.asked.append(decision["cause"])
        return decision

    def deliver(self, place):
        """A request that respond sent; it stays on the bus, and may come again."""
        if self.asked:
            self.train(self.asked[place % len(self.asked)])

    def train(self, cause):
        arn = execution(f"{self.model}-{next(self.number)}")
        self.running.add(arn)
        self.began[arn] = self.now
        plan = admit_run.handler(
            {"event": world.requested(cause, self.model), "execution": arn}, world.CONTEXT
        )
        assert plan["reason"]
        if plan["admitted"]:
            self.plans[arn] = plan
        else:
            self.running.discard(arn)
        return plan

    def end(self, outcome):
        for arn in [arn for arn in self.plans if arn in self.running]:
            event = {"plan": self.plans[arn], "execution": arn, "outcome": outcome, "error": None}
            close_run.handler(event, world.CONTEXT)
            self.running.discard(arn)

    def step(self, kind, value):
        if kind == "crash":
            self.running.clear()
        elif kind == "wait":
            self.now += timedelta(seconds=value)
            old = {arn for arn, began in self.began.items() if self.now - began > TIMEOUT}
            self.running.difference_update(old)
        elif kind in ("signal", "deliver", "end"):
            getattr(self, kind)(value)
        else:
            at = times.iso(START + timedelta(hours=value))
            self.train(world.cause(kind, f"{kind}-{value}", at))

    def check(self):
        assert len(self.running) <= 1  # never two trainings at once
        known = trainings.read(self.ledger, self.model, START + timedelta(days=60), 0)
        for month in ("2013-04", "2013-05"):
            of_month = [t for t in known if t.counts and budget.month(t.at) == month]
            spent = sum(training.cost for training in of_month)
            # A person may go beyond it; what is not a person's stays within it.
            assert spent <= 2.0 + sum(t.cost for t in of_month if t.kind == "person") + 1e-3
        rows = kinds(self.ledger, "SignalAssessed", "RunDropped", model=self.model)
        assert all(row["reason"] for row in rows)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    print_blob=True,
)
@given(steps=steps, jobs=st.sampled_from([1, 4]))
def test_whatever_happens_in_whatever_order(ledger, executions, table, steps, jobs):
    with pytest.MonkeyPatch.context() as monkeypatch:
        one = World(ledger, executions, monkeypatch, jobs)
        for kind, value in steps:
            one.step(kind, value)
            one.check()
        # All of it dies: nothing that was held is held for ever.
        one.running.clear()
        one.now += timedelta(hours=2)
        assert one.train(world.cause("person", "last", "2013-06-30T00:00:00Z"))["admitted"]
        one.end("rejected")
        assert one.signal(120)["action"] == "retrain"  # in August: another month, a person has tried


def test_the_same_signal_in_two_executions_at_once_is_one_decision(ledger, executions, monkeypatch):
    """The other one commits between this one's judgement and its record."""
    world.onboard(ledger)
    world.champion(ledger)
    event, real, raced = window(ledger, 10), Ledger.commit, []

    def answer(name):
        payload = {"event": event, "job": None, "execution": execution(name, "respond")}
        return assess_signal.handler(payload, world.CONTEXT)

    def commit(self, *writes):
        if not raced:
            raced.append(True)
            raced.append(answer("two"))
        return real(self, *writes)

    monkeypatch.setattr(Ledger, "commit", commit)
    late = answer("one")
    assert (raced[1]["action"], late["action"]) == ("retrain", "leave")
    assert "already decided: retrain" in late["reason"]


def test_a_request_that_is_lost_does_not_stop_the_next(ledger, executions, monkeypatch):
    world.onboard(ledger)
    world.champion(ledger)
    first = window(ledger, 10)
    now = times.now()
    monkeypatch.setattr(times, "now", lambda: now)
    payload = {"event": first, "job": None, "execution": execution("one", "respond")}
    cause = assess_signal.handler(payload, world.CONTEXT)["cause"]
    run = names.run("flights", f"{cause['kind']}:{cause['id']}")
    payload = {"event": window(ledger, 11), "job": None, "execution": execution("two", "respond")}
    assert run in assess_signal.handler(payload, world.CONTEXT)["reason"]
    monkeypatch.setattr(times, "now", lambda: now + timedelta(hours=2))
    payload = {"event": window(ledger, 12), "job": None, "execution": execution("three", "respond")}
    assert assess_signal.handler(payload, world.CONTEXT)["action"] == "retrain"
    # Should the first come after all, it is judged anew: a training came after it.
    admitted = admit_run.handler(
        {"event": world.requested(cause), "execution": execution("late")}, world.CONTEXT
    )
    assert not admitted["admitted"]
