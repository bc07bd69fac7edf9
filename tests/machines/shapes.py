"""A request against botocore's description of it, as strictly as the service itself.

botocore's own validator checks types, required members and the least lengths; services also check the
greatest, enumerations and patterns.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import Shape
from botocore.validate import ParamValidator

from local.sagemaker.shapes import pattern
from tests.lint_integrations import sdk_name


def violations(shape: Shape, request: Mapping[str, Any]) -> list[str]:
    """What the service would refuse; the request's members are spelt as Step Functions spells them."""
    request = _as_api(shape, request)
    report = ParamValidator().validate(request, shape)
    return [report.generate_report()] if report.has_errors() else list(_bounds(shape, request, shape.name))


def _as_api(shape: Shape, value: Any) -> Any:
    if shape.type_name == "structure" and isinstance(value, Mapping):
        names = {sdk_name(name): name for name in shape.members}
        return {
            names.get(key, key): _as_api(shape.members[names[key]], item) if key in names else item
            for key, item in value.items()
        }
    if shape.type_name == "list" and isinstance(value, list):
        return [_as_api(shape.member, item) for item in value]
    return value


def _bounds(shape: Shape, value: Any, path: str) -> Iterator[str]:
    limits = shape.metadata
    if shape.type_name == "structure":
        for name, item in value.items():
            yield from _bounds(shape.members[name], item, f"{path}.{name}")
    elif shape.type_name == "list":
        for place, item in enumerate(value):
            yield from _bounds(shape.member, item, f"{path}[{place}]")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from _bounds(shape.value, item, f"{path}.{key}")
    elif shape.type_name == "string":
        if limits.get("enum") and value not in limits["enum"]:
            yield f"{path}: {value!r} is none of {', '.join(limits['enum'])}"
        expected = pattern(limits["pattern"]) if "pattern" in limits else None
        if expected and not expected.fullmatch(value):
            yield f"{path}: {value!r} does not match {limits['pattern']}"
    size = value if isinstance(value, int | float) else len(value) if hasattr(value, "__len__") else None
    if size is not None and "max" in limits and size > limits["max"]:
        yield f"{path}: {value!r} is more than {limits['max']}"
