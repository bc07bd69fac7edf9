"""The example: its data, its model.yaml and its scripts agree with each other."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from evergreen import spec as layer_spec
from evergreen import tuning

from jobs import spec as model_spec
from local import flights
from tests.jobs.conftest import FLIGHTS


def script(name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(f"flights_{name}", FLIGHTS / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_model_yaml_passes_the_onboard_machines_checks() -> None:
    files = [path.name for path in FLIGHTS.iterdir()]
    assert layer_spec.parse((FLIGHTS / "model.yaml").read_text(), folder="flights", files=files)


def test_the_scripts_use_the_features_of_model_yaml() -> None:
    assert sorted(script("features").FEATURES) == sorted(model_spec.load(FLIGHTS).features)


def test_rows_lie_in_their_span_in_order() -> None:
    start, end = datetime(2013, 7, 1, tzinfo=UTC), datetime(2013, 7, 8, tzinfo=UTC)
    table = flights.rows(start, end)
    departures = table["scheduled_departure"].to_pylist()
    assert start <= departures[0] <= departures[-1] < end
    assert departures == sorted(departures)
    assert 5000 < len(table) < 8000
    assert len(set(table["flight_id"].to_pylist())) == len(table)


def test_the_local_calendar_is_new_yorks() -> None:
    """B6 725 left on Tuesday, the first of January, at 5:45 in New York, which is 10:45 UTC."""
    first = flights.rows(datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 1, 1, 11, tzinfo=UTC)).to_pylist()
    row = next(row for row in first if row["flight_id"] == "2013-01-01-B6725-JFK")
    assert row["scheduled_departure"] == datetime(2013, 1, 1, 10, 45, tzinfo=UTC)
    assert (row["weekday"], row["departure_minute"]) == (1, 5 * 60 + 45)
    assert row["temp"] is not None


def test_months_are_files_without_overlap(tmp_path: Path) -> None:
    paths = flights.write_months(tmp_path, range(1, 3))
    assert [path.name for path in paths] == ["2013-01.parquet", "2013-02.parquet"]
    months = [set(pq.read_table(path, columns=["scheduled_departure"])[0].to_pylist()) for path in paths]
    assert {moment.month for moment in months[0]} == {1}
    assert not months[0] & months[1]


def test_what_training_never_saw_is_missing_to_the_model() -> None:
    features = script("features")
    columns = {name: [1.0, None] for name in features.NUMERIC}
    columns |= {name: ["seen", "never"] for name in features.CATEGORICAL}
    categories = {name: ["other", "seen"] for name in features.CATEGORICAL}
    matrix = features.encode(columns, categories)
    assert matrix[0].tolist() == [1.0] * len(features.FEATURES)
    assert np.isnan(matrix[1]).all()


def train(folder: Path, *flags: str) -> tuple[list[float], bytes]:
    """The losses that the script printed, and the model that it wrote."""
    model = folder / "model"
    model.mkdir(exist_ok=True)
    places = ["--train", str(folder / "train"), "--model-dir", str(model), "--iterations", "25"]
    command = [sys.executable, str(FLIGHTS / "train.py"), *places, *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    tune = {"metric": "log_loss"}
    pattern = tuning.metric(tune, "roc_auc", "binary_classification")["regex"]
    return [float(value) for value in re.findall(pattern, done.stdout)], (model / "model.joblib").read_bytes()


def test_the_newest_days_judge_a_model_that_has_not_seen_them(tmp_path: Path) -> None:
    """What a tuning job reads; the model itself learns from all rows, and is the same without it."""
    start, end = datetime(2013, 2, 1, tzinfo=UTC), datetime(2013, 3, 1, tzinfo=UTC)
    rows = flights.rows(start, end)
    (tmp_path / "train").mkdir()
    pq.write_table(rows, tmp_path / "train" / "train.parquet")
    losses, model = train(tmp_path, "--validation-days", "7")
    assert len(losses) == 3, "after 10, 20 and 25 iterations"
    assert losses == sorted(losses, reverse=True) and 0.2 < losses[-1] < 0.7
    none, plain = train(tmp_path)
    assert none == [] and plain == model
    # Newest labels turned over: what was learned before them is worse on them.
    newest = pc.greater(rows["scheduled_departure"], end - timedelta(days=7))
    turned = pc.if_else(newest, pc.subtract(1, rows["late"]), rows["late"])
    place = rows.schema.get_field_index("late")
    pq.write_table(rows.set_column(place, "late", turned), tmp_path / "train" / "train.parquet")
    worse, _ = train(tmp_path, "--validation-days", "7")
    assert worse[-1] > 1
