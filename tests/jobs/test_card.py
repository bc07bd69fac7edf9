"""The evidence of a model card: drawn of what the evaluation of each task writes, whole whatever is
missing."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs import card, clarify
from jobs.evaluation import compare
from jobs.hosted import Scored
from jobs.monitor.groups import Outcome
from jobs.spec import BINARY, MULTICLASS, REGRESSION, Feature, Spec
from tests.jobs.conftest import Job
from tests.pages import assert_whole

ROWS = 1200
TASKS = (BINARY, MULTICLASS, REGRESSION)
SERVING = {
    "requests": 300,
    "p50_ms": 4.0,
    "p99_ms": 9.5,
    "batch_rows": 1000,
    "batch_p50_ms": 140.0,
    "artifact_bytes": 65_200,
    "unpacked_bytes": 210_000,
    "memory_mb": 230,
    "started_s": 1.5,
}
EXPLANATION = {
    "explanations": {},
    "method": "shap_sampled",
    "rows": 750,
    "shares": {"x": 0.8, "<b>city</b>": 0.2},
    "reason": None,
}


def spec(task: str) -> Spec:
    primary = {BINARY: "roc_auc", MULTICLASS: "f1_macro", REGRESSION: "rmse"}[task]
    features = {"x": Feature("x", "number"), "city": Feature("city", "string")}
    gate = {"primary": primary, "slices": ["city"]}
    return Spec("m", task, "y", "id", "t", features, "inference.py", ("city",), gate=gate)


def labels(task: str, x: np.ndarray) -> list[Any]:
    if task == REGRESSION:
        return (x * 10 + 50).tolist()
    names = ["low", "mid", "high"]
    return (
        (x > 0).astype(int).tolist() if task == BINARY else [names[code] for code in np.digitize(x, [-1, 1])]
    )


def answers(task: str, x: np.ndarray, noise: float) -> list[dict[str, Any]]:
    seen = x + np.random.default_rng(8).normal(size=len(x)) * noise
    if task == BINARY:
        chance = 1 / (1 + np.exp(-2 * seen))
        return [{"prediction": int(share > 0.5), "probability": float(share)} for share in chance]
    return [{"prediction": value} for value in labels(task, seen)]


def evaluation(task: str, *, has_champion: bool = True) -> dict[str, Any]:
    rng = np.random.default_rng(7)
    x = rng.normal(size=ROWS)
    moments = pa.array(np.arange(ROWS) * 1_200_000_000, pa.timestamp("us", "UTC"))
    table = pa.table(
        {
            "id": [str(row) for row in range(ROWS)],
            "t": moments,
            "x": x,
            "city": rng.choice(["Bonn", "Kiel", "<i>Ulm</i>"], ROWS),
            "y": labels(task, x + rng.normal(size=ROWS) * 0.3),
        }
    )
    champion = Scored(answers(task, x, 1.5), SERVING) if has_champion else None
    return compare(spec(task), table, table, Scored(answers(task, x, 0.5), SERVING), champion)


@pytest.fixture(scope="module", params=TASKS)
def judged(request: pytest.FixtureRequest) -> dict[str, Any]:
    return evaluation(request.param)


def test_the_page_of_each_task_is_whole_fetches_nothing_and_escapes(judged: dict[str, Any]) -> None:
    html = card.render("m", judged, EXPLANATION)
    assert_whole(html)
    assert "<i>Ulm" not in html and "&lt;i&gt;Ulm" in html and "<b>city" not in html
    assert html.count(card.VERDICT) == html.count(card.RECORD) == 1
    assert html.index(card.VERDICT) < html.index("How good it is") < html.index(card.RECORD)
    for title in ("Where it is better", "What it looks at", "Speed and size"):
        assert title in html


def test_each_task_shows_its_own_figures() -> None:
    shown = {task: card.render("m", evaluation(task), EXPLANATION) for task in TASKS}
    assert "<h3>ROC</h3>" in shown[BINARY] and "<h3>Precision and recall</h3>" in shown[BINARY]
    assert "predicted high" in shown[MULTICLASS] and "<h3>ROC</h3>" not in shown[MULTICLASS]
    assert "<h3>Calibration</h3>" in shown[REGRESSION] and "true class" not in shown[REGRESSION]
    assert "Adjusted R²" in shown[REGRESSION]


def test_every_metric_stands_beside_the_champions_with_its_interval(judged: dict[str, Any]) -> None:
    html = card.render("m", judged, EXPLANATION)
    for figure in judged["difference"].values():
        if figure["value"] is not None:
            assert f"{figure['value']:+.3f}" in html


def test_the_first_version_is_shown_without_a_champion() -> None:
    html = card.render("m", evaluation(BINARY, has_champion=False), EXPLANATION)
    assert_whole(html)
    assert "the champion" not in html
    assert "best constant" in html and "the line is that of all rows" in html


@pytest.mark.parametrize("side", ["challenger", "champion"])
@pytest.mark.parametrize("part", ["slices", "bias", "curves", "confusion"])
def test_what_is_not_there_is_left_out(side: str, part: str) -> None:
    judged = copy.deepcopy(evaluation(BINARY))
    judged[side][part] = {} if part in ("slices", "bias", "curves") else None
    judged["serving"][side] = None
    assert_whole(card.render("m", judged, EXPLANATION))


def test_figures_that_are_not_defined_are_said_to_be_so() -> None:
    judged = copy.deepcopy(evaluation(BINARY))
    for figure in judged["challenger"]["metrics"].values():
        figure |= {"value": None, "low": None, "high": None}
    judged["difference"] = {name: {"value": None, "low": None, "high": None} for name in judged["difference"]}
    html = card.render("m", judged, EXPLANATION)
    assert_whole(html)
    assert "n/a" in html


def test_what_cannot_be_explained_says_why() -> None:
    nothing = EXPLANATION | {"shares": {}, "method": None, "reason": "the script <raises>"}
    assert "No attribution: the script &lt;raises&gt;." in card.render("m", evaluation(BINARY), nothing)
    shuffled = EXPLANATION | {
        "method": "permutation_importance",
        "explanations": {"permutation_importance": {"metric": "log_loss", "values": {}}},
        "reason": "it is too slow",
    }
    html = card.render("m", evaluation(BINARY), shuffled)
    assert "Share of what Log loss loses when a feature is shuffled" in html and "it is too slow" in html


def test_the_outcome_that_the_bias_counts_is_named() -> None:
    """Of several classes and of a number nobody could tell otherwise."""
    assert "The outcome that counts is 1." in card.render("m", evaluation(BINARY), EXPLANATION)
    assert "The outcome that counts" not in card.render("m", evaluation(MULTICLASS), EXPLANATION)
    dear = evaluation(BINARY) | {"outcome": Outcome(threshold=1500.0).words()}
    assert "The outcome that counts is more than 1500." in card.render("m", dear, EXPLANATION)
    assert Outcome(("billing", "other")).words() == "billing or other"
    assert Outcome(threshold=1234567.0).words() == "more than 1234567"


def test_bias_is_reported_as_clarify_does() -> None:
    groups = evaluation(BINARY)["challenger"]["bias"]
    report = clarify.bias(spec(BINARY), groups)
    assert report["version"] == "1.0"
    before, after = (report[f"{when}_training_bias_metrics"] for when in ("pre", "post"))
    assert (before["label"], before["label_value_or_threshold"]) == ("y", "1")
    for section, name in ((before, "DPL"), (after, "DPPL")):
        facets = section["facets"]["city"]
        assert {facet["value_or_threshold"] for facet in facets} == {"Bonn", "Kiel", "<i>Ulm</i>"}
        for facet in facets:
            found = {metric["name"]: metric["value"] for metric in facet["metrics"]}
            group = groups[f"city={facet['value_or_threshold']}"]["metrics"]
            assert found[name] == group[name]["value"]
    names = [metric["name"] for metric in before["facets"]["city"][0]["metrics"]]
    assert set(names).isdisjoint(metric["name"] for metric in after["facets"]["city"][0]["metrics"])


def test_bias_without_groups_says_nothing() -> None:
    assert clarify.bias(spec(BINARY), {}) == {"version": "1.0"}


def test_the_evaluated_model_has_its_evidence(trained: Job) -> None:
    html = (trained.output("evaluation") / "card.html").read_text()
    assert_whole(html)
    auc = trained.json("evaluation/evaluation.json")["challenger"]["metrics"]["roc_auc"]
    assert f"{auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})" in html
    assert html.count('<svg class="area"') == 3
    facets = trained.json("evaluation/bias.json")["post_training_bias_metrics"]["facets"]
    assert "UA" in {facet["value_or_threshold"] for facet in facets["carrier"]}
    assert len(json.dumps(html)) < 200_000
