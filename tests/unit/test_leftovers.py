"""What deployments leave in SageMaker is deleted once nothing can return to it, and never before."""

import pytest
from evergreen.errors import AwsNotFound
from evergreen.ledger import put
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from leftovers import delete_leftovers

from tests.unit import world
from tests.unit.conftest import intercept
from tests.unit.world import GROUP, kinds

ENDPOINT = "evergreen-flights"


def name(version):
    return f"{ENDPOINT}-v{version}-aaaaaa"


class Made:
    """The endpoint configs and models that are there, by name."""

    def __init__(self, *versions):
        self.configs = {name(each) + kind for each in versions for kind in ("", "-staging", "-shadow")}
        self.models = {name(each) for each in versions}

    def delete_endpoint_config(self, EndpointConfigName):
        self._delete(self.configs, EndpointConfigName)

    def delete_model(self, ModelName):
        self._delete(self.models, ModelName)

    @staticmethod
    def _delete(things, one):
        if one not in things:
            raise AwsNotFound(f"Could not find {one}", "ValidationException")
        things.remove(one)

    def of(self, version):
        return {each for each in self.configs | self.models if each.startswith(name(version))}


@pytest.fixture
def made(monkeypatch, sagemaker):
    found = Made(1, 2, 3, 4)
    intercept(
        monkeypatch,
        "sagemaker",
        {
            "delete_endpoint_config": found.delete_endpoint_config,
            "delete_model": found.delete_model,
            "describe_endpoint": sagemaker.describe_endpoint,
        },
    )
    return found


def ended(ledger, version, status, **more):
    record = {
        "deployment": name(version),
        "version": version,
        "package_arn": f"{GROUP}/{version}",
        "status": status,
        "approved_at": f"2013-03-0{version}T00:00:00Z",
        "plan": {"cause": world.cause()},
    }
    ledger.commit(put("flights", f"DEPLOYMENT#{name(version)}", record | more))


def champion(ledger, version, before=None):
    previous = world.champion(ledger, before) if before else None
    world.champion(ledger, version, previous=previous)


def serving(sagemaker, version, status="InService", kind=""):
    config = name(version) + kind
    sagemaker.endpoints[ENDPOINT] = {"EndpointStatus": status, "EndpointConfigName": config}


def hear(version, kind="ModelDeployed"):
    detail = {"model": "flights", "version": version, "deployment": name(version), "cause": world.cause()}
    event = {"source": "evergreen.deploy", "detail-type": kind, "detail": detail}
    delete_leftovers.handler(event, world.CONTEXT)


@pytest.fixture
def grown(ledger, made, sagemaker):
    """Versions 1, 2 and 4 came into service one after the other; version 3 was refused."""
    for version, status in enumerate(("Promoted", "Promoted", "Refused", "Promoted"), start=1):
        ended(ledger, version, status)
    champion(ledger, 4, before=2)
    serving(sagemaker, 4)


def test_what_is_in_service_and_what_it_returns_to_stay(grown, ledger, made):
    hear(4)
    assert not made.of(1) and not made.of(3)
    assert len(made.of(2)) == len(made.of(4)) == 3
    rows = kinds(ledger, "LeftoversDeleted")
    assert [row["version"] for row in rows] == [1, 3]
    assert rows[1]["reason"] == "it was Refused, and nothing returns to it"


def test_the_same_event_five_times_and_a_late_one_delete_once(grown, ledger, made):
    for _ in range(5):
        hear(4)
    hear(1)
    assert len(kinds(ledger, "LeftoversDeleted")) == 2
    assert len(made.of(2)) == len(made.of(4)) == 3


def test_killed_after_its_side_effect_and_retried_it_is_in_the_ledger(grown, ledger, made):
    made.delete_model(ModelName=name(1))
    made.delete_endpoint_config(EndpointConfigName=name(1))
    hear(4)
    assert not made.of(1)
    assert len(kinds(ledger, "LeftoversDeleted")) == 2


def test_what_the_event_is_about_stays_until_the_next_one(ledger, made, sagemaker):
    ended(ledger, 1, "Promoted")
    ended(ledger, 2, "RolledBack")
    ended(ledger, 3, "Refused")
    champion(ledger, 1)
    serving(sagemaker, 1)
    hear(2, "DeploymentRolledBack")
    assert made.of(2) and not made.of(3)
    hear(4, "DeploymentRefused")
    assert not made.of(2)


@pytest.mark.parametrize("status", ["Updating", "RollingBack", "UpdateRollbackFailed", "Failed"])
def test_while_the_endpoint_may_be_on_any_config_nothing_is_deleted(grown, ledger, made, sagemaker, status):
    serving(sagemaker, 4, status)
    hear(4)
    assert all(made.of(version) for version in (1, 2, 3, 4))
    assert not kinds(ledger, "LeftoversDeleted")


def test_a_shadow_that_could_not_be_taken_off_keeps_its_config(grown, made, sagemaker):
    serving(sagemaker, 3, kind="-shadow")
    hear(4)
    assert not made.of(1) and len(made.of(3)) == 3


def test_a_staging_endpoint_that_could_not_be_deleted_keeps_its_config(grown, made, sagemaker):
    sagemaker.endpoints[f"{name(3)}-staging"] = {"EndpointStatus": "InService", "EndpointConfigName": "x"}
    hear(4)
    assert not made.of(1) and len(made.of(3)) == 3


def test_a_model_without_an_endpoint_is_cleared_too(grown, made, sagemaker):
    del sagemaker.endpoints[ENDPOINT]
    hear(4)
    assert not made.of(1) and made.of(2) and made.of(4)


def test_a_version_that_is_promoted_in_between_is_not_taken_for_a_replaced_one(
    ledger, made, sagemaker, monkeypatch
):
    """Of a model without an endpoint, which would tell otherwise."""
    for version in (1, 2):
        ended(ledger, version, "Promoted")
    ended(ledger, 3, "Started")
    champion(ledger, 2, before=1)
    needed = delete_leftovers.needed

    def meanwhile(model):
        found = needed(model)
        ended(ledger, 3, "Promoted")
        champion(ledger, 3, before=2)
        return found

    monkeypatch.setattr(delete_leftovers, "needed", meanwhile)
    hear(2)
    assert len(made.of(3)) == 3


STATUSES = ("Staging", "Started", "Promoted", "RolledBack", "Refused", "Dropped")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_the_ledger_holds_what_may_serve_again_is_never_deleted(ledger, made, sagemaker, data):
    made.__init__(1, 2, 3, 4)
    for version in (1, 2, 3, 4):
        ended(ledger, version, data.draw(st.sampled_from(STATUSES)))
    now, before = data.draw(st.permutations([1, 2, 3, 4]))[:2]
    ended(ledger, now, "Promoted")
    ended(ledger, before, "Promoted")
    champion(ledger, now, before)
    serving(sagemaker, data.draw(st.sampled_from([1, 2, 3, 4])))
    on = sagemaker.endpoints[ENDPOINT]["EndpointConfigName"]
    hear(data.draw(st.sampled_from([1, 2, 3, 4])))
    for version in (1, 2, 3, 4):
        status = ledger.need("flights", f"DEPLOYMENT#{name(version)}")["status"]
        if version in (now, before) or status in ("Staging", "Started") or name(version) == on:
            assert len(made.of(version)) == 3
