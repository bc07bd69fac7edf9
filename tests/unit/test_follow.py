"""The follow machine's handlers: what one account tells the other, in any order and more than once."""

import json
from datetime import UTC, datetime

import pytest
from evergreen import admission, names, partner, registry, trainings
from evergreen.errors import AwsUnavailable, EndpointBusy, RecordMissing
from evergreen.events import Cause
from evergreen.ledger import put
from follow import record_decision, record_promotion, record_rejection, record_training

from tests.lint_asl import ROOT
from tests.unit import world
from tests.unit.world import DIGEST, GROUP, kinds

ENDED = json.loads((ROOT / "events/train-training-ended.json").read_text())
CAUSE = ENDED["detail"]["cause"]
RUN = names.run("flights", Cause(**CAUSE).key)
SERVING = "222222222222"
ARN = f"{GROUP}/2"


def ended(**changes):
    """A run that ended in the other account."""
    detail = ENDED["detail"] | {"run": RUN} | changes
    detail["record"] = detail["record"] | {"run": RUN, "digest": DIGEST, "outcome": detail["outcome"]}
    return ENDED | {"detail": detail}


def train(event):
    record_training.handler({"event": event}, world.CONTEXT)


def test_a_run_of_the_other_account_is_as_one_of_ours(ledger):
    spec = world.onboard(ledger)
    train(ended())
    run, package = ledger.need("flights", f"RUN#{RUN}"), ledger.need("flights", "PACKAGE#000002")
    assert (run["status"], run["outcome"], package["status"]) == (
        "Ended",
        "registered",
        "PendingManualApproval",
    )
    (row,) = kinds(ledger, "RunEnded")
    assert (row["account"], row["reason"], row["metrics"]) == (
        ENDED["account"],
        ENDED["detail"]["reason"],
        run["metrics"],
    )
    at = datetime(2013, 6, 9, tzinfo=UTC)
    (training,) = trainings.read(ledger, "flights", at, spec["retrain"]["cool_down"])
    assert (training.run, training.status, training.outcome, training.waits) == (
        RUN,
        "Ended",
        "registered",
        True,
    )
    assert training.cost > 0, "it counts against the month's budget here, too"


def test_a_run_that_this_account_asked_for_keeps_what_it_is_to_cure(ledger):
    spec = world.onboard(ledger)
    cause = Cause(**CAUSE)
    ledger.commit(trainings.record("flights", cause, "Asked", spec, frozenset({"drift:distance"})))
    train(ended(outcome="rejected", package=None, version=None))
    at = datetime(2013, 6, 9, tzinfo=UTC)
    (training,) = trainings.read(ledger, "flights", at, spec["retrain"]["cool_down"])
    assert (training.outcome, training.treats) == ("rejected", {"drift:distance"})
    assert ledger.get("flights", "PACKAGE#000002") is None


def test_a_run_told_twice_is_written_once(ledger):
    world.onboard(ledger)
    train(ended())
    ledger.commit(put("flights", "PACKAGE#000002", {"status": "InService", "version": 2}))
    train(ended())
    assert len(kinds(ledger, "RunEnded")) == 1
    assert ledger.need("flights", "PACKAGE#000002")["status"] == "InService"


def test_a_run_waits_for_its_specification(ledger):
    with pytest.raises(RecordMissing):
        train(ended())


def decided(status, at, **detail):
    """The registry's event of version 2."""
    named = {"ModelPackageGroupName": "evergreen-flights", "ModelPackageVersion": 2, "ModelPackageArn": ARN}
    envelope = {"source": "aws.sagemaker", "detail-type": "SageMaker Model Package State Change", "time": at}
    return envelope | {"account": "111111111111", "detail": named | {"ModelApprovalStatus": status} | detail}


def test_a_version_that_was_rejected_there_is_waited_for_no_longer(ledger):
    spec = world.onboard(ledger)
    train(ended())
    event = decided("Rejected", "2013-06-09T00:00:00Z", ApprovalDescription="too odd (by ann)")
    for _ in range(2):
        record_decision.handler({"event": event}, world.CONTEXT)
    (row,) = kinds(ledger, "PackageRejected")
    assert (row["by"], row["reason"], row["account"]) == ("ann", "too odd (by ann)", "111111111111")
    at = datetime(2013, 6, 10, tzinfo=UTC)
    (training,) = trainings.read(ledger, "flights", at, spec["retrain"]["cool_down"])
    assert not training.waits


def test_the_echo_of_a_rollback_changes_nothing(ledger):
    registered(ledger, 2, status="RolledBack")
    event = decided("Rejected", "2013-06-09T00:00:00Z", ApprovalDescription="rolled back: slow (by ann)")
    record_decision.handler({"event": event}, world.CONTEXT)
    assert ledger.need("flights", "PACKAGE#000002")["status"] == "RolledBack"
    assert not kinds(ledger, "PackageRejected")


def registered(ledger, version, **more):
    package = ENDED["detail"]["package"] | {"version": version, "package_arn": f"{GROUP}/{version}"}
    ledger.commit(put("flights", f"PACKAGE#{version:06d}", package | more))


def told(kind, version, at, source="evergreen.deploy", cause=None, **detail):
    """What the account that serves tells of a version."""
    named = {
        "model": "flights",
        "version": version,
        "packageArn": f"{GROUP}/{version}",
        "endpoint": "evergreen-flights",
        "deployment": f"evergreen-flights-v{version}-aaaaaa",
        "cause": cause or CAUSE,
    }
    envelope = {"source": source, "detail-type": kind, "account": SERVING, "time": at, "id": "e"}
    return envelope | {"detail": named | detail}


def promote(event):
    record_promotion.handler({"event": event}, world.CONTEXT)


def reject(event):
    record_rejection.handler({"event": event}, world.CONTEXT)


def statuses(ledger):
    return [ledger.need("flights", f"PACKAGE#00000{version}")["status"] for version in (1, 2)]


FIRST, SECOND, THIRD, FOURTH, FIFTH = (f"2013-06-0{day}T00:00:00Z" for day in range(1, 6))


def test_what_serves_there_is_the_champion_that_a_challenger_must_beat(ledger):
    registered(ledger, 1)
    registered(ledger, 2)
    promote(told("ModelDeployed", 1, FIRST))
    promote(told("ModelDeployed", 2, SECOND))
    champion = ledger.need("flights", "CHAMPION")
    assert (champion["version"], champion["previous"]["version"]) == (2, 1)
    assert champion["model_data"] == ENDED["detail"]["package"]["model_data"]
    assert champion["trained_until"] == ENDED["detail"]["package"]["trained_until"]
    assert statuses(ledger) == ["Replaced", "InService"]
    assert [row["account"] for row in kinds(ledger, "ModelDeployed")] == [SERVING, SERVING]


def test_deployments_that_are_told_in_the_wrong_order_leave_the_newer_one(ledger):
    registered(ledger, 1)
    registered(ledger, 2)
    promote(told("ModelDeployed", 2, SECOND))
    promote(told("ModelDeployed", 1, FIRST))
    promote(told("ModelDeployed", 2, SECOND))
    assert ledger.need("flights", "CHAMPION")["version"] == 2
    assert ledger.need("flights", "PACKAGE#000001")["status"] == "Replaced"
    assert len(kinds(ledger, "ModelDeployed")) == 2


def test_a_deployment_waits_for_its_version(ledger):
    with pytest.raises(RecordMissing):
        promote(told("ModelDeployed", 1, FIRST))


def test_a_champion_that_changes_meanwhile_is_looked_at_again(ledger, monkeypatch):
    registered(ledger, 1)
    registered(ledger, 2)
    promote(told("ModelDeployed", 1, FIRST))
    crowned = record_promotion.crowned

    def late(model, package, detail, at, before):
        ledger.commit(put("flights", "CHAMPION", before | {"deployment": "another"}))
        return crowned(model, package, detail, at, before)

    monkeypatch.setattr(record_promotion, "crowned", late)
    with pytest.raises(AwsUnavailable):
        promote(told("ModelDeployed", 2, SECOND))


@pytest.mark.parametrize(
    ("module", "event", "status"),
    [
        (record_decision, decided("Rejected", FIRST), "Deploying"),
        (record_rejection, told("DeploymentRolledBack", 2, THIRD, reason="slow"), "Replaced"),
        (record_promotion, told("ModelDeployed", 2, SECOND), "RolledBack"),
    ],
)
def test_a_version_that_something_else_changes_meanwhile_is_looked_at_again(
    ledger, sagemaker, monkeypatch, module, event, status
):
    sagemaker.package(ARN)
    registered(ledger, 2)
    write = module.history

    def late(*given, **details):
        registered(ledger, 2, status=status)
        return write(*given, **details)

    monkeypatch.setattr(module, "history", late)
    with pytest.raises(AwsUnavailable, match="version 2 of flights changed at the same time"):
        module.handler({"event": event}, world.CONTEXT)
    assert ledger.need("flights", "PACKAGE#000002")["status"] == status
    assert not kinds(ledger, "PackageRejected", "DeploymentRolledBack", "ModelDeployed")


def test_a_version_that_was_taken_out_is_rejected_and_the_one_before_is_back(ledger, sagemaker):
    sagemaker.package(ARN)
    registered(ledger, 1)
    registered(ledger, 2)
    promote(told("ModelDeployed", 1, FIRST))
    promote(told("ModelDeployed", 2, SECOND))
    person = CAUSE | {"kind": "person", "by": "ann"}
    event = told("DeploymentRolledBack", 2, THIRD, "evergreen.respond", person, reason="too slow")
    reject(event)
    reject(event)
    (update,) = sagemaker.updates
    assert update["ModelApprovalStatus"] == "Rejected"
    assert update["ApprovalDescription"] == "rolled back: too slow (by ann)"
    champion = ledger.need("flights", "CHAMPION")
    assert (champion["version"], champion["previous"], champion["promoted_at"]) == (1, None, THIRD)
    assert statuses(ledger) == ["InService", "RolledBack"]
    (row,) = kinds(ledger, "DeploymentRolledBack")
    assert (row["reason"], row["account"]) == ("too slow", SERVING)


def test_a_late_rollback_does_not_undo_what_a_person_approved_since(ledger, sagemaker):
    sagemaker.package(ARN)
    registered(ledger, 2)
    event = told("DeploymentRolledBack", 2, SECOND, reason="an alarm went off")
    reject(event)
    registry.approve(ARN, "it was the network", "ann")
    reject(event)
    assert sagemaker.packages[ARN]["ModelApprovalStatus"] == "Approved"


def shipped_twice(ledger):
    """Version 2 took the place of version 1, was rolled back and shipped again; of its rollback there is no
    word yet."""
    registered(ledger, 1)
    registered(ledger, 2)
    promote(told("ModelDeployed", 1, FIRST))
    promote(told("ModelDeployed", 2, SECOND))
    promote(told("ModelDeployed", 2, FOURTH, deployment="evergreen-flights-v2-bbbbbb"))


def test_a_version_that_shipped_twice_returns_to_the_one_before_it(ledger, sagemaker):
    sagemaker.package(ARN)
    shipped_twice(ledger)
    reject(
        told("DeploymentRolledBack", 2, FIFTH, reason="slow again", deployment="evergreen-flights-v2-bbbbbb")
    )
    champion = ledger.need("flights", "CHAMPION")
    assert (champion["version"], champion["promoted_at"]) == (1, FIFTH)
    assert statuses(ledger) == ["InService", "RolledBack"]


def test_word_of_a_rollback_that_comes_after_the_version_shipped_again_leaves_it_in_service(
    ledger, sagemaker
):
    sagemaker.package(ARN)
    shipped_twice(ledger)
    reject(told("DeploymentRolledBack", 2, THIRD, reason="slow"))
    assert not sagemaker.updates
    assert ledger.need("flights", "CHAMPION")["deployment"] == "evergreen-flights-v2-bbbbbb"
    assert statuses(ledger) == ["Replaced", "InService"]
    (row,) = kinds(ledger, "DeploymentRolledBack")
    assert row["deployment"] == "evergreen-flights-v2-aaaaaa"
    assert ledger.need("flights", "DEPLOYMENT#evergreen-flights-v2-aaaaaa")["status"] == "RolledBack"


def test_a_version_whose_rollback_overtakes_its_deployment_does_not_become_champion(ledger, sagemaker):
    sagemaker.package(ARN)
    registered(ledger, 2)
    reject(told("DeploymentRolledBack", 2, THIRD, "evergreen.respond", reason="an alarm went off"))
    promote(told("ModelDeployed", 2, SECOND))
    assert ledger.get("flights", "CHAMPION") is None
    assert ledger.need("flights", "PACKAGE#000002")["status"] == "RolledBack"


def test_a_version_that_staging_refused_is_rejected(ledger, sagemaker):
    sagemaker.package(ARN)
    registered(ledger, 2)
    reject(told("DeploymentRefused", 2, SECOND, reason="1 of 20 answers differ"))
    (update,) = sagemaker.updates
    assert update["ApprovalDescription"] == "not shipped: 1 of 20 answers differ (by evergreen deploy)"
    assert ledger.need("flights", "PACKAGE#000002")["status"] == "Refused"


def test_an_account_that_serves_leaves_the_registry_of_the_other_alone(monkeypatch, sagemaker):
    monkeypatch.setattr(partner, "TRAINING", "111111111111")
    registry.reject(ARN, "rolled back: an alarm went off", "evergreen deploy")
    assert not sagemaker.updates


def test_an_approval_that_comes_before_word_of_its_run_waits(ledger, monkeypatch, sagemaker):
    monkeypatch.setattr(partner, "TRAINING", "111111111111")
    approval = admission.Approval("flights", 2, ARN, SECOND, world.execution("one", "deploy"))
    with pytest.raises(EndpointBusy, match="has not been told of yet"):
        admission.refused(ledger, approval, {"ModelApprovalStatus": "Approved"}, None)
