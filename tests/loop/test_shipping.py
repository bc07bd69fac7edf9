"""The ways to ship, against endpoints that serve: a client that asks without pause sees no error, whichever
way a version comes or goes."""

import pytest

from local import people, stack
from local.people import Caller
from local.watch import Execution
from tests.loop import folders
from tests.loop.site import Site, Traffic

pytestmark = pytest.mark.loop

NAME = "shipped"
TARGET = f"endpoint/evergreen-{NAME}/variant/main"
PLAIN = "serve: {instance: ml.m5.large}"
SCALING = "scaling: {min: 2, max: 3, invocations_per_instance: 100000}"
SCALED = {PLAIN: f"serve: {{instance: ml.m5.large, count: 2, {SCALING}}}"}
ROLLING = {
    PLAIN: f"serve: {{instance: ml.c5.xlarge, count: 2, {SCALING}}}",
    "strategy: all_at_once": "strategy: rolling\n  percent: 50",
}
SHADOW = SCALED | {"strategy: all_at_once": "strategy: shadow"}


@pytest.fixture(scope="module")
def shipped(site: Site) -> Site:
    """The first version of the model, scaled, in service."""
    site.upload(NAME, "2013.parquet", folders.parquet(folders.sample()))
    site.ship(NAME, SCALED)
    return site


@pytest.fixture(scope="module")
def client(site: Site) -> Caller:
    """Who asks while versions come and go."""
    return people.hire(site.client("iam"), "client", site.stack.api_url, stack.REGION)


def states(site: Site, execution: Execution) -> list[str]:
    """The states that an execution went through."""
    pages = site.client("stepfunctions").get_paginator("get_execution_history")
    return [
        event["stateEnteredEventDetails"]["name"]
        for page in pages.paginate(executionArn=execution.arn)
        for event in page["events"]
        if "stateEnteredEventDetails" in event
    ]


def scalable(site: Site) -> list[tuple[int, int]]:
    """The bounds of the variant, where it is a scalable target."""
    client = site.client("application-autoscaling")
    found = client.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[TARGET])
    return [(each["MinCapacity"], each["MaxCapacity"]) for each in found["ScalableTargets"]]


def test_in_batches_to_another_instance_type_and_back_by_a_person(shipped: Site, client: Caller) -> None:
    site = shipped
    first = site.champion(NAME)
    assert scalable(site) == [(2, 3)]
    with Traffic(site, NAME, folders.new_flights(1), client) as traffic:
        site.wait("traffic", lambda: traffic.answers)
        version, execution = site.ship(NAME, ROLLING)
        assert execution.ended_in == "ModelDeployed", execution.reason
        assert "DeregisterScalableTarget" in states(site, execution)
        assert scalable(site) == [(2, 3)]
        endpoint = site.client("sagemaker").describe_endpoint(EndpointName=f"evergreen-{NAME}")
        assert "RollingUpdatePolicy" in endpoint["LastDeploymentConfig"]
        assert site.champion(NAME)["version"] == version

        asked = site.owner.post(f"/models/{NAME}/rollback", {"reason": "calls Newark late"})
        assert (asked["version"], asked["returns_to"]) == (version, first["version"])
        returned = site.ended("respond", lambda found: found.cause["id"] == asked["cause"]["id"])
        assert returned.ended_in == "OwnerNotified", returned.reason
        assert {"DeregisterScalableTarget", "RegisterScalableTarget"} <= set(states(site, returned))
    assert not traffic.refusals
    assert site.champion(NAME) == first
    assert scalable(site) == [(2, 3)]
    told = site.history(NAME, "DeploymentRolledBack")[0]
    assert (told["version"], told["reason"]) == (version, "calls Newark late")
    assert told["cause"]["by"].endswith("owner")
    site.inbox.wait(NAME, "calls Newark late")
    assert "calls Newark late" in site.package(NAME, version)["ApprovalDescription"]
    status, answer = site.stack.api("POST", f"/models/{NAME}/rollback", {"reason": "once more"})
    assert (status, "there is no version before" in answer["message"]) == (409, True)


def test_a_shadow_that_fails_is_dropped_and_nobody_notices(shipped: Site, client: Caller) -> None:
    site = shipped
    champion = site.champion(NAME)
    with Traffic(site, NAME, folders.new_flights(1), client) as traffic:
        site.wait("traffic", lambda: traffic.answers)
        version, execution = site.ship(NAME, SHADOW, folders.ANSWERING_NOTHING)
    error, cause = site.failure(execution)
    assert error == "DeploymentRolledBack"
    assert "100.00% failed (production: 0.00%)" in cause
    assert not traffic.refusals
    assert site.champion(NAME) == champion
    judged = site.history(NAME, "ShadowJudged")[0]
    assert (judged["version"], judged["passed"]) == (version, False)
    assert site.package(NAME, version)["ModelApprovalStatus"] == "Rejected"


def test_a_shadow_that_answers_otherwise_is_dropped(shipped: Site, client: Caller) -> None:
    site = shipped
    champion = site.champion(NAME)
    agreeing = SHADOW | {"strategy: all_at_once": "strategy: shadow\n  disagreement: 30%"}
    with Traffic(site, NAME, folders.new_flights(1), client) as traffic:
        site.wait("traffic", lambda: traffic.answers)
        _, execution = site.ship(NAME, agreeing, folders.ANSWERING_OTHERWISE)
    error, cause = site.failure(execution)
    assert (error, "100.0% got another label" in cause) == ("DeploymentRolledBack", True)
    assert not traffic.refusals
    assert site.champion(NAME) == champion
    assert site.history(NAME, "ShadowJudged")[0]["answers"]["disagreement"] == 1


def test_a_shadow_that_holds_is_promoted(shipped: Site, client: Caller) -> None:
    site = shipped
    with Traffic(site, NAME, folders.new_flights(1), client) as traffic:
        site.wait("traffic", lambda: traffic.answers)
        version, execution = site.ship(NAME, SHADOW, {"train.py": "\n# sound\n"})
    assert execution.ended_in == "ModelDeployed", execution.reason
    assert not traffic.refusals
    assert site.champion(NAME)["version"] == version
    judged = site.history(NAME, "ShadowJudged")[0]
    assert judged["passed"]
    assert judged["shadow"]["requests"] > 0
    assert judged["answers"]["rows"] > 0
    assert (judged["answers"]["disagreement"], judged["answers"]["distance"]) == (0, 0), "the same model"
    keys = site.client("s3").list_objects_v2(Bucket=site.bucket, Prefix=f"capture/evergreen-{NAME}/shadow/")
    assert keys["KeyCount"] > 0, "what a shadow answers is captured"
