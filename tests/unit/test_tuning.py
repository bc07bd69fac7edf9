"""`train.tune`: what SageMaker would refuse is refused when it is published; what is asked of SageMaker."""

import json
import re
from pathlib import Path

import botocore.session
import pytest
from botocore.validate import ParamValidator
from evergreen import budget, explain, names, spec, tuning
from evergreen.errors import SpecInvalid
from hypothesis import given
from hypothesis import strategies as st
from train import admit_run

from tests.unit import world
from tests.unit.world import MODEL_YAML, cause, execution, onboard, requested

ROOT = Path(__file__).resolve().parents[2]
TUNE = """\
train:
  instance: ml.m5.large
  hyperparameters: {iterations: 80}
  tune:
    strategy: random
    metric: log_loss
    ranges:
      learning-rate: {min: 0.01, max: 0.3, scale: log}
      max-leaf-nodes: {type: integer, min: 7, max: 63}
      loss: [log_loss, brier]
    jobs: 12
    parallel: 3
    early_stopping: true
"""
GRID = """\
train:
  instance: ml.m5.large
  tune:
    strategy: grid
    ranges: {depth: [3, 5, 7], loss: [log_loss, brier]}
"""


def described(train):
    (line,) = [line for line in MODEL_YAML.splitlines(keepends=True) if line.startswith("train:")]
    return MODEL_YAML.replace(line, train)


def tuned(train=TUNE):
    return spec.parse(described(train))["train"]


def costs(train, instance="ml.m5.large", timeout=3600):
    """What a budget reads of a specification."""
    return {"train": train, "processing": {"instance": instance, "timeout": timeout}}


def limits():
    """The shape of the request, whose bounds AWS checks."""
    model = botocore.session.get_session().get_service_model("sagemaker")
    return model.operation_model("CreateHyperParameterTuningJob").input_shape


def test_a_search_is_described_as_sagemaker_wants_it():
    tune = tuned()["tune"]
    config = tuning.config(tune, tuning.metric(tune, "roc_auc", "binary_classification"))
    assert config == {
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:log_loss"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 12, "MaxParallelTrainingJobs": 3},
        "ParameterRanges": {
            "ContinuousParameterRanges": [
                {
                    "Name": "learning-rate",
                    "MinValue": "0.01",
                    "MaxValue": "0.3",
                    "ScalingType": "Logarithmic",
                }
            ],
            "IntegerParameterRanges": [
                {"Name": "max-leaf-nodes", "MinValue": "7", "MaxValue": "63", "ScalingType": "Auto"}
            ],
            "CategoricalParameterRanges": [{"Name": "loss", "Values": ["log_loss", "brier"]}],
        },
        "TrainingJobEarlyStoppingType": "Auto",
        "RandomSeed": 7,
    }
    found = ParamValidator().validate(config, limits().members["HyperParameterTuningJobConfig"])
    assert not found.has_errors(), found.generate_report()


def test_what_is_tuned_is_the_gates_metric_unless_another_is_named():
    tune = tuned(TUNE.replace("    metric: log_loss\n", ""))["tune"]
    metric = tuning.metric(tune, "roc_auc", "binary_classification")
    assert (metric["name"], metric["goal"]) == ("validation:roc_auc", "maximize")
    described_by_hand = "metric: {name: loss, regex: 'loss=([0-9.]+)', goal: minimize}"
    tune = tuned(TUNE.replace("metric: log_loss", described_by_hand))["tune"]
    assert tuning.metric(tune, "roc_auc", "binary_classification") == {
        "name": "loss",
        "regex": "loss=([0-9.]+)",
        "goal": "minimize",
    }


@pytest.mark.parametrize("printed", ["0.412", "-1.5", "3.2e-05", "7"])
def test_the_metric_of_a_task_is_read_from_what_a_script_prints(printed):
    metric = tuning.metric({"metric": None}, "r2", "regression")
    (value,) = re.findall(metric["regex"], f"epoch 3 validation:r2={printed} seconds=2.0")
    assert float(value) == float(printed)


def test_the_example_of_the_docs_is_the_example_model_tuned():
    (example,) = re.findall(r"```yaml\n(train:\n.*?)```", (ROOT / "docs/tuning.md").read_text(), re.DOTALL)
    tune = tuned(example)["tune"]
    assert (tuning.jobs(tune), tuning.parallel(tune), tune["early_stopping"]) == (12, 3, True)
    flags = re.findall(r'"--([a-z-]+)"', (ROOT / "models/flights/train.py").read_text())
    assert set(tune["ranges"]) | {"iterations", "validation-days"} <= set(flags)


def test_a_grid_is_as_large_as_it_is():
    tune = tuned(GRID)["tune"]
    assert (tuning.jobs(tune), tuning.parallel(tune)) == (6, 1)
    assert (tuning.jobs(None), tuning.parallel(None)) == (1, 1)


def test_each_price_is_of_a_type_that_can_be_trained_on():
    model = botocore.session.get_session().get_service_model("sagemaker")
    assert not set(budget.prices()) - set(model.shape_for("TrainingInstanceType").enum)
    assert all(0.01 < price < 200 for price in budget.prices().values())


def test_a_search_is_reserved_for_and_counted_with_all_its_instances():
    search, alone = costs(tuned()), costs(tuned(TUNE.split("  tune:")[0]))
    around = 2 * 0.115
    assert budget.reserve(search) - around == pytest.approx(12 * (budget.reserve(alone) - around))
    assert budget.hourly(search) == pytest.approx(3 * budget.hourly(alone))


def test_what_is_around_a_training_costs_what_its_own_instances_cost():
    train = tuned(TUNE.split("  tune:")[0]) | {"instance": "ml.p4d.24xlarge"}
    dear = costs(train, timeout=7200)
    assert budget.reserve(dear) == pytest.approx(25.252 + 2 * 2 * 0.115)
    assert budget.hourly(dear) == pytest.approx(25.252)
    assert budget.hourly(costs(tuned(TUNE.split("  tune:")[0]), instance="ml.g5.xlarge")) == 1.408
    assert budget.hourly(costs(train, instance="ml.x9.large")) is None


seconds = st.integers(1, 3600)
types = st.sampled_from(["ml.m5.large", "ml.c5.xlarge", "ml.g5.xlarge"])


@given(
    trainings=st.lists(seconds, min_size=1, max_size=12),
    at_once=st.integers(1, 5),
    others=st.tuples(seconds, seconds),
    on=st.tuples(types, types),
)
def test_what_is_counted_is_never_under_the_bill_nor_over_what_was_reserved(trainings, at_once, others, on):
    """One after the other on the instance that is free first, as a tuning job starts its training jobs."""
    train = tuned()
    train |= {"instance": on[0]}
    train["tune"] |= {"jobs": len(trainings), "parallel": at_once}
    run, prices = costs(train, instance=on[1]), budget.prices()
    free = [0] * at_once
    for took in trainings:
        free[free.index(min(free))] += took
    bill = (sum(trainings) * prices[on[0]] + sum(others) * prices[on[1]]) / 3600
    counted = budget.spent(budget.reserve(run), budget.hourly(run), max(free) + sum(others))
    assert bill - 1e-9 <= counted <= budget.reserve(run)


def test_the_plan_names_the_search_after_its_run(ledger):
    onboard(ledger, described(TUNE))
    plan = admit_run.handler({"event": requested(cause()), "execution": execution("one")}, world.CONTEXT)
    assert plan["tuning"]["name"] == names.tuning("evergreen", plan["run"])
    assert plan["tuning"]["metric"]["Name"] == "validation:log_loss"
    assert plan["spec"]["hyperparameters"]["iterations"] == "80"


def test_the_name_fits_whatever_the_model_is_called():
    shape = limits().members["HyperParameterTuningJobName"]
    longest = names.tuning("p" * 18, f"{'m' * 20}-0123456789")
    assert len(longest) == shape.metadata["max"]
    assert re.fullmatch(shape.metadata["pattern"], longest)
    assert len({names.tuning("p", f"m{number}-0123456789") for number in range(100)}) == 100


def test_a_search_that_somebody_stopped_says_so():
    stopped = {"HyperParameterTuningJobName": "evergreen-1", "HyperParameterTuningJobStatus": "Stopped"}
    error = {"Error": "States.TaskFailed", "Cause": json.dumps(stopped)}
    assert explain.sentence(error) == (
        "HyperParameterTuningJob evergreen-1 stopped: it gave no reason "
        "(logs: /aws/sagemaker/TrainingJobs, stream evergreen-1)"
    )


# What stands in the section, what is put in its place, and what is said of it below train.tune.
MISTAKES = """
strategy: random | strategy: hyperband | line 15: strategy: 'hyperband' is not one of bayesian, random
metric: log_loss | metric: logloss | line 16: metric: 'logloss' is not a metric of binary_classificat
metric: log_loss | metric: {name: x, regex: 'x=.*', goal: minimize} | line 16: metric.regex: 'x=.*' has
metric: log_loss | metric: {name: x, regex: '(x=', goal: minimize} | line 16: metric.regex: '(x=' is not a
metric: log_loss | metric: {name: x, regex: 'x=(.*)', goal: less} | line 16: metric.goal: 'less' is not
learning-rate: {min: 0.01 | learning-rate: {min: 0.4 | line 18: ranges.learning-rate.min: 0.4 is not less
learning-rate: {min: 0.01 | learning-rate: {min: 0.0 | line 18: ranges.learning-rate.scale: log needs a
scale: log} | scale: exp} | line 18: ranges.learning-rate.scale: 'exp' is not one of auto, linear, log
max: 0.3, scale: log} | max: 1.5, scale: reverse_log} | line 18: ranges.learning-rate.scale: reverse_log
type: integer, min: 7 | type: integer, min: 7.5 | line 19: ranges.max-leaf-nodes.type: 7.5 and 63 are not
type: integer, min: 7 | min: 7 | line 19: ranges.max-leaf-nodes: has whole numbers for its ends: say
type: integer, min: 7, max: 63 | type: integer, min: 7 | line 19: ranges.max-leaf-nodes.max: is missing
loss: [log_loss, brier] | loss: [] | line 20: ranges.loss: 0 values are not between 1 and 30
loss: [log_loss, brier] | loss: [brier, brier] | line 20: ranges.loss: names a value twice
loss: [log_loss, brier] | loss: brier | line 20: ranges.loss: must be a mapping of names, not a single
loss: [log_loss, brier] | iterations: [50, 80] | line 20: ranges.iterations: has a value under train.hyp
jobs: 12 | jobs: 751 | line 21: jobs: 751 is not between 1 and 750
jobs: 12 | jobs: 67 | line 21: jobs: 67 trainings of up to 1h, 3 at a time, may take longer than a run may
parallel: 3 | parallel: 13 | line 22: parallel: 13 at once are more than all 12
parallel: 3 | parallel: 101 | line 22: parallel: 101 is not between 1 and 100
strategy: random | strategy: grid | line 18: ranges.learning-rate: a grid is of lists of values
"""


@pytest.mark.parametrize("mistake", MISTAKES.strip().splitlines())
def test_a_mistake_has_its_line_and_its_reason(mistake):
    old, new, found = mistake.split(" | ")
    assert TUNE.count(old) == 1
    with pytest.raises(SpecInvalid) as raised:
        tuned(TUNE.replace(old, new))
    line, reason = found.split(": ", 1)
    assert str(raised.value).splitlines()[1].strip().startswith(f"{line}: train.tune.{reason}")


MANY = "more: [" + ", ".join("abcdefghijklmnop") + "], extra: [" + ", ".join("0123456789") + "]"
FIXED = "  hyperparameters: {" + ", ".join(f"f{n}: 1" for n in range(96)) + "}\n  tune:"
THIRTY = "".join(f"h{n}: [1], " for n in range(30))
BETWEEN = {
    "line 14: train.tune.jobs: is missing: how many trainings a random": TUNE.replace("    jobs: 12\n", ""),
    "line 16: train.tune.jobs: 5 is not the 6 of the grid: leave it out": GRID + "    jobs: 5\n",
    "line 15: train.tune.ranges: a grid of 960 is more than the 750": GRID.replace(
        "{depth", f"{{{MANY}, depth"
    ),
    "line 15: train.tune.ranges: names no": re.sub(r"ranges: .*", "ranges: {}", GRID),
    "line 15: train.tune.ranges: 32 hyperparameters are more than": GRID.replace(
        "{depth", f"{{{THIRTY}depth"
    ),
    "line 13: train.hyperparameters: 98 with those of train.tune.ranges": GRID.replace("  tune:", FIXED),
}


@pytest.mark.parametrize("found", BETWEEN)
def test_what_lies_between_the_keys_is_told_too(found):
    with pytest.raises(SpecInvalid) as raised:
        tuned(BETWEEN[found])
    assert any(line.strip().startswith(found) for line in str(raised.value).splitlines()), raised.value


def test_a_month_pays_for_one_search():
    large = described(TUNE.replace("jobs: 12", "jobs: 60"))
    assert spec.parse(large)["retrain"]["budget"] == 100
    with pytest.raises(SpecInvalid, match=r"budget: 5 USD a month is too little: .* may cost 7\.13"):
        spec.parse(large.replace("per_day: 2", "per_day: 2, budget: 5"))
