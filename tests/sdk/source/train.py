"""A training script as SageMaker's users write them: flags in, `SM_*` folders, a model out."""

import argparse
import csv
import os
from pathlib import Path

import joblib
from sklearn.tree import DecisionTreeClassifier

parser = argparse.ArgumentParser()
parser.add_argument("--max-depth", type=int, required=True)
parser.add_argument("--criterion", required=True)
parser.add_argument("--columns", type=lambda text: text.split(","), required=True)
parser.add_argument("--fail", default="")
options = parser.parse_args()
if options.fail:
    raise ValueError(options.fail)

rows = []
for path in sorted(Path(os.environ["SM_CHANNEL_TRAIN"]).rglob("*.csv")):
    with path.open(newline="") as file:
        rows += list(csv.DictReader(file))
features = [[float(row[name]) for name in options.columns] for row in rows]
target = [row["species"] for row in rows]
model = DecisionTreeClassifier(max_depth=options.max_depth, criterion=options.criterion, random_state=0)
model.fit(features, target)
print(f"rows={len(rows)} accuracy={model.score(features, target):.3f}")

joblib.dump(model, Path(os.environ["SM_MODEL_DIR"]) / "model.joblib")
(Path(os.environ["SM_OUTPUT_DATA_DIR"]) / "depth.txt").write_text(str(model.get_depth()))
