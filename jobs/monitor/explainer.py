"""Explains rows by a model through its own inference script, in a process of its own: the script's modules
and its libraries stay out of the monitor's.

A script that defines `explain_fn(rows, model)`, a dictionary {feature: SHAP value} for each row (or a list of
values, one per class), is asked first: LightGBM's and XGBoost's `pred_contrib` are exact and need no library
more. Otherwise the values are sampled.

python -m jobs.monitor.explainer <model> <code> <entry> <rows.arrow> <background.arrow> <out.npy>
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from jobs.contract import JobError
from jobs.monitor import guarded, shapley
from jobs.monitor.attribution import Explained
from jobs.monitor.buffers import valid
from jobs.monitor.tally import DAY
from jobs.spec import Spec

BACKGROUND = 100
BATCH = 2000
TIMEOUT = 120  # seconds
REFERENCE_ROWS = 3  # times as many rows explain the baseline: its noise is in every comparison


def explain(
    model: Path,
    code: Path,
    spec: Spec,
    table: pa.Table,
    times: np.ndarray,
    background: pa.Table,
    *,
    is_baseline: bool = False,
    timeout: float = TIMEOUT,
) -> Explained:
    """Attributions of a sample of the table's rows. `model`: the extracted model; `code`: its scripts;
    `background`: rows of the baseline, as `pick_background` chose them; `times`: microseconds, one per row.

    Raises JobError where the table has no such rows, or with what the script raised.
    """
    features = tuple(spec.features)
    table = table.select(_present(table, features))
    rows = _sample(answerable(table, spec), shapley.ROWS * (REFERENCE_ROWS if is_baseline else 1))
    if not len(rows):
        raise JobError("no row of the window can be explained: each lacks a value that model.yaml demands")
    with tempfile.TemporaryDirectory() as folder:
        inputs, output = (
            [Path(folder, "rows.arrow"), Path(folder, "background.arrow")],
            Path(folder, "out.npy"),
        )
        for path, part in zip(inputs, (table.take(pa.array(rows)), background.select(features)), strict=True):
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, part.schema) as writer:
                writer.write_table(part)
        try:
            guarded.run(__name__, [model.resolve(), code.resolve(), spec.entry, *inputs, output], timeout)
        except JobError as error:
            raise JobError(f"the model's script could not explain: {error}") from error
        values = np.load(output, allow_pickle=False)
        method = (Path(folder) / "out.method").read_text()
    return Explained(features, values, times[rows] // DAY, method)


def pick_background(table: pa.Table, spec: Spec) -> pa.Table:
    """The rows that stand for "not this value", of the baseline. They are kept with it."""
    table = table.select(_present(table, tuple(spec.features)))
    rows = answerable(table, spec)
    if not len(rows):
        raise JobError("no row of the baseline can be explained: each lacks a value that model.yaml demands")
    return table.take(pa.array(_sample(rows, BACKGROUND, seed=1)))


def answerable(table: pa.Table, spec: Spec) -> np.ndarray:
    """Positions of the rows that the container would not refuse: nulls only where model.yaml allows them."""
    kept = np.ones(len(table), bool)
    for feature in spec.features.values():
        if not feature.nullable:
            known = valid(table[feature.name].combine_chunks())
            kept &= True if known is None else known
    return np.flatnonzero(kept)


def main(model: str, code: str, entry: str, rows: str, background: str, output: str) -> None:
    """`output`: (rows, features), the sum over the model's outputs; beside it, in `.method`, how."""
    from jobs.inference import Predictor, default_model, load_script

    tables = [pa.ipc.open_file(pa.memory_map(path)).read_all() for path in (rows, background)]
    script = load_script(Path(code), entry)
    if hasattr(script, "explain_fn"):
        loaded = getattr(script, "model_fn", default_model)(model)
        values = of_script(script.explain_fn(tables[0].to_pylist(), loaded), tables[0])
        method = "script"
    else:
        values, method = sampled(Predictor(Path(model), Path(code), entry), *tables), "sampled"
    np.save(output, values)
    Path(output).with_suffix(".method").write_text(method)


def of_script(explained: Any, table: pa.Table) -> np.ndarray:
    """What `explain_fn` returned. Raises JobError where it is not one dictionary of features for each row."""
    rows = list(explained)
    if len(rows) != len(table):
        raise JobError(f"explain_fn returned {len(rows)} explanations of {len(table)} rows")
    names = table.column_names
    for row in rows:
        if not isinstance(row, dict) or not row.keys() <= set(names):
            raise JobError(f"explain_fn must return a dictionary of features for each row, not {row!r:.200}")
    return np.array([[np.abs(row.get(name, 0.0)).sum() for name in names] for row in rows], float)


def sampled(predictor: Any, table: pa.Table, background: pa.Table) -> np.ndarray:
    names = table.column_names
    whole, partners = (cells(part) for part in (table, background))
    count, pairs = shapley.plan(len(whole), len(names))

    def predict(rows: np.ndarray) -> np.ndarray:
        return outputs(answers_to(predictor, names, rows))

    parts = [
        np.abs(shapley.values(whole[first : first + count], partners, predict, pairs, seed=first)).sum(2)
        for first in range(0, len(whole), count)
    ]
    return np.concatenate(parts)


def outputs(answers: list[dict[str, Any]]) -> np.ndarray:
    """(rows, outputs) of what the model answered: probabilities, a probability, a number, or one column per
    class where it names only that."""
    first = answers[0]
    if "probabilities" in first:
        classes = sorted({name for answer in answers for name in answer["probabilities"]})
        return np.array([[answer["probabilities"].get(name, 0.0) for name in classes] for answer in answers])
    name = "probability" if "probability" in first else "prediction"
    found = [answer[name] for answer in answers]
    if isinstance(found[0], str):
        classes = sorted(set(found))
        return np.array([[answer == name for name in classes] for answer in found], float)
    return np.array(found, float)[:, None]


def answers_to(predictor: Any, features: list[str], matrix: np.ndarray) -> list[dict[str, Any]]:
    """The model's answer to each row of `matrix`, (rows, features). Raises JobError for too few answers."""
    from jobs.inference import JSON_LINES

    answers: list[dict[str, Any]] = []
    for first in range(0, len(matrix), BATCH):
        rows = matrix[first : first + BATCH].tolist()
        body = b"\n".join(orjson.dumps(dict(zip(features, row, strict=True))) for row in rows)
        response, _ = predictor.invoke(body, JSON_LINES, JSON_LINES)
        lines = response.splitlines()
        if len(lines) != len(rows):
            raise JobError(f"the model answered {len(lines)} predictions for {len(rows)} rows")
        answers += map(orjson.loads, lines)
    return answers


def cells(table: pa.Table) -> np.ndarray:
    """(rows, features) of Python's own values, None where one is missing."""
    values = np.empty((len(table), table.num_columns), object)
    for index, column in enumerate(table.columns):
        values[:, index] = column.to_pylist()
    return values


def _sample(rows: np.ndarray, most: int, seed: int = 0) -> np.ndarray:
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _present(table: pa.Table, features: tuple[str, ...]) -> list[str]:
    for name in features:
        if name not in table.column_names:
            raise JobError(f"the data has no column {name!r}: its rows cannot be explained")
    return list(features)


if __name__ == "__main__":
    main(*sys.argv[1:])
