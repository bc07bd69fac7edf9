"""A function has what its handler says it needs: each environment key, each IAM action, and no more."""

import ast
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from tests.lint_asl import ROOT
from tests.template import stack

FUNCTIONS = [name for name, each in stack.source().items() if each["Type"] == "AWS::Serverless::Function"]
by_name = pytest.mark.parametrize("name", FUNCTIONS)
# "sagemaker:DescribeModelPackage, UpdateModelPackage on the packages of our groups"
ACTIONS = re.compile(r"\b([a-z][a-z0-9-]+):([A-Z]\w+(?:,\s+[A-Z]\w+)*)")


def handler_file(name: str) -> Path:
    properties = stack.source()[name]["Properties"]
    return ROOT / properties["CodeUri"] / f"{properties['Handler'].split('.')[0]}.py"


def environment(name: str) -> dict[str, str]:
    """What the template gives the function, with plain values for references."""
    variables = stack.resources()[name]["Properties"]["Environment"]["Variables"]
    return {key: str(stack.resolve(value)) for key, value in variables.items()}


def named_actions(file: Path) -> set[str]:
    """The IAM actions that a handler's docstring names after `IAM:`."""
    _, _, text = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("IAM:")
    return {
        f"{service}:{action}"
        for service, listed in ACTIONS.findall(text)
        for action in re.split(r",\s+", listed)
    }


@by_name
def test_the_environment_is_complete(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing key fails at import, by name: so an import under the template's environment shows it."""
    for key in ("PREFIX", "TABLE", "BUCKET", "BUS", "JOB_IMAGE", "TOPIC_ARN"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment(name).items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "true")
    file = handler_file(name)
    monkeypatch.syspath_prepend(file.parent)
    spec = importlib.util.spec_from_file_location(f"template_{name}", file)
    assert spec and spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert callable(module.handler)


@by_name
def test_the_role_allows_what_the_handler_names_and_no_more(name: str) -> None:
    role = stack.resources()[name]["Properties"]["Role"]["Fn::GetAtt"][0]
    granted = {action for statement in stack.granted(role) for action in stack.actions(statement)}
    named = named_actions(handler_file(name))
    assert named, "the handler's docstring says what it needs, after IAM:"
    assert not named - granted, "not granted"
    # The ledger's actions come in one policy that all share.
    assert not {action for action in granted - named if not action.startswith("dynamodb:")}, (
        "nobody asks for it"
    )


@by_name
def test_the_handler_serves_the_runtime_that_the_template_asks_for(name: str) -> None:
    properties = stack.resources()[name]["Properties"]
    assert (properties["Runtime"], properties["Architectures"]) == ("python3.13", ["arm64"])
