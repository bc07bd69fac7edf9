"""The onboard machine's handlers: every mistake at once, each digest once, late publications judged at their
own time."""

import json
from datetime import timedelta

import pytest
from evergreen import partner, times
from evergreen.errors import EventInvalid, SpecInvalid
from onboard import check_spec, record_onboarding, record_refusal

from tests.unit import world
from tests.unit.world import DIGEST, MODEL_YAML, execution, kinds, uploaded

KEY = f"models/flights/{DIGEST}/model.yaml"


def publish(bucket, yaml=MODEL_YAML, digest=DIGEST, at="2013-03-01T00:00:00Z", folder="flights"):
    for name in ("train.py", "inference.py"):
        bucket.put(f"models/{folder}/{digest}/{name}", "pass")
    key = f"models/{folder}/{digest}/model.yaml"
    return uploaded(key, at, bucket.put(key, yaml))


def check(event):
    return check_spec.handler({"event": event, "execution": execution("one", "onboard")}, world.CONTEXT)


def record(plan):
    event = {name: plan[name] for name in ("model", "digest", "cause")}
    return record_onboarding.handler(event | {"execution": execution("one", "onboard")}, world.CONTEXT)


def test_a_folder_is_checked_and_its_schedules_are_made(bucket):
    plan = check(publish(bucket))
    assert plan["isNew"]
    assert plan["cause"]["kind"] == "code"
    assert plan["cause"]["id"].startswith(f"{DIGEST}@")
    train, monitor = plan["schedules"]
    assert (train["name"], train["expression"], train["state"]) == (
        "flights-train",
        "rate(7 days)",
        "ENABLED",
    )
    assert (monitor["name"], monitor["expression"]) == ("flights-monitor", "rate(7 days)")
    started = times.parse(monitor["start"]) - times.parse(plan["cause"]["at"])
    assert started == timedelta(days=7), "a rate without a start would fire at once"


def test_an_account_that_trains_for_another_shares_and_does_not_monitor(bucket, monkeypatch):
    monkeypatch.setattr(partner, "SERVING", "222222222222")
    plan = check(publish(bucket))
    assert (plan["trains"], plan["server"]) == (True, "222222222222")
    assert [found["name"] for found in plan["schedules"]] == ["flights-train"]
    captured = MODEL_YAML.replace("retrain: {", "retrain: {data: [base, captured], ")
    with pytest.raises(SpecInvalid, match="captured requests stay in account 2222"):
        check(publish(bucket, captured))


def test_an_account_that_serves_what_another_trains_monitors_and_asks_for_no_training(bucket, monkeypatch):
    monkeypatch.setattr(partner, "TRAINING", "111111111111")
    plan = check(publish(bucket))
    assert (plan["trains"], plan["server"]) == (False, None)
    assert [found["name"] for found in plan["schedules"]] == ["flights-monitor"]


def test_a_digest_that_was_overtaken_between_two_accounts_is_known_all_the_same(bucket, ledger, monkeypatch):
    monkeypatch.setattr(partner, "TRAINING", "111111111111")
    newer = MODEL_YAML.replace("floor: 0.65", "floor: 0.66")
    record(check(publish(bucket, newer, "aaaaaaaaaaaa", at="2013-03-02T00:00:00Z")))
    late = check(publish(bucket, at="2013-03-01T00:00:00Z"))
    assert (late["isNew"], late["isLate"]) == (False, True)
    record(late)
    assert ledger.need_spec("flights", DIGEST)["spec"]["gate"]["floor"] == 0.65
    assert ledger.need_spec("flights")["digest"] == "aaaaaaaaaaaa"
    again = check(publish(bucket, at="2013-03-01T00:00:00Z"))
    assert (again["isNew"], again["isLate"]) == (False, False)


def test_new_code_leaves_the_days_of_the_schedules_as_they_are(bucket):
    first = check(publish(bucket))
    record(first)
    floor = MODEL_YAML.replace("floor: 0.65", "floor: 0.66")
    again = check(publish(bucket, floor, "aaaaaaaaaaaa", at="2013-03-18T09:00:00Z"))
    assert [found["start"] for found in again["schedules"]] == ["2013-03-22T00:00:00Z"] * 2, (
        "the week that has begun ends when it would have"
    )
    record(again)
    daily = MODEL_YAML.replace("every: 7d", "every: 1d")
    train, monitor = check(publish(bucket, daily, "bbbbbbbbbbbb", at="2013-03-18T11:00:00Z"))["schedules"]
    assert train["start"] == "2013-03-22T00:00:00Z"
    assert monitor["start"] == "2013-03-19T11:00:00Z", "another rate begins anew"


def test_a_cron_expression_names_its_own_times(bucket):
    plan = check(
        publish(bucket, MODEL_YAML.replace("schedule: rate(7 days)", 'schedule: "cron(0 6 1 * ? *)"'))
    )
    assert plan["schedules"][0]["start"] == ""


def test_a_schedule_that_is_not_wanted_is_switched_off(bucket):
    plan = check(publish(bucket, MODEL_YAML.replace("schedule: rate(7 days), ", "")))
    assert plan["schedules"][0]["state"] == "DISABLED"


def test_three_mistakes_are_all_reported_with_their_lines(bucket):
    wrong = (
        MODEL_YAML.replace("floor: 0.65", "floor: 1.7")
        .replace("serve: {entry", "serve: {entri")
        .replace("bake: 10m", "bake: 2h")
    )
    with pytest.raises(SpecInvalid) as raised:
        check(publish(bucket, wrong))
    assert str(raised.value).splitlines() == [
        "model.yaml has 3 mistakes:",
        "  line 12: serve.entri: is not a key here; did you mean entry?",
        "  line 13: gate.floor: 1.7 is not between 0 and 1",
        "  line 14: ship.bake: '2h' is not between 0s and 1h",
    ]


def test_a_specification_in_another_encoding_is_refused_with_its_line(bucket):
    latin = MODEL_YAML.replace("target: late", "target: late  # of Z\u00fcrich").encode("latin-1")
    with pytest.raises(SpecInvalid, match=r"^model.yaml has a mistake:\n  line 3: is not text in UTF-8$"):
        check(publish(bucket, latin))


def test_the_folder_must_hold_what_the_specification_names(bucket):
    event = publish(bucket, MODEL_YAML.replace("entry: train.py", "entry: fit.py"))
    with pytest.raises(
        SpecInvalid, match=r"line 11: train.entry: fit.py is not in the folder \(inference.py"
    ):
        check(event)


def test_a_folder_has_the_models_name(bucket):
    with pytest.raises(SpecInvalid, match="line 1: name: 'flights' was published under models/trains/"):
        check(publish(bucket, folder="trains"))


def test_a_digest_is_onboarded_once(bucket, ledger):
    event = publish(bucket)
    plans = [check(event) for _ in range(2)]
    for plan in plans:  # two executions that both saw a new digest
        record(plan)
    assert len(kinds(ledger, "ModelOnboarded")) == 1
    assert [check(event)["isNew"] for _ in range(3)] == [False] * 3
    assert json.loads(ledger.need("flights", "SPEC")["spec"])["name"] == "flights"
    assert [row["name"] for row in ledger.models()] == ["flights"]


def test_an_earlier_publication_that_comes_late_is_not_current(bucket, ledger):
    old, new = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
    late = publish(bucket, digest=old, at="2013-03-01T00:00:00Z")
    raced = check(late)  # sees nothing yet
    record(check(publish(bucket, digest=new, at="2013-03-02T00:00:00Z")))
    assert not check(late)["isNew"]
    record(raced)
    assert ledger.need("flights", "SPEC")["digest"] == new
    assert ledger.spec("flights", old)["digest"] == old


def test_publishing_an_earlier_digest_again_is_new_code(bucket):
    record(check(publish(bucket, digest="aaaaaaaaaaaa", at="2013-03-01T00:00:00Z")))
    record(check(publish(bucket, digest="bbbbbbbbbbbb", at="2013-03-02T00:00:00Z")))
    again = check(publish(bucket, digest="aaaaaaaaaaaa", at="2013-03-03T00:00:00Z"))
    assert again["isNew"]


def test_a_refusal_is_recorded_once_under_the_folders_name(bucket, ledger):
    event = publish(bucket, "name: other")
    error = {
        "Error": "SpecInvalid",
        "Cause": json.dumps({"errorType": "SpecInvalid", "errorMessage": "line 1: no"}),
    }
    for _ in range(2):
        refusal = {"event": event, "error": error, "execution": execution("one", "onboard")}
        assert record_refusal.handler(refusal, world.CONTEXT) == {"reason": "line 1: no"}
    assert [row["reason"] for row in kinds(ledger, "OnboardingRefused")] == ["line 1: no"]


def test_another_object_is_no_publication(bucket):
    with pytest.raises(EventInvalid, match=r"is not models/<name>/<digest>/model\.yaml"):
        check(uploaded("models/flights/train.py"))


def test_batches_have_a_schedule_where_they_are_asked_for_or_were(bucket):
    nightly = world.served("batch: {instance: ml.m5.large, on: 'cron(0 6 * * ? *)'}")
    plan = check(publish(bucket, nightly))
    _, batch, _ = plan["schedules"]
    assert (batch["name"], batch["expression"], batch["machine"], batch["detailType"], batch["state"]) == (
        "flights-batch",
        "cron(0 6 * * ? *)",
        "batch",
        "BatchScheduled",
        "ENABLED",
    )
    record(plan)
    later = publish(bucket, world.served(world.BATCH), "aaaaaaaaaaaa", at="2013-03-02T00:00:00Z")
    _, batch, _ = check(later)["schedules"]
    assert batch["state"] == "DISABLED"


def test_a_model_in_service_is_not_served_in_another_way(bucket, ledger):
    world.onboard(ledger)
    world.champion(ledger)
    with pytest.raises(SpecInvalid, match="line 12: serve: the model cannot be served in batches under this"):
        check(publish(bucket, world.served(world.BATCH), "aaaaaaaaaaaa", at="2013-03-02T00:00:00Z"))
    assert check(publish(bucket, MODEL_YAML, "bbbbbbbbbbbb", at="2013-03-02T00:00:00Z"))["isNew"]
