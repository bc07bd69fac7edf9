"""What the deploy machine asks for while a version is in staging, and what it never does."""

import json

import pytest
from evergreen import admission, staging

from tests.lint_asl import states
from tests.machines import deploy_paths, staging_paths
from tests.machines.engine import Result, machine
from tests.machines.scenario import Scenario, event

PRODUCTION = {"CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint", "PutErrorAlarm", "PromoteChampion"}


def staged(name: str) -> Scenario:
    return next(each for each in staging_paths.SCENARIOS if each.name == name)


BY_PERSON = staged("a person lets a staged version go on")
REFUSED = [each for each in staging_paths.SCENARIOS if "RefuseDeployment" in each.path]


def cause_of(result: Result) -> str:
    return result.only("RefuseDeployment")["error"]["Cause"]


def test_what_is_tested_is_the_model_that_ships_and_nothing_of_it_is_captured() -> None:
    config = BY_PERSON.result.only("CreateStagingConfig")
    assert "DataCaptureConfig" not in config
    (variant,) = config["ProductionVariants"]
    (shipped,) = BY_PERSON.result.only("CreateEndpointConfig")["ProductionVariants"]
    created = BY_PERSON.result.only("CreateModel")["ModelName"]
    assert variant["ModelName"] == shipped["ModelName"] == created


def test_the_token_goes_to_who_asks_and_nowhere_else() -> None:
    token = BY_PERSON.result.only("AskApproval")["token"]
    told = {state: json.dumps(given) for state, given in BY_PERSON.result.arguments.items()}
    assert [state for state, given in told.items() if token in given] == ["AskApproval"]


def test_the_plan_of_production_is_made_after_staging() -> None:
    given = BY_PERSON.result.only("AdmitProduction")
    assert given["approval"] == staging_paths.APPROVAL
    assert BY_PERSON.result.only("PromoteChampion")["plan"]["reason"] == "looked at it"
    assert BY_PERSON.result.only("UpdateEndpoint")["EndpointName"] == deploy_paths.ENDPOINT


@pytest.mark.parametrize("each", REFUSED, ids=str)
def test_production_never_notices_a_version_that_is_refused(each: Scenario) -> None:
    assert not PRODUCTION & set(each.result.arguments)
    deleted = each.result.arguments["DeleteStagingEndpoint"]
    assert deleted[0] == {"EndpointName": staging_paths.STAGING}


def test_a_refusal_is_told_to_whoever_listens() -> None:
    (entry,) = staged("a person refuses a staged version").result.only("AnnounceRefusal")["Entries"]
    sample = event("deploy-deployment-refused")
    assert (entry["Source"], entry["DetailType"]) == (sample["source"], sample["detail-type"])
    assert entry["Detail"].keys() == sample["detail"].keys()
    assert entry["Detail"]["reason"] == "calls Newark late (refused by ada)"


def test_a_question_that_expires_says_how_long_it_was_asked() -> None:
    result = staged("nobody answers in time").result
    assert result.only("RefuseDeployment")["error"] == {
        "Error": "ApprovalExpired",
        "Cause": "nobody approved or refused it within 24 h",
    }


def test_a_staging_endpoint_that_stays_is_told_of_and_stops_the_deployment() -> None:
    denied = staging_paths.Throw("SageMaker.SageMakerException", "not authorized")
    result = BY_PERSON.run(DeleteStagingEndpoint=denied)
    assert cause_of(result) == "the staging endpoint could not be deleted: not authorized"
    assert not PRODUCTION & set(result.arguments)
    both = staged("a staged version answers otherwise than it was judged").run(DeleteStagingEndpoint=denied)
    assert cause_of(both).startswith(staging_paths.FAILED["reason"])
    assert cause_of(both).endswith("could not be deleted: not authorized")


def test_an_endpoint_that_was_never_made_is_no_reason_of_its_own() -> None:
    assert cause_of(staged("the staging endpoint was never made").result) == "ml.m5.large: 2 of 2"


def test_the_machine_outlasts_the_longest_question_and_the_longest_deployment() -> None:
    definition = machine("deploy").definition
    (busy,) = [
        retry
        for _, name, state in states(definition)
        for retry in state.get("Retry", ())
        if name == "AdmitProduction" and retry["ErrorEquals"] == ["EndpointBusy"]
    ]
    assert busy["JitterStrategy"] == "NONE"  # full jitter waits half as long
    longest_wait = busy["IntervalSeconds"] * busy["MaxAttempts"]
    assert longest_wait >= admission.LOCK_SECONDS
    assert definition["TimeoutSeconds"] >= staging.LONGEST + longest_wait + admission.LOCK_SECONDS
    (waits,) = [state["TimeoutSeconds"] for _, name, state in states(definition) if name == "AskApproval"]
    assert waits == "{% $plan.staging.expires %}"


@pytest.mark.parametrize("state", ["AdmitDeployment", "AdmitProduction"])
def test_a_failed_endpoint_is_told_of_within_minutes(state: str) -> None:
    usual = [] if state == "AdmitDeployment" else BY_PERSON.result.waits
    result = BY_PERSON.run(**{state: staging_paths.Throw("EndpointFailed", "the endpoint is Failed")})
    assert result.status == "FAILED" and "the endpoint is Failed" in result.cause
    assert 60 <= sum(result.waits) - sum(usual) <= 600
