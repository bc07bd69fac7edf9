"""Predictions: each row checked against the features the champion was trained with, then one invocation."""

import json
import math
import uuid
from typing import Any

import champions
from caller import Caller
from evergreen import artifacts, aws, capture, serving, settings
from evergreen.errors import AwsConflict, AwsError, AwsNotFound, AwsRejected
from evergreen.telemetry import emit, logger
from refusals import Refused, bad_values

BUCKET = settings.required("BUCKET")
MOST_ROWS = 1000


def predict(model: str, caller: Caller) -> dict[str, Any]:
    """A prediction for each instance, with the id by which its label will be known."""
    champions.must_serve_here(model)
    champion, spec = champions.in_service(model)
    way = serving.way(spec["serve"])
    if way == serving.BATCH:
        folder = f"s3://{BUCKET}/batch/{model}/input/"
        raise Refused(409, f"{model} has no endpoint: it scores the JSON lines that come under {folder}")
    rows = caller.items("instances", MOST_ROWS)
    errors = [error for place, row in enumerate(rows) for error in check(place, row, spec)]
    errors += repeated([row.get(spec["id"]) if isinstance(row, dict) else None for row in rows], spec["id"])
    if errors:
        raise bad_values(errors)
    rows = [{spec["id"]: uuid.uuid4().hex} | row for row in rows]
    answers = invoke(champion["endpoint"], rows, caller.request_id)
    if way == serving.SERVERLESS:
        keep(champion["endpoint"], caller, rows, answers)
    found = [{"id": row[spec["id"]]} | answer for row, answer in zip(rows, answers, strict=True)]
    return {"model": model, "version": champion["version"], "predictions": found}


def check(place: int, row: Any, spec: dict[str, Any]) -> list[dict[str, Any]]:
    """What is wrong with a row: types and presence. A value out of its declared range is a matter for the
    monitor, and a column that the model does not know is captured and otherwise ignored."""
    if not isinstance(row, dict):
        return [{"instance": place, "field": "", "reason": "is not an object of columns and values"}]
    errors = []
    for name, feature in spec["features"].items():
        value = row.get(name)
        if value is None:
            reason = "" if feature["nullable"] else "is missing" if name not in row else "must not be null"
        else:
            reason = _wrong_type(feature["type"], value)
        if reason:
            errors.append({"instance": place, "field": name, "reason": reason})
    id = row.get(spec["id"], 0)
    if isinstance(id, bool) or not isinstance(id, str | int) or id == "":
        errors.append({"instance": place, "field": spec["id"], "reason": "must be a text or a whole number"})
    return errors


def repeated(ids: list[Any], field: str) -> list[dict[str, Any]]:
    """Rows whose id an earlier row has: no label could tell them apart."""
    seen: set[str] = set()
    errors = []
    for place, id in enumerate(ids):
        if id is None:
            continue
        if str(id) in seen:
            errors.append({"instance": place, "field": field, "reason": f"{id!r} is the id of another row"})
        seen.add(str(id))
    return errors


def invoke(endpoint: str, rows: list[dict[str, Any]], request_id: str) -> list[dict[str, Any]]:
    """The endpoint's answers, one a row; 502 where the model fails, 503 where the endpoint is not there."""
    try:
        answer = aws.call(
            "sagemaker-runtime",
            "invoke_endpoint",
            EndpointName=endpoint,
            ContentType=capture.JSON_LINES,
            Accept=capture.JSON_LINES,
            InferenceId=request_id[:64],
            Body=lines(rows).encode(),
        )
    except AwsNotFound as error:
        raise Refused(503, f"endpoint {endpoint} is not in service") from error
    except (AwsRejected, AwsConflict) as error:
        if error.code == "ModelError":
            message, logged = f"the model failed: {error}", f"the model of {endpoint} failed"
            raise Refused(502, message, logged=logged) from error
        raise
    answers = answered(answer["Body"].read())
    if len(answers) != len(rows):
        raise Refused(502, f"the model answered {len(answers)} rows for {len(rows)}")
    return answers


def answered(body: bytes) -> list[dict[str, Any]]:
    """The answers in the JSON lines of a model; 502 for anything else."""
    try:
        found = [json.loads(line) for line in body.splitlines() if line.strip()]
    except ValueError as error:
        raise Refused(502, "the model answered something else than JSON lines") from error
    if not all(isinstance(each, dict) for each in found):
        raise Refused(502, "the model answered lines that are no objects")
    return found


def lines(rows: list[dict[str, Any]]) -> str:
    """JSON lines."""
    return "\n".join(json.dumps(row) for row in rows)


def keep(endpoint: str, caller: Caller, rows: list[dict[str, Any]], answers: list[dict[str, Any]]) -> None:
    """What SageMaker captures of an endpoint with instances: a serverless one has no data capture. As there,
    an answer does not wait for a capture that fails."""
    line = capture.line(caller.request_id, caller.at, lines(rows), lines(answers), caller.request_id[:64])
    key = capture.key(endpoint, caller.at, caller.request_id)
    try:
        artifacts.write(BUCKET, key, line.encode(), capture.JSON_LINES)
    except AwsError:
        logger.exception("a request was not captured", endpoint=endpoint)
        emit({"UncapturedRequests": 1}, Endpoint=endpoint)


def _wrong_type(kind: str, value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    right = {
        "number": number,
        "integer": number and float(value).is_integer(),
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
    }[kind]
    return "" if right else f"{json.dumps(value)[:40]} is not {'an' if kind == 'integer' else 'a'} {kind}"
