"""Trains the flights model under SageMaker's script conventions.

Reads every Parquet file of the `train` channel, writes `model.joblib` to SM_MODEL_DIR. Hyperparameters
arrive as flags.
"""

import argparse
import os
from pathlib import Path

import joblib
import numpy as np
import pyarrow.parquet as pq
from features import CATEGORICAL, FEATURES, TARGET, encode, learn_categories
from sklearn.ensemble import HistGradientBoostingClassifier


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=80)
    parser.add_argument("--learning-rate", type=float, default=0.06)
    parser.add_argument("--max-leaf-nodes", type=int, default=15)
    parser.add_argument("--min-samples-leaf", type=int, default=60)
    parser.add_argument("--threshold", type=float, default=0.3)
    parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR"))
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    columns = pq.read_table(arguments.train, columns=[*FEATURES, TARGET]).to_pydict()
    categories = learn_categories(columns)
    target = np.asarray(columns[TARGET])
    classifier = HistGradientBoostingClassifier(
        max_iter=arguments.iterations,
        learning_rate=arguments.learning_rate,
        max_leaf_nodes=arguments.max_leaf_nodes,
        min_samples_leaf=arguments.min_samples_leaf,
        l2_regularization=5.0,
        max_features=0.5,  # a bagging of features per node: decorrelates the trees, better on later weeks
        categorical_features=[FEATURES.index(name) for name in CATEGORICAL],
        early_stopping=False,  # a random validation split would share its days with the training rows
        random_state=7,
    ).fit(encode(columns, categories), target)
    joblib.dump(
        {"classifier": classifier, "categories": categories, "threshold": arguments.threshold},
        arguments.model_dir / "model.joblib",
    )
    print(f"rows={len(target)} late_share={target.mean():.4f} iterations={classifier.n_iter_}")


if __name__ == "__main__":
    main()
