"""Serves the flights model under SageMaker's conventions. `input_fn` and `output_fn` are the container's own:
rows of a request as dictionaries, and one JSON line per prediction."""

from pathlib import Path

import joblib
from features import FEATURES, encode


def model_fn(model_dir: str) -> dict:
    model = joblib.load(Path(model_dir) / "model.joblib")
    model["classifier"].predict_proba(
        encode({name: [None] for name in FEATURES}, model["categories"])
    )  # warm up
    return model


def predict_fn(rows: list[dict], model: dict) -> list[dict]:
    columns = {name: [row.get(name) for row in rows] for name in FEATURES}
    probabilities = model["classifier"].predict_proba(encode(columns, model["categories"]))[:, 1]
    return [
        {"prediction": int(probability >= model["threshold"]), "probability": round(float(probability), 6)}
        for probability in probabilities
    ]
