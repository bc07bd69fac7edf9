"""model.yaml: what may be meant, what may not, and on which line."""

import re
from pathlib import Path

import pytest
from evergreen import monitoring, spec, units
from evergreen.errors import SpecInvalid
from hypothesis import given
from hypothesis import strategies as st

from jobs.monitor import bias_metrics
from tests.unit.world import MODEL_YAML

ROOT = Path(__file__).resolve().parents[2]


def mistakes(text, **more):
    with pytest.raises(SpecInvalid) as raised:
        spec.parse(text, **more)
    return str(raised.value).splitlines()[1:]


def changed(old, new):
    assert old in MODEL_YAML
    return MODEL_YAML.replace(old, new)


def test_the_example_model_is_valid():
    folder = ROOT / "models" / "flights"
    files = {path.name for path in folder.iterdir()}
    parsed = spec.parse((folder / "model.yaml").read_text(), folder="flights", files=files)
    assert parsed["monitor"]["lookback"] == 7 * 86400


def test_units_and_defaults():
    parsed = spec.parse(MODEL_YAML)
    assert parsed["gate"]["holdout"] == 14 * 86400
    assert parsed["ship"]["alarms"] == {"errors": 0.01, "latency_p99": 0.2, "answers": None}
    assert parsed["monitor"]["lookback"] == parsed["monitor"]["every"] == 7 * 86400
    assert parsed["features"]["distance"] == {
        "type": "number",
        "min": None,
        "max": None,
        "values": None,
        "nullable": False,
    }
    assert parsed["retrain"]["repeat"] == 2
    assert parsed["processing"]["instance"] == "ml.m5.large"


def test_one_instance_is_shipped_all_at_once():
    parsed = spec.parse(changed("strategy: canary, percent: 10, ", "").replace(", count: 2", ""))
    assert (parsed["ship"]["strategy"], parsed["serve"]["count"]) == ("all_at_once", 1)


def test_a_number_that_no_float_holds_has_its_line():
    (said,) = mistakes(changed("floor: 0.65", f"floor: {'9' * 400}"))
    assert said.startswith("  line 13: gate.floor: ")


def test_defaults_are_nobodys_to_share():
    first, second = spec.parse(MODEL_YAML), spec.parse(MODEL_YAML)
    first["processing"]["instance"] = "ml.p4d.24xlarge"
    assert (
        second["processing"]["instance"] == spec.parse(MODEL_YAML)["processing"]["instance"] == "ml.m5.large"
    )


# What stands in the specification, what is put in its place, and what is said of it.
MISTAKES = """
name: flights | name: Flights! | line 1: name: 'Flights!' is not a name of at most 20 small letters
name: flights | name: flights- | line 1: name: 'flights-' is not a name of at most 20 small letters
task: binary_classification | task: ranking | line 2: task: 'ranking' is not one of binary_classification
target: late | target: distance | line 9: features.distance: is the target: a model must not see it
id: flight_id | id: late | line 4: id: 'late' is the target already
time: scheduled_departure | time: flight_id | line 5: time: 'flight_id' is the id already
values: [EWR, JFK, LGA] | values: [EWR, NO] | line 7: features.origin.values: entry 2, False, is no string
values: [EWR, JFK, LGA] | values: [007] | line 7: features.origin.values: entry 1, 7, is no string
min: 0, max: 23 | values: [1, two] | line 8: features.dep_hour.values: entry 2, two, is no integer
min: 0, max: 23 | values: [2.5] | line 8: features.dep_hour.values: entry 1, 2.5, is no integer
distance: number | distance: {type: boolean, values: [1]} | line 9: features.distance.values: entry 1, 1
min: 0, max: 23 | min: 24, max: 23 | line 8: features.dep_hour.min: 24 is more than max, 23
distance: number | distance: float | line 9: features.distance: 'float' is not one of number, integer
distance: number | distance: {type: string, max: 3} | line 9: features.distance.type: a string has no min
values: [EWR, JFK, LGA] | values: [] | line 7: features.origin.values: allows nothing
train.py, instance: ml.m5 | train.py, instance: m5 | line 11: train.instance: 'm5.large' is not an instance
iterations: 80 | iterations: [80] | line 11: train.hyperparameters.iterations: must be a single value
primary: roc_auc | primary: rmse | line 13: gate.primary: 'rmse' is not a metric of binary_classification
floor: 0.65 | floor: high | line 13: gate.floor: 'high' is not a number
primary: roc_auc | primary: recall | line 13: gate.primary: recall is 1 where every row is called positive
holdout: 14d | holdout: 14 | line 13: gate.holdout: 14 is not a duration such as 90d, 6h, 10m
holdout: 14d | holdout: 14d, confidence: 90 | line 13: gate.confidence: 90 is not between 0.5 and 0.999
holdout: 14d | holdout: 14d, latency_p99: 2m | line 13: gate.latency_p99: '2m' is not between 1ms and 1m
holdout: 14d | holdout: 14d, size: 200 | line 13: gate.size: 200 is not a size such as 500KB, 200MB or 1.5GB
holdout: 14d | holdout: 14d, bias: {limits: {RD: 0.1}} | line 13: gate.bias: has no group to compare: name
percent: 10 | percent: 60 | line 14: ship.percent: 60 is not between 1 % and 50 %
errors: 1% | errors: 101% | line 14: ship.alarms.errors: '101%' is not between 0 % and 100 %
canary, percent: 10 | linear, percent: 5 | line 14: ship.percent: 5 % is under 10 %, the smallest step
, count: 2 |  | line 12: serve.count: 1 instance cannot be split for a canary deployment: set it to 2
count: 2 | count: 2, scaling: {min: 1, max: 3, invocations_per_instance: 9} | line 12: serve.scaling.min: 1
count: 2 | count: 2, scaling: {min: 3, max: 2, invocations_per_instance: 9} | line 12: serve.scaling.min: 3 is
canary, percent: 10 | rolling, percent: 4 | line 14: ship.percent: 4 % is under 5 %, the smallest batch of a
canary, percent: 10, bake: 10m | shadow, bake: 30s | line 14: ship.bake: is too short for a shadow
strategy: canary | strategy: gradual | line 14: ship.strategy: 'gradual' is not one of canary, linear, rolling
canary, percent: 10, bake: 10m | linear, percent: 10, bake: 1h | line 14: ship.bake: 10 steps of 1h take
every: 7d | every: 90s | line 16: monitor.every: is not a whole number of minutes
metric: log_loss | metric: logloss | line 19: monitor.quality.metric: 'logloss' is not a metric of
rate(7 days) | rate(7 day) | line 20: retrain.schedule: 'rate(7 day)' is not a schedule such as
rate(7 days) | every week | line 20: retrain.schedule: 'every week' is not a schedule such as
rate(7 days) | rate(9999999999999 days) | line 20: retrain.schedule: 'rate(9999999999999 days)' is longer than
rate(7 days) | "cron(0 6 1 13 ? *)" | line 20: retrain.schedule: 'cron(0 6 1 13 ? *)': month 13 is not 1 to 12
on: [violation, data] | on: [violations] | line 20: retrain.on[0]: 'violations' is not one of
on: [violation, data] | on: violation | line 20: retrain.on: must be a list, not a single value
per_day: 2 | per_day: 2, per_day: 3 | line 20: retrain.per_day: is given twice (first on line 20)
cool_down: 6h | cooldown: 6h | line 20: retrain.cooldown: is not a key here; did you mean cool_down?
task: binary_classification |  | line 1: task: is missing
seasonal: [temp] | seasonal: [wind] | line 17: monitor.data.seasonal: 'wind' is not a feature
"""


@pytest.mark.parametrize("mistake", MISTAKES.strip().splitlines())
def test_a_mistake_has_its_line_and_its_reason(mistake):
    old, new, found = mistake.split(" | ")
    (only,) = mistakes(changed(old, new))
    assert only.strip().startswith(found)


@pytest.mark.parametrize(
    ("task", "limits", "found"),
    [
        (
            "binary_classification",
            "KL: 0.1",
            "line 14: gate.bias.limits.KL: is not a limit of the gate",
        ),
        (
            "binary_classification",
            "DI: 1.25",
            "line 14: gate.bias.limits.DI: 1.25 is more than 1, where",
        ),
        (
            "regression",
            "RD: 0.1",
            "line 14: gate.bias: a regression has no positive outcome",
        ),
    ],
)
def test_a_limit_of_bias_that_cannot_be_judged(task, limits, found):
    metric = {"binary_classification": "log_loss", "regression": "r2"}[task]
    text = changed("target: late", "target: late\nprotected: [carrier]")
    text = text.replace("binary_classification", task).replace("metric: log_loss", f"metric: {metric}")
    text = text.replace("roc_auc, floor: 0.65", f"{'roc_auc' if metric == 'log_loss' else 'r2'}, floor: 0.65")
    (only,) = mistakes(text.replace("14d,", f"14d, bias: {{limits: {{{limits}}}}},"))
    assert only.strip().startswith(found)


def test_how_much_a_slice_may_lose_of_an_error_is_said():
    """0.05 of an AUC is much in any model; 0.05 of an error in its own unit may be nothing."""
    text = changed("binary_classification", "regression").replace("metric: log_loss", "metric: mae")
    text = text.replace("roc_auc, floor: 0.65", "mae, floor: 9")
    (only,) = mistakes(text)
    assert only.strip() == (
        "line 13: gate.slices: say in gate.slice_drop how much mae a slice may lose, in its own unit"
    )
    gate = spec.parse(text.replace("slices: [origin]", "slices: [origin], slice_drop: 2.5"))["gate"]
    assert (gate["slice_drop"], gate["confidence"], gate["bias"], gate["size"]) == (2.5, 0.9, None, None)


@pytest.mark.parametrize(
    ("task", "primary", "positive", "found"),
    [
        ("regression", "r2", "dear", "'dear' is not the number that a regression's outcome must exceed"),
        ("regression", "r2", "[1500, 2000]", "[1500, 2000] is not the number that a regression's outcome"),
        ("regression", "r2", "true", "True is not the number that a regression's outcome must exceed"),
        ("binary_classification", "f1", "late", "'late' is not 0 or 1, the labels of a binary"),
        ("binary_classification", "f1", "true", "True is not 0 or 1, the labels of a binary"),
        ("multiclass_classification", "f1_macro", "[]", "names no outcome"),
        (
            "multiclass_classification",
            "f1_macro",
            "[billing, 0.5]",
            "0.5 is not a class, as a text or a whole",
        ),
        ("regression", "r2", "1.5e+3", None),
        ("binary_classification", "f1", "[0]", None),
        ("multiclass_classification", "f1_macro", "[billing, 3]", None),
    ],
)
def test_the_outcome_of_the_bias_is_one_of_the_task(task, primary, positive, found):
    """Another would match no row: no group would ever be found to be treated otherwise."""
    text = changed("seasonal: [temp]", "seasonal: []").replace("binary_classification", task)
    text = text.replace("primary: roc_auc", f"primary: {primary}").replace("log_loss", primary)
    text = text.replace("slices: [origin]", "slices: []")
    text = text.replace("\nmonitor:\n", f"\nmonitor:\n  bias: {{positive: {positive}}}\n")
    if found is None:
        assert spec.parse(text)["monitor"]["bias"]["positive"]
    else:
        (only,) = mistakes(text)
        assert only.strip().startswith(f"line 16: monitor.bias.positive: {found}")


MONITOR = """
  bias:
    facets: {origin: [JFK, LGA], distance: 1000, carrier: null}
    positive: [0]
    metrics: [DPPL, DI]
    limits: {DI: 0.8}
    false_alarms: 2%
  attribution: {ndcg: 0.85, l1: 0.2}
  rules:
    python: rules.py
    sql:
      - {name: no rows at night, query: "SELECT 1 FROM captured WHERE dep_hour < 4", description: dawn}
"""


def monitored(old="", new=""):
    assert old in MONITOR
    head, tail = changed("target: late", "target: late\nprotected: [carrier]").split("retrain:")
    return f"{head.rstrip()}{MONITOR.replace(old, new)}retrain:{tail}"


def test_what_the_analyser_is_asked():
    monitor = spec.parse(monitored(), files={"train.py", "inference.py", "rules.py"})["monitor"]
    assert monitor["bias"]["facets"] == {"origin": ["JFK", "LGA"], "distance": 1000, "carrier": None}
    assert monitor["bias"]["false_alarms"] == 0.02
    assert monitor["attribution"] == {"ndcg": 0.85, "l1": 0.2, "false_alarms": None}
    assert [query["name"] for query in monitor["rules"]["sql"]] == ["no rows at night"]
    listed = spec.parse(monitored("{origin: [JFK, LGA], distance: 1000, carrier: null}", "[origin, carrier]"))
    assert listed["monitor"]["bias"]["facets"] == {"origin": None, "carrier": None}


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("carrier: null", "gate: null", "monitor.bias.facets: 'gate' is neither a feature nor in"),
        ("carrier: null", "carrier: [[a]]", "monitor.bias.facets.carrier[0]: must be a single value"),
        ("[DPPL, DI]", "[DPPL, ID]", "monitor.bias.metrics[1]: 'ID' is not one of CI, DPL"),
        ("{DI: 0.8}", "{DIR: 0.8}", "monitor.bias.limits.DIR: is not a bias metric"),
        ("2%", "0", "monitor.bias.false_alarms: 0 is not between 0.01 % and 50 %"),
        ("l1: 0.2", "l1: 3", "monitor.attribution.l1: 3 is not between 0 and 2"),
        ("rules.py", "checks.py", "monitor.rules.python: checks.py is not in the folder"),
        ("rules.py", "rules.sh", "monitor.rules.python: 'rules.sh' is not a Python file"),
        (
            "description: dawn}",
            "description: dawn}\n      - {name: no rows at night, query: SELECT 2}",
            "monitor.rules.sql: two rules are called 'no rows at night'",
        ),
        ("name: no rows at night, ", "", "monitor.rules.sql[0].name: is missing"),
        ("description: dawn", "severity: panic", "monitor.rules.sql[0].severity: 'panic' is not one of"),
    ],
)
def test_what_the_analyser_cannot_be_asked(old, new, found):
    (only,) = mistakes(monitored(old, new), files={"train.py", "inference.py", "rules.py"})
    assert found in only


def test_the_bias_metrics_are_those_of_the_job():
    assert tuple(bias_metrics.NAMES) == monitoring.BIAS_METRICS


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "line 1: the file is empty"),
        ("- a\n- b", "line 1: must be a mapping of names, not a list"),
        ("name: a\n  b: [", "line 2: not YAML: mapping values are not allowed here"),
        ("name: \x00", "line 1: not YAML"),
    ],
)
def test_what_is_not_a_specification(text, found):
    assert found in mistakes(text)[0]


@given(st.text(max_size=200))
def test_any_text_is_valid_or_refused(text):
    with pytest.raises(SpecInvalid):
        spec.parse(text)


@given(
    line=st.integers(0, MODEL_YAML.count("\n") - 1),
    garbage=st.text(st.characters(blacklist_characters="\n\r\x85\u2028\u2029", codec="utf-8"), max_size=30),
)
def test_a_broken_line_is_refused_not_crashed_on(line, garbage):
    lines = MODEL_YAML.splitlines()
    lines[line] = garbage
    try:
        spec.parse("\n".join(lines))
    except SpecInvalid as refused:
        assert str(refused).startswith("model.yaml has ")


@given(st.integers(1, 5000).map(lambda minutes: minutes * 60))
def test_a_rate_is_a_schedule(seconds):
    assert units.schedule(units.rate(seconds)) == units.rate(seconds)


@pytest.mark.parametrize(
    "fields",
    [
        "0/15 8-17 ? * MON-FRI *",
        "0 6 L * ? *",
        "0 6 LW,15W * ? 2026-2030",
        "0 6 ? jan,jul 6#2 *",
        "0 6 ? * 6L *",
        "0 6 29 2 ? *",
        "0 6 1/7 */3 ? *",
        "*/05 * * * ? *",
        "0 6 15,31 2 ? *",
    ],
)
def test_a_cron_expression_is_what_scheduler_takes(fields):
    assert units.schedule(f"cron({fields})") == f"cron({fields})"


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ("60 6 * * ? *", "minute 60 is not 0 to 59"),
        ("0 24 * * ? *", "hour 24 is not 0 to 23"),
        ("0 6 0 * ? *", "day of the month 0 is not 1 to 31"),
        ("0 6 1 JUM ? *", "month JUM is not 1 to 12 or JAN to DEC"),
        ("0 6 ? * 0 *", "day of the week 0 is not 1 to 7 or SUN to SAT"),
        ("0 6 ? * 6#6 *", "'6#6' is no day of the week"),
        ("0 6 ? * 2#1,2#3 *", "day of the week 2#1,2#3 names several, and one with # must be the only one"),
        ("0 6 * * ? 26", "year 26 is not 1970 to 2199"),
        ("0/0 6 * * ? *", "'0/0' is no minute"),
        ("0,,5 6 * * ? *", "'' is no minute"),
        ("0 20-4 * * ? *", "hour 20-4 ends before it begins: make it two ranges"),
        ("0 6 * * * *", "one of day of the month and day of the week must be ?, and one not"),
        ("0 6 ? * ? *", "one of day of the month and day of the week must be ?, and one not"),
        ("0 0 31 2 ? *", "no month of it has a day 31: it never comes"),
        ("0 0 31W 4,JUN ? *", "no month of it has a day 31: it never comes"),
        ("0 0 29 FEB ? 2027", "no month of it has a day 29: it never comes"),
    ],
)
def test_a_cron_expression_that_scheduler_refuses_or_that_never_comes_is_a_mistake(fields, found):
    with pytest.raises(ValueError, match=re.escape(f"'cron({fields})': {found}")):
        units.schedule(f"cron({fields})")


@pytest.mark.parametrize(
    ("seconds", "text"), [(604800, "rate(7 days)"), (3600, "rate(1 hour)"), (5400, "rate(90 minutes)")]
)
def test_rates(seconds, text):
    assert units.rate(seconds) == text


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        (
            "per_day: 2,",
            "per_day: 2, budget: 0.3,",
            "retrain.budget: 0.3 USD a month is too little: one training may cost 0.34 USD within its time",
        ),
        ("per_day: 2,", "per_day: 2, budget: lots,", "retrain.budget: 'lots' is not a number"),
        ("per_day: 2,", "per_day: 2, give_up_after: 0,", "retrain.give_up_after: 0 is not between 1 and 100"),
        ("per_day: 2,", "per_day: 2, data: [],", "retrain.data: names no source: some of base, captured"),
        (
            "train: {entry: train.py, instance: ml.m5.large",
            "train: {entry: train.py, instance: ml.x9.large",
            "train.instance: ml.x9.large has no price: add it to prices.yaml, or set retrain.budget: none",
        ),
        (
            "train: {entry",
            "processing: {instance: ml.x9.large}\ntrain: {entry",
            "processing.instance: ml.x9.large has no price: add it to prices.yaml",
        ),
    ],
)
def test_a_budget_can_be_kept_and_pays_for_one_training(old, new, mistake):
    assert mistake in mistakes(changed(old, new))[0]


def test_a_run_fits_into_the_time_of_its_machine():
    """tests/unit/test_train.py holds the machine to it."""
    trains = changed("instance: ml.m5.large, hyper", "instance: ml.m5.large, timeout: 22h, hyper")
    longest = trains.replace("per_day: 2,", "per_day: 2, budget: none,")
    assert spec.parse(longest)["train"]["timeout"] == 22 * 3600
    said = mistakes(f"processing: {{timeout: 2h}}\n{longest}")
    asked = "22h to train and twice 2h to prepare and to evaluate"
    assert said == [f"  line 1: processing.timeout: {asked} may be longer than a run may take (1d)"]


def test_without_a_budget_no_price_is_needed():
    free = changed("per_day: 2,", "per_day: 2, budget: none,").replace(
        "py, instance: ml.m5", "py, instance: ml.x9"
    )
    assert spec.parse(free)["retrain"]["budget"] is None
    retrain = spec.parse(MODEL_YAML)["retrain"]
    assert (retrain["budget"], retrain["give_up_after"], retrain["data"]) == (100, 2, ["base"])
