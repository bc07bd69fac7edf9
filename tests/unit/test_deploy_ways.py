"""Models without instances: a serverless version is watched by the machine itself, one that scores batches
has no endpoint, and neither becomes the other under the same name."""

import pytest
from evergreen import deployments, shipping

from tests.unit import world
from tests.unit.test_deploy import admit, approved, promote
from tests.unit.world import GROUP

OTHER = "abcdefabcdef"


def second_version(ledger, sagemaker, way: str) -> None:
    """Version 1 in service and version 2 approved, both served in one way."""
    world.onboard(ledger, world.served(way))
    world.champion(ledger)
    world.registered(ledger, 2)
    sagemaker.package(f"{GROUP}/2")


def test_a_serverless_version_is_watched_for_its_bake_and_returns_to_the_champion(ledger, sagemaker):
    second_version(ledger, sagemaker, world.SERVERLESS)
    sagemaker.endpoints["evergreen-flights"] = {"EndpointStatus": "InService"}
    plan = admit(approved(2))
    assert plan["way"] == "serverless"
    assert plan["serverless"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    assert plan["watch"] == {"seconds": 600, "every": 60, "config": "evergreen-flights-v1-aaaaaa"}
    assert {each["Name"]: each["Value"] for each in plan["dimensions"]} == {
        "EndpointName": "evergreen-flights",
        "VariantName": plan["deployment"],
    }
    assert (plan["deploymentConfig"], plan["shadow"], plan["retain"]) == (None, None, False)
    promote(plan)
    assert len(ledger.need("flights", "CHAMPION")["alarms"]) == 2


def test_the_first_serverless_version_has_nothing_to_return_to(ledger, sagemaker):
    world.onboard(ledger, world.served(world.SERVERLESS))
    world.registered(ledger)
    sagemaker.package(f"{GROUP}/1")
    plan = admit()
    assert (plan["isNew"], plan["watch"]) == (True, None)


def test_provisioned_concurrency_is_asked_for_where_it_is_wanted():
    wanted = {"memory_mb": 1024, "concurrency": 5, "provisioned": 2}
    found = deployments.serverless({"serverless": wanted})
    assert found == {"MemorySizeInMB": 1024, "MaxConcurrency": 5, "ProvisionedConcurrency": 2}


@pytest.mark.parametrize(("bake", "every"), [(120, 60), (3600, 60)])
def test_the_alarms_are_looked_at_as_often_as_they_are_evaluated(bake, every):
    ship, serve = shipping.DEFAULT | {"bake": bake}, {"serverless": {"memory_mb": 1024}}
    assert deployments.watch(ship, serve, {"config": "c"}) == {"seconds": bake, "every": every, "config": "c"}


def test_a_version_that_scores_batches_has_no_endpoint_and_no_alarms(ledger, sagemaker):
    second_version(ledger, sagemaker, world.BATCH)
    plan = admit(approved(2))
    assert (plan["way"], plan["endpoint"], plan["isNew"]) == ("batch", None, False)
    assert (plan["dimensions"], plan["watch"], plan["deploymentConfig"]) == ([], None, None)
    promote(plan)
    champion = ledger.need("flights", "CHAMPION")
    assert (champion["version"], champion["endpoint"], champion["alarms"]) == (2, None, [])
    back = deployments.way_back(ledger, "flights", champion)
    assert (back["way"], back["deregister"], back["register"]) == ("batch", False, False)


def test_a_version_that_would_be_served_in_another_way_is_dropped(ledger, sagemaker):
    world.onboard(ledger)
    world.champion(ledger)
    world.onboard(ledger, world.served(world.SERVERLESS), OTHER)
    world.registered(ledger, 2, digest=OTHER)
    sagemaker.package(f"{GROUP}/2")
    sagemaker.endpoints["evergreen-flights"] = {"EndpointStatus": "InService"}
    plan = admit(approved(2))
    assert not plan["admitted"]
    assert plan["reason"].startswith("the model cannot be served serverless under this name: it is served by")
    (dropped,) = world.kinds(ledger, "DeploymentDropped")
    assert dropped["reason"] == plan["reason"]
