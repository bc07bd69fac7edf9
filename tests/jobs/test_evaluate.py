"""evaluate: the same rows for both, each through its own script; the baseline that analyze reads."""

from __future__ import annotations

import shutil
import tarfile
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


def test_a_model_against_itself_differs_by_nothing(exam: Job, trained: Job) -> None:
    champion(exam, trained)
    succeed(exam.run("evaluate"))
    evaluation = exam.json("evaluation/evaluation.json")
    assert evaluation["champion"] == evaluation["challenger"]
    assert evaluation["difference"]["roc_auc"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_each_model_is_scored_by_its_own_script(exam: Job, trained: Job) -> None:
    """Both folders have an inference.py and a features.py: the champion's must not be the challenger's."""
    coin = "[{'prediction': 0, 'probability': 0.5}] * len(rows)"
    champion(exam, trained, f"def model_fn(d): pass\ndef predict_fn(rows, model): return {coin}\n")
    succeed(exam.run("evaluate"))
    evaluation = exam.json("evaluation/evaluation.json")
    assert evaluation["champion"]["metrics"]["roc_auc"]["value"] == 0.5
    assert evaluation["difference"]["roc_auc"]["low"] > 0.05


def test_a_champion_that_cannot_answer_fails_the_job_with_its_reason(exam: Job, trained: Job) -> None:
    champion(exam, trained, "def model_fn(d):\n    raise OSError('no model here')\n")
    assert exam.run("evaluate").returncode == 1
    assert exam.message == "the champion cannot score the holdout: OSError: no model here"


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
    assert known.content["quality"] == quality
    assert known.content["detector"]["loss"] == "log_loss"
    assert "carrier=UA" in known.content["bias"]["figures"]
    assert known.explained is not None
    assert sum(known.explained.weights.values()) == pytest.approx(1)
