"""Hyperparameter tuning: training jobs over a space of values, the best by a metric of their logs.

Strategies `Random` and `Grid` are as on AWS. `Bayesian` and `Hyperband` draw at random too: they choose other
values than AWS would, and never stop a training job early.
"""

import itertools
import math
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .errors import invalid
from .jobs import ENDED, Job, JobFailed, JobStopped, Runner
from .service import operation
from .store import Record

if TYPE_CHECKING:
    from .service import Service

_NOUN = "HyperParameterTuningJob"
_TRAINING = (
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "VpcConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
    "RetryStrategy",
    "Environment",
)


@operation
def create_hyper_parameter_tuning_job(service: "Service", params: Record) -> Record:
    _check(params)
    return service.part(Runner).launch(
        _NOUN, params, _tune, in_turn=False, **_counters([]), Strategy=_config(params)["Strategy"]
    )


@operation
def stop_hyper_parameter_tuning_job(service: "Service", params: Record) -> None:
    service.part(Runner).stop(_NOUN, params[f"{_NOUN}Name"])


@operation
def list_training_jobs_for_hyper_parameter_tuning_job(service: "Service", params: Record) -> Record:
    job = service.store.get(_NOUN, params.pop(f"{_NOUN}Name"))
    return service.page(
        "ListTrainingJobsForHyperParameterTuningJob", _children(service, job[f"{_NOUN}Arn"]), params
    )


def _config(record: Record) -> Record:
    return record["HyperParameterTuningJobConfig"]


def _check(params: Record) -> None:
    """What the shapes cannot say."""
    config, definition = _config(params), params.get("TrainingJobDefinition")
    if not definition or "ResourceConfig" not in definition:
        raise invalid("The local SageMaker tunes one TrainingJobDefinition, with its ResourceConfig.")
    objective = config.get("HyperParameterTuningJobObjective")
    if not objective:
        raise invalid("HyperParameterTuningJobObjective is needed: the local SageMaker has no algorithms.")
    metrics = [item["Name"] for item in definition["AlgorithmSpecification"].get("MetricDefinitions", [])]
    if objective["MetricName"] not in metrics:
        raise invalid(
            f'The objective metric name you specified, "{objective["MetricName"]}", isn\'t defined in the '
            "metric definitions."
        )
    ranges = config.get("ParameterRanges", {})
    numeric = ranges.get("IntegerParameterRanges", []) + ranges.get("ContinuousParameterRanges", [])
    for item in numeric:
        if float(item["MinValue"]) > float(item["MaxValue"]):
            raise invalid(f"MinValue of {item['Name']} is greater than its MaxValue.")
    if config["Strategy"] == "Grid":
        if numeric:
            raise invalid("Grid search supports categorical parameter ranges only.")
    elif "MaxNumberOfTrainingJobs" not in config["ResourceLimits"]:
        raise invalid("MaxNumberOfTrainingJobs is needed unless the strategy is Grid.")


def _tune(job: Job) -> None:
    config = _config(job.record)
    limits = config["ResourceLimits"]
    job.begin("Tuning", "", limit=limits.get("MaxRuntimeInSeconds"))
    values = itertools.islice(_candidates(job.record), limits.get("MaxNumberOfTrainingJobs"))
    try:
        for number, drawn in enumerate(values, start=1):
            while len(_running(job)) >= limits["MaxParallelTrainingJobs"]:
                _pause(job)
            if _is_good_enough(job, config):
                break
            _launch(job, number, drawn)
        while _running(job):
            _pause(job)
    except JobStopped:
        _stop_children(job)
        raise
    finally:
        _count(job)
    if "BestTrainingJob" not in job.record:
        raise JobFailed(
            "All training jobs failed. Please take a look at the training jobs failures to get more details."
        )
    job.end("Completed", "Completed", "")


def _candidates(record: Record) -> Iterator[dict[str, str]]:
    """Values for training jobs, as the strings that hyperparameters are."""
    config = _config(record)
    ranges = config.get("ParameterRanges", {})
    fixed = {item["Name"]: item["ValueHint"] for item in ranges.get("AutoParameters", [])}
    categorical = {item["Name"]: item["Values"] for item in ranges.get("CategoricalParameterRanges", [])}
    if config["Strategy"] == "Grid":
        for values in itertools.product(*categorical.values()):
            yield fixed | dict(zip(categorical, values, strict=True))
        return
    source = random.Random(config.get("RandomSeed"))
    while True:
        drawn = {name: source.choice(values) for name, values in categorical.items()}
        for item in ranges.get("ContinuousParameterRanges", []):
            low, high = float(item["MinValue"]), float(item["MaxValue"])
            drawn[item["Name"]] = repr(_draw(source, low, high, item.get("ScalingType")))
        for item in ranges.get("IntegerParameterRanges", []):
            low, high = int(item["MinValue"]), int(item["MaxValue"])
            # Each integer stands for the interval around it, so that the ends are as likely as the rest.
            value = round(_draw(source, low - 0.499, high + 0.499, item.get("ScalingType")))
            drawn[item["Name"]] = str(value)
        yield fixed | drawn


def _draw(source: random.Random, low: float, high: float, scaling: str | None) -> float:
    if scaling == "Logarithmic":
        return min(high, max(low, math.exp(source.uniform(math.log(low), math.log(high)))))
    if scaling == "ReverseLogarithmic":
        return 1 - math.exp(source.uniform(math.log(1 - high), math.log(1 - low)))
    return source.uniform(low, high)


def _launch(job: Job, number: int, drawn: dict[str, str]) -> None:
    definition = job.record["TrainingJobDefinition"]
    objective = _config(job.record)["HyperParameterTuningJobObjective"]
    name = f"{job.name}-{number:03}-{uuid.uuid4().hex[:8]}"
    static = definition.get("StaticHyperParameters", {})
    request = {key: definition[key] for key in _TRAINING if key in definition} | {
        "TrainingJobName": name,
        "HyperParameters": static | drawn | {"_tuning_objective_metric": objective["MetricName"]},
    }
    job.service.call("CreateTrainingJob", request)
    job.service.store.update(
        "TrainingJob",
        name,
        TuningJobArn=job.record[f"{_NOUN}Arn"],
        TuningJobName=job.name,
        TunedHyperParameters=drawn,
        ObjectiveStatus="Pending",
        FinalObjectiveMetricValue=-math.inf,
    )


def _children(service: "Service", arn: str) -> list[Record]:
    return [row for row in service.store.all("TrainingJob") if row.get("TuningJobArn") == arn]


def _running(job: Job) -> list[Record]:
    children = _children(job.service, job.record[f"{_NOUN}Arn"])
    return [row for row in children if row["TrainingJobStatus"] not in ENDED]


def _pause(job: Job) -> None:
    job.check()
    job.stopping.wait(0.05)
    _count(job)


def _stop_children(job: Job) -> None:
    runner = job.service.part(Runner)
    for row in _running(job):
        runner.stop("TrainingJob", row["TrainingJobName"])
    for row in _running(job):
        runner.wait("TrainingJob", row["TrainingJobName"])


def _count(job: Job) -> None:
    """Bring the counters, the objective of each training job and the best one up to date."""
    objective = _config(job.record)["HyperParameterTuningJobObjective"]
    store = job.service.store
    with store.lock:
        children = _children(job.service, job.record[f"{_NOUN}Arn"])
        for row in children:
            _judge(row, objective)
        fields = _counters(children)
        succeeded = [row for row in children if row["ObjectiveStatus"] == "Succeeded"]
        if succeeded:
            pick = max if objective["Type"] == "Maximize" else min
            fields["BestTrainingJob"] = pick(succeeded, key=lambda row: row["FinalObjectiveMetricValue"])
        store.update(_NOUN, job.name, **fields)


def _judge(row: Record, objective: Record) -> None:
    if row["TrainingJobStatus"] not in ENDED:
        return
    finals = {item["MetricName"]: item["Value"] for item in row.get("FinalMetricDataList", [])}
    value = finals.get(objective["MetricName"])
    if row["TrainingJobStatus"] != "Completed" or value is None:
        row["ObjectiveStatus"] = "Failed"
        return
    row["ObjectiveStatus"] = "Succeeded"
    row["FinalObjectiveMetricValue"] = value
    row["FinalHyperParameterTuningJobObjectiveMetric"] = objective | {"Value": value}


def _counters(children: list[Record]) -> Record:
    statuses = Counter(row["TrainingJobStatus"] for row in children)
    objectives = Counter(row["ObjectiveStatus"] for row in children)
    return {
        "TrainingJobStatusCounters": {
            "Completed": statuses["Completed"],
            "InProgress": statuses["InProgress"] + statuses["Stopping"],
            "RetryableError": 0,
            "NonRetryableError": statuses["Failed"],
            "Stopped": statuses["Stopped"],
        },
        "ObjectiveStatusCounters": {name: objectives[name] for name in ("Succeeded", "Pending", "Failed")},
    }


def _is_good_enough(job: Job, config: Record) -> bool:
    """Whether TuningJobCompletionCriteria's target is reached."""
    target = config.get("TuningJobCompletionCriteria", {}).get("TargetObjectiveMetricValue")
    best = job.record.get("BestTrainingJob")
    if target is None or best is None:
        return False
    value = best["FinalObjectiveMetricValue"]
    maximize = config["HyperParameterTuningJobObjective"]["Type"] == "Maximize"
    return value >= target if maximize else value <= target
