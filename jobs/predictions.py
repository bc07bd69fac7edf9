"""Responses of a model (one JSON object per row) as arrays that the metrics take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jobs.contract import JobError
from jobs.metrics import Scores
from jobs.spec import BINARY, MULTICLASS, REGRESSION


def to_scores(
    task: str, labels: Sequence[Any], answers: Sequence[dict[str, Any]], classes: Sequence[str] = ()
) -> Scores:
    """`answers` are `{"prediction", "probability"}` (binary), `{"prediction", "probabilities"}`
    (multiclass) or `{"prediction"}` (regression). Raises JobError for an answer without `prediction`."""
    try:
        predicted = [answer["prediction"] for answer in answers]
    except (KeyError, TypeError):
        raise JobError("the model's answers have no `prediction`") from None
    if task == MULTICLASS:
        return _multiclass(labels, predicted, answers, classes)
    kind = float if task == REGRESSION else int
    label = np.array([kind(float(value)) for value in labels])
    guesses = np.array([kind(float(value)) for value in predicted])
    has_probability = task == BINARY and all("probability" in answer for answer in answers)
    probability = np.array([float(answer["probability"]) for answer in answers]) if has_probability else None
    return Scores(task, label, guesses, probability)


def monitored(task: str, answers: Sequence[dict[str, Any]]) -> np.ndarray | list[str]:
    """What is watched of a prediction: its probability or number (NaN where absent), or its class."""
    if task == MULTICLASS:
        return [str(answer.get("prediction")) for answer in answers]
    name = (
        "probability"
        if task == BINARY and any("probability" in answer for answer in answers)
        else "prediction"
    )
    return np.array([_float(answer.get(name)) for answer in answers], float)


def _multiclass(
    labels: Sequence[Any], predicted: Sequence[Any], answers: Sequence[dict[str, Any]], classes: Sequence[str]
) -> Scores:
    shares = [answer.get("probabilities") for answer in answers]
    known = sorted({name for share in shares if share for name in share} | set(classes)) or sorted(
        {str(value) for value in (*labels, *predicted)}
    )
    code = {name: index for index, name in enumerate(known)}
    probability = None
    if all(shares) and shares:
        probability = np.array([[float(share.get(name, 0.0)) for name in known] for share in shares])
    return Scores(
        MULTICLASS,
        np.array([code.get(str(value), -1) for value in labels], int),
        np.array([code.get(str(value), -1) for value in predicted], int),
        probability,
        tuple(known),
    )


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
