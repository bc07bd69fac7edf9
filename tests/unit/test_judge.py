"""The gate's policy: what each check refuses and says, and what must hold whatever the figures are."""

import json
from typing import Any

import pytest
from evergreen import spec, units
from evergreen.judge import WORST, Judgement, judge
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import world
from tests.unit.exam import evaluation, figure, gain, group, part

TASK = "binary_classification"
GATE = spec.parse(world.MODEL_YAML)["gate"]


def judged(exam: dict[str, Any], **gate: Any) -> Judgement:
    return judge(exam, TASK, GATE | gate)


def only(judgement: Judgement, name: str) -> Any:
    (check,) = [check for check in judgement.checks if check.check == name]
    return check


def refused(judgement: Judgement) -> list[str]:
    assert judgement.passed is not bool(judgement.reason and [c for c in judgement.checks if not c.passed])
    return [check.check for check in judgement.checks if not check.passed]


def test_a_first_model_that_beats_the_best_constant_passes():
    judgement = judged(evaluation(0.72))
    assert refused(judgement) == []
    assert judgement.reason == (
        "roc_auc 0.7200 [0.7000, 0.7400] on 1,000 held-out rows passes the gate's floor, 0.65; "
        "it beats the best constant prediction, 0.5000 on the same rows, by more than 0: "
        "+0.2200, at least +0.2130 with 90 % confidence"
    )
    assert [check.check for check in judgement.checks] == ["rows", "newer", "floor", "constant"]


@pytest.mark.parametrize(
    ("exam", "gate", "check", "says"),
    [
        (evaluation(rows=99), {}, "rows", "99 held-out rows are fewer: gate.min_rows is 100"),
        (
            evaluation(0.64),
            {},
            "floor",
            "0.6400 [0.6200, 0.6600] on 1,000 held-out rows misses",
        ),
        (
            evaluation(0.72, constant=0.719),
            {},
            "constant",
            "not shown to beat the best constant prediction, 0.7190 on the same rows, by more than 0: "
            "+0.0010, at least -0.0060 with 90 % confidence",
        ),
        (evaluation(0.72, 0.72), {}, "champion", "not shown to beat the champion, 0.7200"),
        (
            evaluation(0.72, 0.72 + 1e-9, error=0.0),
            {},
            "champion",
            "by more than 0: +0.0000, at least +0.0000 with 90 % confidence",
        ),
        (
            evaluation(0.74, 0.72),
            {"margin": 0.02},
            "champion",
            "by more than 0.02: +0.0200, at least",
        ),
        (
            evaluation(0.72, error=0.01, champion=0.71),
            {},
            "champion",
            "by more than 0: +0.0100, at least -0.0040 with 90 % confidence",
        ),
        (
            evaluation(trained_until={"challenger": "2013-02-20T00:00:00Z", "champion": None}),
            {},
            "newer",
            "the challenger was trained on rows until 2013-02-20T00:00:00Z: it may have seen the answers",
        ),
        (
            evaluation(serving={"p99_ms": 120.5}),
            {"latency_p99": 0.1},
            "latency_p99",
            "99 % of 300 requests were answered within 120.5ms, 100ms is allowed",
        ),
        (
            evaluation(serving={"artifact_bytes": 212_370_000}),
            {"size": 200_000_000},
            "size",
            "model.tar.gz has 212.4 MB, 200 MB is allowed",
        ),
    ],
)
def test_each_refusal_says_figure_limit_and_rows(exam, gate, check, says):
    judgement = judged(exam, **gate)
    assert refused(judgement) == [check]
    assert says in judgement.reason


def test_a_champion_trained_on_the_holdout_is_no_fair_comparison():
    trained = {"challenger": "2013-02-14T23:59:00Z", "champion": "2013-02-15T00:00:00Z"}
    judgement = judged(evaluation(0.75, 0.70, trained_until=trained))
    assert refused(judgement) == ["newer"]
    fraction = {"challenger": "2013-02-14T23:59:59.500000Z", "champion": None}
    assert judged(evaluation(trained_until=fraction)).passed


def test_every_refusal_is_told_not_only_the_first():
    judgement = judged(evaluation(0.64, 0.70, rows=50))
    assert refused(judgement) == ["rows", "floor", "champion"]
    assert judgement.reason.count("; ") == 2


def test_a_negative_margin_admits_what_is_not_shown_to_be_worse():
    assert judged(evaluation(0.719, 0.72), margin=-0.01).passed
    assert not judged(evaluation(0.712, 0.72), margin=-0.01).passed


def test_a_metric_that_could_not_be_computed_passes_nothing():
    assert refused(judged(evaluation(None, 0.7))) == ["floor", "champion"]
    unknown = evaluation(0.72, 0.70)
    unknown["champion"]["metrics"]["roc_auc"] = figure(None)
    unknown["gains"]["champion"] = gain(None)
    judgement = judged(unknown)
    assert refused(judgement) == ["champion"]
    assert "the gain in roc_auc over the champion could not be computed on 1,000" in judgement.reason


def test_a_metric_that_is_watched_must_have_been_measured():
    """Of a model without probabilities: no window could be held to its log loss."""
    note = "the model answers without probabilities: what is made of them is not known"
    exam = evaluation(name="accuracy", notes=[note, "class b was never predicted: it has no precision"])
    exam["challenger"]["metrics"]["log_loss"] = figure(None)
    judgement = judge(exam, TASK, GATE | {"primary": "accuracy"}, watched="log_loss")
    assert refused(judgement) == ["watched"]
    assert judgement.reason == (
        f"log_loss could not be computed on the 1,000 held-out rows ({note}), "
        "and monitor.quality watches the model by it"
    )
    assert refused(judge(exam, TASK, GATE | {"primary": "accuracy"}, watched="accuracy")) == []


def test_a_loss_is_judged_the_other_way_round():
    better = evaluation(0.40, 0.45, name="log_loss", constant=0.6)
    better["gains"]["champion"] = gain(0.05)
    assert judged(better, primary="log_loss", floor=0.5).passed
    assert "misses the gate's ceiling, 0.3" in judged(better, primary="log_loss", floor=0.3).reason


def test_a_slice_that_loses_too_much_is_named_with_its_rows():
    exam = evaluation(
        0.72, 0.70, slices={"origin": {"JFK": part(0.1), "EWR": part(-0.02), "LGA": part(0.06)}}
    )
    judgement = judged(exam)
    assert [check.where for check in judgement.checks if not check.passed] == ["origin=JFK", "origin=LGA"]
    assert (
        "on origin=JFK, 500 rows, it loses 0.1000 of roc_auc: 0.05 may be lost; a chance of 0.001 where "
        "nothing is lost, 0.033 would pass"
    ) in judgement.reason


@pytest.mark.parametrize(
    "harmless",
    [part(0.1, rows=199), part(0.1, chance=0.2), part(0.04), {**part(0.1), "value": None, "chance": None}],
    ids=["few rows", "chance", "little", "undefined"],
)
def test_a_slice_is_no_reason_where_it_is_small_or_may_be_chance(harmless):
    assert judged(evaluation(0.72, 0.70, slices={"origin": {"JFK": harmless}})).passed


def test_where_many_slices_are_compared_each_must_be_rarer():
    """Of sixty slices without any loss, six would lose something at a chance of 0.1."""
    few = {"JFK": part(0.1, chance=0.02)}
    many = {f"A{number}": part(0.0, chance=0.5) for number in range(59)}
    assert not judged(evaluation(0.72, 0.70, slices={"origin": few})).passed
    assert judged(evaluation(0.72, 0.70, slices={"origin": few | many})).passed


def test_of_slices_that_pass_the_worst_is_listed():
    exam = evaluation(0.72, 0.70, slices={"origin": {"JFK": part(0.01), "EWR": part(-0.02)}})
    check = only(judged(exam), "slices")
    assert (check.where, check.figure, check.limit, check.rows) == ("origin=JFK", 0.01, 0.05, 500)
    nothing = only(judged(evaluation(0.72, 0.70)), "slices")
    assert nothing.passed and "origin was not compared" in nothing.text


BIAS = {"limits": {"DPPL": 0.1, "DI": 0.8, "RD": 0.1}, "min_rows": 100}


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (
            {"DPPL": 0.15},
            "DPPL of carrier=UA is 0.150 on 500 rows, -0.1 to 0.1 is allowed; a chance",
        ),
        ({"DPPL": -0.15}, "DPPL of carrier=UA is -0.150"),
        ({"DI": 0.5}, "DI of carrier=UA is 0.500 on 500 rows, 0.8 to 1.25 is allowed"),
        ({"DI": 2.0}, "DI of carrier=UA is 2.000"),
        ({"DI": 0.0}, "DI of carrier=UA is 0.000"),
        ({"RD": 0.3, "DPPL": 0.02, "DI": 0.9}, "RD of carrier=UA is 0.300"),
    ],
)
def test_a_group_beyond_a_limit_is_named(found, says):
    judgement = judged(evaluation(bias={"carrier=UA": group(**found)}), bias=BIAS)
    assert refused(judgement) == ["bias"]
    assert says in judgement.reason
    assert next(check for check in judgement.checks if not check.passed).where == "carrier=UA"


@pytest.mark.parametrize(
    "harmless",
    [
        group(DPPL=0.1, DI=0.8, RD=-0.1),
        group(DPPL=0.2, chance=0.3),
        group(rows=99, DPPL=0.2),
        group(rest=99, DPPL=0.2),
        group(AD=0.9),
    ],
    ids=["at the limit", "chance", "few rows", "few others", "no limit"],
)
def test_a_group_is_no_reason_within_the_limit_or_where_chance_explains_it(harmless):
    assert judged(evaluation(bias={"carrier=UA": harmless}), bias=BIAS).passed


def test_of_groups_that_pass_the_farthest_is_listed():
    bias = {"carrier=UA": group(DPPL=0.05, DI=0.9), "carrier=AA": group(DPPL=-0.08, DI=0.85)}
    found = [check for check in judged(evaluation(bias=bias), bias=BIAS).checks if check.check == "bias"]
    assert [(check.metric, check.where, check.figure) for check in found[:2]] == [
        ("DPPL", "carrier=AA", 0.08),
        ("DI", "carrier=AA", 0.85),
    ]
    assert "RD was not measured" in found[2].text


def test_of_many_groups_the_worst_of_each_column_and_metric_are_listed_and_the_others_counted():
    """Three protected columns of fifty groups, each beyond each limit: all of it is more than Step Functions
    takes."""
    limits = {"DPPL": 0.1, "RD": 0.1, "SD": 0.1, "AD": 0.1, "DAR": 0.1, "DRR": 0.1, "DI": 0.8}
    columns = ("carrier", "origin", "neighborhood_of_the_stop")
    bias = {
        f"{column}=a group with a name {number:02d}": group(
            chance=1e-6, **dict.fromkeys(limits, 0.3 + number / 100) | {"DI": 0.7 - number / 100}
        )
        for column in columns
        for number in range(50)
    }
    judgement = judged(evaluation(bias=bias), bias={"limits": limits, "min_rows": 100})
    listed = judgement.listed()
    for column in columns:
        for metric in limits:
            found = [c for c in listed if c["metric"] == metric and c["where"].partition("=")[0] == column]
            assert [c["where"][-2:] for c in found[:-1]] == ["49", "48", "47", "46", "45"]
            assert found[-1]["text"].startswith(f"{metric} of 45 more of {column} lies beyond the limit")
            assert (found[-1]["rows"], found[-1]["passed"]) == (45 * 500, False)
    assert judgement.reason.endswith("; and 1045 more checks failed")
    assert len(json.dumps(listed)) < 64_000 and len(judgement.reason) < 2_000


shares = st.floats(0, 1)
errors = st.floats(0, 0.2)
chances = st.floats(0, 1)
parts = st.builds(part, st.floats(-0.5, 0.5), st.integers(1, 2000), chances)
slices = st.dictionaries(st.sampled_from(["JFK", "EWR", "LGA", "SFO"]), parts)
biases = st.dictionaries(
    st.sampled_from(["carrier=UA", "carrier=AA", "carrier=B6"]),
    st.builds(
        group,
        rows=st.integers(0, 500),
        chance=chances,
        DPPL=st.floats(-1, 1),
        DI=st.floats(0, 10),
        RD=st.floats(-1, 1),
    ),
)
exams = st.builds(
    evaluation,
    st.none() | shares,
    st.none() | shares.filter(bool),
    st.integers(1, 20_000),
    error=errors,
    slices=slices.map(lambda found: {"origin": found}),
    bias=biases,
    serving=st.fixed_dictionaries({"p99_ms": st.floats(0, 1000), "artifact_bytes": st.integers(0, 10**9)}),
)
gates = st.fixed_dictionaries(
    {
        "floor": shares,
        "margin": st.floats(-0.2, 0.2),
        "min_rows": st.integers(1, 2000),
        "slice_drop": shares,
        "slice_rows": st.integers(1, 1000),
        "bias": st.none() | st.just(BIAS),
        "latency_p99": st.none() | st.floats(0.001, 1),
        "size": st.none() | st.integers(0, 10**9),
    }
)


@given(exams, gates)
def test_it_passes_where_every_check_does_and_always_says_why(exam, gate):
    judgement = judged(exam, **gate)
    assert judgement.passed is all(check.passed for check in judgement.checks)
    assert judgement.reason
    failed = [check for check in judgement.checks if not check.passed]
    assert all(check.text in judgement.reason for check in failed[:WORST])
    assert ("more checks failed" in judgement.reason) is (len(failed) > WORST)
    for check in judgement.checks:
        assert check.text
        assert check.passed or check.check == "newer" or check.limit is not None


@given(exams, gates)
def test_nothing_passes_that_is_not_shown(exam, gate):
    if not judged(exam, **gate).passed:
        return
    baseline = exam["gains"]["champion" if exam["champion"] else "constant"]
    assert baseline["at_least"] > gate["margin"]
    assert exam["challenger"]["metrics"]["roc_auc"]["value"] >= gate["floor"]
    assert exam["rows"] >= gate["min_rows"]


@given(exams, gates, st.sampled_from(["floor", "margin", "min_rows", "slice_drop"]), st.floats(0, 0.5))
def test_a_stricter_gate_passes_nothing_more(exam, gate, key, change):
    stricter = {
        "floor": gate["floor"] + change,
        "margin": gate["margin"] + change,
        "min_rows": gate["min_rows"] + int(change * 1000),
        "slice_drop": max(0.0, gate["slice_drop"] - change),
    }
    if judged(exam, **gate | {key: stricter[key]}).passed:
        assert judged(exam, **gate).passed


@given(exams, gates, st.floats(0, 0.5))
def test_a_better_model_on_the_same_rows_is_never_refused_for_it(exam, gate, more):
    for other in ("constant", "champion"):
        known = exam["gains"][other]
        if known and known["at_least"] is not None:
            exam["gains"][other] = known | {"at_least": known["at_least"] + more}
    before = {check.check for check in judged(exam, **gate).checks if not check.passed}
    exam["gains"] |= {"slices": {}}
    after = {check.check for check in judged(exam, **gate).checks if not check.passed}
    assert after <= before


@given(exams, gates, st.permutations(["JFK", "EWR", "LGA", "SFO"]))
def test_the_order_of_slices_decides_nothing(exam, gate, order):
    found = exam["gains"]["slices"]["origin"]
    other = exam | {
        "gains": exam["gains"] | {"slices": {"origin": {k: found[k] for k in order if k in found}}}
    }
    assert judged(exam, **gate).passed is judged(other, **gate).passed


@pytest.mark.parametrize(
    ("text", "count"), [("500KB", 500_000), ("200MB", 200_000_000), ("1.5 GB", 1_500_000_000)]
)
def test_sizes(text, count):
    assert units.size(text) == count


@pytest.mark.parametrize("text", ["200", 200, "200 mb", "1TB", "-1MB", None])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match=r"is not a size such as 500KB, 200MB or 1\.5GB"):
        units.size(text)


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 bytes"), (999, "999 bytes"), (21_237, "21.24 KB"), (1.5e9, "1.5 GB")]
)
def test_sizes_in_words(count, said):
    assert units.sized(count) == said
