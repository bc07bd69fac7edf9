"""Trains the flights model under SageMaker's script conventions.

Reads every Parquet file of the `train` channel, writes `model.joblib` to SM_MODEL_DIR. Hyperparameters
arrive as flags. With `--validation-days` the newest days are first kept apart, and the log loss on them is
printed after each tenth iteration: what a tuning job compares and stops early by. The model that is written
has learned from all rows either way.
"""

import argparse
import os
from datetime import timedelta
from pathlib import Path

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from features import CATEGORICAL, FEATURES, TARGET, encode, learn_categories
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss

TIME = "scheduled_departure"
STAGE = 10  # iterations


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=80)
    parser.add_argument("--learning-rate", type=float, default=0.06)
    parser.add_argument("--max-leaf-nodes", type=int, default=15)
    parser.add_argument("--min-samples-leaf", type=int, default=60)
    parser.add_argument("--threshold", type=float, default=0.3)
    parser.add_argument("--validation-days", type=float, default=0)
    parser.add_argument("--train", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR"))
    return parser.parse_args()


def classifier(arguments: argparse.Namespace) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=arguments.iterations,
        learning_rate=arguments.learning_rate,
        max_leaf_nodes=arguments.max_leaf_nodes,
        min_samples_leaf=arguments.min_samples_leaf,
        l2_regularization=5.0,
        max_features=0.5,  # a bagging of features per node: decorrelates the trees, better on later weeks
        categorical_features=[FEATURES.index(name) for name in CATEGORICAL],
        early_stopping=False,  # a random validation split would share its days with the training rows
        random_state=7,
    )


def validate(arguments: argparse.Namespace, rows: pa.Table) -> None:
    """Print the log loss on the newest days of a model that has not seen them, as it learns."""
    edge = pc.max(rows[TIME]).as_py() - timedelta(days=arguments.validation_days)
    is_newest = pc.greater(rows[TIME], edge)
    known, newest = (rows.filter(each).to_pydict() for each in (pc.invert(is_newest), is_newest))
    if len(set(known[TARGET])) < 2:
        raise ValueError(f"{len(known[TARGET])} rows from before the last {arguments.validation_days:g} days")
    categories = learn_categories(known)
    learner = classifier(arguments).set_params(warm_start=True)
    for iterations in [*range(STAGE, arguments.iterations, STAGE), arguments.iterations]:
        learner.set_params(max_iter=iterations).fit(encode(known, categories), known[TARGET])
        loss = log_loss(newest[TARGET], learner.predict_proba(encode(newest, categories)), labels=[0, 1])
        print(f"validation:log_loss={loss:.6f} iterations={iterations}", flush=True)


def main() -> None:
    arguments = parse_arguments()
    rows = pq.read_table(arguments.train, columns=[*FEATURES, TARGET, TIME])
    if arguments.validation_days:
        validate(arguments, rows)
    columns = rows.to_pydict()
    categories = learn_categories(columns)
    target = np.asarray(columns[TARGET])
    fitted = classifier(arguments).fit(encode(columns, categories), target)
    joblib.dump(
        {"classifier": fitted, "categories": categories, "threshold": arguments.threshold},
        arguments.model_dir / "model.joblib",
    )
    print(f"rows={len(target)} late_share={target.mean():.4f} iterations={fitted.n_iter_}")


if __name__ == "__main__":
    main()
