"""evaluate: the same rows for both, each through its own script; the baseline that analyze reads."""

from __future__ import annotations

import json
import shutil
import tarfile
from itertools import pairwise
from pathlib import Path

import pytest

from jobs.monitor.baseline import Baseline
from tests.jobs.conftest import FLIGHTS, Job, succeed


@pytest.fixture
def exam(job: Job, trained: Job) -> Job:
    """The trained model as challenger, not yet evaluated again."""
    for name in ("train", "holdout", "challenger", "code"):
        job.copy_input(name, trained.input(name))
    return job


def champion(job: Job, trained: Job, inference: str = "") -> None:
    job.copy_input("champion", trained.input("challenger"))
    code = job.copy_input("champion_code", FLIGHTS)
    if inference:
        (code / "inference.py").write_text(inference)


def test_the_first_model_is_judged_alone(trained: Job) -> None:
    evaluation = trained.json("evaluation/evaluation.json")
    assert evaluation["primary"] == "roc_auc"
    assert evaluation["champion"] is None
    assert evaluation["rows"] > 2000
    auc = evaluation["challenger"]["metrics"]["roc_auc"]
    assert 0.6 < auc["value"] < 0.8
    assert auc["low"] < auc["value"] < auc["high"]
    slices = evaluation["challenger"]["slices"]["origin"]
    assert set(slices) == {"EWR", "JFK", "LGA"}
    assert sum(part["rows"] for part in slices.values()) == evaluation["rows"]
    assert trained.message.startswith("roc_auc 0.")
    assert "best constant prediction 0.500" in trained.message


def test_the_first_model_is_compared_with_the_best_constant(trained: Job) -> None:
    evaluation = trained.json("evaluation/evaluation.json")
    constant, gain = evaluation["constant"], evaluation["gains"]["constant"]
    assert constant["prediction"].startswith("the training rows' shares (0 8")
    assert constant["metrics"]["roc_auc"]["value"] == 0.5
    assert constant["metrics"]["recall"]["value"] == 1.0  # every flight is late
    auc = evaluation["challenger"]["metrics"]["roc_auc"]["value"]
    assert gain["value"] == pytest.approx(auc - 0.5)
    assert gain["low"] < gain["at_least"] < gain["value"] < gain["high"]
    assert evaluation["gains"]["champion"] is None and evaluation["gains"]["slices"] == {}


def test_some_rows_are_kept_with_their_answers_for_staging(trained: Job) -> None:
    lines = (trained.output("evaluation") / "smoke.jsonl").read_text().splitlines()
    samples = [json.loads(line) for line in lines]
    assert len(samples) == 50
    assert "late" not in samples[0]["row"], "a request has no label"
    moments = [sample["row"]["scheduled_departure"] for sample in samples]
    assert moments == sorted(moments) and moments[0] < moments[-1]
    assert all(0 <= sample["answer"]["probability"] <= 1 for sample in samples)


def test_the_container_that_serves_is_measured(trained: Job) -> None:
    serving = trained.json("evaluation/evaluation.json")["serving"]["challenger"]
    archive = trained.input("challenger") / "model.tar.gz"
    assert serving["artifact_bytes"] == archive.stat().st_size < serving["unpacked_bytes"]
    assert serving["requests"] == 300
    assert 0 < serving["p50_ms"] <= serving["p99_ms"] < 1000
    assert 50 < serving["memory_mb"] < 2000


def test_what_a_card_draws(trained: Job) -> None:
    evaluation = trained.json("evaluation/evaluation.json")
    ours = evaluation["challenger"]
    roc = ours["curves"]["roc"]
    assert (roc[0], roc[-1]) == ([0.0, 0.0], [1.0, 1.0]) and len(roc) <= 101
    area = sum((x - w) * (y + v) / 2 for (w, v), (x, y) in pairwise(roc))
    assert area == pytest.approx(ours["metrics"]["roc_auc"]["value"], abs=0.005)
    assert sum(part["rows"] for part in ours["curves"]["calibration"]) == evaluation["rows"]
    assert sum(map(sum, ours["confusion"]["rows"])) == evaluation["rows"]
    united = ours["bias"]["carrier=UA"]
    assert united["rows"] + united["rest"] == evaluation["rows"]
    assert {"DPPL", "DI", "AD"} <= united["metrics"].keys()


def test_a_model_against_itself_differs_by_nothing(exam: Job, trained: Job) -> None:
    champion(exam, trained)
    succeed(exam.run("evaluate", CHAMPION_TRAINED_UNTIL="2013-02-10T00:00:00Z"))
    evaluation = exam.json("evaluation/evaluation.json")
    assert evaluation["trained_until"]["champion"] == "2013-02-10T00:00:00Z"
    assert evaluation["trained_until"]["challenger"] < evaluation["from"]
    assert evaluation["champion"] == evaluation["challenger"]
    assert evaluation["difference"]["roc_auc"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    nothing = {"value": 0.0, "low": 0.0, "high": 0.0}
    assert evaluation["gains"]["champion"] == nothing | {"at_least": 0.0}
    slices = evaluation["gains"]["slices"]["origin"]
    assert slices["JFK"] == {"rows": slices["JFK"]["rows"], **nothing, "chance": 1.0}


def test_each_model_is_scored_by_its_own_script(exam: Job, trained: Job) -> None:
    """Both folders have an inference.py and a features.py: the champion's must not be the challenger's. And
    no row has the label: this one would answer it."""
    known = "[{'prediction': 0, 'probability': float(row.get('late', 0.5))} for row in rows]"
    champion(exam, trained, f"def model_fn(d): pass\ndef predict_fn(rows, model): return {known}\n")
    succeed(exam.run("evaluate"))
    evaluation = exam.json("evaluation/evaluation.json")
    assert evaluation["champion"]["metrics"]["roc_auc"]["value"] == 0.5
    assert evaluation["difference"]["roc_auc"]["low"] > 0.05
    gain = evaluation["gains"]["champion"]
    assert gain["value"] == pytest.approx(evaluation["difference"]["roc_auc"]["value"], abs=1e-6)
    assert 0.05 < gain["at_least"] < gain["value"]


def test_a_champion_that_cannot_answer_fails_the_job_with_its_reason(exam: Job, trained: Job) -> None:
    champion(exam, trained, "def model_fn(d):\n    raise OSError('no model here')\n")
    assert exam.run("evaluate").returncode == 1
    assert exam.message == "the champion cannot score the holdout: OSError: no model here"


@pytest.mark.parametrize(
    ("predict", "reason"),
    [
        ("raise ValueError('a temperature of -400')", "ValueError: a temperature of -400"),
        ("return [{'prediction': 1}]", "it answered 1 predictions for 1000 rows"),
        ("import os; os._exit(3)", "its container did not answer (RemoteDisconnected)"),
    ],
)
def test_a_champion_that_fails_at_a_request(exam: Job, trained: Job, predict: str, reason: str) -> None:
    champion(exam, trained, f"def model_fn(d): pass\ndef predict_fn(rows, model): {predict}\n")
    assert exam.run("evaluate").returncode == 1
    assert exam.message == f"the champion cannot score the holdout: {reason}"


def test_an_artifact_that_climbs_out_of_its_folder_is_refused(exam: Job, tmp_path: Path) -> None:
    shutil.rmtree(exam.input("challenger"))
    (tmp_path / "evil").write_text("x")
    with tarfile.open(exam.input("challenger") / "model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "evil", arcname="../../evil")
    assert exam.run("evaluate").returncode == 1
    assert "OutsideDestinationError" in exam.message


def test_the_baseline_is_in_model_monitors_formats(trained: Job) -> None:
    statistics, constraints = (
        trained.json("baseline/statistics.json"),
        trained.json("baseline/constraints.json"),
    )
    features = {feature["name"]: feature for feature in statistics["features"]}
    assert features["temp"]["inferred_type"] == "Fractional"
    assert features["temp"]["numerical_statistics"]["common"]["num_present"] > 0
    assert features["weekday"]["inferred_type"] == "Integral"
    origins = features["origin"]["string_statistics"]["distribution"]["categorical"]["buckets"]
    assert {bucket["value"] for bucket in origins} == {"EWR", "JFK", "LGA"}
    constraint = {feature["name"]: feature for feature in constraints["features"]}
    assert constraint["origin"]["string_constraints"]["domains"] == ["EWR", "JFK", "LGA"]
    assert constraint["temp"]["completeness"] < 1 == constraint["distance"]["completeness"]
    assert constraint["distance"]["num_constraints"] == {"is_non_negative": True}
    assert constraints["monitoring_config"]["distribution_constraints"]["comparison_threshold"] == 0.2


def test_the_baseline_knows_days_quality_groups_and_what_the_model_looks_at(trained: Job) -> None:
    known = Baseline.load(trained.output("baseline"))
    assert known.train.blocks is not None and known.holdout is not None
    assert len(known.train.blocks.keys) > 40
    assert "prediction" in known.holdout.columns and "prediction" not in known.train.columns
    quality = trained.json("evaluation/evaluation.json")["challenger"]["metrics"]
    assert known.content["quality"] == {name: quality[name] for name in known.content["quality"]}
    assert known.content["detector"]["loss"] == "log_loss"
    assert "carrier=UA" in known.content["bias"]["figures"]
    assert known.explained is not None
    assert sum(known.explained.weights.values()) == pytest.approx(1)
