"""The deploy machine's handlers: only what is approved now is shipped, each approval once, one at a time."""

import botocore.session
import pytest
from botocore.validate import ParamValidator
from deploy import admit_deployment, judge_shadow, promote_champion, record_rollback
from evergreen import deployments, registry, shadows, shipping
from evergreen.errors import EndpointBusy, EndpointFailed, EventInvalid, LockLost
from evergreen.pairs import Agreement

from tests.unit import world
from tests.unit.world import GROUP, execution, kinds


@pytest.fixture(autouse=True)
def flights(ledger, sagemaker, executions):
    world.onboard(ledger)
    world.registered(ledger)
    sagemaker.package(f"{GROUP}/1")


def approved(version=1, at="2013-03-02T00:00:00Z", status="Approved"):
    return {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Model Package State Change",
        "time": at,
        "detail": {
            "ModelPackageGroupName": "evergreen-flights",
            "ModelPackageArn": f"{GROUP}/{version}",
            "ModelPackageVersion": version,
            "ModelApprovalStatus": status,
        },
    }


def admit(event=None, name="one"):
    event = {"event": event or approved(), "execution": execution(name, "deploy")}
    return admit_deployment.handler(event, world.CONTEXT)


def promote(plan, name="one"):
    return promote_champion.handler({"plan": plan, "execution": execution(name, "deploy")}, world.CONTEXT)


def roll_back(plan, name="one", **why):
    event = {"plan": plan, "error": None, "endpoint": None, "execution": execution(name, "deploy")} | why
    return record_rollback.handler(event, world.CONTEXT)


def test_an_approved_version_is_planned(ledger):
    plan = admit()
    assert plan["admitted"] and plan["isNew"]
    assert plan["alarms"] == {"errors": 0.01, "latency": 200000}
    assert plan["deployment"].startswith("evergreen-flights-v1-")
    assert ledger.holder("flights", "deploy")["owner"] == execution("one", "deploy")
    assert ledger.need("flights", "PACKAGE#000001")["status"] == "Deploying"


@pytest.mark.parametrize("status", ["PendingManualApproval", "Rejected"])
def test_an_unapproved_package_never_deploys_whatever_the_event_says(ledger, sagemaker, status):
    sagemaker.package(f"{GROUP}/1", status)
    plan = admit()
    assert not plan["admitted"]
    assert plan["reason"] == f"version 1 is {status} in the registry now"
    assert ledger.holder("flights", "deploy") is None
    assert not kinds(ledger, "DeploymentStarted")


def test_a_deleted_package_never_deploys(sagemaker):
    sagemaker.packages.clear()
    assert admit()["reason"] == "version 1 is Deleted in the registry now"


def test_a_package_that_no_run_made_never_deploys(sagemaker):
    sagemaker.package(f"{GROUP}/7")
    assert admit(approved(7))["reason"] == "version 7 was registered by no run in the ledger"


def test_a_package_whose_run_has_not_closed_is_waited_for(ledger, sagemaker):
    ledger.commit(world.put("flights", "RUN#flights-7", {"status": "Running"}))
    sagemaker.package(f"{GROUP}/7", CustomerMetadataProperties={"run": "flights-7"})
    with pytest.raises(EndpointBusy, match="run flights-7 registered version 7 and has not closed yet"):
        admit(approved(7))


def test_another_group_is_refused():
    event = approved()
    event["detail"]["ModelPackageArn"] = "arn:aws:sagemaker:eu-central-1:123456789012:model-package/theirs/1"
    with pytest.raises(EventInvalid):
        admit(event)


def test_the_same_event_five_times_is_one_deployment(ledger, executions):
    executions.add(execution("0", "deploy"))
    plans = [admit(name=str(number)) for number in range(5)]
    assert [plan["admitted"] for plan in plans] == [True, False, False, False, False]
    assert len(kinds(ledger, "DeploymentStarted")) == 1
    assert len(kinds(ledger, "PackageApproved")) == 1
    promote(plans[0], "0")
    assert not admit(name="late")["admitted"]


def test_killed_after_its_side_effect_and_retried_it_gives_the_same_answer(ledger, sagemaker):
    first = admit()
    sagemaker.endpoints["evergreen-flights"] = {"EndpointStatus": "Creating"}
    assert admit() == first
    assert len(kinds(ledger, "DeploymentStarted", "DeploymentDropped")) == 1


def test_a_second_version_waits_for_the_first(ledger, sagemaker, executions):
    executions.add(execution("one", "deploy"))
    first = admit()
    world.registered(ledger, 2)
    sagemaker.package(f"{GROUP}/2")
    with pytest.raises(EndpointBusy, match=f"{first['deployment']} is being deployed"):
        admit(approved(2), "two")
    executions.clear()  # the first one's execution died
    assert admit(approved(2), "two")["admitted"]


@pytest.mark.parametrize("status", ["Updating", "Creating", "RollingBack", "Deleting"])
def test_a_busy_endpoint_is_waited_for(sagemaker, status):
    sagemaker.endpoints["evergreen-flights"] = {"EndpointStatus": status}
    with pytest.raises(EndpointBusy, match=f"is {status}"):
        admit()


def test_a_failed_endpoint_is_told_of_and_not_waited_for(sagemaker):
    sagemaker.endpoints["evergreen-flights"] = {"EndpointStatus": "Failed", "FailureReason": "no capacity"}
    with pytest.raises(EndpointFailed, match="is Failed, and has to be deleted first: no capacity"):
        admit()


def test_an_endpoint_whose_rollback_failed_is_mended_by_the_next_update(sagemaker):
    sagemaker.endpoints["evergreen-flights"] = {"EndpointStatus": "UpdateRollbackFailed"}
    plan = admit()
    assert (plan["admitted"], plan["isNew"]) == (True, False)


def test_a_champion_is_promoted_once_and_remembers_the_one_before(ledger, sagemaker):
    plan = admit()
    assert promote(plan) == {"previous": None}
    sagemaker.endpoints["evergreen-flights"] = {"EndpointStatus": "InService"}
    world.registered(ledger, 2)
    sagemaker.package(f"{GROUP}/2")
    second = admit(approved(2, "2013-07-01T00:00:00Z"), "two")
    assert not second["isNew"]
    answers = [promote(second, "two") for _ in range(2)]  # killed after its side effect, and retried
    assert answers[0] == answers[1]
    assert answers[0]["previous"]["alarms"] == [
        f"{plan['deployment']}-errors",
        f"{plan['deployment']}-latency",
    ]
    champion = ledger.need("flights", "CHAMPION")
    assert (champion["version"], champion["previous"]["version"]) == (2, 1)
    assert ledger.need("flights", "PACKAGE#000001")["status"] == "Replaced"
    assert len(kinds(ledger, "ModelDeployed")) == 2
    assert ledger.holder("flights", "deploy") is None


def test_a_version_that_another_execution_has_promoted_meanwhile_does_not_return_to_itself(ledger):
    """Admitted by what was read before that: a batch model is in service within seconds."""
    plan = admit()
    before = world.champion(ledger, 7)
    world.champion(ledger, 1, previous=before)
    promote(plan)
    champion = ledger.need("flights", "CHAMPION")
    assert (champion["deployment"], champion["previous"]) == (plan["deployment"], before)
    assert ledger.need("flights", "PACKAGE#000001")["status"] == "InService"


def test_a_version_that_was_replaced_does_not_come_back_by_an_event(ledger, sagemaker):
    world.registered(ledger, 1, status="Replaced")
    world.champion(ledger, 2)
    sagemaker.package(f"{GROUP}/1", LastModifiedTime=sagemaker.now)
    assert "has been replaced" in admit(approved(1, "2013-09-01T00:00:00Z"))["reason"]


def test_an_earlier_approval_that_comes_late_does_not_replace_a_later_one(ledger):
    world.champion(ledger, 2, approved_at="2013-07-01T00:00:00Z")
    reason = admit(approved(1, "2013-06-30T00:00:00Z"))["reason"]
    assert "before version 2, approved at 2013-07-01T00:00:00Z, which is in service" in reason


def test_without_the_lock_nobody_is_promoted(ledger, sagemaker, executions):
    plan = admit()
    world.registered(ledger, 2)
    sagemaker.package(f"{GROUP}/2")
    admit(approved(2), "two")  # takes the lock over: the first execution is not running
    with pytest.raises(LockLost):
        promote(plan)
    assert ledger.get("flights", "CHAMPION") is None


def test_a_rollback_rejects_the_package_and_leaves_the_champion(ledger, sagemaker):
    world.champion(ledger, 1)
    world.registered(ledger, 2)
    sagemaker.package(f"{GROUP}/2")
    plan = admit(approved(2, "2013-07-01T00:00:00Z"))
    status = {"status": "InService", "config": "old", "reason": "alarm evergreen-flights-v2-errors fired"}
    answers = [roll_back(plan, endpoint=status) for _ in range(2)]
    assert answers[0] == answers[1]
    assert "alarm evergreen-flights-v2-errors fired" in answers[0]["reason"]
    assert sagemaker.packages[f"{GROUP}/2"]["ModelApprovalStatus"] == "Rejected"
    assert len(sagemaker.updates) == 1
    assert ledger.need("flights", "CHAMPION")["version"] == 1
    assert ledger.need("flights", "PACKAGE#000002")["status"] == "RolledBack"
    assert len(kinds(ledger, "DeploymentRolledBack")) == 1
    assert ledger.holder("flights", "deploy") is None


def test_after_a_rollback_only_a_new_approval_ships(ledger, sagemaker):
    plan = admit()
    roll_back(plan, error={"Error": "SageMaker.SageMakerException", "Cause": "no such instance type"})
    assert not admit(name="late")["admitted"]
    registry.approve(f"{GROUP}/1", "quota raised", "ann")
    again = admit(approved(at="2013-03-03T00:00:00Z"), "two")
    assert again["admitted"]
    assert again["deployment"] != plan["deployment"]
    assert again["approvedBy"] == "ann"


def test_a_studio_users_approval_names_the_user(sagemaker):
    sagemaker.package(f"{GROUP}/1", LastModifiedBy={"UserProfileName": "bea"})
    assert admit()["approvedBy"] == "bea"


FIXED = {"instance": "ml.m5.large", "count": 2, "scaling": None}
SCALED = FIXED | {"scaling": {"min": 2, "max": 4, "invocations_per_instance": 500}}
OTHER = {"instance": "ml.c5.large"}


@pytest.mark.parametrize(
    ("old", "new", "deregister", "register", "retain"),
    [
        (None, FIXED, False, False, True),
        (None, SCALED, False, True, True),
        (FIXED, FIXED, False, False, True),
        (FIXED, FIXED | {"count": 3}, False, False, False),  # declared: it counts
        (FIXED, SCALED, False, True, True),
        (SCALED, SCALED, False, False, True),  # registered once
        (SCALED, SCALED | {"count": 3}, False, False, True),  # the load decides
        (SCALED, SCALED | OTHER, True, True, True),
        (FIXED, FIXED | OTHER, False, False, True),
        (SCALED, FIXED, True, False, True),
        (SCALED, SCALED | {"scaling": SCALED["scaling"] | {"max": 6}}, False, True, True),
    ],
)
def test_capacity_and_scaling_over_an_update(old, new, deregister, register, retain):
    moves = deployments.transition(old, new)
    assert (moves["deregister"], moves["register"], moves["retain"]) == (deregister, register, retain)


def test_the_plan_compares_with_the_fleet_in_service(ledger, sagemaker):
    yaml = world.MODEL_YAML.replace("count: 2}", f"count: 2, {world.SCALING}}}")
    world.onboard(ledger, yaml, "aaaaaaaaaaaa")
    world.champion(ledger, digest="aaaaaaaaaaaa")
    world.onboard(
        ledger, yaml.replace("inference.py, instance: ml.m5", "inference.py, instance: ml.c5"), "bbbbbbbbbbbb"
    )
    world.registered(ledger, 2, digest="bbbbbbbbbbbb")
    sagemaker.package(f"{GROUP}/2")
    sagemaker.endpoints["evergreen-flights"] = {"EndpointStatus": "InService"}
    plan = admit(approved(2))
    assert (plan["serve"]["instance"], plan["deregister"], plan["register"]) == ("ml.c5.large", True, True)
    promote(plan)
    back = deployments.way_back(ledger, "flights", ledger.need("flights", "CHAMPION"))
    assert (back["config"], back["deregister"], back["register"]) == (
        "evergreen-flights-v1-aaaaaa",
        True,
        True,
    )
    assert back["scaling"] == {"min": 2, "max": 4, "target": 500}


def test_a_rolling_update_goes_in_batches_and_back_in_one():
    shape = botocore.session.get_session().get_service_model("sagemaker").shape_for("DeploymentConfig")
    ship = {"strategy": "rolling", "percent": 25, "bake": 600}
    config = deployments.config(ship, SCALED, ["a"])
    assert not ParamValidator().validate(config, shape).has_errors()
    policy = config["RollingUpdatePolicy"]
    assert policy["MaximumBatchSize"] == {"Type": "CAPACITY_PERCENT", "Value": 25}
    assert policy["RollbackMaximumBatchSize"] == {"Type": "CAPACITY_PERCENT", "Value": 100}
    # Of two, three or four instances a quarter is one.
    assert policy["MaximumExecutionTimeoutInSeconds"] > 4 * policy["WaitIntervalInSeconds"] == 2400
    assert shipping.bakes("rolling", 50, range(3, 4)) == 3
    assert shipping.bakes("rolling", 5, range(100, 101)) == 20


LIMITS = {"errors": 0.01, "latency": 200_000}
CALM = shadows.Observed(1000, 0.0, 20_000)


@pytest.mark.parametrize(
    ("production", "shadow", "passed", "reason"),
    [
        (CALM, CALM, True, "as a shadow it was sent 1000 requests (1000 reached production): 0.00% failed"),
        (CALM, shadows.Observed(1000, 0.009, 190_000), True, "p99 was 190 ms in the worst minute"),
        (CALM, shadows.Observed(1000, 0.02, 20_000), False, "2.00% failed (production: 0.00%), more than"),
        (CALM, shadows.Observed(1000, 0.0, 201_000), False, "p99 was 201 ms in the worst minute"),
        (CALM, shadows.Observed(0, 0.0, 0), False, "no request reached the shadow (1000 reached production)"),
        (shadows.Observed(9, 0.5, 900_000), shadows.Observed(9, 0.5, 900_000), True, "50.00% failed"),
        (shadows.Observed(9, 0.0, 900_000), shadows.Observed(9, 0.2, 800_000), False, "20.00% failed"),
    ],
)
def test_a_shadow_is_judged_by_the_limits_and_the_champion(production, shadow, passed, reason):
    verdict = shadows.judge(production, shadow, LIMITS, Agreement(0, None, None), None)
    assert verdict[0] is passed
    assert reason in verdict[1]


@pytest.mark.parametrize(
    ("agreed", "limit", "passed", "reason"),
    [
        (
            Agreement(400, 0.02, 0.0312),
            None,
            True,
            "of 400 rows captured of both, 2.0% got another label, the",
        ),
        (Agreement(400, 0.02, 0.0312), 0.02, True, "answers are 0.0312 apart on average"),
        (Agreement(400, 0.3, 0.25), 0.02, False, "30.0% got another label, the answers are 0.25 apart"),
        (Agreement(400, None, 12.5), None, True, "of 400 rows captured of both, the answers are 12.5 apart"),
        (Agreement(0, None, None), None, True, "no row was captured of both"),
        (
            Agreement(0, None, None),
            0.5,
            False,
            "no row was captured of both, and ship.disagreement allows 50%",
        ),
    ],
)
def test_a_shadow_is_judged_by_what_it_answers_where_that_is_asked_for(agreed, limit, passed, reason):
    verdict = shadows.judge(CALM, CALM, LIMITS, agreed, limit)
    assert verdict[0] is passed
    assert reason in verdict[1]


@pytest.mark.usefixtures("bucket")
def test_a_shadows_plan_and_its_verdict_are_in_the_ledger(ledger, sagemaker):
    world.onboard(ledger, world.MODEL_YAML.replace("strategy: canary, percent: 10", "strategy: shadow"))
    assert admit()["shadow"] is None  # the first version has nobody to follow
    world.champion(ledger)
    world.registered(ledger, 2)
    sagemaker.package(f"{GROUP}/2")
    sagemaker.endpoints["evergreen-flights"] = {"EndpointStatus": "InService"}
    plan = admit(approved(2, "2013-07-01T00:00:00Z"), "two")
    champion = {"model": "evergreen-flights-v1-aaaaaa", "config": "evergreen-flights-v1-aaaaaa"}
    assert plan["shadow"] == {
        "config": f"{plan['deployment']}-shadow",
        "seconds": 600,
        "disagreement": None,
        "champion": champion | {"instance": "ml.m5.large", "count": 2},
    }
    routing = plan["deploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing["Type"] == "ALL_AT_ONCE"
    series = {"main_requests": [60.0, 40.0], "shadow_requests": [100.0], "shadow_errors": [5.0]}
    event = {"plan": plan, "series": series, "since": "2013-07-01T00:10:00Z"}
    event |= {"execution": execution("two", "deploy")}
    verdicts = [judge_shadow.handler(event, world.CONTEXT) for _ in range(2)]
    assert verdicts[0] == verdicts[1]
    assert not verdicts[0]["passed"]
    (row,) = kinds(ledger, "ShadowJudged")
    assert (row["at"], row["shadow"]["errors"], row["production"]["requests"]) == (
        "2013-07-01T00:00:00Z",
        0.05,
        100,
    )


@pytest.mark.parametrize("strategy", ["canary", "linear", "all_at_once"])
def test_deployment_configs_are_sagemakers(strategy):
    shape = botocore.session.get_session().get_service_model("sagemaker").shape_for("DeploymentConfig")
    ship = {"strategy": strategy, "percent": 10, "bake": 600}
    config = deployments.config(ship, FIXED, ["a"])
    assert not ParamValidator().validate(config, shape).has_errors()
    policy = config["BlueGreenUpdatePolicy"]
    waits = {"canary": 1200, "linear": 6000, "all_at_once": 0}[strategy] + policy["TerminationWaitInSeconds"]
    assert 600 <= policy["MaximumExecutionTimeoutInSeconds"] <= 28800
    assert policy["MaximumExecutionTimeoutInSeconds"] > waits
