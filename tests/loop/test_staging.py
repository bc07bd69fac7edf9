"""Staging, through the real stack: what a person decides, what the smoke test finds, and what becomes of a
question that nobody answers. Production never notices what does not pass."""

import json

import pytest

from local.people import ApiError
from local.watch import Execution
from tests.loop import folders
from tests.loop.site import Json, Site, because_of, ships

pytestmark = pytest.mark.loop

NAME = "staged"


def staged(expires: str = "4h") -> dict[str, str]:
    """A person is asked; time here goes forty times as fast."""
    section = f"staging: {{approval: person, expires: {expires}}}"
    return {"strategy: all_at_once": f"strategy: all_at_once\n  {section}"}


@pytest.fixture(scope="module")
def model(site: Site) -> Site:
    site.upload(NAME, "2013.parquet", folders.parquet(folders.sample()))
    return site


def approve(site: Site, edits: dict, code: dict | None = None) -> int:
    """A version that is trained and approved, and so begins its deployment."""
    digest = site.publish(NAME, edits, code)
    trained = site.ended("train", because_of(digest))
    assert trained.ended_in == "ModelRegistered", trained.reason
    version = site.history(NAME, "RunEnded", trained.cause["id"])[0]["version"]
    site.approve(NAME, version)
    return version


def asked(site: Site, version: int) -> Json:
    """The staged version, once it waits for a person."""

    def look() -> Json | None:
        found = [each for each in site.view(NAME)["staged"] if each["version"] == version]
        return found[0] if found and found[0]["approval"] else None

    return site.wait(f"version {version} to wait for a person", look)


def decide(site: Site, waiting: Json, decision: str, reason: str) -> Json:
    path = f"/models/{NAME}/deployments/{waiting['deployment']}/approval"
    return site.owner.post(path, {"decision": decision, "reason": reason})


def refused(site: Site, version: int) -> tuple[str, Execution]:
    """(why a version did not ship, its deployment), with nothing of it left."""
    execution = site.ended("deploy", ships(NAME, version))
    error, cause = site.failure(execution)
    assert error == "DeploymentRefused"
    row = site.history(NAME, "DeploymentRefused")[0]
    assert (row["version"], row["reason"]) == (version, cause)
    package = site.package(NAME, version)
    assert package["ModelApprovalStatus"] == "Rejected"
    assert cause[:200] in package["ApprovalDescription"]
    assert staging_endpoints(site) == []
    return cause, execution


def staging_endpoints(site: Site) -> list[str]:
    found = site.client("sagemaker").list_endpoints(NameContains="-staging")["Endpoints"]
    return [each["EndpointName"] for each in found if each["EndpointStatus"] != "Deleting"]


def kinds(site: Site, version: int) -> list[str]:
    """What the ledger tells of a version, in order of time."""
    rows = site.owner.get(f"/models/{NAME}/history?limit=200")["history"]
    return [row["kind"] for row in reversed(rows) if row.get("version") == version]


def test_a_person_lets_a_version_go_on(model: Site) -> None:
    site = model
    version = approve(site, staged())
    waiting = asked(site, version)
    assert staging_endpoints(site) == [waiting["endpoint"]]
    assert site.view(NAME)["champion"] is None, "production has not begun"
    told = site.inbox.wait(waiting["deployment"], "waits for a person until")
    assert "rows are answered as when the model was judged" in told
    assert f"/models/{NAME}/deployments/{waiting['deployment']}/approval" in told
    ledger = site.client("dynamodb").get_item(
        TableName=site.outputs["Table"],
        Key={"pk": {"S": f"MODEL#{NAME}"}, "sk": {"S": f"TOKEN#{waiting['deployment']}"}},
    )
    token = ledger["Item"]["token"]["S"]
    shown = json.dumps([site.view(NAME), site.owner.get(f"/models/{NAME}/history")]) + told
    assert token not in shown

    answer = decide(site, waiting, "approve", "the card looks right")
    assert (answer["version"], answer["decision"]) == (version, "approve")
    with pytest.raises(ApiError, match=r"409.*does not wait for a person"):
        decide(site, waiting, "reject", "too late")
    assert site.ended("deploy", ships(NAME, version)).ended_in == "ModelDeployed"
    assert site.champion(NAME)["version"] == version
    assert staging_endpoints(site) == []
    assert {"SmokeTested", "ApprovalRequested", "ApprovalDecided", "ProductionAdmitted"} < set(
        kinds(site, version)
    )
    admitted = site.history(NAME, "ProductionAdmitted")[0]
    assert admitted["by"].endswith("owner")
    assert "the card looks right" in admitted["reason"]
    keys = site.client("s3").list_objects_v2(Bucket=site.bucket, Prefix=f"capture/{waiting['endpoint']}/")
    assert keys["KeyCount"] == 0, "the monitor reads what production was asked"


def test_a_person_refuses_a_version_and_nobody_was_kept_waiting(model: Site) -> None:
    site = model
    champion = site.champion(NAME)
    version = approve(site, staged(), {"train.py": "\n# another digest\n"})
    waiting = asked(site, version)
    with pytest.raises(ApiError, match=r"409.*there is no version before"):  # and not: is being deployed
        site.owner.post(f"/models/{NAME}/rollback", {"reason": "would be possible"})
    decide(site, waiting, "reject", "calls Newark late")
    cause, _ = refused(site, version)
    assert "calls Newark late (refused by " in cause
    assert site.champion(NAME) == champion


def test_a_version_that_answers_otherwise_than_it_was_judged_never_ships(model: Site) -> None:
    site = model
    champion = site.champion(NAME)
    version = approve(site, staged(), folders.ANSWERING_OTHERWISE)
    cause, execution = refused(site, version)
    assert "50 of 50 rows are answered otherwise than when the model was judged: row 1: " in cause
    assert "was " in cause
    site.inbox.wait(execution.arn, "answered otherwise")
    assert "ApprovalRequested" not in kinds(site, version), "nobody is asked about what is broken"
    (tested,) = [row for row in site.history(NAME, "SmokeTested") if row["version"] == version]
    deployment = [{"Name": "Deployment", "Value": tested["deployment"]}]
    counted = site.client("cloudwatch").list_metrics(MetricName="Answer", Dimensions=deployment)
    assert counted["Metrics"] == [], "the alarm on the answers is for production's"
    assert site.champion(NAME) == champion


def test_a_question_expires_and_a_run_that_is_stopped_leaves_nothing(model: Site) -> None:
    site = model
    champion = site.champion(NAME)
    version = approve(site, staged("10m"), {"train.py": "\n# a third digest\n"})
    waiting = asked(site, version)
    cause, _ = refused(site, version)
    assert "nobody approved or refused it within" in cause
    with pytest.raises(ApiError, match=r"409.*it is Refused: .*nobody approved"):
        decide(site, waiting, "approve", "too late")

    # Approved once more, it is staged once more; then somebody stops the run.
    again = {"decision": "approve", "reason": "was on holiday", "force": True}
    site.owner.post(f"/models/{NAME}/versions/{version}/approval", again)
    second = site.wait("the second staging", lambda: asked(site, version))
    assert second["deployment"] != waiting["deployment"]
    with pytest.raises(ApiError, match=rf"409.*Approved, not pending: {second['deployment']} is under way"):
        site.owner.post(f"/models/{NAME}/versions/{version}/approval", again)
    (running,) = [each for each in site.executions("deploy", ships(NAME, version)) if each.running]
    site.client("stepfunctions").stop_execution(executionArn=running.arn)
    cleaned = site.ended("deploy", lambda each: each.event["detail"].get("executionArn") == running.arn)
    error, cause = site.failure(cleaned)
    assert error == "DeploymentRefused"
    assert f"was ABORTED while version {version} was in staging" in cause
    assert staging_endpoints(site) == []
    assert site.view(NAME)["staged"] == []
    assert site.champion(NAME) == champion


def test_of_all_that_was_refused_only_the_last_is_left_in_sagemaker(model: Site) -> None:
    site = model
    champion = site.champion(NAME)["config"]
    # By the machines' clock: all of it happened on one day of the world's.
    refusals = sorted(site.history(NAME, "DeploymentRefused"), key=lambda row: row["recorded_at"])
    last = refusals[-1]["deployment"]
    site.wait("the others to go", lambda: made(site) == {champion, last})
    configs = site.client("sagemaker").list_endpoint_configs(NameContains=f"-{NAME}-v")["EndpointConfigs"]
    names = {each["EndpointConfigName"] for each in configs}
    assert names == {champion, f"{champion}-staging", f"{last}-staging"}
    told = {row["deployment"]: row["reason"] for row in site.history(NAME, "LeftoversDeleted")}
    assert told == {row["deployment"]: "it was Refused, and nothing returns to it" for row in refusals[:-1]}


def made(site: Site) -> set[str]:
    """The deployments that have a SageMaker model."""
    found = site.client("sagemaker").list_models(NameContains=f"-{NAME}-v")["Models"]
    return {each["ModelName"] for each in found}
