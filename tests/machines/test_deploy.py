"""What the deploy machine tells the person who has to go on where it cannot."""

import re

from tests.machines.deploy_paths import SCENARIOS
from tests.machines.engine import Throw
from tests.machines.scenario import Scenario


def scenario(name: str) -> Scenario:
    return next(each for each in SCENARIOS if each.name == name)


def test_a_version_that_half_of_the_fleet_still_serves_is_not_told_of_as_gone() -> None:
    result = scenario("a rolling update that neither arrives nor comes back").result
    error = result.only("RecordRollback")["error"]
    assert error["Error"] == "VersionStays"
    assert "a part of the endpoint still serves it" in result.cause
    assert "ml.m5.large: no capacity" in result.cause


def test_a_promotion_that_cannot_be_written_down_says_what_to_call() -> None:
    result = scenario("a canary that holds").run(PromoteChampion=Throw("LockLost", "the lock is gone"))
    assert result.end == "DeploymentFailed"
    assert "the lock is gone" in result.cause
    (call,) = re.findall(r"POST (\S+)", result.cause)
    assert call == "/models/flights/versions/2/approval"
    assert "force true" in result.cause
