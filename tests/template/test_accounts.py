"""The template deployed twice: what each account has, what crosses, and that nothing else can."""

import json
from typing import Any

import pytest
from ministack.core.iam_evaluator import EvalContext, evaluate_resource_policy

from tests.lint_asl import ACCOUNT, REGION, STACK, load_all
from tests.template import stack
from tests.template.test_triggers import STARTS, changed, sample

OTHER = "222222222222"
BUCKET = "evergreen-bucket-of-the-other"
TRAINS = {"ServingAccount": OTHER}
SERVES = {"TrainingAccount": OTHER, "TrainingBucket": BUCKET}
OTHER_BUS = f"arn:aws:events:{REGION}:{OTHER}:event-bus/{STACK}"
TO_SERVE = {
    "s3-object-created.model",
    "sagemaker-model-package-state-change",
    "train-training-ended",
}
TO_TRAIN = {
    "respond-training-requested",
    "api-training-requested",
    "deploy-model-deployed",
    "deploy-deployment-refused",
    "deploy-deployment-rolled-back",
    "respond-deployment-rolled-back",
}
PART = {
    "onboard": {"trains", "serves"},
    "train": {"trains"},
    "deploy": {"serves"},
    "batch": {"serves"},
    "monitor": {"serves"},
    "respond": {"serves"},
    "follow": {"trains", "serves"},
}


def machines(parameters: dict[str, str]) -> set[str]:
    found = stack.deployed(**parameters).items()
    suffix = "StateMachine"
    return {n.removesuffix(suffix).lower() for n, each in found if each["Type"].endswith("::StateMachine")}


def crossing(parameters: dict[str, str]) -> set[str]:
    """The samples that a stack with these parameters forwards from the bus where their sender puts them."""
    found = set()
    for name in STARTS:
        event = sample(name)
        bus = "default" if event["source"].startswith("aws.") else STACK
        for rule in stack.rules_of(**parameters):
            if rule.bus == bus and OTHER_BUS in rule.targets and rule.matches(event):
                found.add(name)
    return found


def admitted(parameters: dict[str, str]) -> set[str]:
    """The samples that the bus of a stack with these parameters takes from the other account."""
    policy = stack.resolve(stack.deployed(**parameters)["Bus"]["Properties"].get("Policy"))
    return {name for name in STARTS if allows(policy, OTHER, sample(name))}


def allows(policy: Any, account: str, event: dict[str, Any]) -> bool:
    context = EvalContext(
        principal_arn=f"arn:aws:sts::{account}:assumed-role/forward/events",
        principal_type="AssumedRole",
        principal_account=account,
        action="events:PutEvents",
        resource_arn=f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{STACK}",
        region=REGION,
        service_context={"events:source": [event["source"]], "events:detail-type": event["detail-type"]},
    )
    return evaluate_resource_policy(json.dumps(policy), context).decision == "Allow"


def test_one_account_has_all_of_the_loop_and_nothing_for_two() -> None:
    alone = stack.deployed()
    assert machines({}) == set(PART) - {"follow"} == {m.name for m in load_all()} - {"follow"}
    assert not [name for name in alone if name.startswith("Forward")]
    assert "Policy" not in alone["Bus"]["Properties"]
    statements = alone["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert {each["Effect"] for each in statements} == {"Deny"}


@pytest.mark.parametrize(("parameters", "part"), [(TRAINS, "trains"), (SERVES, "serves")])
def test_each_of_two_accounts_has_its_part(parameters: dict[str, str], part: str) -> None:
    assert machines(parameters) == {name for name, parts in PART.items() if part in parts}


@pytest.mark.parametrize(("parameters", "part"), [(TRAINS, "trains"), (SERVES, "serves")])
def test_an_account_has_the_functions_of_its_machines_alone(parameters: dict[str, str], part: str) -> None:
    here = stack.deployed(**parameters)
    for name, each in stack.source().items():
        if each["Type"] != "AWS::Serverless::Function":
            continue
        folder = each["Properties"]["CodeUri"].rstrip("/").removeprefix("functions/")
        if folder in PART:
            assert (name in here) is (part in PART[folder]), name


@pytest.mark.parametrize("parameters", [{}, TRAINS, SERVES], ids=["one", "trains", "serves"])
def test_nothing_refers_to_what_the_account_does_not_have(parameters: dict[str, str]) -> None:
    here = stack.deployed(**parameters)
    elsewhere = set(stack.resources()) - set(here)

    def referred(value: Any) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(referred, value))
        if not isinstance(value, dict):
            return set()
        names = {value["Ref"]} if set(value) == {"Ref"} else set()
        if set(value) == {"Fn::GetAtt"}:
            names = {value["Fn::GetAtt"][0]}
        if set(value) == {"Fn::Sub"}:
            text = value["Fn::Sub"] if isinstance(value["Fn::Sub"], str) else value["Fn::Sub"][0]
            names = {name for name in elsewhere if f"${{{name}" in text}
        return names.union(*map(referred, value.values()))

    for name, each in here.items():
        assert not referred(each["Properties"]) & elsewhere, name


@pytest.mark.parametrize(
    ("sender", "receiver", "events"), [(TRAINS, SERVES, TO_SERVE), (SERVES, TRAINS, TO_TRAIN)]
)
def test_what_one_forwards_the_other_takes_and_nothing_else(
    sender: dict[str, str], receiver: dict[str, str], events: set[str]
) -> None:
    assert crossing(sender) == events
    assert admitted(receiver) - events <= {
        # Its sender and name are those of what may come; where it comes from and what of, the rules ask.
        "s3-object-created.dataset",
        "s3-object-created.export",
        "s3-object-created.batch",
    }
    assert events <= admitted(receiver)


def test_a_third_account_may_put_nothing() -> None:
    for parameters in (TRAINS, SERVES):
        policy = stack.resolve(stack.deployed(**parameters)["Bus"]["Properties"]["Policy"])
        assert not any(allows(policy, "333333333333", sample(name)) for name in STARTS)


def test_each_crossing_event_starts_its_machine_there() -> None:
    def started(name: str, parameters: dict[str, str]) -> set[str]:
        event = sample(name) | {"account": OTHER}
        if name == "s3-object-created.model":
            event["detail"]["bucket"]["name"] = BUCKET
        there = (rule for rule in stack.rules_of(**parameters) if rule.bus == STACK and rule.matches(event))
        return {target for rule in there for target in rule.targets if target.endswith("StateMachine")}

    assert {name: started(name, SERVES) for name in TO_SERVE} == {
        "s3-object-created.model": {"OnboardStateMachine"},
        "sagemaker-model-package-state-change": {"DeployStateMachine"},
        "train-training-ended": {"FollowStateMachine"},
    }
    assert {name: started(name, TRAINS) for name in TO_TRAIN} == {
        "respond-training-requested": {"TrainStateMachine"},
        "api-training-requested": {"TrainStateMachine"},
        "deploy-model-deployed": {"FollowStateMachine"},
        "deploy-deployment-refused": {"FollowStateMachine"},
        "deploy-deployment-rolled-back": {"FollowStateMachine"},
        "respond-deployment-rolled-back": {"FollowStateMachine"},
    }


def test_a_rejection_crosses_as_an_approval_does_and_deploys_nothing() -> None:
    def forwarded(status: str) -> tuple[dict[str, Any], list[stack.Rule]]:
        event = changed("sagemaker-model-package-state-change", "detail.ModelApprovalStatus", status)
        return event, [r for r in stack.rules_of(**TRAINS) if r.matches(event) and OTHER_BUS in r.targets]

    event, rules = forwarded("Rejected")
    assert [rule.bus for rule in rules] == ["default"]
    there = (rule for rule in stack.rules_of(**SERVES) if rule.matches(event | {"account": OTHER}))
    assert [rule.targets for rule in there] == [("FollowStateMachine",)]
    assert forwarded("PendingManualApproval")[1] == []


def test_the_bucket_is_read_across_and_only_by_the_account_that_serves() -> None:
    statements = stack.deployed(**TRAINS)["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    granted = [stack.resolve(each) for each in statements if each["Effect"] == "Allow"]
    assert {each["Principal"]["AWS"] for each in granted} == {f"arn:aws:iam::{OTHER}:root"}
    actions = {action for each in granted for action in stack.actions(each)}
    assert actions == {"s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"}
    for each in granted:
        text = json.dumps(each)
        assert not any(word in text for word in ("datasets", "capture", "labels", "/train/", "/holdout/"))
