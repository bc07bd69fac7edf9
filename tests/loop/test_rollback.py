"""What goes wrong with a version in service: during its deployment SageMaker rolls back, afterwards respond
does; both tell why, and neither lets it come back by itself."""

import pytest

from tests.loop import folders
from tests.loop.site import Json, Site, because_of, ships

pytestmark = pytest.mark.loop


def trained(site: Site, digest: str) -> Json:
    """How the run of a published folder ended."""
    execution = site.ended("train", because_of(digest))
    assert execution.ended_in == "ModelRegistered", execution.reason
    return site.history(execution.event["detail"]["model"], "RunEnded", execution.cause["id"])[0]


def test_a_challenger_that_answers_5xx_is_rolled_back_and_stays_out(site: Site) -> None:
    champion = site.champion("careful")
    run = trained(site, site.publish("careful", folders.BY_CANARY_ON_SCHEDULE, folders.ANSWERING_NOTHING))
    version = run["version"]
    with site.traffic("careful", folders.new_flights(1)) as traffic:
        site.wait("traffic", lambda: traffic.answers)
        site.approve("careful", version)
        execution = site.ended("deploy", ships("careful", version))
    error, cause = site.failure(execution)
    [rolled_back] = site.history("careful", "DeploymentRolledBack", run["cause"]["id"])
    alarm = f"{rolled_back['deployment']}-errors"
    assert error == "DeploymentRolledBack"
    assert alarm in cause
    assert (rolled_back["version"], rolled_back["reason"]) == (version, cause)
    site.inbox.wait(execution.arn, "DeploymentRolledBack", alarm)
    package = site.package("careful", version)
    assert package["ModelApprovalStatus"] == "Rejected"
    assert alarm in package["ApprovalDescription"]
    # What the canary failed is all that clients saw of it.
    assert {(refusal.status, "the model failed" in str(refusal)) for refusal in traffic.refusals} == {
        (502, True)
    }
    assert {answer for answer in traffic.answers if isinstance(answer, int)} == {champion["version"]}
    assert site.champion("careful") == champion

    again = site.deliver_again(execution)
    assert again.ended_in == "DeploymentDropped"
    dropped = site.history("careful", "DeploymentDropped")[0]
    assert dropped["reason"] == f"version {version} is Rejected in the registry now"
    assert site.champion("careful") == champion


def test_a_first_version_that_never_starts_makes_room_for_the_next(site: Site) -> None:
    """An endpoint that failed at its creation cannot be updated: it goes, and the next version makes it."""
    site.upload("newborn", "2013.parquet", folders.parquet(folders.sample()))
    run = trained(site, site.publish("newborn", folders.APPROVED_BY_POLICY, folders.LOADING_FOR_EVER))
    execution = site.ended("deploy", ships("newborn", run["version"]))
    error, cause = site.failure(execution)
    assert error == "DeploymentRolledBack"
    assert "did not pass the ping health check" in cause
    site.inbox.wait(execution.arn, "did not pass the ping health check")
    assert site.view("newborn")["champion"] is None
    status, answer = site.stack.api(
        "POST", "/models/newborn/predictions", {"instances": folders.new_flights(1)}
    )
    assert (status, answer["message"]) == (409, "newborn has no version in service yet")

    second = trained(site, site.publish("newborn", folders.APPROVED_BY_POLICY))["version"]
    assert site.ended("deploy", ships("newborn", second)).ended_in == "ModelDeployed"
    assert site.champion("newborn")["version"] == second


def test_an_alarm_after_the_deployment_puts_the_version_before_back(site: Site) -> None:
    champion = site.champion("careful")
    other = {"train.py": "\n# another digest\n"}
    version = trained(site, site.publish("careful", folders.BY_CANARY_ON_SCHEDULE, other))["version"]
    site.approve("careful", version)
    assert site.ended("deploy", ships("careful", version)).ended_in == "ModelDeployed"
    promoted = site.champion("careful")
    assert promoted["version"] == version

    alarm = f"{promoted['config']}-errors"
    reason = "one in five requests fails"
    site.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason=reason)
    execution = site.ended("respond", lambda found: found.event["detail"].get("alarmName") == alarm)
    assert (execution.status, execution.ended_in) == ("SUCCEEDED", "OwnerNotified")
    rolled_back = site.history("careful", "DeploymentRolledBack")[0]
    assert rolled_back["version"] == version
    assert alarm in rolled_back["reason"]
    assessed = site.history("careful", "SignalAssessed")[0]
    assert (assessed["action"], assessed["reason"]) == ("rollback", rolled_back["reason"])
    site.inbox.wait(alarm, "within its probation")
    assert site.package("careful", version)["ModelApprovalStatus"] == "Rejected"
    assert site.champion("careful") == champion


def test_an_alarm_without_a_version_to_return_to_calls_a_person(site: Site) -> None:
    champion = site.champion("swift")
    alarm = f"{champion['config']}-latency"
    site.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="it is slow")
    execution = site.ended("respond", lambda found: found.event["detail"].get("alarmName") == alarm)
    assert execution.ended_in == "OwnerNotified"
    assessed = site.history("swift", "SignalAssessed")[0]
    assert assessed["action"] == "notify"
    assert "there is no version before it to return to" in assessed["reason"]
    site.inbox.wait(alarm, "there is no version before it to return to")
    assert site.champion("swift") == champion
