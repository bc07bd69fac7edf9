"""One name, derived: state AdmitRun, file functions/train/admit_run.py, AdmitRunFunction, substitution."""

import importlib
import re
from typing import Any

import pytest

from tests.lint_asl import MACHINES, ROOT, SUBSTITUTION, Machine, load_all, states
from tests.template import stack

ALL = load_all()
by_name = pytest.mark.parametrize("machine", ALL, ids=lambda machine: machine.name)
LAMBDA = "arn:aws:states:::lambda:invoke"


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def resource(machine: Machine) -> dict[str, Any]:
    return stack.source()[f"{machine.name.title()}StateMachine"]["Properties"]


def functions_of(machine: Machine) -> list[str]:
    """The names of the states that a file under functions/ is behind."""
    called = [name for _, name, state in states(machine.definition) if is_lambda(state.get("Resource"))]
    return [name for name in called if not is_image(name)]


def is_lambda(resource: str | None) -> bool:
    """Whether a state's Resource invokes a function, with or without waiting for somebody's answer."""
    return resource in (LAMBDA, f"{LAMBDA}.waitForTaskToken")


def is_image(state: str) -> bool:
    """Whether the state's function is the job image."""
    return "ImageConfig" in stack.source()[f"{state}Function"]["Properties"]


def test_every_machine_has_a_file_and_every_file_a_machine() -> None:
    declared = {
        each["Properties"]["DefinitionUri"]
        for each in stack.source().values()
        if each["Type"] == "AWS::Serverless::StateMachine"
    }
    assert declared == {f"statemachines/{file.name}" for file in MACHINES.iterdir()}


@by_name
def test_machine_is_named_after_its_file(machine: Machine) -> None:
    properties = resource(machine)
    assert properties["DefinitionUri"] == machine.file
    assert properties["Name"] == {"Fn::Sub": f"${{AWS::StackName}}-{machine.name}"}


@by_name
def test_state_function_file_and_substitution_share_one_name(machine: Machine) -> None:
    text = (MACHINES / f"{machine.name}.asl.yaml").read_text()
    for name in functions_of(machine):
        assert f"FunctionName: ${{{name}FunctionArn}}" in text, name
        assert resource(machine)["DefinitionSubstitutions"][f"{name}FunctionArn"] == {
            "Fn::GetAtt": [f"{name}Function", "Arn"]
        }
        function = stack.source()[f"{name}Function"]["Properties"]
        assert function["CodeUri"].rstrip("/") == f"functions/{machine.name}"
        assert function["Handler"] == f"{snake(name)}.handler"
        assert (ROOT / function["CodeUri"] / f"{snake(name)}.py").is_file(), function["Handler"]


@by_name
def test_no_function_without_its_state(machine: Machine) -> None:
    files = {
        file.stem for file in (ROOT / "functions" / machine.name).glob("*.py") if file.stem != "__init__"
    }
    assert files == {snake(name) for name in functions_of(machine)}


@by_name
def test_substitutions_are_those_that_the_machine_uses(machine: Machine) -> None:
    used = set(SUBSTITUTION.findall((MACHINES / f"{machine.name}.asl.yaml").read_text()))
    assert set(resource(machine)["DefinitionSubstitutions"]) == used


def test_an_image_function_runs_a_handler_of_the_image() -> None:
    functions = [each["Properties"] for each in stack.of_type("AWS::Lambda::Function").values()]
    handlers = [word for each in functions for word in each.get("ImageConfig", {}).get("Command", [])]
    assert handlers == ["jobs.on_lambda.handler"]
    assert callable(importlib.import_module("jobs.on_lambda").handler)


# The API, and what follows events beside the machines.
ALONE = {"ApiFunction", "RenewCardFunction", "DeleteLeftoversFunction"}


def test_every_other_function_is_a_state() -> None:
    known = {f"{name}Function" for machine in ALL for name in functions_of(machine)} | ALONE
    declared = {name for name, each in stack.source().items() if each["Type"] == "AWS::Serverless::Function"}
    assert declared == known


@by_name
def test_ends_say_what_happened_and_failures_say_it_as_their_error(machine: Machine) -> None:
    for _, name, state in states(machine.definition):
        if state["Type"] == "Fail":
            assert state["Error"] == name
            assert "Cause" in state, name
