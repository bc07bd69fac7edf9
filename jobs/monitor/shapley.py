"""SHAP values of any model, by asking it: a row's features are exchanged one by one for those of a background
row, in random orders, and what an exchange moves the prediction by is the feature's.

Permutation sampling with antithetic pairs (Štrumbelj and Kononenko 2014, doi 10.1007/s10115-013-0679-x;
Mitchell et al. 2022, "Sampling Permutations for Shapley Value Estimation"): unbiased, and a row's values add
up to its prediction less the mean of its background rows'. It explains the model as it is served, encoding
and all, in the features of the request. A tree explainer sees only what the estimator sees, and shap 0.51's
is wrong, without a word, on scikit-learn's categorical splits (shap issue 3436).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]
ROWS = 250
PAIRS = 3  # permutations of a row, each of them also backwards
EVALUATIONS = 20_000  # of the model, at most: two seconds of a gradient boosting of a hundred trees


def plan(rows: int, features: int, evaluations: int = EVALUATIONS) -> tuple[int, int]:
    """(rows, pairs) within the evaluations: fewer pairs before fewer rows."""
    each = 2 * max(features, 1)
    rows = min(rows, ROWS)
    pairs = min(PAIRS, max(1, evaluations // (each * max(rows, 1))))
    return min(rows, max(1, evaluations // (each * pairs))), pairs


def values(
    rows: np.ndarray, background: np.ndarray, predict: Predict, pairs: int = PAIRS, seed: int = 0
) -> np.ndarray:
    """SHAP values (n, features, outputs) in the unit of the predictions.

    `rows` (n, features) and `background` (m, features) hold values of any kind. `predict` takes such an array
    and returns (rows, outputs); it is called once, with n (1 + 2 pairs (features - 1)) + m rows.
    """
    generator = np.random.default_rng(seed)
    count, features = rows.shape
    rank = np.stack([_permutations(count, features, generator) for _ in range(pairs)])
    partner = generator.integers(0, len(background), (pairs, count))
    # (pairs, 2 directions, steps, n, features): which features are still the row's own.
    steps = np.arange(1, features)[:, None, None]
    own = np.stack([rank[:, None] < steps, rank[:, None] >= steps], 1)
    mixed = np.where(own, rows, background[partner][:, None, None])
    asked = predict(np.concatenate([mixed.reshape(-1, features), rows, background]))
    outputs = asked.shape[1]
    between, whole, empty = np.split(asked, [own[..., 0].size, own[..., 0].size + count])
    between = between.reshape(pairs, 2, features - 1, count, outputs)
    first = empty[partner][:, None]
    last = np.broadcast_to(whole, (pairs, 1, count, outputs))
    forward = np.diff(np.concatenate([first, between[:, 0], last], 1), axis=1)
    backward = -np.diff(np.concatenate([last, between[:, 1], first], 1), axis=1)
    moved = (forward + backward) / 2  # (pairs, steps, n, outputs): by the feature of that rank
    picked = np.take_along_axis(moved, rank.transpose(0, 2, 1)[..., None], 1)
    return picked.mean(0).transpose(1, 0, 2)


def _permutations(count: int, features: int, generator: np.random.Generator) -> np.ndarray:
    """(count, features): the place of each feature in a random order, one order per row."""
    return np.argsort(generator.random((count, features)), axis=1)
