"""The matrix that the classifier sees, built the same way in training and in service."""

import numpy as np

CATEGORICAL = ["origin", "dest", "carrier"]
NUMERIC = [
    "weekday",
    "departure_minute",
    "distance",
    "temp",
    "dewp",
    "humid",
    "wind_speed",
    "precip",
    "pressure",
    "visib",
]
FEATURES = CATEGORICAL + NUMERIC
TARGET = "late"


def learn_categories(columns: dict[str, list]) -> dict[str, list[str]]:
    """Sorted categories of each categorical column; their positions are the codes."""
    return {name: sorted(set(columns[name]) - {None}) for name in CATEGORICAL}


def encode(columns: dict[str, list], categories: dict[str, list[str]]) -> np.ndarray:
    """Rows x FEATURES, float64. A category that training never saw becomes NaN, which the trees route as
    missing."""
    matrix = np.empty((len(columns[FEATURES[0]]), len(FEATURES)))
    for index, name in enumerate(FEATURES):
        values = columns[name]
        if name in categories:
            codes = {category: float(code) for code, category in enumerate(categories[name])}
            matrix[:, index] = [codes.get(value, np.nan) for value in values]
        else:
            matrix[:, index] = np.asarray(values, dtype=float)  # None becomes NaN
    return matrix
