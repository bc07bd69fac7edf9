"""What a new version answers is watched beside what the champion does, where the two can be compared."""

import pytest
from evergreen import answers, names, spec
from evergreen.errors import SpecInvalid

from tests.unit import world
from tests.unit.test_deploy import admit, approved, promote
from tests.unit.test_payloads import assert_holds, references
from tests.unit.world import GROUP, MODEL_YAML

MEASURED = {"mean": 0.27, "spread": 0.15, "champion": 0.24}
ASKED = MODEL_YAML.replace("errors: 1%", "errors: 1%, answers: 0.5")


def planned(ledger, sagemaker, yaml=ASKED, **figures):
    """The plan of version 2 beside version 1."""
    world.onboard(ledger, yaml)
    world.champion(ledger)
    world.registered(ledger, 2, figures={"answers": MEASURED, "against": 1} | figures)
    sagemaker.package(f"{GROUP}/2")
    sagemaker.endpoints["evergreen-flights"] = {"EndpointStatus": "InService"}
    return admit(approved(2))


def test_an_alarm_compares_both_fleets_under_the_same_requests(ledger, sagemaker):
    plan = planned(ledger, sagemaker)
    assert_holds(plan, {path for path in references("deploy", "plan") if path[0] == "answers"})
    new = plan["deployment"]
    assert plan["answers"]["limit"] == 0.5
    rollback = plan["deploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    assert [alarm["AlarmName"] for alarm in rollback] == plan["alarmNames"]
    assert plan["alarmNames"] == [f"{new}-errors", f"{new}-latency", f"{new}-answers"]
    series = {each["Id"]: each["MetricStat"] for each in plan["answers"]["metrics"] if "MetricStat" in each}
    assert {id: stat["Stat"] for id, stat in series.items()} == {
        "new": "Average",
        "old": "Average",
        "new_requests": "SampleCount",
        "old_requests": "SampleCount",
    }
    told_by = {id: stat["Metric"]["Dimensions"][0]["Value"] for id, stat in series.items()}
    assert told_by["old"] == told_by["old_requests"] == "evergreen-flights-v1-aaaaaa"
    assert told_by["new"] == told_by["new_requests"] == plan["environment"]["EVERGREEN_DEPLOYMENT"] == new
    assert names.parse_alarm("evergreen", f"{new}-answers").name == new
    promote(plan)
    assert ledger.need("flights", "CHAMPION")["alarms"] == plan["alarmNames"]


@pytest.mark.parametrize(
    ("yaml", "figures"),
    [
        (MODEL_YAML, {}),
        (ASKED, {"answers": None}),  # classes have no mean
        (ASKED, {"against": None}),  # the first version that was ever evaluated
        (ASKED, {"against": 7}),  # another version has come into service meanwhile
    ],
)
def test_nothing_is_watched_where_there_is_nothing_to_compare_with(ledger, sagemaker, yaml, figures):
    plan = planned(ledger, sagemaker, yaml, **figures)
    assert plan["answers"] is None
    assert len(plan["alarmNames"]) == 2


def apart(new, old, new_requests, old_requests):
    """What the alarm's expression comes to."""
    expression = answers.metrics(MEASURED, "new", "old")[0]["Expression"]
    known = {"new": new, "old": old, "new_requests": new_requests, "old_requests": old_requests}
    return eval(expression.replace("^", "**"), {"ABS": abs, **known})


def test_it_counts_what_is_beyond_the_expected_difference_and_beyond_chance():
    assert apart(0.37, 0.34, 10**6, 10**6) == pytest.approx(0, abs=0.01), "as on the held-out rows"
    assert apart(0.52, 0.34, 10**6, 10**6) == pytest.approx(1, abs=0.01), "one standard deviation more"
    assert apart(0.22, 0.34, 10**6, 10**6) == pytest.approx(1, abs=0.01), "or less"
    assert apart(0.52, 0.34, 10, 90) < 0.5, "ten requests say little"
    assert apart(0.99, 0.34, 10, 90) > 0.5, "unless it answers nonsense"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("strategy: canary, percent: 10", "strategy: all_at_once"), "only beside another fleet"),
        (("task: binary_classification", "task: multiclass_classification"), "no numbers with a mean"),
    ],
)
def test_answers_that_cannot_be_compared_are_told_at_publish(change, said):
    assert change[0] in ASKED
    with pytest.raises(SpecInvalid, match=f"ship.alarms.answers: .*{said}"):
        spec.parse(ASKED.replace(*change))
