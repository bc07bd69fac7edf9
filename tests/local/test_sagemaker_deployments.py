"""Deployments of the local SageMaker under a steady client: none of its requests is lost, alarms go back."""

import pytest

from local.sagemaker.deployment_config import steps
from local.sagemaker.deployments import Deployment
from local.sagemaker.service import SageMakerError
from local.sagemaker.variants import LaunchFailed
from tests.local.hosted import Hosted, SteadyClient, blue_green, percent, until, variant

DEPLOYMENT = "SageMaker Endpoint Deployment State Change"


@pytest.fixture
def hosted(tmp_path):
    hosted = Hosted(tmp_path)
    yield hosted
    hosted.close()


def stage(hosted: Hosted) -> str | None:
    """What the pending side is doing: a VariantStatus."""
    pending = hosted.describe().get("PendingDeploymentSummary", {}).get("ProductionVariants", [{}])
    return pending[0].get("VariantStatus", [{}])[0].get("Status")


def messages(hosted: Hosted) -> list[str]:
    """The stages, in order, as the events told them."""
    told = []
    for kind, detail, _ in hosted.host.events:
        side = detail.get("PendingDeploymentSummary", detail)
        for status in side["ProductionVariants"][0].get("VariantStatus", []) if kind == DEPLOYMENT else []:
            if status["StatusMessage"] not in told:
                told.append(status["StatusMessage"])
    return told


def test_all_at_once_without_a_deployment_config_loses_nothing(hosted):
    hosted.generation("v1")
    hosted.generation("v2")
    hosted.create("v1")
    with SteadyClient(hosted) as client:
        hosted.update("v2")
        seen = hosted.settle()
    assert seen["EndpointConfigName"] == "v2" and "FailureReason" not in seen
    assert not client.failures()
    assert hosted.invoke()[2] == b"v2"
    assert len(hosted.service.processes._running) == 1


def test_a_canary_takes_its_share_for_the_whole_bake_and_then_everything(hosted):
    hosted.generation("v1")
    hosted.generation("v2")
    hosted.create("v1")
    hosted.host.events.clear()
    canary = blue_green("CANARY", wait=600, termination=300, CanarySize=percent(10))
    with SteadyClient(hosted) as client:
        hosted.update("v2", DeploymentConfig=canary)
        until(lambda: stage(hosted), lambda status: status == "Baking")
        before = len(client.answers)
        pending = hosted.describe()
        until(lambda: len(client.answers), lambda count: count >= before + 100)
        baked = client.answers[before : before + 100]
        seen = hosted.settle()
    assert pending["EndpointStatus"] == "Updating" and pending["EndpointConfigName"] == "v1"
    assert pending["PendingDeploymentSummary"]["EndpointConfigName"] == "v2"
    assert 9 <= sum(body == b"v2" for _, _, body in baked) <= 11
    assert not client.failures()
    assert seen["LastDeploymentConfig"] == canary
    canary_on, all_on = "canary capacity of 1 instance(s).", "full capacity of 1 instance(s)."
    assert messages(hosted) == [
        "Launching 1 instance(s).",
        f"Activating traffic on {canary_on}",
        f"Baking for 600 seconds (WaitIntervalInSeconds) with traffic enabled on {canary_on}",
        f"Activating traffic on {all_on}",
        f"Baking for 300 seconds (TerminationWaitInSeconds) with traffic enabled on {all_on}",
        "Terminating the instances of the old fleet.",
    ]
    assert hosted.host.statuses() == ["UPDATING", "IN_SERVICE"]


def test_a_linear_deployment_shifts_step_by_step(hosted):
    hosted.generation("v1", count=2)
    hosted.generation("v2", count=2)
    hosted.create("v1")
    linear = blue_green("LINEAR", wait=120, LinearStepSize={"Type": "INSTANCE_COUNT", "Value": 1})
    with SteadyClient(hosted) as client:
        hosted.update("v2", DeploymentConfig=linear)
        seen = hosted.settle()
    assert seen["EndpointConfigName"] == "v2"
    assert seen["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert not client.failures()
    assert "Activating traffic on step capacity of 1 instance(s)." in messages(hosted)


def test_a_rolling_deployment_replaces_batch_by_batch(hosted):
    hosted.generation("v1", count=4)
    hosted.generation("v2", count=4)
    hosted.create("v1")
    rolling = {"RollingUpdatePolicy": {"MaximumBatchSize": percent(50), "WaitIntervalInSeconds": 180}}
    most = 0
    with SteadyClient(hosted) as client:
        hosted.update("v2", DeploymentConfig=rolling)
        while hosted.describe()["EndpointStatus"] == "Updating":
            most = max(most, len(hosted.service.processes._running))
    assert hosted.settle()["EndpointConfigName"] == "v2"
    assert not client.failures()
    assert most <= 6
    assert len(hosted.service.processes._running) == 4


def test_an_alarm_during_the_bake_gives_the_traffic_back(hosted):
    hosted.generation("v1")
    hosted.generation("v2")
    hosted.create("v1")
    canary = blue_green("CANARY", wait=3600, CanarySize=percent(50))
    with SteadyClient(hosted) as client:
        hosted.update("v2", DeploymentConfig=canary)
        until(lambda: stage(hosted), lambda status: status == "Baking")
        hosted.host.alarms["errors"] = "ALARM"
        seen = hosted.settle()
        settled = len(client.answers)
        until(lambda: len(client.answers), lambda count: count > settled + 20)
    assert seen["EndpointConfigName"] == "v1" and seen["EndpointStatus"] == "InService"
    assert seen["FailureReason"] == "One or more alarms were tripped during the deployment: errors."
    assert "PendingDeploymentSummary" not in seen
    assert not client.failures()
    assert {body for _, _, body in client.answers[settled + 3 :]} == {b"v1"}
    assert hosted.host.statuses()[-3:] == ["UPDATING", "ROLLING_BACK", "IN_SERVICE"]
    assert len(hosted.service.processes._running) == 1


def test_an_alarm_gives_a_rolling_deployment_its_old_instances_back(hosted):
    hosted.generation("v1", count=2)
    hosted.generation("v2", count=2)
    hosted.create("v1")
    rolling = {
        "RollingUpdatePolicy": {"MaximumBatchSize": percent(50), "WaitIntervalInSeconds": 300},
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]},
    }
    with SteadyClient(hosted) as client:
        hosted.update("v2", DeploymentConfig=rolling)
        until(lambda: hosted.hosting.endpoints["e"].router.blue.instances(), lambda blue: len(blue) == 1)
        hosted.host.alarms["errors"] = "ALARM"
        seen = hosted.settle()
    assert seen["EndpointConfigName"] == "v1"
    assert seen["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert not client.failures()
    assert {hosted.invoke()[2] for _ in range(4)} == {b"v1"}


def test_a_rollback_that_fails_says_so_and_the_next_update_mends_it(hosted, monkeypatch):
    for name in ("v1", "v2", "v3"):
        hosted.generation(name, count=2)
    hosted.create("v1")
    rolling = {
        "RollingUpdatePolicy": {"MaximumBatchSize": percent(50), "WaitIntervalInSeconds": 300},
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]},
    }
    endpoint = hosted.hosting.endpoints["e"]
    with SteadyClient(hosted) as client:
        hosted.update("v2", DeploymentConfig=rolling)
        until(lambda: endpoint.router.blue.instances(), lambda blue: len(blue) == 1)
        until(lambda: endpoint.router.green.instances(), lambda green: len(green) == 2)
        with monkeypatch.context() as patch:
            patch.setattr(endpoint, "launch", refuse_to_launch)
            hosted.host.alarms["errors"] = "ALARM"
            seen = hosted.settle()
        assert seen["EndpointStatus"] == "UpdateRollbackFailed"
        assert "errors. The rollback failed: no capacity" in seen["FailureReason"]
        hosted.update("v3")
        seen = hosted.settle()
    assert (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("InService", "v3")
    assert not client.failures()
    until(lambda: hosted.service.processes._running, lambda running: len(running) == 2)


def refuse_to_launch(wanted):
    raise LaunchFailed("no capacity")


def test_a_container_that_does_not_start_leaves_the_old_one_in_service(hosted):
    hosted.generation("v1")
    hosted.generation("v2", START="never")
    hosted.create("v1")
    with SteadyClient(hosted) as client:
        hosted.update("v2")
        seen = hosted.settle()
    assert seen["EndpointConfigName"] == "v1"
    assert "did not pass the ping health check" in seen["FailureReason"]
    assert not client.failures()
    hosted.generation("v3")
    hosted.update("v3")
    assert "FailureReason" not in hosted.settle()


def test_a_container_that_never_answers_ping_leaves_the_old_one_in_service(hosted, monkeypatch):
    monkeypatch.setattr("local.sagemaker.variants.LEAST_STARTUP_LIMIT", 0.5)
    hosted.generation("v1")
    hosted.generation("v2", PING="never")
    hosted.create("v1")
    hosted.update("v2")
    seen = hosted.settle()
    assert seen["EndpointConfigName"] == "v1"
    assert seen["FailureReason"].startswith("The primary container for production variant main did not pass")


def test_requests_in_flight_end_before_their_instance_does(hosted):
    hosted.generation("v1", DELAY="0.5")
    hosted.generation("v2")
    hosted.create("v1")
    with SteadyClient(hosted) as client:
        until(
            lambda: hosted.hosting.endpoints["e"].router.blue.instances()[0].in_flight,
            lambda count: count == 3,
        )
        hosted.update("v2")
        hosted.settle()
    assert not client.failures()
    assert client.share("v1") > 0


def test_a_deployment_longer_than_its_limit_goes_back(hosted, monkeypatch):
    hosted.generation("v1")
    hosted.generation("v2")
    hosted.create("v1")
    config = blue_green("ALL_AT_ONCE", wait=0, termination=599)
    config["BlueGreenUpdatePolicy"]["MaximumExecutionTimeoutInSeconds"] = 600

    def launch_slowly(deployment, wanted):
        deployment.endpoint.launch(wanted)
        deployment._spend(2.0)

    monkeypatch.setattr(Deployment, "_launch", launch_slowly)
    hosted.update("v2", DeploymentConfig=config)
    seen = hosted.settle()
    assert seen["EndpointConfigName"] == "v1"
    assert "MaximumExecutionTimeoutInSeconds (600)" in seen["FailureReason"]


def test_retained_properties_survive_an_update_and_are_reset_without_it(hosted):
    hosted.generation("v1")
    hosted.generation("v2")
    hosted.generation("v3")
    hosted.create("v1")
    hosted.scale(DesiredInstanceCount=3, DesiredWeight=2.0)
    hosted.settle()
    hosted.update("v2", RetainAllVariantProperties=True)
    (main,) = hosted.settle()["ProductionVariants"]
    assert (main["CurrentInstanceCount"], main["CurrentWeight"]) == (3, 2.0)
    hosted.update(
        "v3",
        RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DesiredWeight"}],
    )
    (main,) = hosted.settle()["ProductionVariants"]
    assert (main["CurrentInstanceCount"], main["CurrentWeight"]) == (3, 1.0)
    hosted.update("v1")
    (main,) = hosted.settle()["ProductionVariants"]
    assert (main["CurrentInstanceCount"], main["CurrentWeight"]) == (1, 1.0)


def test_the_last_deployment_config_is_used_again_where_asked(hosted):
    for name in ("v1", "v2", "v3"):
        hosted.generation(name)
    hosted.create("v1")
    hosted.update("v2", DeploymentConfig=blue_green("CANARY", wait=60, CanarySize=percent(50)))
    hosted.settle()
    hosted.host.events.clear()
    hosted.update("v3", RetainDeploymentConfig=True)
    hosted.settle()
    assert any("canary" in message for message in messages(hosted))


def test_an_update_is_refused_while_an_alarm_is_tripped_or_missing(hosted, monkeypatch):
    hosted.generation("v1")
    hosted.generation("v2")
    hosted.create("v1")
    hosted.host.alarms["errors"] = "ALARM"
    with pytest.raises(
        SageMakerError, match="errors in AutoRollbackConfiguration are already in ALARM state"
    ):
        hosted.update("v2", DeploymentConfig=blue_green("ALL_AT_ONCE"))
    monkeypatch.setattr(hosted.host, "alarm_states", lambda names: {})
    with pytest.raises(SageMakerError, match="errors in AutoRollbackConfiguration do not exist"):
        hosted.update("v2", DeploymentConfig=blue_green("ALL_AT_ONCE"))
    assert hosted.describe()["EndpointStatus"] == "InService"


def test_an_endpoint_in_progress_takes_no_second_change(hosted):
    hosted.generation("v1")
    hosted.generation("v2")
    hosted.create("v1")
    hosted.update("v2", DeploymentConfig=blue_green("ALL_AT_ONCE", wait=0, termination=600))
    for change in (lambda: hosted.update("v1"), lambda: hosted.call("DeleteEndpoint", {"EndpointName": "e"})):
        with pytest.raises(SageMakerError, match="Cannot update in-progress endpoint"):
            change()
    hosted.settle()


def test_closing_the_service_in_a_deployment_leaves_no_process(hosted):
    hosted.generation("v1")
    hosted.generation("v2")
    hosted.create("v1")
    hosted.update("v2", DeploymentConfig=blue_green("CANARY", wait=3600, CanarySize=percent(50)))
    until(lambda: stage(hosted), lambda status: status == "Baking")
    hosted.service.close()
    assert not hosted.service.processes._running


def test_a_variant_may_come_and_another_go(hosted):
    hosted.model("a")
    hosted.model("b")
    hosted.config("one", variant("a", "first"))
    hosted.config("two", variant("b", "second"))
    hosted.create("one")
    with SteadyClient(hosted) as client:
        hosted.update("two")
        seen = hosted.settle()
    assert [found["VariantName"] for found in seen["ProductionVariants"]] == ["second"]
    assert not client.failures()


@pytest.mark.parametrize(
    "config, message",
    [
        (blue_green("CANARY", CanarySize=percent(51)), "CanarySize must be less than or equal to 50%"),
        (
            blue_green("CANARY", CanarySize={"Type": "INSTANCE_COUNT", "Value": 1}),
            "CanarySize must be less than or equal to 50%",
        ),
        (blue_green("CANARY"), "CanarySize must be specified"),
        (
            blue_green("LINEAR", LinearStepSize=percent(5)),
            "LinearStepSize must be greater than or equal to 10%",
        ),
        (blue_green("ALL_AT_ONCE", wait=3601), "Member must have value less than or equal to 3600"),
        (
            blue_green("ALL_AT_ONCE") | {"AutoRollbackConfiguration": {"Alarms": []}},
            "Member must have length greater than or equal to 1",
        ),
        (
            blue_green("ALL_AT_ONCE")
            | {"RollingUpdatePolicy": {"MaximumBatchSize": percent(50), "WaitIntervalInSeconds": 0}},
            "Only one of",
        ),
        (
            {"RollingUpdatePolicy": {"MaximumBatchSize": percent(4), "WaitIntervalInSeconds": 0}},
            "MaximumBatchSize must be greater than or equal to 5%",
        ),
    ],
)
def test_a_deployment_config_that_aws_refuses_is_refused(hosted, config, message):
    hosted.generation("v1")
    hosted.create("v1")
    with pytest.raises(SageMakerError, match=message) as caught:
        hosted.update("v1", DeploymentConfig=config)
    assert caught.value.code == "ValidationException"
    assert hosted.describe()["EndpointStatus"] == "InService"


def test_the_limit_must_be_longer_than_the_waits(hosted):
    hosted.generation("v1")
    hosted.create("v1")
    config = blue_green("CANARY", wait=400, termination=300, CanarySize=percent(10))
    config["BlueGreenUpdatePolicy"]["MaximumExecutionTimeoutInSeconds"] = 700
    with pytest.raises(SageMakerError, match=r"must be greater than the total of the waits .*700"):
        hosted.update("v1", DeploymentConfig=config)


def test_linear_steps_end_at_everything():
    policy = blue_green("LINEAR", wait=60, termination=5, LinearStepSize=percent(30))["BlueGreenUpdatePolicy"]
    planned = steps(policy, [10])
    assert [round(step.share, 2) for step in planned] == [0.3, 0.6, 0.9, 1.0]
    assert [step.wait for step in planned] == [60, 60, 60, 5]
