"""The functions that SageMaker's scikit-learn container calls."""

import json
from pathlib import Path

import joblib


def model_fn(model_dir):
    return joblib.load(Path(model_dir) / "model.joblib")


def input_fn(body, content_type):
    if content_type != "text/csv":
        raise ValueError(f"{content_type} is not text/csv")
    text = body.decode() if isinstance(body, bytes) else body
    return [[float(value) for value in line.split(",")] for line in text.splitlines()]


def predict_fn(rows, model):
    return model.predict(rows)


def output_fn(prediction, accept):
    return json.dumps(prediction.tolist()), "application/json"
