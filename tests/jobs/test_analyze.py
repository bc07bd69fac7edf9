"""analyze and profile as jobs: inputs and outputs of a Processing job, on real flights."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from jobs import contract
from tests.jobs.conftest import Job, succeed

WINDOW = {"WINDOW_START": "2013-02-01T00:00:00Z", "WINDOW_END": "2013-03-01T00:00:00Z"}
FILES = {
    "analysis.json",
    "constraints.json",
    "constraint_violations.json",
    "profile.npz",
    "report.html",
    "statistics.json",
}


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory, january_and_february: pa.Table) -> Path:
    """The holdout's own fortnight, captured in two files, each row answered alike; and its labels."""
    folder = tmp_path_factory.mktemp("window")
    rows = january_and_february.slice(len(january_and_february) - 3000).to_pylist()
    (folder / "labels").mkdir()
    with (folder / "labels" / "b.jsonl").open("w") as file:
        for row in rows:
            truth = {"data": str(row.pop("late")), "encoding": "CSV"}
            line = {"groundTruthData": truth, "eventMetadata": {"eventId": row["flight_id"]}}
            file.write(json.dumps(line | {"eventVersion": "0"}) + "\n")
    for first in (0, 1500):
        (folder / "capture" / f"{first}").mkdir(parents=True)
        with (folder / "capture" / f"{first}" / "a.jsonl").open("w") as file:
            for index, row in enumerate(rows[first : first + 1500], first):
                moment = row["scheduled_departure"]
                body = json.dumps(row | {"scheduled_departure": moment.isoformat()})
                file.write(json.dumps(event(body, moment, f"e{index}")) + "\n")
    return folder


def event(body: str, moment: datetime, event_id: str) -> dict[str, Any]:
    """A line of data capture, as SageMaker writes it."""
    side = {"observedContentType": "application/jsonlines", "encoding": "JSON"}
    answer = '{"prediction": 0, "probability": 0.15}'
    return {
        "captureData": {
            "endpointInput": side | {"mode": "INPUT", "data": body},
            "endpointOutput": side | {"mode": "OUTPUT", "data": answer},
        },
        "eventMetadata": {"eventId": event_id, "inferenceTime": contract.format_time(moment)},
        "eventVersion": "0",
    }


def prepared(job: Job, trained: Job, window: Path, *names: str) -> Job:
    job.copy_input("code", trained.input("code"))
    job.copy_input("baseline", trained.output("baseline"))
    for name in names:
        job.copy_input(name, window / name)
    return job


def test_the_job_on_real_flights(job: Job, trained: Job, window: Path) -> None:
    """All its files, and a message in Model Monitor's words."""
    prepared(job, trained, window, "capture", "labels")
    succeed(job.run("analyze", **WINDOW))
    analysis = job.json("report/analysis.json")
    assert (analysis["status"], analysis["rows"], analysis["labelled"]) == ("Completed", 3000, 3000)
    found = [(one["feature_name"], one["constraint_check_type"]) for one in analysis["violations"]]
    assert ("prediction", "baseline_drift_check") in found
    violations = job.json("report/constraint_violations.json")["violations"]
    assert {"feature_name", "constraint_check_type", "description"} <= set.intersection(*map(set, violations))
    assert job.json("report/statistics.json")["dataset"] == {"item_count": 3000}
    assert job.json("report/constraints.json") == trained.json("baseline/constraints.json")
    assert job.message.startswith("CompletedWithViolations: Job completed successfully with ")
    assert {path.name for path in job.output("report").iterdir()} >= FILES
    assert {path.name for path in (job.output("report") / "state").iterdir()} == {
        "state.json",
        "waiting.parquet",
    }


def test_shards_of_a_window_give_its_verdict(trained: Job, window: Path, tmp_path: Path) -> None:
    """Two instances count a file each, as ShardedByS3Key has them; analyze merges what they left."""
    whole = prepared(Job(tmp_path / "whole"), trained, window, "capture", "labels")
    merged = prepared(Job(tmp_path / "merged"), trained, window, "labels")
    succeed(whole.run("analyze", **WINDOW))
    for number, name in enumerate(("0", "1500"), 1):
        instance = prepared(Job(tmp_path / f"algo-{number}"), trained, window, "labels")
        (instance.base / "config").mkdir()
        resources = {"current_host": f"algo-{number}", "hosts": ["algo-1", "algo-2"]}
        (instance.base / "config" / "resourceconfig.json").write_text(json.dumps(resources))
        shutil.copytree(window / "capture" / name, instance.input("capture") / name)
        succeed(instance.run("profile", **WINDOW))
        assert instance.message == "1,500 rows, 1,500 of them labelled"
        merged.copy_input("shards", instance.output("shard"))
    succeed(merged.run("analyze", **WINDOW))
    assert merged.json("report/analysis.json") == whole.json("report/analysis.json")


def test_the_pipelines_features_are_compared_where_they_are_there(
    job: Job, trained: Job, window: Path, january_and_february: pa.Table
) -> None:
    """In degrees Celsius, where the requests have Fahrenheit."""
    prepared(job, trained, window, "capture", "labels")
    rows = january_and_february.slice(len(january_and_february) - 3000)
    celsius = pc.divide(pc.subtract(rows["temp"], 32), 1.8)
    column = rows.column_names.index("temp")
    pq.write_table(rows.set_column(column, "temp", celsius), job.input("pipeline") / "rows.parquet")
    succeed(job.run("analyze", **WINDOW))
    analysis = job.json("report/analysis.json")
    assert analysis["skew"]["rows"] == 3000
    found = [one for one in analysis["violations"] if one["constraint_check_type"].endswith("skew_check")]
    assert [(one["feature_name"], one["metric"]) for one in found] == [("temp", "different")]


def test_attributions_are_watched_where_the_model_is_there(job: Job, trained: Job, window: Path) -> None:
    prepared(job, trained, window, "capture")
    job.copy_input("model", trained.input("challenger"))
    succeed(job.run("analyze", **WINDOW))
    attribution = job.json("report/analysis.json")["attribution"]
    assert attribution["ndcg"] > 0.8
    assert sum(entry["share"] for entry in attribution["features"].values()) == pytest.approx(1, abs=0.01)


def test_the_state_goes_from_window_to_window(trained: Job, window: Path, tmp_path: Path) -> None:
    first = prepared(Job(tmp_path / "first"), trained, window, "capture", "labels")
    succeed(first.run("analyze", WINDOW_START="2013-02-14T00:00:00Z", WINDOW_END="2013-02-21T00:00:00Z"))
    second = prepared(Job(tmp_path / "second"), trained, window, "capture", "labels")
    second.copy_input("state", first.output("report") / "state")
    succeed(second.run("analyze", WINDOW_START="2013-02-21T00:00:00Z", WINDOW_END="2013-02-28T00:00:00Z"))
    before, now = (one.json("report/analysis.json") for one in (first, second))
    assert now["detector"]["blocks"] > before["detector"]["blocks"]
    state = second.json("report/state/state.json")
    assert [entry["end"] for entry in state["windows"]] == ["2013-02-21T00:00:00Z", "2013-02-28T00:00:00Z"]


def test_a_job_without_its_window_says_so(job: Job, trained: Job) -> None:
    prepared(job, trained, job.base)
    job.input("capture")
    assert job.run("analyze", WINDOW_START="yesterday", WINDOW_END="").returncode == 1
    assert job.message == "the environment's WINDOW_START='yesterday' is not an ISO 8601 time"


def test_a_baseline_that_is_none(job: Job, trained: Job) -> None:
    prepared(job, trained, job.base)
    job.input("capture")
    (job.input("baseline") / "baseline.json").write_text('{"task": "binary_classification"}')
    assert job.run("analyze", **WINDOW).returncode == 1
    assert job.message == "the baseline is of another version of the monitor: evaluate the model again"
