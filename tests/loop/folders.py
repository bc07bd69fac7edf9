"""Folders of the model beside this file, under any name, and broken where a test wants it; and data for them:
flights of two months."""

import csv
import io
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from local import flights

MODEL = Path(__file__).parent / "model"
BEGIN, END = datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 3, 1, tzinfo=UTC)
EVERY = 20  # one flight in so many: 2,600 rows of two months

# What model.yaml says -> what it says for a test.
APPROVED_BY_POLICY = {"approval: person": "approval: auto"}
TRAINED_ON_NEW_DATA = {"on: [violation]": "on: [violation, data]"}
BY_CANARY_ON_SCHEDULE = {
    "serve: {instance: ml.m5.large}": "serve: {instance: ml.m5.large, count: 2}",
    "strategy: all_at_once": "strategy: canary\n  percent: 50",
    "every: 7d": "every: 1d",
    "retrain:\n": "retrain:\n  schedule: rate(1 day)\n",
}
TRAINED_ON_MANY_GPUS = {
    "train: {instance: ml.m5.large, timeout: 10m}": "train: {instance: ml.p4d.24xlarge, timeout: 10m}\n"
    "processing: {instance: ml.m5.xlarge, timeout: 30m}"
}
# `prior` is a flag of the script, and a number.
_SEARCHED = """\
train:
  instance: ml.m5.large
  timeout: 10m
  tune:
    metric: log_loss
    ranges:
      prior: RANGE
    jobs: 5
    parallel: 2"""
TUNED = {
    "train: {instance: ml.m5.large, timeout: 10m}": _SEARCHED.replace(
        "RANGE", "{min: 0.5, max: 5000.0, scale: log}"
    ),
    "approval: person": "approval: auto",
}
TUNED_IN_VAIN = {
    "train: {instance: ml.m5.large, timeout: 10m}": _SEARCHED.replace("RANGE", "[none, many]"),
}
THREE_MISTAKES = {"floor: 0.0": "floor: 1.7", "bake: 2m\n": "bake: soon\n", "retrain:\n": "retrian:\n"}

CRASHING = {"train.py": ("    main()\n", '    raise ArithmeticError("the loss is nan at iteration 3")\n')}
# Evaluation serves the model too, from a folder: these fail as what only the endpoint shows.
HOSTED = '\nimport os\n\nif os.getenv("SAGEMAKER_SUBMIT_DIRECTORY", "").startswith("s3:"):\n\n    '
NOT_LOADING = {
    "inference.py": HOSTED
    + "def model_fn(model_dir):\n        raise RuntimeError('no kernel image for this GPU')\n"
}
LOADING_FOR_EVER = {
    "inference.py": HOSTED + "def model_fn(model_dir):\n        __import__('time').sleep(3600)\n"
}
ANSWERING_NOTHING = {
    "inference.py": HOSTED
    + "def predict_fn(rows, model):\n        raise KeyError('a feature that only training knew')\n"
}
# No row of a test would be answered so; no alarm on errors or latency would see it.
ANSWERING_OTHERWISE = {
    "inference.py": HOSTED
    + "def predict_fn(rows, model):\n"
    + "        return [{'prediction': 1, 'probability': 0.99} for row in rows]\n"
}


def folder(
    root: Path,
    name: str,
    edits: Mapping[str, str],
    code: Mapping[str, str | tuple[str, str]] | None = None,
) -> Path:
    """A model's folder below `root`. `edits` replace text of model.yaml; `code` replaces text of a file (a
    pair) or comes after what the file has."""
    made = Path(shutil.copytree(MODEL, root / name, ignore=shutil.ignore_patterns("__pycache__")))
    replace(made / "model.yaml", {"name: MODEL": f"name: {name}", **edits})
    for file, change in (code or {}).items():
        path = made / file
        if isinstance(change, tuple):
            replace(path, dict([change]))
        else:
            path.write_text(path.read_text() + change)
    return made


def replace(path: Path, edits: Mapping[str, str]) -> None:
    text = path.read_text()
    for old, new in edits.items():
        assert text.count(old) == 1, f"{path.name} has {old!r} {text.count(old)} times"
        text = text.replace(old, new)
    path.write_text(text)


def sample(offset: int = 0) -> pa.Table:
    """Every so many flights of January and February; another offset gives other flights."""
    rows = flights.rows(BEGIN, END)
    return rows.take(list(range(offset, len(rows), EVERY)))


def parquet(rows: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(rows, buffer)
    return buffer.getvalue()


def csv_file(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()


def new_flights(count: int = 20) -> list[dict[str, Any]]:
    """The last flights of February that the sample leaves out, as a program would write them to a file."""
    rows = sample(offset=7)
    last = rows.slice(len(rows) - count).to_pylist()
    return [row | {"scheduled_departure": row["scheduled_departure"].isoformat()} for row in last]
