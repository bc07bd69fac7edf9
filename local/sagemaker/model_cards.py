"""The model card of a package: what its content may be, and which changes of it SageMaker takes.

The schema is that of the Developer Guide, "Model package model card schema", in the parts that bind: limits
that stand where JSON Schema does not look for them are left out.
"""

import json
from typing import Any

from jsonschema import Draft202012Validator

from .errors import invalid
from .store import Record

ARCHIVED = "Archived"
Schema = dict[str, Any]


def _text(longest: int | None = None) -> Schema:
    return {"type": "string"} | ({"maxLength": longest} if longest else {})


def _name() -> Schema:
    return {"type": "string", "minLength": 1}


def _list(of: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": of} | limits


def _object(properties: dict[str, Schema], *required: str) -> Schema:
    closed = {"type": "object", "additionalProperties": False, "properties": properties}
    return closed | ({"required": list(required)} if required else {})


def _metric(kind: list[str], value: Schema, x: Schema, y: Schema) -> Schema:
    fields = {"name": _name(), "notes": _text(1024), "type": {"enum": kind}, "value": value}
    return _object(fields | {"x_axis_name": x, "y_axis_name": y}, "name", "type", "value")


_NUMBER: Schema = {"type": "number"}
_AXIS, _AXES = _text(63), _list(_text(63))
_METRICS = [
    _metric(
        ["number", "string", "boolean"], {"anyOf": [_NUMBER, _text(63), {"type": "boolean"}]}, _AXIS, _AXIS
    ),
    _metric(["linear_graph"], _list(_list(_NUMBER, minItems=2, maxItems=2), minItems=1), _AXIS, _AXIS),
    _metric(["bar_chart"], _list(_NUMBER, minItems=1), _AXES, _AXIS),
    _metric(
        ["matrix"], _list(_list(_NUMBER, minItems=1, maxItems=20), minItems=1, maxItems=20), _AXES, _AXES
    ),
]
_GROUP = {
    "type": "object",
    "required": ["name", "metric_data"],
    "properties": {"name": _name(), "metric_data": _list({"anyOf": _METRICS})},
}
_TRAINING_METRIC = _object({"name": _name(), "notes": _text(1024), "value": _NUMBER}, "name", "value")
_PARAMETER = _object({"name": _name(), "value": _name()}, "name", "value")
_SCHEMA = _object(
    {
        "model_overview": _object({"model_creator": _text(1024), "model_artifact": _list(_text(1024))}),
        "intended_uses": _object(
            {
                "purpose_of_model": _text(2048),
                "intended_uses": _text(2048),
                "factors_affecting_model_efficiency": _text(2048),
                "risk_rating": {"enum": ["High", "Medium", "Low", "Unknown"]},
                "explanations_for_risk_rating": _text(2048),
            }
        ),
        "business_details": _object(
            {
                "business_problem": _text(2048),
                "business_stakeholders": _text(2048),
                "line_of_business": _text(2048),
            }
        ),
        "training_details": _object(
            {
                "objective_function": {},
                "training_observations": _text(1024),
                "training_job_details": _object(
                    {
                        "training_arn": _text(1024),
                        "training_datasets": _list(_text(1024)),
                        "training_environment": _object({"container_image": _list(_text(1024))}),
                        "training_metrics": _list(_TRAINING_METRIC),
                        "user_provided_training_metrics": _list(_TRAINING_METRIC),
                        "hyper_parameters": _list(_PARAMETER),
                        "user_provided_hyper_parameters": _list(_PARAMETER),
                    }
                ),
            }
        ),
        "evaluation_details": _list(
            _object(
                {
                    "name": _name(),
                    "evaluation_observation": _text(2096),
                    "evaluation_job_arn": _text(256),
                    "datasets": _list(_text(1024), maxItems=10),
                    "metadata": {"type": "object", "additionalProperties": _text(1024)},
                    "metric_groups": _list(_GROUP),
                },
                "name",
            )
        ),
        "additional_information": _object(
            {
                "ethical_considerations": _text(2048),
                "caveats_and_recommendations": _text(2048),
                "custom_details": {"type": "object", "additionalProperties": _text(1024)},
            }
        ),
    }
)
_VALIDATOR = Draft202012Validator(_SCHEMA)


def check(content: str) -> None:
    """Raises ValidationException for what is no model card, with the place."""
    try:
        card = json.loads(content)
    except ValueError as error:
        raise invalid(f"Model card content is not a valid JSON: {error}") from None
    errors = sorted(_VALIDATOR.iter_errors(card), key=lambda error: list(map(str, error.absolute_path)))
    if errors:
        place = ".".join(map(str, errors[0].absolute_path)) or "the card"
        raise invalid(f"Model card content does not follow its schema: {place}: {errors[0].message[:300]}")


def updated(card: Record | None, change: Record) -> Record:
    """A package's card with its content, its status or both changed. Raises ValidationException for the
    content of one that is archived."""
    if card and card.get("ModelCardStatus") == ARCHIVED and "ModelCardContent" in change:
        raise invalid("Model Card is in Archived state.")
    if "ModelCardContent" in change:
        check(change["ModelCardContent"])
    return (card or {}) | change
