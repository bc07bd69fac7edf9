"""A person approves or rejects a version: once, unless they insist, and only where it comes to something."""

import pytest
from evergreen import registry
from evergreen.errors import AwsUnavailable
from evergreen.ledger import put

from tests.unit import world
from tests.unit.test_api import ANN, call, flights  # noqa: F401 (fixtures)
from tests.unit.test_deploy import admit, approved
from tests.unit.world import execution, kinds


def decide(decision, version=1, **more):
    body = {"decision": decision, "reason": "looked at its figures"} | more
    return call("POST", f"/models/flights/versions/{version}/approval", body)


def test_an_approval_says_why_and_by_whom(ledger, sagemaker):
    world.registered(ledger)
    sagemaker.package(f"{world.GROUP}/1", "PendingManualApproval")
    assert decide("approve") == (200, {"model": "flights", "version": 1, "status": "Approved", "by": ANN})
    assert (
        sagemaker.packages[f"{world.GROUP}/1"]["ApprovalDescription"] == f"looked at its figures (by {ANN})"
    )
    status, answer = decide("approve")
    assert status == 409
    assert "is Approved, not pending" in answer["message"]


def test_a_rejection_is_recorded(ledger, sagemaker):
    world.registered(ledger)
    sagemaker.package(f"{world.GROUP}/1", "PendingManualApproval")
    assert decide("reject")[0] == 200
    assert sagemaker.packages[f"{world.GROUP}/1"]["ModelApprovalStatus"] == "Rejected"
    assert [row["by"] for row in kinds(ledger, "PackageRejected")] == [ANN]
    status, answer = decide("approve")
    assert status == 409
    assert '"force": true' in answer["message"]
    assert decide("approve", force=True)[0] == 200


def test_a_rejection_that_was_cut_short_is_sent_again(ledger, sagemaker, monkeypatch):
    world.registered(ledger)
    sagemaker.package(f"{world.GROUP}/1", "PendingManualApproval")
    with monkeypatch.context() as patch:
        patch.setattr(registry, "reject", lambda *args: (_ for _ in ()).throw(AwsUnavailable("down")))
        assert decide("reject")[0] == 503
    assert decide("reject")[0] == 200
    assert len(kinds(ledger, "PackageRejected")) == 1


@pytest.mark.parametrize(
    ("version", "body", "status"),
    [
        (9, {"decision": "approve", "reason": "x"}, 404),
        ("one", {"decision": "approve", "reason": "x"}, 404),
        (1, {"decision": "maybe", "reason": "x"}, 400),
        (1, {"decision": "approve"}, 400),
        (1, {"decision": "approve", "reason": " "}, 400),
    ],
)
def test_a_bad_decision(ledger, sagemaker, version, body, status):
    world.registered(ledger)
    sagemaker.package(f"{world.GROUP}/1", "PendingManualApproval")
    assert call("POST", f"/models/flights/versions/{version}/approval", body)[0] == status


DEPLOYMENT = "evergreen-flights-v1-aaaaaa"


def started(ledger, status):
    """As AdmitDeployment leaves a deployment of version 1."""
    about = {"deployment": DEPLOYMENT, "status": status, "execution": execution("one", "deploy")}
    ledger.commit(put("flights", f"DEPLOYMENT#{DEPLOYMENT}", about))


def said(sagemaker):
    return [each["ModelApprovalStatus"] for each in sagemaker.updates]


def test_an_approval_that_came_to_nothing_is_given_again(ledger, sagemaker):
    world.registered(ledger)
    sagemaker.package(f"{world.GROUP}/1", "Approved")
    status, answer = decide("approve")
    assert (status, said(sagemaker)) == (409, [])
    assert 'is Approved, not pending; "force": true approves it again' in answer["message"]
    assert decide("reject", force=True)[0] == 409
    assert decide("approve", force=True)[0] == 200
    assert said(sagemaker) == ["Rejected", "Approved"], "what changes is announced"
    assert sagemaker.updates[-1]["ApprovalDescription"] == f"looked at its figures (by {ANN})"


@pytest.mark.parametrize(("package", "deployment"), [("Staging", "Staging"), ("Deploying", "Started")])
def test_a_version_under_way_is_not_approved_again_until_its_execution_is_dead(
    ledger, sagemaker, executions, package, deployment
):
    world.registered(ledger, status=package)
    sagemaker.package(f"{world.GROUP}/1", "Approved")
    started(ledger, deployment)
    executions.add(execution("one", "deploy"))
    status, answer = decide("approve", force=True)
    assert (status, said(sagemaker)) == (409, [])
    assert answer["message"].endswith(f"{DEPLOYMENT} is under way")
    executions.clear()
    assert decide("approve", force=True)[0] == 200


def test_a_version_whose_deployment_died_ships_by_its_second_approval(ledger, sagemaker, executions):
    world.registered(ledger)
    sagemaker.package(f"{world.GROUP}/1", "Approved")
    died = admit()
    assert not admit(name="again")["admitted"], "the first approval was answered"
    assert decide("approve", force=True)[0] == 200
    plan = admit(approved(at="2013-03-03T00:00:00Z"), "two")
    assert plan["admitted"] and plan["deployment"] != died["deployment"]


@pytest.mark.parametrize("shipped", ["InService", "Replaced"])
def test_a_version_that_was_shipped_is_not_approved_again(ledger, sagemaker, shipped):
    world.registered(ledger, status=shipped)
    sagemaker.package(f"{world.GROUP}/1", "Approved")
    status, answer = decide("approve", force=True)
    assert (status, said(sagemaker)) == (409, [])
    assert "in service" in answer["message"]


def test_an_approval_that_was_cut_short_between_the_two_is_sent_again(ledger, sagemaker, monkeypatch):
    world.registered(ledger)
    sagemaker.package(f"{world.GROUP}/1", "Approved")
    with monkeypatch.context() as patch:
        patch.setattr(registry, "approve", lambda *args: (_ for _ in ()).throw(AwsUnavailable("down")))
        assert decide("approve", force=True)[0] == 503
    assert decide("approve", force=True)[0] == 200
    assert said(sagemaker) == ["Rejected", "Approved"]
