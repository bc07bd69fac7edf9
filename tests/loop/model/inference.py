"""Serves the shares that train.py wrote."""

import json
from pathlib import Path


def model_fn(model_dir: str) -> list[float]:
    return json.loads(Path(model_dir, "shares.json").read_text())


def predict_fn(rows: list[dict], model: list[float]) -> list[dict]:
    shares = [model[row["departure_minute"] // 60] for row in rows]
    return [{"prediction": int(share > 0.3), "probability": share} for share in shares]
