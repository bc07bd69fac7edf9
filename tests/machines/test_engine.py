"""The engine itself, on small machines: what it notes, and that it hides nothing that AWS would refuse.

These are also the contract with MiniStack: each private name that the engine or the rules' matcher touches is
at work in one of them, so that an upgrade that moves it fails here, by name.
"""

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from ministack.services import eventbridge
from ministack.services import stepfunctions as interpreter

from tests.lint_asl import load
from tests.machines import engine
from tests.machines.engine import Throw, run

DESCRIBE = {
    "Type": "Task",
    "Resource": "arn:aws:states:::aws-sdk:sagemaker:describeEndpoint",
    "Arguments": {"EndpointName": "{% $states.input.name %}"},
    "TimeoutSeconds": 60,
    "Retry": [{"ErrorEquals": ["Passing"], "IntervalSeconds": 2, "MaxAttempts": 2, "BackoffRate": 3}],
    "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
    "Next": "Done",
}
ENDS = {"Done": {"Type": "Succeed"}, "Caught": {"Type": "Fail", "Error": "Caught", "Cause": "as asked"}}
IN_SERVICE = {"EndpointName": "e", "EndpointStatus": "InService"}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes `run("small", ...)` run a machine of the given states."""

    def make(**states: dict[str, Any]) -> None:
        definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": {**states, **ENDS}}
        file = tmp_path / "small.asl.yaml"
        file.write_text(yaml.safe_dump(definition, sort_keys=False))
        monkeypatch.setattr(engine, "machine", lambda name: load(file))

    yield make
    engine.VISITED.pop("small", None)


def test_a_path_is_noted_with_its_arguments(machine: Any) -> None:
    machine(Describe=DESCRIBE)
    result = run("small", {"name": "e"}, {"Describe": IN_SERVICE})
    assert (result.status, result.states, result.output) == ("SUCCEEDED", ["Describe", "Done"], IN_SERVICE)
    assert result.only("Describe") == {"EndpointName": "e"}
    assert result.transitions == {("Describe", "Done")}


def test_retries_wait_longer_each_time_and_end_in_the_catch(machine: Any) -> None:
    machine(Describe=DESCRIBE)
    result = run("small", {"name": "e"}, {"Describe": Throw("Passing")})
    assert result.waits == [2, 6]
    assert len(result.arguments["Describe"]) == 3
    assert (result.status, result.error, result.cause) == ("FAILED", "Caught", "as asked")
    assert result.rules == {("Describe", "Retry 0"), ("Describe", "Catch 0")}


def test_answers_are_given_in_order(machine: Any) -> None:
    machine(Describe=DESCRIBE)
    result = run("small", {"name": "e"}, {"Describe": [Throw("Passing"), IN_SERVICE]})
    assert result.end == "Done"


def test_a_refused_argument_fails_the_test_and_not_the_state(machine: Any) -> None:
    machine(Describe=DESCRIBE)
    with pytest.raises(AssertionError, match=r"small\.Describe.*does not match"):
        run("small", {"name": "under_score"}, {"Describe": IN_SERVICE})


def test_a_task_without_a_stand_in_fails_the_test(machine: Any) -> None:
    machine(Describe=DESCRIBE)
    with pytest.raises(AssertionError, match=r"small\.Describe: KeyError"):
        run("small", {"name": "e"}, {})


def test_a_stand_in_that_answers_what_its_service_does_not_fails_the_test(machine: Any) -> None:
    machine(Describe=DESCRIBE)
    with pytest.raises(AssertionError, match="DescribeEndpoint answers no Status"):
        run("small", {"name": "e"}, {"Describe": {"Status": "InService"}})


def test_states_inside_a_map_are_noted(machine: Any) -> None:
    inner = {key: value for key, value in DESCRIBE.items() if key not in ("Next", "Catch")} | {"End": True}
    each = {
        "Type": "Map",
        "Items": "{% $states.input.all %}",
        "ItemProcessor": {"StartAt": "Describe", "States": {"Describe": inner}},
        "Next": "Done",
    }
    machine(Each=each)
    result = run("small", {"all": [{"name": "a"}, {"name": "b"}]}, {"Describe": IN_SERVICE})
    assert [call["EndpointName"] for call in result.arguments["Describe"]] == ["a", "b"]
    assert result.transitions == {("Each", "Done"), ("Describe", "")}


@pytest.mark.parametrize(
    ("condition", "status"), [("{% $states.input.n > 1 %}", "SUCCEEDED"), ("{% 1 %}", "FAILED")]
)
def test_a_condition_is_a_boolean(machine: Any, condition: str, status: str) -> None:
    machine(Is={"Type": "Choice", "Choices": [{"Condition": condition, "Next": "Done"}], "Default": "Caught"})
    assert run("small", {"n": 2}, {}).status == status


def test_what_is_undefined_fails_as_on_aws(machine: Any) -> None:
    machine(Pass={"Type": "Pass", "Assign": {"x": "{% $states.input.missing %}"}, "Next": "Done"})
    assert run("small", {}, {}).error == "States.QueryEvaluationError"


def test_ministack_has_what_the_engine_replaces() -> None:
    """By name and by parameters: `patch` would put a stand-in where nothing looks any more."""
    parameters = {
        "_run_execution": ["exec_arn"],
        "_invoke_resource": ["resource", "input_data"],
        "_invoke_resource_with_timeout": ["resource", "input_data", "timeout"],
        "_find_matching_retrier": ["retriers", "error", "retry_counts"],
        "_find_matching_catcher": ["catchers", "error"],
        "_evaluate_jsonata_choice_rule": ["rule", "raw_input", "ctx"],
        "_execute_task": ["state_def", "raw_input", "execution", "ctx"],
    }
    for name, expected in parameters.items():
        assert list(inspect.signature(getattr(interpreter, name)).parameters) == expected, name
    assert list(inspect.signature(eventbridge._matches_pattern).parameters) == ["pattern_str", "event"]
