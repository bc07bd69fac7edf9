"""Attributions of the flights model: ours, which asks the served script, beside shap's tree explainer and its
permutations on the encoded matrix. What is right is a long run of ours on that matrix, of the probability
that is served; the tree explainer's are of its log odds. Then how often windows without drift, drawn by days
from the year, exceed the threshold of L1."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs import spec as model_spec
from jobs.monitor import attribution, explainer, shapley
from jobs.monitor.attribution import Explained, Settings
from jobs.spec import Spec
from local import flights
from tests.bench.environments import environment

PEER = Path(__file__).parent / "peers" / "shap_trees.py"
MODEL = Path(__file__).parents[2] / "models" / "flights"
BACKGROUND, ROWS, LONG = 100, 250, 30
WINDOWS = 300
PARTS = 10  # of the year, of each of which ROWS are explained


def run() -> None:
    spec = model_spec.load(MODEL)
    year = flights.table()
    with tempfile.TemporaryDirectory() as folder:
        _train(Path(folder), year.slice(0, 75_000))
        chosen = np.sort(np.random.default_rng(0).choice(75_000, BACKGROUND + ROWS, replace=False))
        rows = year.take(pa.array(chosen))
        partners, rows = rows.slice(0, BACKGROUND), rows.slice(BACKGROUND)
        _beside_shap(Path(folder), spec, rows, partners)
        _false_alarms(Path(folder), spec, year, partners)


def _beside_shap(folder: Path, spec: Spec, rows: pa.Table, partners: pa.Table) -> None:
    start = time.perf_counter()
    ours = explainer.explain(folder, MODEL, spec, rows, _times(rows), partners)
    seconds = time.perf_counter() - start
    model, encode = joblib.load(folder / "model.joblib"), _features().encode
    matrices = [encode(part.to_pydict(), model["categories"]) for part in (partners, rows)]
    np.save(folder / "rows.npy", np.concatenate(matrices))
    names = _features().FEATURES
    truth = _long_run(model["classifier"], *matrices)
    _, pairs = shapley.plan(ROWS, len(names))
    command = list(map(str, [environment("shap"), "-W", "ignore", PEER, folder, BACKGROUND, pairs]))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peers = json.loads(done.stdout.splitlines()[-1])
    order = [ours.features.index(name) for name in names]
    error = np.abs(attribution.shares(ours.values)[order] - truth).sum()
    print(f"{ROWS} rows, {pairs} pairs of permutations; L1 distance of the shares from a long run's:")
    print(f"  ours, in a process of its own, script and JSON included  {seconds:6.1f} s   L1 {error:.3f}")
    print(f"  import shap                                              {peers.pop('import'):6.1f} s")
    for name, found in peers.items():
        error = np.abs(np.array(found["shares"]) - truth).sum()
        print(
            f"  shap {name:<50}  {found['seconds']:6.1f} s   L1 {error:.3f}   rows do not add up by "
            f"{found['gap']:.2f} sd"
        )


def _long_run(classifier, partners: np.ndarray, rows: np.ndarray) -> np.ndarray:
    values = shapley.values(
        rows, partners, lambda matrix: classifier.predict_proba(matrix)[:, 1:], pairs=LONG, seed=9
    )
    return attribution.shares(np.abs(values).sum(2))


def _false_alarms(folder: Path, spec: Spec, year: pa.Table, partners: pa.Table) -> None:
    size = len(year) // PARTS
    pieces = [year.slice(first, size) for first in range(0, size * PARTS, size)]
    parts = [explainer.explain(folder, MODEL, spec, piece, _times(piece), partners) for piece in pieces]
    values = np.concatenate([part.values for part in parts])
    days = np.concatenate([part.days for part in parts])
    known = np.unique(days)
    print(f"L1 without drift: days drawn at random from the year, {WINDOWS} times; 1 % stated:")
    for before, length in ((28, 14), (60, 14), (90, 30), (180, 30)):
        rng = np.random.default_rng(before + length)
        alarms, distances = 0, []
        for _ in range(WINDOWS):
            chosen = rng.permutation(known)
            sides = [np.isin(days, part) for part in (chosen[before : before + length], chosen[:before])]
            now, baseline = (Explained(parts[0].features, values[side], days[side]) for side in sides)
            if min(len(now), len(baseline)) < attribution.MIN_ROWS:
                continue
            found = attribution.compare(now, baseline, Settings(l1=0.0))
            distances.append(found.figures["l1"])
            alarms += any(violation["metric"] == "l1" for violation in found.violations)
        if distances:
            print(
                f"  {before:>3} days, {length:>2} days   {alarms / len(distances):.3f}   "
                f"(median L1 {np.median(distances):.2f}; a violation also needs {attribution.L1:g})"
            )


def _train(folder: Path, rows: pa.Table) -> None:
    """The example's own training script, as it stands."""
    (folder / "train").mkdir()
    pq.write_table(rows, folder / "train" / "train.parquet")
    command = [sys.executable, "train.py", "--train", folder / "train", "--model-dir", folder]
    subprocess.run(list(map(str, command)), cwd=MODEL, check=True, capture_output=True)


def _features() -> ModuleType:
    sys.path.insert(0, str(MODEL))
    import features

    return features


def _times(rows: pa.Table) -> np.ndarray:
    return rows["scheduled_departure"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
