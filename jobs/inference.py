"""A model's script under SageMaker's conventions: `model_fn`, `input_fn`, `predict_fn`, `output_fn`.

Each has a default, so that a script defines only what is its own. A request becomes a list of rows
(dictionaries) checked against model.yaml where the folder has one; predictions become one JSON line each.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import math
import sys
from pathlib import Path
from typing import Any

from jobs import spec as model_spec
from jobs.contract import JobError
from jobs.spec import Feature, Spec

JSON_LINES, JSON, CSV = "application/jsonlines", "application/json", "text/csv"
MAX_ERRORS = 20
TYPES = {
    "number": "a number",
    "integer": "a whole number",
    "string": "text",
    "boolean": "true or false",
}


class BadInput(Exception):
    """A request that the model cannot answer. `errors`: row (from 0) or None, field or None, reason."""

    def __init__(self, errors: list[dict[str, Any]]):
        first = errors[0]
        at = "" if first["instance"] is None else f"instance {first['instance']}: "
        at += f"{first['field']}: " if first["field"] else ""
        super().__init__(f"{at}{first['reason']}")
        self.errors = errors


class UnsupportedType(Exception):
    """A content type that neither the script nor the container reads."""


class Predictor:
    """A loaded model and its script: bytes in, bytes out."""

    def __init__(self, model_dir: Path, code_dir: Path, entry: str):
        script = load_script(code_dir, entry)
        self.spec = model_spec.load(code_dir) if (code_dir / "model.yaml").is_file() else None
        self._input = getattr(script, "input_fn", None) or self._default_input
        self._predict = getattr(script, "predict_fn", None) or default_predict
        self._output = getattr(script, "output_fn", None) or default_output
        load = getattr(script, "model_fn", None) or default_model
        self._model = load(str(model_dir))

    def invoke(self, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """Response and its content type. Raises BadInput, UnsupportedType, or whatever the script raises."""
        prediction = self._predict(self._input(body, content_type), self._model)
        result = self._output(prediction, accept)
        response, response_type = result if isinstance(result, tuple) else (result, accept)
        return response.encode() if isinstance(response, str) else response, response_type

    def _default_input(self, body: bytes, content_type: str) -> list[dict[str, Any]]:
        rows = parse_rows(body, content_type, self.spec)
        return check_rows(rows, self.spec) if self.spec else rows


def load_script(code_dir: Path, entry: str) -> Any:
    """Imports the script by its path; its folder comes first on the import path, as SageMaker's
    containers do."""
    path = code_dir / entry
    if not path.is_file():
        raise JobError(f"the model's folder has no {entry} ({path})")
    sys.path.insert(0, str(code_dir))
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[path.stem] = module
    module_spec.loader.exec_module(module)
    return module


def parse_rows(body: bytes, content_type: str, spec: Spec | None) -> list[dict[str, Any]]:
    """JSON lines, JSON (`{"instances": [...]}`, a list, or one row) or CSV (with a header, or features
    in order)."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == JSON_LINES:
        rows = [_parse_json(line, index) for index, line in enumerate(body.splitlines()) if line.strip()]
    elif kind == JSON:
        content = _parse_json(body, None)
        if isinstance(content, dict):
            content = content.get("instances", [content])
        rows = content
    elif kind == CSV:
        rows = _parse_csv(body, spec)
    else:
        raise UnsupportedType(f"content type {content_type!r} is none of {JSON_LINES}, {JSON}, {CSV}")
    if not isinstance(rows, list) or not rows:
        raise BadInput([_error(None, None, "the request has no rows")])
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise BadInput([_error(index, None, "a row must be an object with a value per feature")])
    return rows


def check_rows(rows: list[dict[str, Any]], spec: Spec) -> list[dict[str, Any]]:
    """The rows, whole numbers of `integer` features as int. Raises BadInput with what is missing or mistyped.

    Ranges and unlisted categories pass: a model in service must answer, and the monitor counts them.
    """
    errors: list[dict[str, Any]] = []
    for feature in spec.features.values():
        name = feature.name
        for index, row in enumerate(rows):
            reason = _mistake(row.get(name), name in row, feature)
            if reason:
                errors.append(_error(index, name, reason))
    if errors:
        raise BadInput(sorted(errors, key=lambda error: error["instance"])[:MAX_ERRORS])
    return rows


def default_model(model_dir: str) -> Any:
    """`model.joblib` of the model's folder."""
    path = Path(model_dir) / "model.joblib"
    if not path.is_file():
        raise JobError("the script defines no model_fn and the model has no model.joblib")
    import joblib

    return joblib.load(path)


def default_predict(rows: list[dict[str, Any]], model: Any) -> Any:
    """For estimators that take rows of dictionaries (a scikit-learn pipeline with a DictVectorizer)."""
    return model.predict(rows)


def default_output(prediction: Any, accept: str) -> tuple[str, str]:
    """One JSON line per row: a dictionary as it is, any other value as `{"prediction": value}`."""
    rows = prediction.tolist() if hasattr(prediction, "tolist") else list(prediction)
    rows = [row if isinstance(row, dict) else {"prediction": row} for row in rows]
    if accept.partition(";")[0].strip().lower() == JSON:
        return json.dumps({"predictions": rows}), JSON
    return "".join(json.dumps(row) + "\n" for row in rows), JSON_LINES


def _mistake(value: Any, present: bool, feature: Feature) -> str | None:
    if value is None:
        if feature.nullable:
            return None
        return "may not be null" if present else "is missing"
    kind = feature.type
    if kind == "string":
        ok = isinstance(value, str)
    elif kind == "boolean":
        ok = isinstance(value, bool)
    else:
        ok = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ok = ok and (kind == "number" or value == int(value))
    return None if ok else f"must be {TYPES[kind]}, not {value!r}"


def _parse_json(text: bytes, index: int | None) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadInput([_error(index, None, f"not JSON: {error}")]) from None


def _parse_csv(body: bytes, spec: Spec | None) -> list[dict[str, Any]]:
    lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig", errors="replace"))))
    lines = [line for line in lines if line]
    if spec is None or not lines:
        raise BadInput([_error(None, None, "CSV needs model.yaml beside the script, and at least one row")])
    names = list(spec.features)
    if set(names) <= set(lines[0]):
        names = lines.pop(0)
    rows = []
    for index, line in enumerate(lines):
        if len(line) != len(names):
            raise BadInput([_error(index, None, f"has {len(line)} values, expected {len(names)}")])
        rows.append(
            {name: _from_text(text, spec.features.get(name)) for name, text in zip(names, line, strict=True)}
        )
    return rows


def _from_text(text: str, feature: Feature | None) -> Any:
    if text == "":
        return None
    if feature is None or feature.type == "string":
        return text
    if feature.type == "boolean":
        return {"true": True, "1": True, "false": False, "0": False}.get(text.strip().lower(), text)
    try:
        return float(text)
    except ValueError:
        return text


def _error(instance: int | None, field: str | None, reason: str) -> dict[str, Any]:
    return {"instance": instance, "field": field, "reason": reason}
