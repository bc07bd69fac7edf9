"""What the state machines read from an answer is in the answer: each `$plan.a.b` of a machine is looked up in
what the handler returns, so that a key renamed on one side alone fails here."""

import re
from pathlib import Path

import pytest
from batch import admit_batch, capture_rows, record_batch_failure
from deploy import (
    admit_deployment,
    admit_production,
    judge_shadow,
    promote_champion,
    run_smoke_test,
)
from evergreen.ledger import release
from monitor import pick_window
from onboard import check_spec
from respond import admit_return, assess_signal
from train import admit_run, judge_challenger, pin_data

from tests.unit import test_staging, test_tuning, world
from tests.unit.conftest import intercept
from tests.unit.exam import evaluation
from tests.unit.test_batch import came
from tests.unit.test_batch_capture import joined, output
from tests.unit.test_deploy import approved
from tests.unit.test_monitor import DRIFT, captured, recorded, scheduled
from tests.unit.test_onboard import publish
from tests.unit.test_respond import alarm, asked, second_champion
from tests.unit.world import cause, execution, requested

MACHINES = Path(__file__).resolve().parents[2] / "statemachines"


def references(machine: str, variable: str) -> set[tuple[str, ...]]:
    """The paths below a variable that a machine reads: `$plan.window.start` is ("window", "start")."""
    text = (MACHINES / f"{machine}.asl.yaml").read_text()
    found = re.findall(rf"\${variable}\.(\w+(?:\.\w+)*)", text)
    assert found, f"{machine} reads nothing from ${variable}"
    return {tuple(path.split(".")) for path in found}


def assert_holds(answer: dict, paths: set[tuple[str, ...]]) -> None:
    for path in paths:
        value = answer
        for name in path:
            assert isinstance(value, dict) and name in value, f"{'.'.join(path)} is not in the answer"
            value = value[name]


def run(module, machine, **payload):
    return module.handler(payload | {"execution": execution("one", machine)}, world.CONTEXT)


def test_onboard(bucket):
    plan = run(check_spec, "onboard", event=publish(bucket))
    assert_holds(plan, references("onboard", "plan"))
    items = references("onboard", "schedule")
    for schedule in plan["schedules"]:
        assert_holds(schedule, items)


def test_train(ledger, bucket):
    world.onboard(ledger, test_tuning.described(test_tuning.TUNE))
    world.champion(ledger)
    plan = run(admit_run, "train", event=requested(cause()))
    assert_holds(plan, references("train", "plan"))
    bucket.put("datasets/flights/a.csv", "a")
    assert_holds(run(pin_data, "train", **plan), references("train", "data"))
    bucket.put("e.json", evaluation())
    judgement = run(judge_challenger, "train", evaluation="s3://bucket/e.json", **plan)
    assert_holds(judgement, references("train", "judgement"))


@pytest.mark.usefixtures("bucket")
def test_deploy(ledger, sagemaker):
    world.onboard(
        ledger,
        world.MODEL_YAML.replace("inference.py, ", f"inference.py, {world.SCALING}, ").replace(
            "canary", "shadow"
        ),
    )
    world.champion(ledger)
    ledger.commit(world.put("flights", "PACKAGE#000001", {"version": 1}))
    world.registered(ledger, 2)
    sagemaker.package(f"{world.GROUP}/2")
    sagemaker.endpoints["evergreen-flights"] = {"EndpointStatus": "InService"}
    plan = run(admit_deployment, "deploy", event=approved(2))
    others = ("watch", "staging", "stopped", "answers")
    assert_holds(plan, {path for path in references("deploy", "plan") if path[0] not in others})
    verdict = run(
        judge_shadow, "deploy", plan=plan, series={"shadow_requests": [1]}, since="2013-07-01T00:10:00Z"
    )
    assert_holds(verdict, references("deploy", "verdict"))
    promoted = run(promote_champion, "deploy", plan=plan)
    assert_holds(promoted["previous"], references("deploy", "previous"))


def test_deploy_without_instances(ledger, sagemaker):
    world.onboard(ledger, world.served(world.SERVERLESS))
    world.champion(ledger)
    world.registered(ledger, 2)
    sagemaker.package(f"{world.GROUP}/2")
    sagemaker.endpoints["evergreen-flights"] = {"EndpointStatus": "InService"}
    plan = run(admit_deployment, "deploy", event=approved(2))
    others = ("scaling", "scalingBefore", "shadow", "staging", "stopped", "answers")
    assert_holds(plan, {path for path in references("deploy", "plan") if path[0] not in others})


def test_deploy_by_staging(ledger, sagemaker, bucket, monkeypatch):
    world.onboard(ledger, test_staging.BY_TEST)
    world.registered(ledger)
    sagemaker.package(f"{world.GROUP}/1")
    plan = run(admit_deployment, "deploy", event=approved())
    staged = {path for path in references("deploy", "plan") if path[0] in ("admitted", "staging")}
    assert len(staged) > 4
    assert_holds(plan, staged)
    test_staging.kept(bucket)
    intercept(monkeypatch, "sagemaker-runtime", {"invoke_endpoint": test_staging.answering})
    smoke = run(run_smoke_test, "deploy", plan=plan)
    assert_holds(smoke, references("deploy", "smoke"))
    again = run(admit_deployment, "deploy", event=test_staging.stopped())
    assert_holds(again, {("stopped",), *staged})
    ready = run(admit_production, "deploy", plan=plan, smoke=smoke, approval=None)
    assert_holds(ready, {(path[0],) for path in references("deploy", "plan")} - {("stopped",)})


def test_batch(ledger, bucket):
    world.onboard(ledger, world.served(world.BATCH))
    world.champion(ledger, endpoint=None)
    plan = run(admit_batch, "batch", event=came(bucket))
    assert_holds(plan, references("batch", "plan"))
    output(bucket, [joined(0)])
    asked = {"inputs": plan["inputs"], "progress": None, "seconds": 1.5}
    assert_holds(run(capture_rows, "batch", plan=plan, **asked), references("batch", "progress"))
    failed = run(record_batch_failure, "batch", plan=plan, scored=[], error={"Error": "a", "Cause": "b"})
    assert "reason" in failed


def test_monitor(ledger, bucket):
    world.onboard(ledger)
    world.champion(ledger)
    captured(bucket, "2013-04-04T10:00:00Z", 20)
    plan = run(pick_window, "monitor", event=scheduled())
    assert_holds(plan, references("monitor", "plan"))
    assert_holds(recorded(bucket, plan, [DRIFT]), references("monitor", "verdict"))


@pytest.mark.usefixtures("executions")
def test_respond(ledger):
    world.onboard(ledger, world.MODEL_YAML.replace("inference.py, ", f"inference.py, {world.SCALING}, "))
    world.champion(ledger)
    second_champion(ledger)
    decision = run(assess_signal, "respond", event=alarm("2013-07-01T20:00:00Z"), job=None)
    assert_holds(decision, references("respond", "decision"))
    ledger.commit(release("flights", "deploy", execution("one", "respond")))
    decision = run(admit_return, "respond", event=asked())
    assert_holds(decision, references("respond", "decision"))


def test_an_answer_that_starts_nothing_has_what_its_choice_reads(ledger, sagemaker):
    assert run(admit_run, "train", event=requested(cause()))["admitted"] is False
    assert run(admit_deployment, "deploy", event=approved())["admitted"] is False
    assert run(pick_window, "monitor", event=scheduled())["status"] == "Dropped"
