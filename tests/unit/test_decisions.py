"""What a signal calls for, and what holds of each answer whatever the records say."""

from datetime import timedelta

import pytest
from evergreen import budget, decisions, times
from evergreen.decisions import Signal, Situation
from evergreen.episodes import Training
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import world

MODEL = world.spec.parse(world.MODEL_YAML)
START = times.parse("2013-04-01T00:00:00Z")
WEEK = timedelta(days=7)
LOSS = {"feature_name": "log_loss", "constraint_check_type": "model_quality_check", "description": "worse"}
DRIFT = {
    "feature_name": "origin",
    "constraint_check_type": "baseline_drift_check",
    "description": "moved",
    "value": 0.3,
    "threshold": 0.2,
}
TYPE = {"feature_name": "temp", "constraint_check_type": "data_type_check", "description": "text"}
MISSING = {"feature_name": "temp", "constraint_check_type": "completeness_check", "description": "gone"}
SKEW = {
    "feature_name": "temp",
    "constraint_check_type": "training_serving_skew_check",
    "description": "differs",
}
TWICE = {"feature_name": "rows", "constraint_check_type": "duplicate_check", "description": "twice"}
RULE = {"feature_name": "night", "constraint_check_type": "custom_rule_check", "description": "at night"}
QUALITY = frozenset({"quality:log_loss"})


def champion(version=1, promoted=START, previous=None):
    return {
        "version": version,
        "deployment": f"d{version}",
        "promoted_at": times.iso(promoted),
        "previous": previous,
    }


def window(week, *violations, version=1, labelled=100):
    """The window of a week, as the ledger has it."""
    edges = {"start": times.iso(START + week * WEEK), "end": times.iso(START + (week + 1) * WEEK)}
    about = {"status": "Completed", "version": version, "labelled": labelled}
    return edges | about | {"violations": list(violations)}


def signal(week, *violations, version=1, labelled=100):
    start = START + week * WEEK
    return Signal("violation", start + WEEK, version, violations, labelled, start=start)


def training(week, outcome="rejected", package="", version=None, kind="violation", **more):
    """A training that the window of this week caused."""
    treats = more.pop("treats", QUALITY)
    at = more.pop("at", START + (week + 1) * WEEK)
    return Training(f"run-{week}", kind, at, "Ended", treats, 0.5, outcome, version, package, **more)


def assess(found, spec=MODEL, **now):
    return decisions.assess(found, spec, Situation(**{"champion": champion()} | now))


def test_two_trainings_that_did_not_cure_it_call_a_person_once():
    windows = [window(week, LOSS) for week in range(3)]
    one = assess(signal(1, LOSS), windows=windows[:2], trainings=[training(0)])
    assert one.action == "retrain"
    assert "window 2 in a row, since 2013-04-01T00:00:00Z, on 100 labels" in one.reason
    assert "run run-0: rejected did not cure it" in one.reason
    tried = [training(0), training(1)]
    two = assess(signal(2, LOSS), windows=windows, trainings=tried)
    assert (two.action, two.tells) == ("notify", QUALITY)
    assert "2 trainings did not cure it (run run-0: rejected, run run-1: rejected)" in two.reason
    told = {"quality:log_loss": "2013-04-22T00:00:00Z"}
    assert assess(signal(3, LOSS), windows=windows, trainings=tried, told=told).action == "leave"


def test_a_single_training_is_no_trainings():
    """Limits of one are common."""
    windows, tried = [window(week, LOSS) for week in range(2)], [training(0)]
    patient = MODEL | {"retrain": MODEL["retrain"] | {"give_up_after": 1}}
    answer = assess(signal(1, LOSS), patient, windows=windows, trainings=tried)
    assert "1 training did not cure it (run run-0: rejected): " in answer.reason
    frugal = MODEL | {"retrain": MODEL["retrain"] | {"per_day": 1}}
    lately = [training(0, at=START + 2 * WEEK - timedelta(hours=12), treats=frozenset())]
    answer = assess(signal(1, LOSS), frugal, windows=windows, trainings=lately)
    assert answer.reason.endswith("; 1 training in 24 hours uses up the budget of 1")


def test_a_cure_that_did_not_last_is_none():
    """Each training's model shows the same again in its first windows."""
    windows = [window(0, LOSS), window(1, LOSS, version=2), window(2, LOSS, version=3)]
    tried = [training(0, "registered", "Replaced", 2), training(1, "registered", "InService", 3)]
    answer = assess(signal(2, LOSS, version=3), champion=champion(3), windows=windows, trainings=tried)
    assert answer.action == "notify"
    assert "(run run-0: deployed, run run-1: deployed)" in answer.reason


def test_clean_windows_end_an_episode_and_so_does_a_person():
    tried = [training(0), training(1)]
    ill = [window(week, LOSS) for week in range(2)]
    clean = [window(2), window(3)]
    told = {"quality:log_loss": "2013-04-10T00:00:00Z"}
    assert assess(signal(4, LOSS), windows=ill + clean, trainings=tried, told=told).action == "retrain"
    assert assess(signal(4, LOSS), windows=ill + clean[:1], trainings=tried).action == "notify"
    unlabelled = [window(2, labelled=3), window(3, labelled=3)]  # says nothing of quality
    assert assess(signal(4, LOSS), windows=ill + unlabelled, trainings=tried).action == "notify"
    tried.append(training(2, "registered", "Rejected", 2, kind="person", treats=frozenset()))
    assert assess(signal(4, LOSS), windows=ill, trainings=tried, told=told).action == "retrain"


def test_a_version_that_waits_for_approval_is_not_trained_twice():
    waiting = [training(0, "registered", "PendingManualApproval", 2, at=START + WEEK)]
    late = assess(signal(1, LOSS), windows=[window(0, LOSS)], trainings=waiting)
    assert late.action == "notify"
    assert "version 2, trained for it, waits for approval" in late.reason
    patient = MODEL | {"retrain": MODEL["retrain"] | {"cool_down": 14 * 86400}}
    assert assess(signal(1, LOSS), patient, windows=[window(0, LOSS)], trainings=waiting).action == "leave"


def test_drift_that_does_no_harm_is_left():
    answer = assess(signal(1, DRIFT), windows=[window(0, DRIFT)])
    assert answer.action == "leave"
    assert "log_loss holds on the 100 labels of this window" in answer.reason
    assert assess(signal(1, DRIFT, labelled=0), windows=[window(0, DRIFT)]).action == "retrain"


def test_a_strong_effect_needs_one_window_less_of_three():
    three = MODEL | {"retrain": MODEL["retrain"] | {"repeat": 3}}
    strong = DRIFT | {"value": 0.4}
    for drift, action in ((DRIFT, "notify"), (strong, "retrain")):
        found = signal(1, drift, labelled=0)
        assert assess(found, three, windows=[window(0, drift, labelled=0)]).action == action


@pytest.mark.parametrize("violations", [(TYPE,), (MISSING,), (SKEW,), (TWICE,), (LOSS, TYPE), (LOSS, SKEW)])
def test_a_fault_in_what_arrives_is_not_trained_on(violations):
    answer = assess(signal(1, *violations), windows=[window(0, *violations)])
    assert answer.action == "notify"
    assert "a training would learn the fault" in answer.reason


@pytest.mark.parametrize("other", [MISSING, TWICE, RULE])
def test_a_loss_beside_what_no_training_cures_is_a_loss(other):
    assert assess(signal(1, LOSS, other)).action == "retrain"


def test_a_broken_rule_is_answered_by_its_severity():
    """A rule that asks for a training gets one where it repeats, though quality holds: its owner said so."""
    told = assess(signal(1, RULE), windows=[window(0, RULE)])
    assert told.action == "notify" and "the rule's severity is notify" in told.reason
    asking = RULE | {"severity": "retrain"}
    once = assess(signal(1, asking))
    assert once.action == "notify" and "window 1 in a row of the 2" in once.reason
    twice = assess(signal(1, asking), windows=[window(0, asking)])
    assert (twice.action, twice.treats) == ("retrain", frozenset({"rule:night"}))
    beside = assess(signal(1, DRIFT, RULE, labelled=0), windows=[window(0, DRIFT)])
    assert (beside.action, beside.treats) == ("retrain", frozenset({"drift:origin"}))


def test_what_has_passed_is_left():
    answer = assess(signal(1, LOSS), windows=[window(1, LOSS), window(2)])
    assert answer.action == "leave"
    assert "the window that ended 2013-04-22T00:00:00Z is free of it" in answer.reason


def test_a_version_that_is_worse_than_the_one_before_goes_back_on_probation():
    patient = MODEL | {"ship": MODEL["ship"] | {"probation": 30 * 86400}}
    now = {"champion": champion(2, START + WEEK, {"version": 1})}
    found = signal(1, LOSS, version=2)
    well = assess(found, patient, windows=[window(0)], **now)
    assert well.action == "rollback"
    assert "version 1 was well in its last window" in well.reason
    assert assess(found, patient, windows=[window(0, LOSS)], **now).action == "retrain"
    assert assess(found, patient, windows=[], **now).action == "retrain"
    assert assess(found, windows=[window(0)], **now).action == "retrain"  # a week is past a day's probation


def test_the_months_budget_is_kept_and_told_once():
    tight = MODEL | {"retrain": MODEL["retrain"] | {"budget": 0.8}}
    assert budget.reserve(MODEL) == pytest.approx(3 * 0.115)
    spent = [training(0, treats=frozenset(), kind="schedule")]
    answer = assess(signal(1, LOSS), tight, trainings=spent)
    assert (answer.action, answer.tells) == ("notify", {"budget:2013-04"})
    assert "0.50 USD of 2013-04 are spent or reserved, and a training may cost 0.34" in answer.reason
    told = {"budget:2013-04": "2013-04-10T00:00:00Z"}
    assert assess(signal(1, LOSS), tight, trainings=spent, told=told).action == "leave"
    assert assess(signal(5, LOSS), tight, trainings=spent).action == "retrain"  # another month
    for kind, refused in (("schedule", True), ("code", True), ("program", True), ("person", False)):
        at = START + 2 * WEEK
        assert bool(decisions.may_train(kind, tight, at, spent)) is refused


moments = st.integers(0, 1500).map(lambda hours: START + timedelta(hours=hours))
checks = st.sampled_from(
    [
        "model_quality_check",
        "baseline_drift_check",
        "completeness_check",
        "bias_drift_check",
        "data_type_check",
        "new_check",
    ]
)
violation = st.builds(
    lambda name, check, value: {
        "feature_name": name,
        "constraint_check_type": check,
        "value": value,
        "threshold": 0.2,
    },
    st.sampled_from("ab"),
    checks,
    st.floats(0, 1),
)
violations = st.lists(violation, max_size=4)
windows = st.lists(
    st.builds(
        lambda week, found, version, labelled: window(week, *found, version=version, labelled=labelled),
        st.integers(-4, 8),
        violations,
        st.integers(1, 2),
        st.integers(0, 200),
    ),
    max_size=8,
)
ailments = st.frozensets(st.sampled_from(["quality:a", "quality:b", "drift:a", "bias:b"]), max_size=2)
trainings = st.lists(
    st.builds(
        Training,
        run=st.text("abc", min_size=1, max_size=4),
        kind=st.sampled_from(["violation", "data", "schedule", "person", "code"]),
        at=moments,
        status=st.sampled_from(["Asked", "Admitted", "Ended", "Dropped"]),
        treats=ailments,
        cost=st.floats(0, 2),
        outcome=st.sampled_from(["registered", "rejected", "refused", "failed"]),
        version=st.integers(1, 3),
        package=st.sampled_from(["PendingManualApproval", "InService", "RolledBack", "Rejected"]),
    ),
    max_size=6,
)


@given(
    week=st.integers(0, 6),
    found=violations,
    labelled=st.integers(0, 200),
    seen=windows,
    tried=trainings,
    cool_down=st.integers(0, 60),
    limits=st.tuples(st.integers(1, 4), st.floats(0.6, 4), st.integers(1, 3), st.integers(1, 3)),
    searched=st.integers(1, 24),
    locks=st.tuples(st.sampled_from(["", "run-x"]), st.sampled_from(["", "d9"])),
)
def test_restraint_holds_whatever_the_records_say(
    week, found, labelled, seen, tried, cool_down, limits, searched, locks
):
    per_day, most, give_up_after, repeat = limits
    retrain = {
        "cool_down": cool_down * 3600,
        "per_day": per_day,
        "budget": most,
        "give_up_after": give_up_after,
        "repeat": repeat,
    }
    tune = {"strategy": "random", "ranges": {}, "jobs": searched, "parallel": 2}
    train = MODEL["train"] | {"tune": tune if searched > 1 else None}
    spec = MODEL | {"retrain": MODEL["retrain"] | retrain, "train": train}
    asked = signal(week, *found, labelled=labelled)
    now = {"windows": seen, "trainings": tried, "running": locks[0], "deploying": locks[1]}
    answer = assess(asked, spec, **now)
    assert answer.reason
    # Whatever order the records come in, the answer is the same.
    assert (
        assess(asked, spec, **now | {"windows": seen[::-1], "trainings": tried[::-1]}).action == answer.action
    )
    if answer.action != "retrain":
        return
    count = [training for training in tried if training.counts]
    assert locks == ("", "") and not any(training.status == "Asked" for training in tried)
    assert all(training.at <= asked.at for training in count)
    assert all(asked.at - training.at >= timedelta(hours=cool_down) for training in count)
    assert sum(asked.at - training.at < timedelta(days=1) for training in count) < per_day
    month = [training.cost for training in count if budget.month(training.at) == budget.month(asked.at)]
    assert sum(month) + budget.reserve(spec) <= most + 1e-3
    if not seen and not any(training.kind in ("person", "code") for training in count):
        failed = [t for t in count if t.treats & answer.treats and t.status == "Ended" and not t.waits]
        assert len(failed) < give_up_after


@given(
    hours=st.integers(-10, 100),
    previous=st.booleans(),
    deploying=st.sampled_from(["", "d2", "e"]),
    deployment=st.sampled_from(["d2", "e"]),
)
def test_an_alarm_rolls_back_only_the_champion_on_probation(hours, previous, deploying, deployment):
    now = champion(2, START, {"version": 1} if previous else None)
    found = Signal("alarm", START + timedelta(hours=hours), 2, deployment=deployment, name="a")
    answer = assess(found, champion=now, deploying=deploying)
    assert answer.reason
    if answer.action == "rollback":
        assert previous and deployment == "d2" and not deploying and hours <= 24
