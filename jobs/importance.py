"""Permutation importance: how much worse the model's metric gets on the holdout when the values of one
feature are shuffled between the rows (Breiman 2001, doi 10.1023/A:1010933404324; scikit-learn's). For a
model that cannot be explained by SHAP values: it asks the model for a fraction of the answers.

python -m jobs.importance <model> <code> <entry> <task> <metric> <rows.arrow> <out.npy>
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.contract import JobError
from jobs.monitor import datafiles, explainer, guarded, outcomes, quality
from jobs.monitor.window import Window
from jobs.spec import Spec

EVALUATIONS = 5_000  # of the model, at most
REPEATS = 3
MIN_ROWS = 50
TIMEOUT = 120  # seconds
LABEL = "label"


def measure(spec: Spec, model: Path, code: Path, holdout: Window, metric: str) -> np.ndarray:
    """(features,) mean loss of `metric`, in its own unit; what a shuffle improves counts as 0.

    Raises JobError where too few rows can be asked, or with what the script raised.
    """
    rows = usable(spec, holdout)
    table = holdout.table.select(list(spec.features)).take(pa.array(rows))
    table = table.append_column(LABEL, holdout.label.take(pa.array(rows)))
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "rows.arrow"), Path(folder, "out.npy")
        with pa.OSFile(str(source), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        arguments = [model.resolve(), code.resolve(), spec.entry, spec.task, metric, source, output]
        try:
            guarded.run(__name__, arguments, TIMEOUT)
        except JobError as error:
            raise JobError(f"shuffled features: {error}") from error
        return np.maximum(np.load(output, allow_pickle=False), 0.0)


def usable(spec: Spec, holdout: Window) -> np.ndarray:
    """Positions of a sample of labelled rows that the container would not refuse, within EVALUATIONS."""
    labelled = outcomes.usable(holdout.answers, holdout.label, spec.task)
    rows = np.intersect1d(explainer.answerable(holdout.table, spec), np.flatnonzero(labelled))
    most = EVALUATIONS // (1 + REPEATS * len(spec.features))
    if min(len(rows), most) < MIN_ROWS:
        raise JobError(
            f"{min(len(rows), most)} rows can be asked with shuffled features, {MIN_ROWS} are needed"
        )
    return rows if len(rows) <= most else np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


class Asked:
    """The model through its own script, in the form of an estimator: what scikit-learn wants of one."""

    def __init__(self, predictor: Any, features: list[str]):
        self._predictor, self._features = predictor, features

    def fit(self, rows: np.ndarray, label: np.ndarray) -> Asked:
        """It was trained elsewhere."""
        return self

    def predict(self, rows: np.ndarray) -> list[dict[str, Any]]:
        return explainer.answers_to(self._predictor, self._features, rows)


def main(model: str, code: str, entry: str, task: str, metric: str, rows: str, output: str) -> None:
    from sklearn.inspection import permutation_importance

    from jobs.inference import Predictor

    table = pa.ipc.open_file(pa.memory_map(rows)).read_all()
    features = table.drop([LABEL])
    label = table[LABEL].combine_chunks()
    sign = -1.0 if metric in quality.LOWER_IS_BETTER else 1.0

    def score(asked: Asked, matrix: np.ndarray, _: np.ndarray) -> float:
        answers = datafiles.answers_of(task, asked.predict(matrix))
        value = quality.values(outcomes.scores(answers, label, task))[metric]
        if value is None:
            raise JobError(f"{metric} is not defined on {len(label)} rows of the holdout")
        return sign * value

    found = permutation_importance(
        Asked(Predictor(Path(model), Path(code), entry), features.column_names),
        explainer.cells(features),
        np.arange(len(table)),
        scoring=score,
        n_repeats=REPEATS,
        random_state=0,
    )
    np.save(output, found.importances_mean)


if __name__ == "__main__":
    main(*sys.argv[1:])
