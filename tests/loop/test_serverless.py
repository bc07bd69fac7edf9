"""A model without instances: nothing runs until somebody asks, what is asked is captured all the same, and a
bad version does not outlive its watch although SageMaker guards no serverless update."""

from datetime import timedelta

import pytest

from local import people, stack
from local.people import ApiError, Caller
from tests.loop import folders
from tests.loop.site import Site, Traffic, because_of, ships
from tests.loop.test_shipping import states

pytestmark = pytest.mark.loop

NAME = "lazy"
SERVERLESS = folders.APPROVED_BY_POLICY | {
    "serve: {instance: ml.m5.large}": "serve: {serverless: {memory_mb: 2048, concurrency: 5}}",
    "bake: 2m": "bake: 5m",
}


@pytest.fixture(scope="module")
def lazy(site: Site) -> Site:
    """The first version of the model in service."""
    site.upload(NAME, "2013.parquet", folders.parquet(folders.sample()))
    version = trained(site)
    assert site.ended("deploy", ships(NAME, version)).ended_in == "ModelDeployed"
    return site


@pytest.fixture(scope="module")
def client(site: Site) -> Caller:
    """Who asks while versions come and go."""
    return people.hire(site.client("iam"), "lazy-client", site.stack.api_url, stack.REGION)


def trained(site: Site, code: dict | None = None) -> int:
    """The version that a publication led to."""
    execution = site.ended("train", because_of(site.publish(NAME, SERVERLESS, code)))
    assert execution.ended_in == "ModelRegistered", execution.reason
    return site.history(NAME, "RunEnded", execution.cause["id"])[0]["version"]


def test_what_it_is_asked_is_captured_and_monitored(lazy: Site) -> None:
    site = lazy
    first = site.champion(NAME)
    endpoint = site.client("sagemaker").describe_endpoint(EndpointName=f"evergreen-{NAME}")
    assert "DataCaptureConfig" not in endpoint
    (variant,) = endpoint["ProductionVariants"]
    assert variant["CurrentServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    now = site.stack.clock.now()
    site.predict(NAME, folders.new_flights(60))
    window = {"start": now.isoformat(), "end": (now + timedelta(hours=1)).isoformat()}
    site.send("test.program", "MonitoringRequested", {"model": NAME, "window": window})
    execution = site.ended("monitor", lambda found: found.event["detail"]["model"] == NAME)
    assert execution.ended_in in ("WindowClean", "ViolationsFound"), execution.reason
    (analyzed,) = site.history(NAME, "WindowAnalyzed")
    # What `champion` asked besides, to see that it answers.
    assert (analyzed["version"], analyzed["rows"] >= 60) == (first["version"], True)
    assert not analyzed["skipped_lines"]


def test_a_version_that_answers_5xx_is_taken_back_by_the_machine(lazy: Site, client: Caller) -> None:
    site = lazy
    champion = site.champion(NAME)
    with Traffic(site, NAME, folders.new_flights(1), client) as traffic:
        site.wait("traffic", lambda: traffic.answers)
        version = trained(site, folders.ANSWERING_NOTHING)
        execution = site.ended("deploy", ships(NAME, version))
        seen = len(traffic.answers)
        site.wait("traffic after the return", lambda: len(traffic.answers) > seen + 5)
    error, cause = site.failure(execution)
    assert error == "DeploymentRolledBack"
    assert {"UpdateServerlessEndpoint", "WatchEndpoint", "ReturnToChampion"} <= set(states(site, execution))
    assert f"-v{version}-" in cause and "-errors" in cause
    assert site.champion(NAME) == champion
    assert site.package(NAME, version)["ModelApprovalStatus"] == "Rejected"
    (told,) = site.history(NAME, "DeploymentRolledBack")
    assert (told["version"], told["reason"]) == (version, cause)
    # What the version failed is all that clients saw of it.
    assert {refusal.status for refusal in traffic.refusals} == {502}
    assert not any(isinstance(answer, ApiError) for answer in traffic.answers[seen:])


def test_a_sound_version_is_promoted_and_a_person_takes_it_back(lazy: Site, client: Caller) -> None:
    site = lazy
    first = site.champion(NAME)
    with Traffic(site, NAME, folders.new_flights(1), client) as traffic:
        site.wait("traffic", lambda: traffic.answers)
        version = trained(site, {"train.py": "\n# sound\n"})
        execution = site.ended("deploy", ships(NAME, version))
        assert execution.ended_in == "ModelDeployed", execution.reason
        assert states(site, execution).count("WatchEndpoint") == 5
        assert site.champion(NAME)["version"] == version
        asked = site.owner.post(f"/models/{NAME}/rollback", {"reason": "too costly"})
        returned = site.ended("respond", lambda found: found.cause["id"] == asked["cause"]["id"])
        assert returned.ended_in == "OwnerNotified", returned.reason
    assert not traffic.refusals
    assert site.champion(NAME) == first
