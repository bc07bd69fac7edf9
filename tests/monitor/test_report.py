"""The page about a window: what it says, and that it says it whatever the window holds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from jobs.monitor import distributions
from jobs.monitor.profile import Profile, profile
from jobs.monitor.report import Page, render
from jobs.monitor.schema import Field, Schema
from jobs.monitor.wording import badge, number, percent, short, verdict
from tests.pages import assert_whole

SCHEMA = Schema({"age": Field("age", "integer"), "city": Field("city", "string")})


def made(ages: np.ndarray, cities: list[str | None]) -> Profile:
    return profile(pa.table({"age": ages.astype(float), "city": pa.array(cities)}), SCHEMA, block=None)


@pytest.fixture
def page() -> Page:
    ages = np.arange(300) % 70
    then, now = made(ages, ["Bonn", "Kiel"] * 150), made(ages + 10, ["Bonn", "<i>Ulm</i>"] * 150)
    figure = {"type": "integer", "distance": 0.3, "threshold": 0.1, "weight": 0.8, "t": 4.0}
    figure |= {"p": 0.001, "missing": 0.0, "missing_baseline": 0.01, "distances": {"ks": 0.3}}
    figure |= {"model_monitor": {"robust": {"distance": 0.2, "violation": True}, "simple": {}}}
    reference = {"value": 0.4, "low": 0.35, "high": 0.45}
    analysis = {
        "status": "Completed",
        "model": "demo",
        "baseline": "b2",
        "window": {"start": "2026-03-02T00:00:00Z", "end": "2026-03-09T00:00:00Z"},
        "rows": 300,
        "min_rows": 100,
        "labelled": 250,
        "watched": "log_loss",
        "violations": [
            {
                "feature_name": "log_loss",
                "constraint_check_type": "model_quality_check",
                "description": "worse & worse",
                "metric": "log_loss",
                "value": 0.6,
                "threshold": 0.5,
            }
        ],
        "features": {"age": figure, "city": figure | {"seasonal": True, "weight": 0.1}},
        "prediction": None,
        "quality": {
            "log_loss": {"value": 0.6, "low": 0.55, "high": 0.7, "baseline": 0.4, "reference": reference}
        },
        "detector": {
            "value": 350.0,
            "threshold": 700.0,
            "fired_at": None,
            "loss": "log_loss",
            "baseline": 0.4,
            "tolerance": 0.05,
            "days": [
                {"at": f"2026-03-0{number}T00:00:00Z", "loss": number / 10, "rows": 40}
                for number in range(1, 9)
            ],
        },
        "trend": {"kind": "gradual", "since": "2026-03-04T00:00:00Z"},
        "estimate": {"metric": "log_loss", "value": 0.41},
        "bias": {
            "sex=f": {"DPPL": {"value": 0.1, "low": 0.0, "high": 0.2, "baseline": 0.0, "rows": 9, "t": 2.0}}
        },
        "attribution": {"ndcg": 0.95, "l1": 0.2, "features": {"age": {"share": 0.7, "baseline": 0.9}}},
        "drift": {"method": "blocks", "note": "", "p": 0.001},
        "skipped_lines": 2,
    }
    history = [
        {
            "start": f"2026-0{month}-02T00:00:00Z",
            "end": f"2026-0{month}-09T00:00:00Z",
            "baseline": "b1" if month == 1 else "b2",
            "quality": {"log_loss": {"value": 0.4 + 0.1 * month, "low": 0.3, "high": 0.9}},
            "violated": [],
        }
        for month in (1, 2, 3)
    ]
    return Page(analysis, then.columns, now.columns, history)


def test_the_page_is_whole_fetches_nothing_and_escapes(page: Page) -> None:
    html = render(page)
    assert_whole(html)
    assert "<i>Ulm" not in html and "&lt;i&gt;Ulm" in html
    assert "worse &amp; worse" in html


def test_the_page_tells_the_verdict_first(page: Page) -> None:
    html = render(page)
    assert "the model got worse" in html
    assert "<h1>The model errs more than it did.</h1><p>Log loss is 0.600 (0.550 to 0.700) on 250" in html
    assert html.index("What is wrong") < html.index("What changed most") < html.index("How good the model is")
    assert "median 32 → 42" in html
    assert "30\u202f% of the rows moved, up to 10\u202f% is allowed; 80\u202f% of the model" in html
    assert "Evidence against the model so far: 350; from 700 on it is a violation." in html
    assert "DPPL difference in positive proportions in predictions" in html
    assert "looks gradual since 4 Mar 2026" in html


def test_a_column_that_is_gone_is_among_what_changed(page: Page) -> None:
    page.now["age"] = made(np.full(50, np.nan), ["Bonn"] * 50).columns["age"]
    page.analysis["features"]["age"] |= {"missing": 1, "distance": 0, "parts": {"missing": {"effect": 1.0}}}
    said = render(page).split("What changed most")[1]
    assert said.index("no value in this window") < said.index("no row has a value; 80\u202f% of the model")


def test_a_hundred_violations_do_not_hide_what_changed(page: Page) -> None:
    page.analysis["violations"] *= 13
    html = render(page)
    assert_whole(html)
    assert html.index("<summary>1 more</summary>") < html.index("What changed most")
    assert html.count("worse &amp; worse") == 13


def test_the_days_that_the_evidence_is_made_of(page: Page) -> None:
    html = render(page)
    assert "4 of 8 lie over 0.450: 0.400 at the baseline and the tolerance of 0.050" in html
    assert "8 Mar 2026: 0.800 on 40 rows" in html


def test_windows_of_the_version_before_are_told_apart(page: Page) -> None:
    assert render(page).count("by the version before</title>") == 1
    page.history.pop(0)
    assert "version before" not in render(page)


def test_what_moved_counts_by_its_weight_and_a_season_is_no_less(page: Page) -> None:
    moved = page.analysis["features"]
    assert page.ranked() == ["age", "city"]
    moved["city"]["distance"] = 0.95
    assert page.ranked() == ["age", "city"]
    moved["age"]["distance"] = 0.1
    assert page.ranked() == ["city", "age"]
    moved["age"]["parts"] = {"missing": {"effect": 0.5}}
    assert page.ranked() == ["age", "city"]
    moved["age"]["parts"] = {}
    page.analysis["violations"].append({"feature_name": "age", "constraint_check_type": "range_check"})
    assert page.ranked() == ["age", "city"]


def test_the_prediction_is_first_and_no_bar_is_measured_by_it(page: Page) -> None:
    page.analysis["prediction"] = page.analysis["features"]["age"] | {"weight": None}
    for columns in (page.then, page.now):
        columns["prediction"] = columns["age"]
    html = render(page)
    assert html.index("<b>prediction</b>") < html.index("<b>age</b>")
    assert "width:100.0%" in html.split("<b>age</b>")[1].split("<b>city</b>")[0]


def test_how_many_of_the_groups_figures_are_violations(page: Page) -> None:
    assert "None of 1 figures, judged together, is a violation." in render(page)
    found = {"feature_name": "sex", "constraint_check_type": "bias_drift_check", "description": "apart"}
    page.analysis["violations"].append(found)
    assert "1 of 1 figures, judged together, is a violation." in render(page)
    assert "The outcome that counts" not in render(page)
    page.analysis["outcome"] = "over <30> minutes late"
    assert "is a violation. The outcome that counts is over &lt;30&gt; minutes late." in render(page)


@pytest.mark.parametrize(
    ("cities", "said"),
    [
        (["Bonn"] * 30 + ["Kiel"] * 20, "Bonn: 50\u202f% → 60\u202f% of the rows"),
        (["Bonn"] * 20 + ["Kiel"] * 15 + ["Ulm"] * 15, "new: Ulm (30\u202f% of the rows)"),
        (
            ["Bonn"] * 5 + ["Kiel"] * 40 + ["Ulm"] * 5,
            "Bonn: 50\u202f% → 10\u202f% of the rows; new: Ulm (10\u202f%",
        ),
        (
            ["Bonn"] * 20 + ["Kiel"] * 20 + [None] * 10,
            "Bonn: 50\u202f% → 50\u202f% of the rows; missing 0.0\u202f% → 20",
        ),
        (["Bonn"] * 10 + ["x" * 300] * 40, f"new: {'x' * 39}… (80\u202f% of the rows)"),
    ],
)
def test_what_changed_in_words(cities: list[str | None], said: str) -> None:
    then, now = made(np.arange(50), ["Bonn", "Kiel"] * 25), made(np.arange(50), cities)
    assert distributions.moved(then.columns["city"], now.columns["city"]).startswith(said)


@pytest.mark.parametrize(
    "left_out", ["detector", "trend", "estimate", "bias", "attribution", "drift", "skipped_lines"]
)
def test_what_is_not_there_is_left_out(page: Page, left_out: str) -> None:
    page.analysis[left_out] = None
    assert_whole(render(page))


@pytest.mark.parametrize(
    ("status", "said"),
    [("NoData", "No request was captured"), ("TooFewRows", "300 rows are too few to judge: 1\u202f000")],
)
def test_a_window_without_a_verdict(page: Page, status: str, said: str) -> None:
    page.analysis.update(status=status, violations=[], min_rows=1000)
    html = render(page)
    assert said in html
    assert "What changed most" not in html


def test_the_worst_gives_the_badge(page: Page) -> None:
    analysis = page.analysis
    checks = ("custom_rule_check", "bias_drift_check", "baseline_drift_check", "missing_column_check")
    expected = (
        "a rule was broken",
        "groups have grown apart",
        "the inputs have moved",
        "the data is not what it was",
    )
    found = []
    for check, words in zip(checks, expected, strict=True):
        found.append({"feature_name": "age", "constraint_check_type": check})
        assert badge(analysis | {"violations": found})[0] == words
    assert badge(analysis | {"violations": []}) == ("in order", "good")


@pytest.mark.parametrize(
    ("found", "called", "said"),
    [
        ([("humid", "range_check")], "the data is not what it was", "Values far out in humid. "),
        ([("prediction", "range_check")], "the predictions have moved", "Values far out in prediction. "),
        (
            [("prediction", "baseline_drift_check"), ("age", "baseline_drift_check")],
            "the inputs have moved",
            "Drift beyond the baseline's own days in prediction and age. ",
        ),
        (
            [("sex", "bias_drift_check"), ("nights", "custom_rule_check"), ("sex", "completeness_check")],
            "the data is not what it was",
            "Values are missing in sex; groups of sex are treated less alike than at the baseline; rule "
            "broken: nights. ",
        ),
    ],
)
def test_the_verdict_says_what_is_wrong_with_which_column(
    page: Page, found: list[tuple[str, str]], called: str, said: str
) -> None:
    violations = [{"feature_name": name, "constraint_check_type": check} for name, check in found]
    assert badge(page.analysis | {"violations": violations})[0] == called
    assert verdict(page.analysis | {"violations": violations}).startswith(said)


def test_without_violations_the_sentence_says_what_was_looked_at(page: Page) -> None:
    analysis = page.analysis
    assert verdict(analysis | {"violations": []}).startswith("Nothing in 300 rows differs")


def test_a_loss_that_is_high_by_chance_at_most_is_told(page: Page) -> None:
    assert "tolerated" not in verdict(page.analysis)
    said = verdict(page.analysis | {"violations": []})
    assert said.endswith("0.400 at the baseline: over the 0.450 that is tolerated, but not surely.")
    page.analysis["quality"]["log_loss"]["value"] = 0.44
    assert verdict(page.analysis | {"violations": []}).endswith("0.400 at the baseline.")


@pytest.mark.parametrize(
    ("ages", "cities"),
    [
        (np.full(5, np.nan), [None] * 5),
        (np.full(5, 3.0), ["Bonn"] * 5),
        (np.array([1e308, -1e308, np.inf]), ["a", "b", "c"]),
        (np.array([0.0]), ["x" * 500]),
    ],
)
def test_any_column_has_a_picture(ages: np.ndarray, cities: list[str | None]) -> None:
    usual = made(np.arange(50), ["Bonn", "Kiel"] * 25)
    odd = made(ages, cities)
    for name in SCHEMA.fields:
        for then, now in ((usual, odd), (odd, usual), (odd, odd)):
            html = distributions.picture(then.columns[name], now.columns[name])
            assert html and "nan" not in html.replace("nan", "", 0).lower().split()
            assert distributions.moved(then.columns[name], now.columns[name])


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "a\"b'c", "x" * 300, "\u202eshown backwards", "\u05e9\u05dc\u05d5\u05dd"],
)
def test_names_and_values_of_any_kind(page: Page, name: str) -> None:
    """What a request holds is shown, does not run, and does not turn the sentence around."""
    figure = page.analysis["features"].pop("city")
    page.analysis["features"][name] = figure | {"weight": 0.9}
    page.then[name], page.now[name] = (
        made(np.arange(40), [value] * 40).columns["city"] for value in ("a", name)
    )
    page.analysis["bias"] = {f"{name}={name}": page.analysis["bias"]["sex=f"]}
    page.analysis["attribution"]["features"][name] = {"share": 0.3, "baseline": 0.1}
    drift = {"feature_name": name, "constraint_check_type": "baseline_drift_check", "description": name}
    page.analysis["violations"] = [drift]
    html = render(page)
    assert_whole(html)
    assert name not in html or name.isalpha() or name.startswith("\u202e")
    told = verdict(page.analysis)
    assert "\u202e" not in told and len(told) < 250


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "n/a"),
        (0.0, "0"),
        (-0.0, "0"),
        (0.1234, "0.123"),
        (12, "12"),
        (52.73, "52.73"),
        (872.0, "872"),
        (1234567.0, "1\u202f234\u202f567"),
        (1e-5, "1.0e-05"),
    ],
)
def test_numbers_as_they_are_read(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_shares_and_ticks_as_they_are_read() -> None:
    assert [percent(value) for value in (0.0, 0.0004, 0.05, 0.5, None)] == [
        "0.0\u202f%",
        "<0.1\u202f%",
        "5.0\u202f%",
        "50\u202f%",
        "n/a",
    ]
    assert [short(value) for value in (0.0, 0.25, 1000.0, 1e9)] == ["0", "0.25", "1\u202f000", "1e+09"]
