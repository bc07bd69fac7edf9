"""What holds for each handler: quick to import, its environment read at import, its needs written down."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from evergreen import errors, explain

from tests.unit.conftest import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
LAYER = ROOT / "layers" / "evergreen"
HANDLERS = sorted(
    path
    for path in (ROOT / "functions").glob("*/*.py")
    if re.search(r"^def handler\(", path.read_text(), re.MULTILINE)
)
# Each of these costs more at a cold start than the work of a handler; the layer has none of them.
HEAVY = ("numpy", "pandas", "pyarrow", "sklearn", "pydantic", "sagemaker", "aws_xray_sdk", "requests")


def python(code: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess:
    """A fresh interpreter in the function's folder with the layer beside it, as on Lambda."""
    kept = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=kept | environment | {"PYTHONPATH": str(LAYER)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_no_handler_imports_anything_heavy():
    imports = "\n".join(f"sys.path[0] = {str(path.parent)!r}; import {path.stem}" for path in HANDLERS)
    done = python(f"import sys\n{imports}\nprint(*set(sys.modules) & set({HEAVY!r}))", ROOT, ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.mark.parametrize("path", HANDLERS, ids=lambda path: path.stem)
def test_a_missing_key_fails_at_import_by_name(path):
    keys = settings_of(path)
    without = {name: value for name, value in ENVIRONMENT.items() if name != keys[0]}
    done = python(f"import {path.stem}", path.parent, without)
    assert f"SettingMissing: environment variable {keys[0]} is not set" in done.stderr


@pytest.mark.parametrize("path", HANDLERS, ids=lambda path: path.stem)
def test_a_handler_says_what_it_needs(path):
    """The docstring is what the template's policies are read against."""
    needs = ast.get_docstring(ast.parse(path.read_text()))
    stated = re.search(r"^Environment: (.*)\.$", needs, re.MULTILINE)[1]
    assert set(stated.split(", ")) == set(settings_of(path))
    assert "\nIAM: " in needs


def settings_of(handler: Path) -> list[str]:
    """The keys its module reads; for the API, whose parts are modules beside it, those of all of them."""
    parts = handler.parent.glob("*.py") if handler.parent.name == "api" else [handler]
    text = "".join(part.read_text() for part in sorted(parts))
    return re.findall(r'settings\.required\("(\w+)"\)', text)


def test_every_error_is_drawn_in_the_tree():
    own = {name for name, value in vars(errors).items() if isinstance(value, type)}
    drawn = re.findall(r"^[ │├└─]*([A-Z]\w+)(?=  |$)", errors.__doc__, re.MULTILINE)
    assert own == set(drawn)


def test_errors_of_ours_are_told_without_their_class():
    told = explain.sentence({"Error": "x", "Cause": '{"errorType": "LockLost", "errorMessage": "gone"}'})
    strange = explain.sentence({"Error": "x", "Cause": '{"errorType": "KeyError", "errorMessage": "gone"}'})
    assert (told, strange) == ("gone", "KeyError: gone")


def test_the_layer_is_locked_to_the_projects_versions():
    locked = dict(re.findall(r'name = "([\w-]+)"\nversion = "([^"]+)"', (ROOT / "uv.lock").read_text()))
    required = re.findall(r"^([\w-]+)==(\S+)", (LAYER / "requirements.txt").read_text(), re.MULTILINE)
    assert required
    assert {name: locked[name] for name, _ in required} == dict(required)
    assert (LAYER / "requirements.txt").read_text().count("--hash=sha256:") >= len(required)
