"""Two accounts: one trains, the other serves, by one template. What crosses is what resource policies let
across; a third account, which they do not name, gets nothing, whatever its own roles allow."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from local import stack
from local.people import ApiError
from tests.loop import folders
from tests.loop.site import Json, Site, because_of, ships

pytestmark = pytest.mark.loop

SERVING, OUTSIDER = "222222222222", "333333333333"
NOW = datetime(2013, 3, 1, tzinfo=UTC)
CANARY = {
    "serve: {instance: ml.m5.large}": "serve: {instance: ml.m5.large, count: 2}",
    "strategy: all_at_once": "strategy: canary\n  percent: 50",
}
STAGED = CANARY | {"bake: 2m\n": "bake: 2m\n  staging: {}\n"}


@dataclass
class Pair:
    """The site that trains, the one that serves, and what was published first."""

    training: Site
    serving: Site
    digest: str
    version: int


def second(running: stack.Stack, account: str, training: dict[str, str], root) -> Site:
    """A site that serves what the first account trains."""
    other = running.of(account)
    other.deploy(TrainingAccount=stack.ACCOUNT, TrainingBucket=training["Bucket"])
    return Site(other, root / account)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A version that was trained in one account, approved there, and serves in the other."""
    root = tmp_path_factory.mktemp("accounts")
    with stack.running(port=0, deploy=False, directory=root / "state") as running:
        running.clock.set(NOW, frozen=True)
        outputs = running.deploy(ServingAccount=SERVING)
        training, serving = Site(running, root / "models"), second(running, SERVING, outputs, root)
        with training.watch, serving.watch:
            training.upload("swift", "2013.parquet", folders.parquet(folders.sample()))
            digest = training.publish("swift", STAGED)
            version = training.pending("swift")
            training.approve("swift", version)
            serving.wait("swift in service", lambda: serving.view("swift")["champion"])
            yield Pair(training, serving, digest, version)


def test_each_account_has_its_half_of_the_loop(pair: Pair) -> None:
    assert set(pair.training.machines) == {"onboard", "train", "follow"}
    assert set(pair.serving.machines) == {"onboard", "deploy", "batch", "monitor", "respond", "follow"}
    for site in (pair.training, pair.serving):
        assert site.ended("onboard", because_of(pair.digest)).ended_in == "ModelOnboarded"
    schedules = {
        site.stack.account: [s["Name"] for s in site.client("scheduler").list_schedules()["Schedules"]]
        for site in (pair.training, pair.serving)
    }
    assert schedules == {stack.ACCOUNT: ["swift-train"], SERVING: ["swift-monitor"]}


def test_a_version_that_was_approved_in_one_account_serves_in_the_other(pair: Pair) -> None:
    champion = pair.serving.champion("swift")
    assert champion["version"] == pair.version
    package = pair.training.package("swift", pair.version)
    model = pair.serving.client("sagemaker").describe_model(ModelName=champion["config"])
    assert model["PrimaryContainer"]["ModelPackageName"] == package["ModelPackageArn"]
    assert model["ModelArn"].split(":")[4] == SERVING
    assert not pair.training.client("sagemaker").list_endpoints()["Endpoints"]

    def known() -> Json | None:
        return pair.training.view("swift")["champion"]

    told = pair.training.wait("the account that trains to hear of it", known)
    assert (told["version"], told["deployment"]) == (pair.version, champion["config"])
    [ended] = pair.serving.history("swift", "RunEnded")
    assert (ended["account"], ended["version"]) == (stack.ACCOUNT, pair.version)
    [deployed] = pair.training.history("swift", "ModelDeployed")
    assert deployed["account"] == SERVING


def test_staging_asks_what_was_judged_in_the_other_account(pair: Pair) -> None:
    [tested] = pair.serving.history("swift", "SmokeTested")
    assert tested["passed"], tested["reason"]


def test_either_account_shows_the_card_of_a_version(pair: Pair) -> None:
    for site in (pair.training, pair.serving):
        page = site.owner.get(f"/models/swift/versions/{pair.version}/card")
        assert f"swift version {pair.version} passed its gate" in page
        assert "approved by arn:aws:iam::000000000000:user/" in page


def test_what_the_other_account_does_is_refused_with_its_number(pair: Pair) -> None:
    for site, path, body, other in (
        (pair.training, "predictions", {"instances": folders.new_flights(1)}, SERVING),
        (pair.training, "labels", {"labels": [{"id": "1", "label": 1}]}, SERVING),
        (pair.training, "rollback", {"reason": "no"}, SERVING),
        (pair.serving, "versions/1/approval", {"decision": "reject", "reason": "no"}, stack.ACCOUNT),
    ):
        with pytest.raises(ApiError) as refused:
            site.owner.post(f"/models/swift/{path}", body)
        assert refused.value.status == 409
        assert other in str(refused.value)


def test_a_window_is_analysed_against_the_baseline_of_the_other_account(pair: Pair) -> None:
    serving = pair.serving
    rows = folders.new_flights(60)
    serving.predict("swift", rows)
    labels = [{"id": row["flight_id"], "label": int(row["late"])} for row in rows]
    serving.owner.post("/models/swift/labels", {"labels": labels})
    serving.stack.clock.set(datetime(2013, 3, 1, 1, tzinfo=UTC), frozen=True)
    window = {"start": "2013-03-01T00:00:00Z", "end": "2013-03-01T01:00:00Z"}
    serving.send("test", "MonitoringRequested", {"model": "swift", "window": window})
    execution = serving.ended("monitor", lambda found: found.event["detail-type"] == "MonitoringRequested")
    assert execution.ended_in in ("WindowClean", "ViolationsFound"), execution.reason
    analyzed = serving.history("swift", "WindowAnalyzed")[0]
    assert (analyzed["status"], analyzed["labelled"]) == ("Completed", 60)
    assert analyzed["rows"] >= 60  # others have asked, too
    assert analyzed["report"].startswith(f"s3://{serving.bucket}/")


def test_a_training_that_is_asked_for_where_the_model_serves_runs_where_it_trains(pair: Pair) -> None:
    asked = pair.serving.owner.post("/models/swift/train", {})["cause"]
    execution = pair.training.ended("train", lambda found: found.cause["id"] == asked["id"])
    assert execution.ended_in in ("ModelRegistered", "ChallengerRejected"), execution.reason
    follows = pair.serving.ended("follow", lambda found: found.cause["id"] == asked["id"])
    assert follows.ended_in == "Followed"
    [ended] = pair.serving.history("swift", "RunEnded", asked["id"])
    assert ended["outcome"] in ("registered", "rejected")


def test_a_person_takes_a_version_out_where_it_serves_and_it_is_rejected_where_it_was_trained(
    pair: Pair,
) -> None:
    training, serving = pair.training, pair.serving
    before, version = serving.champion("swift")["version"], training.pending("swift")
    training.approve("swift", version)
    assert serving.ended("deploy", ships("swift", version)).ended_in == "ModelDeployed"

    def champion() -> int:
        return training.view("swift")["champion"]["version"]

    training.wait("the champion there", lambda: champion() == version)
    cause = serving.owner.post("/models/swift/rollback", {"reason": "calls Newark late"})["cause"]
    serving.ended("respond", lambda found: found.cause["id"] == cause["id"])
    training.wait("the champion before it", lambda: champion() == before)
    package = training.package("swift", version)
    assert package["ModelApprovalStatus"] == "Rejected"
    assert "calls Newark late" in package["ApprovalDescription"]
    assert cause["by"] in package["ApprovalDescription"]
    assert serving.champion("swift")["version"] == before


def test_a_rollback_rejects_the_package_in_the_other_account(pair: Pair) -> None:
    champion = pair.serving.champion("swift")
    digest = pair.training.publish("swift", CANARY, folders.ANSWERING_NOTHING)
    run = pair.training.ended("train", because_of(digest))
    version = pair.training.history("swift", "RunEnded", run.cause["id"])[0]["version"]
    with pair.serving.traffic("swift", folders.new_flights(1)) as traffic:
        pair.serving.wait("traffic", lambda: traffic.answers)
        pair.training.approve("swift", version)
        execution = pair.serving.ended("deploy", ships("swift", version))
    error, cause = pair.serving.failure(execution)
    assert error == "DeploymentRolledBack"

    def recorded() -> list[Json]:
        return pair.training.history("swift", "DeploymentRolledBack", run.cause["id"])

    [rolled_back] = pair.training.wait("the rollback in the other ledger", recorded)
    package = pair.training.package("swift", version)
    assert package["ModelApprovalStatus"] == "Rejected"
    assert cause.split("/")[0] in package["ApprovalDescription"]
    assert (rolled_back["version"], rolled_back["reason"]) == (version, cause)
    assert pair.serving.champion("swift") == champion
    assert pair.training.view("swift")["champion"]["version"] == champion["version"]
    again = pair.serving.deliver_again(execution)
    assert again.ended_in == "DeploymentDropped"


def test_an_account_that_the_policies_do_not_name_gets_nothing(pair: Pair, tmp_path) -> None:
    """Its stack is the same, and its roles: it names the account that trains, which does not name it."""
    outsider = second(pair.training.stack, OUTSIDER, pair.training.outputs, tmp_path)
    published = pair.serving.ended("onboard", because_of(pair.digest)).event
    approved = pair.serving.ended("deploy", ships("swift", pair.version)).event
    with outsider.watch:
        refused = outsider.deliver("onboard", published)
        assert refused.ended_in == "OnboardingRefused"
        assert "AccessDenied" in outsider.failure(refused)[1]
        failed = outsider.deliver("deploy", approved)
        assert failed.ended_in == "DeploymentFailed"
        assert (
            "no resource-based policy allows the sagemaker:DescribeModelPackage"
            in outsider.failure(failed)[1]
        )
        detail = {
            "model": "swift",
            "cause": {"kind": "person", "id": "1", "at": "2013-03-01T00:00:00Z", "by": "x"},
        }
        outsider.send("evergreen.api", "TrainingRequested", detail)
        sqs = outsider.client("sqs")
        url = sqs.get_queue_url(QueueName="evergreen-dead-letters")["QueueUrl"]

        def buried() -> Json | None:
            found = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"]).get("Messages")
            return found and found[0]

        message = outsider.wait("the dead letter", buried)
    assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_PERMISSIONS"
    assert json.loads(message["Body"])["detail"] == detail
    s3 = outsider.client("s3")
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.list_objects_v2(Bucket=pair.training.bucket, Prefix="models/")
