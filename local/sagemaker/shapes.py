"""Requests and answers, checked and cut to the shapes of botocore's service model.

botocore's client checks types and required members before it sends; SageMaker itself also checks lengths,
ranges, patterns and enumerations, and lists every violation in one message. So does this module, for callers
that do not come through botocore (Step Functions) as much as for those that do.
"""

import base64
import functools
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from types import UnionType
from typing import Any

import botocore.session
from botocore.model import OperationModel, Shape

from .errors import SageMakerError, invalid

# Java's Unicode classes, which Python's `re` lacks, by their nearest class: letters, marks, numbers and
# punctuation all pass as "not a control character and not a space".
_JAVA_CLASSES = {r"\p{Z}": r"\s", r"\p{Alnum}": "a-zA-Z0-9", r"\p{Alpha}": "a-zA-Z"}
_OTHER_JAVA_CLASS = re.compile(r"\\p\{[A-Z][a-z]?\}")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


@functools.cache
def service_model():
    """botocore's description of the `sagemaker` service (read once: 40 ms)."""
    return botocore.session.get_session().get_service_model("sagemaker")


@functools.cache
def pattern(source: str) -> re.Pattern | None:
    """A pattern of the model as Python's, or None for the few that Python cannot express."""
    translated = source
    for java, python in _JAVA_CLASSES.items():
        translated = translated.replace(java, python)
    translated = _OTHER_JAVA_CLASS.sub(r"!-~\\u00a1-\\uffff", translated)
    try:
        return None if _SURROGATE.search(translated) else re.compile(translated)
    except re.error:
        return None


def parse_request(operation: OperationModel, params: dict[str, Any]) -> dict[str, Any]:
    """The request's members with timestamps as aware datetimes; raises what SageMaker would answer.

    Differs from AWS in one thing, on purpose: a member that the shape does not have is refused (a typo in a
    state machine), where SageMaker's endpoint ignores it and Step Functions refuses it at its creation.
    """
    if operation.input_shape is None:
        return {}
    violations: list[str] = []
    parsed = _parse(operation.input_shape, params, "", violations)
    if violations:
        count = len(violations)
        noun = "validation error" if count == 1 else "validation errors"
        raise invalid(f"{count} {noun} detected: {'; '.join(violations)}")
    return parsed


def _parse(shape: Shape, value: Any, path: str, violations: list[str]) -> Any:
    if shape.type_name == "structure":
        return _parse_structure(shape, value, path, violations)
    if shape.type_name == "list":
        items = _typed(value, list, path, "list")
        _check_size(shape, items, path, violations)
        return [
            _parse(shape.member, item, f"{path}.{place}.member", violations)
            for place, item in enumerate(items, start=1)
        ]
    if shape.type_name == "map":
        return _parse_map(shape, _typed(value, dict, path, "map"), path, violations)
    parsed = _SCALARS[shape.type_name](value, path)
    violations.extend(f"{_at(value, path)}: {why}" for why in _constraints(shape, parsed))
    return parsed


def _parse_structure(shape: Shape, value: Any, path: str, violations: list[str]) -> dict[str, Any]:
    members = _typed(value, dict, path, "structure")
    unknown = sorted(set(members) - set(shape.members))
    if unknown:
        known = ", ".join(shape.members)
        raise SageMakerError(
            "SerializationException", f"Unknown member {unknown[0]!r} at '{path}': one of {known}"
        )
    for name in shape.required_members:
        if members.get(name) is None:
            violations.append(f"{_at(None, _join(path, name))}: Member must not be null")
    return {
        name: _parse(shape.members[name], item, _join(path, name), violations)
        for name, item in members.items()
        if item is not None
    }


def _parse_map(shape: Shape, items: dict, path: str, violations: list[str]) -> dict[str, Any]:
    _check_size(shape, items, path, violations)
    parsed = {}
    for key, item in items.items():
        whys = [f"Map keys must satisfy constraint: [{why}]" for why in _constraints(shape.key, key)]
        if shape.value.type_name in _SCALARS:
            parsed[key] = _SCALARS[shape.value.type_name](item, f"{path}.{key}")
            whys += [
                f"Map value must satisfy constraint: [{why}]"
                for why in _constraints(shape.value, parsed[key])
            ]
        else:
            parsed[key] = _parse(shape.value, item, f"{path}.{key}", violations)
        violations.extend(f"{_at(items, path)}: {why}" for why in whys)
    return parsed


def _check_size(shape: Shape, value: list | dict, path: str, violations: list[str]) -> None:
    violations.extend(f"{_at(value, path)}: {why}" for why in _lengths(shape, len(value)))


def _constraints(shape: Shape, value: Any) -> Iterator[str]:
    """What a scalar violates, in the words of SageMaker's validation."""
    bounds = shape.metadata
    if isinstance(value, str):
        yield from _lengths(shape, len(value))
        expected = bounds.get("pattern")
        compiled = pattern(expected) if expected else None
        if compiled and not compiled.fullmatch(value):
            yield f"Member must satisfy regular expression pattern: {expected}"
        if bounds.get("enum") and value not in bounds["enum"]:
            yield f"Member must satisfy enum value set: [{', '.join(bounds['enum'])}]"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if "min" in bounds and value < bounds["min"]:
            yield f"Member must have value greater than or equal to {bounds['min']}"
        if "max" in bounds and value > bounds["max"]:
            yield f"Member must have value less than or equal to {bounds['max']}"


def _lengths(shape: Shape, length: int) -> Iterator[str]:
    bounds = shape.metadata
    if "min" in bounds and length < bounds["min"]:
        yield f"Member must have length greater than or equal to {bounds['min']}"
    if "max" in bounds and length > bounds["max"]:
        yield f"Member must have length less than or equal to {bounds['max']}"


def _at(value: Any, path: str) -> str:
    shown = "null" if value is None else f"'{value}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint"


def _join(path: str, name: str) -> str:
    """Member names in messages begin with a small letter, as in the service's own code."""
    name = name[0].lower() + name[1:]
    return f"{path}.{name}" if path else name


def _typed(value: Any, expected: type | UnionType, path: str, name: str) -> Any:
    if not isinstance(value, expected):
        raise SageMakerError(
            "SerializationException", f"{type(value).__name__} at '{path}' cannot be converted to a {name}"
        )
    return value


def _string(value: Any, path: str) -> str:
    return _typed(value, str, path, "String")


def _boolean(value: Any, path: str) -> bool:
    return _typed(value, bool, path, "Boolean")


def _integer(value: Any, path: str) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool):
        raise SageMakerError("SerializationException", f"bool at '{path}' cannot be converted to a Integer")
    return _typed(value, int, path, "Integer")


def _float(value: Any, path: str) -> float:
    return float(_typed(value, int | float, path, "Float"))


def _timestamp(value: Any, path: str) -> datetime:
    """Epoch seconds on the wire, ISO 8601 from Step Functions, a datetime from Python."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    stamp = _typed(value, datetime, path, "Timestamp")
    return stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)


def _blob(value: Any, path: str) -> bytes:
    return value if isinstance(value, bytes) else base64.b64decode(_string(value, path))


_SCALARS = {
    "string": _string,
    "boolean": _boolean,
    "integer": _integer,
    "long": _integer,
    "float": _float,
    "double": _float,
    "timestamp": _timestamp,
    "blob": _blob,
}


def project(shape: Shape, value: Any) -> Any:
    """`value` cut to the members that `shape` has: a record becomes a description or a summary."""
    if value is None:
        return None
    if shape.type_name == "structure":
        return {
            name: project(member, value[name])
            for name, member in shape.members.items()
            if value.get(name) is not None
        }
    if shape.type_name == "list":
        return [project(shape.member, item) for item in value]
    if shape.type_name == "map":
        return {key: project(shape.value, item) for key, item in value.items()}
    return value


def to_json(value: Any) -> bytes:
    """JSON 1.1: timestamps as epoch seconds to the millisecond."""
    return json.dumps(value, default=_encode).encode()


def _encode(value: Any) -> Any:
    if isinstance(value, datetime):
        return round(value.timestamp(), 3)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} is not JSON")
