"""What analyze compares a window with, made where the model is evaluated: features from the training data,
predictions and model quality from the holdout, which the model has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jobs import contract, drift, formats
from jobs.columns import floats, microseconds
from jobs.drift import Reference
from jobs.metrics import Scores
from jobs.spec import MULTICLASS, Feature, Spec

DRIFT = 0.1  # Model Monitor's default comparison_threshold
PREDICTION = "prediction"


def write(
    folder: Path,
    spec: Spec,
    train: pa.Table,
    holdout: pa.Table,
    predictions: np.ndarray | list[str],
    scores: Scores,
    metrics: dict[str, Any],
) -> None:
    """Writes baseline.json, and statistics.json and constraints.json in Model Monitor's formats."""
    floor = float(spec.monitor.get("data", {}).get("drift", DRIFT))
    times, columns, references = microseconds(train[spec.time]), {}, []
    for feature in spec.features.values():
        values = column_values(train[feature.name], feature)
        columns[feature.name] = (feature.type, values)
        references.append(
            drift.learn(
                feature.name,
                feature.type,
                values,
                times,
                spec.lookback,
                floor,
                feature.nullable,
                feature.values,
            )
        )
    kind = "string" if spec.task == MULTICLASS else "number"
    predicted = drift.learn(
        PREDICTION, kind, predictions, microseconds(holdout[spec.time]), spec.lookback, floor, nullable=False
    )
    contract.write_json(folder / "statistics.json", formats.statistics(columns, len(train)))
    contract.write_json(folder / "constraints.json", formats.constraints(references, floor))
    content = {
        "task": spec.task,
        "rows": {"train": len(train), "holdout": len(holdout)},
        "train": contract.span(times),
        "features": [reference.as_dict() for reference in references],
        "prediction": predicted.as_dict(),
        "classes": list(scores.classes),
        "quality": metrics,
    }
    contract.write_json(folder / "baseline.json", content)


def references(content: dict[str, Any]) -> tuple[dict[str, Reference], Reference]:
    """Of each feature and of the prediction, from baseline.json."""
    features = {entry["name"]: Reference.of(entry) for entry in content["features"]}
    return features, Reference.of(content["prediction"])


def column_values(column: pa.ChunkedArray, feature: Feature) -> np.ndarray | list[str | None]:
    if feature.is_categorical:
        return column.cast(pa.string()).to_pylist()
    return floats(column)
