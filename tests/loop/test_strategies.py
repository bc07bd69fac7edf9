"""Each way to shift traffic, under a client that asks without pause: a version that fails goes back and costs
no answer but its own, a sound one takes over and costs none; capacity and data capture stay."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from local import people, stack
from local.people import Caller
from tests.loop import folders
from tests.loop.site import Site, Traffic

pytestmark = pytest.mark.loop

NAME = "load"
PLAIN = {"serve: {instance: ml.m5.large}": "serve: {instance: ml.m5.large, count: 2}"}
CAPACITY = 3  # what a person has set, other than serve.count
STRATEGIES = ("all_at_once", "canary", "linear", "rolling")
# A bake that the alarm never waits for, and one that a sound version sits out: 15 s and 1.5 s here.
LONG, SHORT = "10m", "1m"


def by(strategy: str, bake: str) -> dict[str, str]:
    """What model.yaml says of a strategy; half of the fleet at a time where it takes a part, and then what
    both fleets answer is compared."""
    said = PLAIN | {"strategy: all_at_once": f"strategy: {strategy}", "bake: 2m": f"bake: {bake}"}
    if strategy == "all_at_once":
        return said
    half = f"strategy: {strategy}\n  percent: 50"
    return said | {"strategy: all_at_once": half, "latency_p99: 30s": "latency_p99: 30s, answers: 0.5"}


@pytest.fixture(scope="module")
def loaded(site: Site) -> Site:
    """The first version in service, on more instances than model.yaml says."""
    site.upload(NAME, "2013.parquet", folders.parquet(folders.sample()))
    site.ship(NAME, by("all_at_once", SHORT))
    wanted = [{"VariantName": "main", "DesiredInstanceCount": CAPACITY}]
    site.client("sagemaker").update_endpoint_weights_and_capacities(
        EndpointName=f"evergreen-{NAME}", DesiredWeightsAndCapacities=wanted
    )
    site.wait("the capacity", lambda: fleet(site)[0] == CAPACITY)
    return site


@pytest.fixture(scope="module")
def caller(site: Site) -> Caller:
    return people.hire(site.client("iam"), "load", site.stack.api_url, stack.REGION)


@contextmanager
def client(site: Site, caller: Caller) -> Iterator[Traffic]:
    """A client that has had an answer before anything else happens, and whose last requests are answered."""
    with Traffic(site, NAME, folders.new_flights(1), caller) as traffic:
        site.wait("traffic", lambda: traffic.answers)
        yield traffic
        seen = len(traffic.answers)
        site.wait("more traffic", lambda: len(traffic.answers) > seen + 20)
    assert not [answer for answer in traffic.answers[seen + 1 :] if not isinstance(answer, int)]


def fleet(site: Site) -> tuple[int, bool]:
    """(instances in service, whether data capture is on)."""
    endpoint = site.client("sagemaker").describe_endpoint(EndpointName=f"evergreen-{NAME}")
    settled = endpoint["EndpointStatus"] == "InService"
    [main] = endpoint["ProductionVariants"]
    return main["CurrentInstanceCount"] if settled else 0, endpoint["DataCaptureConfig"]["EnableCapture"]


def files(site: Site) -> set[str]:
    """Keys of what was captured so far."""
    pages = site.client("s3").get_paginator("list_objects_v2")
    found = pages.paginate(Bucket=site.bucket, Prefix=f"capture/evergreen-{NAME}/main/")
    return {item["Key"] for page in found for item in page.get("Contents", [])}


def rows(site: Site, keys: set[str]) -> int:
    """How many requests of one row, with their answers, are in some files."""
    bodies = [site.client("s3").get_object(Bucket=site.bucket, Key=key)["Body"].read() for key in keys]
    captured = [json.loads(line)["captureData"] for body in bodies for line in body.splitlines()]
    return sum(
        len(found["endpointInput"]["data"].splitlines()) == 1 and "endpointOutput" in found
        for found in captured
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_version_that_fails_goes_back_and_costs_only_what_it_failed(
    loaded: Site, caller: Caller, strategy: str
) -> None:
    champion = loaded.champion(NAME)
    with client(loaded, caller) as traffic:
        version, execution = loaded.ship(NAME, by(strategy, LONG), folders.ANSWERING_NOTHING)
    error, cause = loaded.failure(execution)
    assert (error, "-errors" in cause) == ("DeploymentRolledBack", True)
    refused = {
        (found.status, "a feature that only training knew" in str(found)) for found in traffic.refusals
    }
    assert refused == {(502, True)}
    assert loaded.champion(NAME) == champion
    assert loaded.package(NAME, version)["ModelApprovalStatus"] == "Rejected"
    assert fleet(loaded) == (CAPACITY, True)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_sound_version_takes_over_and_no_answer_is_lost(
    loaded: Site, caller: Caller, strategy: str
) -> None:
    before = files(loaded)
    with client(loaded, caller) as traffic:
        version, execution = loaded.ship(NAME, by(strategy, SHORT), {"train.py": f"\n# {strategy}\n"})
    assert execution.ended_in == "ModelDeployed", execution.reason
    assert not traffic.refusals
    assert fleet(loaded) == (CAPACITY, True)
    asked = len(traffic.answers)
    loaded.wait(f"{asked} answers to be captured", lambda: rows(loaded, files(loaded) - before) >= asked)
    assert loaded.champion(NAME)["version"] == version


def test_a_version_that_answers_nonsense_goes_back_by_what_it_answers(loaded: Site, caller: Caller) -> None:
    champion = loaded.champion(NAME)
    with client(loaded, caller) as traffic:
        _, execution = loaded.ship(NAME, by("canary", LONG), folders.ANSWERING_OTHERWISE)
    error, cause = loaded.failure(execution)
    assert (error, "-answers." in cause) == ("DeploymentRolledBack", True)
    assert not traffic.refusals, "no request failed, and none was slow"
    assert loaded.champion(NAME) == champion
    assert fleet(loaded) == (CAPACITY, True)


def test_a_version_that_does_not_start_is_never_asked(loaded: Site, caller: Caller) -> None:
    champion = loaded.champion(NAME)
    with client(loaded, caller) as traffic:
        _, execution = loaded.ship(NAME, by("linear", SHORT), folders.NOT_LOADING)
    error, cause = loaded.failure(execution)
    assert (error, "did not pass the ping health check" in cause) == ("DeploymentRolledBack", True)
    assert not traffic.refusals
    assert loaded.champion(NAME) == champion
    assert fleet(loaded) == (CAPACITY, True)
