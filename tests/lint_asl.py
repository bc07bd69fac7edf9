"""The state machines, read as AWS reads them, and what a linter can say of each.

`load` gives a machine as JSON would: substitutions filled in, the line of every node kept. `check` finds
what statelint and JSONata's parser find, and what neither does: a misspelt service action or member, a
variable that no state assigns, a state without a timeout or a way out, a failure that ends green.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonata.jsonata import Jsonata
from statelint.config import Config
from statelint.linter import Linter
from statelint.problem import ProblemType

from tests.lint_integrations import check_errors, check_task

ROOT = Path(__file__).parents[1]
MACHINES = ROOT / "statemachines"
ACCOUNT, REGION, STACK = "123456789012", "us-east-1", "evergreen"
NAMED_AFTER_THE_STACK = {"Prefix", "Bus", "ScheduleGroup"}

SUBSTITUTION = re.compile(r"\$\{(\w+)\}")
# What Step Functions adds to JSONata, and takes away ($eval).
FUNCTIONS_OF_STATES = frozenset({"partition", "range", "hash", "random", "uuid", "parse"})
_STRINGS = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'')
_VARIABLE = re.compile(r"\$([A-Za-z_]\w*)")
_BOUND = re.compile(r"\$([A-Za-z_]\w*)\s*:=|function\s*\(([^)]*)\)|[@#]\$([A-Za-z_]\w*)")

NodePath = tuple[str | int, ...]


class Finding(NamedTuple):
    """One thing to repair; printed as `file:line: message`."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Machine:
    """A state machine's definition, as JSON would hold it, and where each of its nodes stands in the file."""

    file: str
    name: str
    definition: dict[str, Any]
    lines: Mapping[NodePath, int] = field(repr=False)

    def line(self, path: NodePath) -> int:
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def sample_value(name: str) -> str:
    """A value for a substitution, deterministic and of the right form for its name."""
    if name in NAMED_AFTER_THE_STACK:
        return STACK
    if name.endswith("FunctionArn"):
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name.removesuffix('Arn')}"
    if name.endswith("StateMachineArn"):
        return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name.removesuffix('Arn')}"
    if name.endswith("RoleArn"):
        return f"arn:aws:iam::{ACCOUNT}:role/{name.removesuffix('Arn')}"
    if name.endswith("QueueArn"):
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name.removesuffix('Arn')}"
    if name.endswith("TopicArn"):
        return f"arn:aws:sns:{REGION}:{ACCOUNT}:{name.removesuffix('Arn')}"
    if name.endswith(("Image", "ImageUri")):
        return f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/evergreen-jobs:1"
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


def load(file: Path) -> Machine:
    """The machine in a `.asl.yaml` file, each `${Name}` replaced by `sample_value`."""
    text = SUBSTITUTION.sub(lambda found: sample_value(found.group(1)), file.read_text())
    lines: dict[NodePath, int] = {}
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        _note_lines(node, (), lines)
        definition = loader.construct_document(node)
    finally:
        loader.dispose()
    shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
    return Machine(str(shown), file.name.split(".")[0], definition, lines)


def load_all() -> list[Machine]:
    return [load(file) for file in sorted(MACHINES.glob("*.asl.yaml"))]


def _note_lines(node: yaml.Node, path: NodePath, lines: dict[NodePath, int]) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if (*path, key.value) in lines:  # YAML's loaders let the last one win in silence
                twice = f"{key.value} is there twice"
                raise yaml.MarkedYAMLError(problem=twice, problem_mark=key.start_mark)
            lines[(*path, key.value)] = key.start_mark.line + 1
            _note_lines(value, (*path, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            _note_lines(value, (*path, place), lines)


# Walking a machine


def scopes(definition: dict[str, Any], path: NodePath = ()) -> Iterator[tuple[NodePath, dict[str, Any]]]:
    """The machine and each sub-machine (Map's processor, Parallel's branches), with their paths."""
    yield path, definition
    for name, state in definition.get("States", {}).items():
        at = (*path, "States", name)
        if "ItemProcessor" in state:
            yield from scopes(state["ItemProcessor"], (*at, "ItemProcessor"))
        for place, branch in enumerate(state.get("Branches", [])):
            yield from scopes(branch, (*at, "Branches", place))


def states(definition: dict[str, Any]) -> Iterator[tuple[NodePath, str, dict[str, Any]]]:
    for path, scope in scopes(definition):
        for name, state in scope["States"].items():
            yield (*path, "States", name), name, state


def targets(state: dict[str, Any]) -> set[str]:
    """The names of the states that may follow this one."""
    following = [state.get("Next"), state.get("Default")]
    following += [branch.get("Next") for branch in (*state.get("Choices", []), *state.get("Catch", []))]
    return {name for name in following if name}


def reachable(scope: dict[str, Any], start: str) -> set[str]:
    seen, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name not in seen and name in scope["States"]:
            seen.add(name)
            waiting.extend(targets(scope["States"][name]))
    return seen


def expressions(node: Any, path: NodePath = ()) -> Iterator[tuple[NodePath, str]]:
    """Every string that holds a JSONata marker, with its path."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from expressions(value, (*path, key))
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from expressions(value, (*path, place))
    elif isinstance(node, str) and ("{%" in node or "%}" in node):
        yield path, node


# The checks


def check(machine: Machine) -> list[Finding]:
    """Everything found in one machine, in the order of its lines."""
    found = [
        *_statelint(machine),
        *_check_expressions(machine),
        *_check_reachability(machine),
        *_check_states(machine),
    ]
    findings = {Finding(machine.file, machine.line(path), message) for path, message in found}
    return sorted(findings)


def _statelint(machine: Machine) -> Iterator[tuple[NodePath, str]]:
    paths = {path for path, _, _ in states(machine.definition)}
    # FLOAT asks for `2.0` where AWS takes any number.
    for problem in Linter.validate(machine.definition, Config(ignored_problem_types={ProblemType.FLOAT})):
        if re.search(r'is "\{%.*%\}" but should be an Integer$', problem):
            continue  # Wait's Seconds may be an expression
        where = re.sub(r"\[(\d+)\]", r".\1", problem.split(" is ")[0].split(" does ")[0]).split(".")
        where = [int(part) if part.isdigit() else part for part in where[1:]]
        path = max((path for path in paths if list(path) == where[: len(path)]), key=len, default=())
        yield path, f"statelint: {problem}"


def _check_expressions(machine: Machine) -> Iterator[tuple[NodePath, str]]:
    assigned = {"states"} | {
        name
        for _, _, state in states(machine.definition)
        for holder in (state, *state.get("Catch", []), *state.get("Choices", []))
        for name in holder.get("Assign", {})
    }
    known = assigned | FUNCTIONS_OF_STATES
    for path, text in expressions(machine.definition):
        if "Comment" in path:
            continue
        if not (text.startswith("{%") and text.endswith("%}")):
            yield path, f"an expression is the whole string, from {{% to %}}: {text}"
            continue
        yield from ((path, message) for message in _check_expression(text[2:-2].strip(), known, path))


def _check_expression(source: str, known: set[str], path: NodePath) -> Iterator[str]:
    try:
        parsed = Jsonata.jsonata(source)
    except Exception as error:  # the parser raises its own class, and plain ones where it falls over
        yield f"JSONata: {error}: {source}"
        return
    bare = _STRINGS.sub("''", source)
    local = {name.strip(" $") for found in _BOUND.findall(bare) for part in found for name in part.split(",")}
    for name in _VARIABLE.findall(bare):
        if name == "eval":
            yield "JSONata: Step Functions has no $eval; $parse reads JSON"
        elif name not in known | local and parsed.environment.lookup(name) is None:
            yield f"JSONata: no state assigns ${name}: {source}"
    in_catch, in_choice = "Catch" in path, "Choices" in path
    if "$states.errorOutput" in bare and not in_catch:
        yield "JSONata: $states.errorOutput is there in a Catch alone"
    if "$states.result" in bare and (in_catch or in_choice or not {"Output", "Assign"} & set(path)):
        yield "JSONata: $states.result is there in Output and Assign of the state that made it alone"


def _check_reachability(machine: Machine) -> Iterator[tuple[NodePath, str]]:
    for path, scope in scopes(machine.definition):
        seen = reachable(scope, scope["StartAt"])
        for name, state in scope["States"].items():
            at = (*path, "States", name)
            if name not in seen:
                yield at, f"{name}: no path leads here"
            for missing in sorted(targets(state) - set(scope["States"])):
                yield at, f"{name}: there is no state {missing}"
            for place, catcher in enumerate(state.get("Catch", [])):
                if "States.ALL" in catcher["ErrorEquals"] and not _fails(scope, catcher["Next"]):
                    yield (
                        (*at, "Catch", place),
                        f"{name}: no Fail follows a failure of any kind: it ends green",
                    )


def _fails(scope: dict[str, Any], start: str) -> bool:
    return any(scope["States"][name]["Type"] == "Fail" for name in reachable(scope, start))


def _check_states(machine: Machine) -> Iterator[tuple[NodePath, str]]:
    definition = machine.definition
    if definition.get("QueryLanguage") != "JSONata":
        yield (), "QueryLanguage: JSONata"
    for key in ("Comment", "TimeoutSeconds"):
        if key not in definition:
            yield (), f"the machine has no {key}"
    caught_above = {
        path
        for path, _, state in states(definition)
        if state["Type"] in ("Map", "Parallel") and _catches_all(state)
    }
    for path, name, state in states(definition):
        if state["Type"] not in ("Task", "Map", "Parallel"):
            continue
        if "Comment" not in state:
            yield path, f"{name}: no Comment"
        enclosed = any(path[: len(above)] == above for above in caught_above if above != path)
        if not (_catches_all(state) or enclosed):
            yield path, f"{name}: Catch does not end in States.ALL"
        if state["Type"] == "Task":
            yield from _check_retry(path, name, state)
            yield from check_task(path, name, state)
            yield from check_errors(path, name, state)


def _catches_all(state: dict[str, Any]) -> bool:
    catchers = state.get("Catch", [])
    return bool(catchers) and catchers[-1]["ErrorEquals"] == ["States.ALL"]


def _check_retry(path: NodePath, name: str, state: dict[str, Any]) -> Iterator[tuple[NodePath, str]]:
    if "TimeoutSeconds" not in state:
        yield path, f"{name}: no TimeoutSeconds"
    if not state.get("Retry"):
        yield path, f"{name}: no Retry"
    for place, retrier in enumerate(state.get("Retry", [])):
        if "States.ALL" in retrier["ErrorEquals"] or "States.TaskFailed" in retrier["ErrorEquals"]:
            yield (*path, "Retry", place), f"{name}: Retry names no error: a bug is not worth a second try"
        if "JitterStrategy" not in retrier:
            yield (*path, "Retry", place), f"{name}: Retry without JitterStrategy: a burst retries as a burst"
        elif retrier.get("BackoffRate") == 1 and retrier["JitterStrategy"] != "NONE":
            reason = "waits for something, and full jitter makes that half as long: JitterStrategy: NONE"
            yield (*path, "Retry", place), f"{name}: Retry that {reason}"
