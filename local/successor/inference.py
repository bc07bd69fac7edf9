"""The inference.py of a successor that somebody made faster: one pass over the rows instead of one for each
feature.

It is wrong for a request that leaves out a feature whose value nobody knows: `itemgetter` wants each of them.
The gate cannot see it, as its rows come from tables, where an unknown value is null. Only clients leave it
out.
"""

from operator import itemgetter
from pathlib import Path

import joblib
from features import FEATURES, encode

pick = itemgetter(*FEATURES)


def model_fn(model_dir: str) -> dict:
    return joblib.load(Path(model_dir) / "model.joblib")


def predict_fn(rows: list[dict], model: dict) -> list[dict]:
    columns = dict(zip(FEATURES, zip(*map(pick, rows), strict=True), strict=True))
    probabilities = model["classifier"].predict_proba(encode(columns, model["categories"]))[:, 1]
    return [
        {"prediction": int(probability >= model["threshold"]), "probability": round(float(probability), 6)}
        for probability in probabilities
    ]
