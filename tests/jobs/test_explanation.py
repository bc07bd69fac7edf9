"""What is registered of what a model looks at: SHAP where it can be, permutation importance otherwise, else
the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs import explanation, importance
from jobs.monitor import baseline, datafiles, explained
from jobs.monitor.window import Window
from jobs.spec import BINARY, MULTICLASS, REGRESSION, Feature, Spec
from tests.jobs.conftest import Job

SCRIPT = """
import math
def model_fn(model_dir): return {"heavy": 3.0, "light": 1.0}
def score(row): return 3.0 * row["heavy"] + 1.0 * row["light"]
"""
BINARY_SCRIPT = f"""{SCRIPT}
def predict_fn(rows, model):
    shares = [1 / (1 + math.exp(-score(row))) for row in rows]
    return [{{"prediction": int(share > 0.5), "probability": share}} for share in shares]
"""
UNEXPLAINED = "\ndef explain_fn(rows, model): raise RuntimeError('no explanation here')\n"


def spec(task: str, **features: Feature) -> Spec:
    features = features or {name: Feature(name, "number") for name in ("heavy", "light", "none")}
    return Spec("m", task, "y", "id", "t", features, "inference.py", gate={})


def holdout(spec: Spec, answers: list[dict[str, Any]], label: list[Any], size: int = 400) -> Window:
    table = features(size).append_column("y", pa.array(label))
    table = table.append_column("id", pa.array([str(row) for row in range(size)]))
    moments = pa.array(np.arange(size) * 3_600_000_000, pa.timestamp("us", "UTC"))
    return baseline.held_out(
        spec, table.append_column("t", moments), datafiles.answers_of(spec.task, answers)
    )


def features(size: int = 400) -> pa.Table:
    values = np.random.default_rng(4).normal(size=(3, size))
    return pa.table(dict(zip(("heavy", "light", "none"), values, strict=True)))


@pytest.fixture
def binary() -> tuple[Spec, Window]:
    rows = features().to_pylist()
    shares = [1 / (1 + np.exp(-3 * row["heavy"] - row["light"])) for row in rows]
    drawn = np.random.default_rng(5).random(len(shares))
    answers = [{"prediction": int(share > 0.5), "probability": float(share)} for share in shares]
    return spec(BINARY), holdout(
        spec(BINARY), answers, [int(d < s) for d, s in zip(drawn, shares, strict=True)]
    )


def folder(tmp_path: Path, script: str) -> tuple[Path, Path, Path]:
    """(model, code, baseline)."""
    folders = [tmp_path / name for name in ("model", "code", "baseline")]
    for each in folders:
        each.mkdir()
    (folders[1] / "inference.py").write_text(script)
    return folders[0], folders[1], folders[2]


def learn(tmp_path: Path, script: str, case: tuple[Spec, Window]) -> tuple[dict[str, Any], Path]:
    model, code, kept = folder(tmp_path, script)
    return explanation.learn(case[0], model, code, case[1], kept), kept


def test_shap_values_are_the_monitors_own(tmp_path: Path, binary: tuple[Spec, Window]) -> None:
    found, kept = learn(tmp_path, BINARY_SCRIPT, binary)
    assert found["method"] == "shap_sampled" and found["reason"] is None
    reference = explained.Reference.load(kept)
    assert reference and found["rows"] == len(reference.values)
    means = dict(zip(reference.values.features, reference.values.values.mean(0), strict=True))
    values = found["explanations"]["kernel_shap"]["label0"]["global_shap_values"]
    assert values == pytest.approx(means, abs=1e-6)
    assert found["shares"] == pytest.approx(reference.weights, abs=1e-6)
    assert list(values) == ["heavy", "light", "none"] and sum(found["shares"].values()) == pytest.approx(1)


def test_a_model_without_shap_values_is_explained_by_shuffling(
    tmp_path: Path, binary: tuple[Spec, Window]
) -> None:
    found, kept = learn(tmp_path, BINARY_SCRIPT + UNEXPLAINED, binary)
    assert found["method"] == "permutation_importance", found["reason"]
    assert found["reason"] == "the model's script could not explain: RuntimeError: no explanation here"
    importances = found["explanations"]["permutation_importance"]
    assert importances["metric"] == "roc_auc"
    assert list(importances["values"]) == ["heavy", "light", "none"]
    assert importances["values"]["heavy"] > 0.1 > importances["values"]["none"]
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert explained.Reference.load(kept) is None  # nothing that the monitor could compare with


def test_a_loss_grows_where_a_feature_is_shuffled(tmp_path: Path, binary: tuple[Spec, Window]) -> None:
    model, code, _ = folder(tmp_path, BINARY_SCRIPT)
    values = importance.measure(binary[0], model, code, binary[1], "log_loss")
    assert values[0] > values[1] > values[2] >= 0


def test_values_that_are_not_finite_are_no_explanation(tmp_path: Path, binary: tuple[Spec, Window]) -> None:
    script = (
        BINARY_SCRIPT + "\ndef explain_fn(rows, model): return [{'heavy': float('nan')} for row in rows]\n"
    )
    found, kept = learn(tmp_path, script, binary)
    assert found["method"] == "permutation_importance"
    assert found["reason"] == "the model's attributions are not finite"
    assert explained.Reference.load(kept) is None


def test_a_model_that_gives_neither_is_registered_with_the_reasons(
    tmp_path: Path, binary: tuple[Spec, Window]
) -> None:
    found, _ = learn(tmp_path, "def model_fn(d): raise OSError('gone')\n", binary)
    assert found["method"] is None and found["explanations"] == {} and found["shares"] == {}
    assert found["reason"].count("OSError: gone") == 2


def test_a_constant_model_has_nothing_to_attribute(tmp_path: Path, binary: tuple[Spec, Window]) -> None:
    same = "[{'prediction': 0, 'probability': 0.1}] * len(rows)"
    script = f"def model_fn(d): pass\ndef predict_fn(rows, model): return {same}\n"
    found, _ = learn(tmp_path, script, binary)
    assert found["reason"] == "the model answers every row alike: there is nothing to attribute"
    assert set(found["shares"].values()) == {0.0}


@pytest.mark.parametrize("task", [MULTICLASS, REGRESSION])
def test_other_tasks_are_shuffled_too(tmp_path: Path, task: str) -> None:
    rows = features().to_pylist()
    numbers = [3 * row["heavy"] + row["light"] for row in rows]
    label = numbers if task == REGRESSION else ["up" if number > 0 else "down" for number in numbers]
    answers = [{"prediction": value} for value in label]
    answer = "score(row)" if task == REGRESSION else "'up' if score(row) > 0 else 'down'"
    script = f"{SCRIPT}\ndef predict_fn(rows, model): return [{{'prediction': {answer}}} for row in rows]\n"
    metric = "rmse" if task == REGRESSION else "accuracy"
    case = Spec(**{**vars(spec(task)), "gate": {"primary": metric}})
    found, _ = learn(tmp_path, script + UNEXPLAINED, (case, holdout(case, answers, label)))
    assert found["method"] == "permutation_importance", found["reason"]
    importances = found["explanations"]["permutation_importance"]
    assert importances["metric"] == metric
    assert list(importances["values"]) == ["heavy", "light", "none"] and importances["values"]["none"] == 0


def test_the_evaluated_model_is_explained(trained: Job) -> None:
    found = trained.json("evaluation/explanation.json")
    assert found["method"] == "shap_sampled" and found["rows"] > 500
    known = baseline.Baseline.load(trained.output("baseline"))
    assert known.explained and found["shares"] == pytest.approx(known.explained.weights, abs=1e-6)
