"""Ground truth: the one documented way to join labels to what was captured. A label names the id of the row
that was predicted; it is written in Model Monitor's format under the hour in which it came."""

import json
import math
from typing import Any

import champions
from caller import Caller
from evergreen import artifacts, settings, times
from refusals import bad_values

BUCKET = settings.required("BUCKET")
MOST_LABELS = 10_000


def accept(model: str, caller: Caller) -> dict[str, Any]:
    """Store the labels of one request as one object, named after the request."""
    champions.must_serve_here(model)
    task = champions.published(model)["spec"]["task"]
    labels = caller.items("labels", MOST_LABELS)
    errors = [error for place, label in enumerate(labels) for error in check(place, label, task)]
    if errors:
        raise bad_values(errors)
    lines = "\n".join(json.dumps(ground_truth(label)) for label in labels)
    key = f"labels/{model}/{times.hour_path(caller.at)}/{caller.request_id}.jsonl"
    artifacts.write(BUCKET, key, f"{lines}\n".encode(), "application/jsonlines")
    return {"accepted": len(labels)}


def check(place: int, entry: Any, task: str) -> list[dict[str, Any]]:
    """What is wrong with {"id", "label"}."""
    if not isinstance(entry, dict):
        return [{"instance": place, "field": "", "reason": "is not an object with id and label"}]
    id, label, errors = entry.get("id"), entry.get("label"), []
    if isinstance(id, bool) or not isinstance(id, str | int) or id == "":
        errors.append({"instance": place, "field": "id", "reason": "must be a text or a whole number"})
    number = isinstance(label, int | float) and math.isfinite(label)
    fits, wanted = {
        "binary_classification": (number and label in (0, 1), "0 or 1"),
        "multiclass_classification": (isinstance(label, str | int), "a class, as a text or a whole number"),
        "regression": (number and not isinstance(label, bool), "a number"),
    }[task]
    if not fits:
        errors.append({"instance": place, "field": "label", "reason": f"must be {wanted}"})
    return errors


def ground_truth(entry: dict[str, Any]) -> dict[str, Any]:
    """A line as Model Monitor's merge reads it."""
    label = int(entry["label"]) if isinstance(entry["label"], bool) else entry["label"]
    return {
        "groundTruthData": {"data": str(label), "encoding": "CSV"},
        "eventMetadata": {"eventId": str(entry["id"])},
        "eventVersion": "0",
    }
