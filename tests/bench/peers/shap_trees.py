"""shap on the example's classifier: {name: {seconds, shares, gap}}, where `gap` is how far a row's values are
from adding up to its prediction, in standard deviations of the predictions. The import is timed apart.

python shap_trees.py <folder with model.joblib and rows.npy> <background rows in it> <pairs of permutations>

shap asks each permutation with every background row; as many of them as pairs make the evaluations equal.
"""

import json
import sys
import time
from pathlib import Path

import joblib
import numpy as np

start = time.perf_counter()
import shap  # noqa: E402

imported = time.perf_counter() - start
folder, background, pairs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
model = joblib.load(folder / "model.joblib")["classifier"]
rows = np.load(folder / "rows.npy")
partners, rows = rows[:pairs], rows[background:]


def probability(matrix):
    return model.predict_proba(matrix)[:, 1]


def summary(seconds, values, gap):
    shares = np.abs(values).mean(0)
    return {"seconds": seconds, "shares": (shares / shares.sum()).tolist(), "gap": gap}


start = time.perf_counter()
explainer = shap.TreeExplainer(model)
values = explainer.shap_values(rows)
seconds = time.perf_counter() - start
margin = model.decision_function(rows)
gap = np.abs(values.sum(1) + explainer.expected_value - margin).mean() / margin.std()
found = {"import": imported, "TreeExplainer": summary(seconds, values, float(gap))}

start = time.perf_counter()
explainer = shap.PermutationExplainer(probability, shap.maskers.Independent(partners, len(partners)), seed=0)
explained = explainer(rows, max_evals=2 * rows.shape[1] + 1, silent=True)
seconds = time.perf_counter() - start
whole = probability(rows)
gap = np.abs(explained.values.sum(1) + explained.base_values - whole).mean() / whole.std()
found["PermutationExplainer"] = summary(seconds, explained.values, float(gap))
print(json.dumps(found))
