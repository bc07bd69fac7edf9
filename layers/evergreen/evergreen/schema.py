"""A small declarative validator over YAML nodes: every mistake at once, each with its line.

A kind is a function of a node that returns the value it stands for. It never raises: a mistake is appended to
the list it is given, so that one reading finds all of them.
"""

import copy
import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

_CONSTRUCTOR = yaml.constructor.SafeConstructor()
_REQUIRED = object()


@dataclass(frozen=True, order=True)
class Mistake:
    """`line` counts from 1."""

    line: int
    path: str
    reason: str

    def __str__(self) -> str:
        return (
            f"line {self.line}: {self.path}: {self.reason}"
            if self.path
            else f"line {self.line}: {self.reason}"
        )


Kind = Callable[[yaml.Node, str, list[Mistake]], Any]


@dataclass(frozen=True)
class Key:
    """A key of a mapping: its kind, and the value it has when it is absent (without one it must be there)."""

    kind: Kind
    default: Any = _REQUIRED


def line_of(node: yaml.Node) -> int:
    """The node's line in the file, from 1."""
    return node.start_mark.line + 1


def compose(text: str, mistakes: list[Mistake]) -> yaml.Node | None:
    """The document's root node; None, with the mistake, for what is not YAML."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        mistakes.append(
            Mistake(mark.line + 1 if mark else 1, "", f"not YAML: {error.problem or error.context}")
        )
        return None
    except yaml.YAMLError as error:
        mistakes.append(Mistake(1, "", f"not YAML: {error}"))
        return None
    if root is None:
        mistakes.append(Mistake(1, "", "the file is empty"))
    return root


def scalar(parse: Callable[[Any], Any]) -> Kind:
    """A single value; `parse` takes YAML's value and raises ValueError with the reason it will not do."""

    def read(node: yaml.Node, path: str, mistakes: list[Mistake]) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            mistakes.append(Mistake(line_of(node), path, f"must be a single value, not a {_shape(node)}"))
            return None
        try:
            return parse(_CONSTRUCTOR.construct_object(node))
        except (ValueError, OverflowError, yaml.YAMLError) as error:
            mistakes.append(Mistake(line_of(node), path, str(error)))
            return None

    return read


def mapping(keys: Mapping[str, Key]) -> Kind:
    """A mapping with known keys: unknown, repeated and missing ones are mistakes."""

    def read(node: yaml.Node, path: str, mistakes: list[Mistake]) -> Any:
        found = _pairs(node, path, mistakes)
        if found is None:
            return None
        for name, (key_node, _) in found.items():
            if name not in keys:
                mistakes.append(Mistake(line_of(key_node), _join(path, name), _unknown(name, keys)))
        values = {}
        for name, key in keys.items():
            if name in found:
                values[name] = key.kind(found[name][1], _join(path, name), mistakes)
            elif key.default is _REQUIRED:
                mistakes.append(Mistake(line_of(node), _join(path, name), "is missing"))
                values[name] = None
            else:
                values[name] = copy.deepcopy(key.default)
        return values

    return read


def mapping_of(kind: Kind, name_reason: Callable[[str], str | None] = lambda name: None) -> Kind:
    """A mapping with free names and values of one kind; `name_reason` says why a name will not do."""

    def read(node: yaml.Node, path: str, mistakes: list[Mistake]) -> Any:
        found = _pairs(node, path, mistakes)
        if found is None:
            return None
        for name, (key_node, _) in found.items():
            reason = name_reason(name)
            if reason:
                mistakes.append(Mistake(line_of(key_node), _join(path, name), reason))
        return {name: kind(value, _join(path, name), mistakes) for name, (_, value) in found.items()}

    return read


def list_of(kind: Kind) -> Kind:
    """A list with values of one kind."""

    def read(node: yaml.Node, path: str, mistakes: list[Mistake]) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            mistakes.append(Mistake(line_of(node), path, f"must be a list, not a {_shape(node)}"))
            return None
        return [kind(item, f"{path}[{place}]", mistakes) for place, item in enumerate(node.value)]

    return read


def find(root: yaml.Node, path: Iterable[str]) -> int:
    """The line of the deepest part of `path` that is in the document: where a mistake between keys is
    shown."""
    node, line = root, line_of(root)
    for name in path:
        if not isinstance(node, yaml.MappingNode):
            break
        pair = next(((key, value) for key, value in node.value if key.value == name), None)
        if pair is None:
            break
        node, line = pair[1], line_of(pair[0])
    return line


def is_given(root: yaml.Node, path: str) -> bool:
    """Whether the document has a path such as `ship.alarms` itself: a default is not."""
    node: yaml.Node | None = root
    for name in path.split("."):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for key, value in pairs if key.value == name), None)
    return node is not None


def _pairs(node: yaml.Node, path: str, mistakes: list[Mistake]) -> dict[str, tuple] | None:
    if not isinstance(node, yaml.MappingNode):
        mistakes.append(Mistake(line_of(node), path, f"must be a mapping of names, not a {_shape(node)}"))
        return None
    found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else ""
        if name in found:
            first = line_of(found[name][0])
            mistakes.append(
                Mistake(line_of(key), _join(path, name), f"is given twice (first on line {first})")
            )
            continue
        found[name] = (key, value)
    return found


def _unknown(name: str, keys: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, keys, n=1)
    return (
        f"is not a key here; did you mean {near[0]}?"
        if near
        else f"is not a key here; one of {', '.join(keys)}"
    )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shape(node: yaml.Node) -> str:
    return {"mapping": "mapping", "sequence": "list"}.get(node.id, "single value")
