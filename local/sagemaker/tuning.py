"""Hyperparameter tuning: training jobs over a space of values, the best by a metric of their logs.

`search` chooses the values. With TrainingJobEarlyStoppingType `Auto` a training job is stopped if its metric
is worse than the median of the running averages of those before it up to the same epoch ("Stop Training Jobs
Early" in SageMaker's guide; an epoch is a value in the log).
"""

import math
import uuid
from collections import Counter
from contextlib import suppress
from statistics import fmean, median
from typing import TYPE_CHECKING

from . import search
from .errors import SageMakerError, invalid
from .jobs import ENDED, Job, JobFailed, JobStopped, Runner
from .service import operation
from .store import Record

if TYPE_CHECKING:
    from .service import Service

_NOUN = "HyperParameterTuningJob"
MOST_JOBS, MOST_RANGES = 750, 30  # "Resource Limits for Automatic Model Tuning"
_TRAINING = (
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "VpcConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
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
    if config["Strategy"] == "Hyperband" or "WarmStartConfig" in params:
        raise invalid("The local SageMaker tunes by Bayesian, Random and Grid, and always from the start.")
    ranges = config.get("ParameterRanges", {})
    _check_names(ranges, definition.get("StaticHyperParameters", {}))
    numeric = ranges.get("IntegerParameterRanges", []) + ranges.get("ContinuousParameterRanges", [])
    for item in numeric:
        if float(item["MinValue"]) > float(item["MaxValue"]):
            raise invalid(f"MinValue of {item['Name']} is greater than its MaxValue.")
    if config["Strategy"] == "Grid":
        if numeric:
            raise invalid("Grid search supports categorical parameter ranges only.")
    elif "MaxNumberOfTrainingJobs" not in config["ResourceLimits"]:
        raise invalid("MaxNumberOfTrainingJobs is needed unless the strategy is Grid.")
    limits = config["ResourceLimits"]
    most = limits.get("MaxNumberOfTrainingJobs", MOST_JOBS)
    if most > MOST_JOBS or limits["MaxParallelTrainingJobs"] > most:
        raise invalid(
            f"MaxParallelTrainingJobs ({limits['MaxParallelTrainingJobs']}) must not be more than "
            f"MaxNumberOfTrainingJobs ({most}), and that not more than {MOST_JOBS}."
        )


def _check_names(ranges: Record, static: dict[str, str]) -> None:
    names = [item["Name"] for part in ranges.values() for item in part]
    twice = sorted({name for name in names if names.count(name) > 1 or name in static})
    if twice:
        raise invalid(f"Hyperparameters are given more than once: {', '.join(twice)}.")
    if len(names) > MOST_RANGES:
        raise invalid(f"{len(names)} hyperparameters to search are more than {MOST_RANGES}.")


def _tune(job: Job) -> None:
    config = _config(job.record)
    limits = config["ResourceLimits"]
    job.begin("Tuning", "", limit=limits.get("MaxRuntimeInSeconds"))
    chosen = search.of(config)
    try:
        for number in range(1, limits.get("MaxNumberOfTrainingJobs", MOST_JOBS) + 1):
            while len(_running(job)) >= limits["MaxParallelTrainingJobs"]:
                _pause(job, config)
            _count(job)  # the one that has just ended teaches too
            drawn = None if _is_good_enough(job, config) else chosen.next(_trials(job))
            if drawn is None:
                break
            _launch(job, number, drawn)
        while _running(job):
            _pause(job, config)
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


def _trials(job: Job) -> list[search.Trial]:
    """What has been tried and what came of it; a training job that failed teaches nothing."""
    return [
        search.Trial(
            row["TunedHyperParameters"],
            row["FinalObjectiveMetricValue"] if row["ObjectiveStatus"] == "Succeeded" else None,
        )
        for row in _children(job.service, job.record[f"{_NOUN}Arn"])
        if row["ObjectiveStatus"] != "Failed"
    ]


def _launch(job: Job, number: int, drawn: dict[str, str]) -> None:
    definition = job.record["TrainingJobDefinition"]
    objective = _config(job.record)["HyperParameterTuningJobObjective"]
    name = f"{job.name}-{number:03}-{uuid.uuid4().hex[:8]}"
    ranges = _config(job.record).get("ParameterRanges", {})
    static = {item["Name"]: item["ValueHint"] for item in ranges.get("AutoParameters", [])}
    static |= definition.get("StaticHyperParameters", {})
    tags = job.service.store.tags.get(job.record[f"{_NOUN}Arn"], {})
    request = {key: definition[key] for key in _TRAINING if key in definition} | {
        "TrainingJobName": name,
        "HyperParameters": static | drawn | {"_tuning_objective_metric": objective["MetricName"]},
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
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


def _pause(job: Job, config: Record) -> None:
    job.check()
    job.stopping.wait(0.05)
    _count(job)
    if config.get("TrainingJobEarlyStoppingType") == "Auto":
        for name in _hopeless(job, config["HyperParameterTuningJobObjective"]):
            with suppress(SageMakerError):  # it has ended meanwhile
                job.service.part(Runner).stop("TrainingJob", name)


def _hopeless(job: Job, objective: Record) -> list[str]:
    """The training jobs in progress that the median rule stops."""
    with job.service.store.lock:
        series = [
            (row["TrainingJobName"], row["TrainingJobStatus"], list(found))
            for row in _children(job.service, job.record[f"{_NOUN}Arn"])
            if (found := row.get("_series", {}).get(objective["MetricName"]))
        ]
    before = [values for _, status, values in series if status == "Completed"]
    sign = 1 if objective["Type"] == "Maximize" else -1
    return [
        name
        for name, status, values in series
        if status == "InProgress" and before and sign * values[-1] < sign * _usual(before, len(values))
    ]


def _usual(before: list[list[float]], epoch: int) -> float:
    """The median of the running averages up to an epoch, which counts from 1."""
    return median(fmean(values[:epoch]) for values in before)


def _stop_children(job: Job) -> None:
    runner = job.service.part(Runner)
    for row in _running(job):
        runner.stop("TrainingJob", row["TrainingJobName"])
    for row in _running(job):
        runner.wait("TrainingJob", row["TrainingJobName"])


def _count(job: Job) -> None:
    """Bring the counters, the objective of each training job and the best that completed up to date."""
    objective = _config(job.record)["HyperParameterTuningJobObjective"]
    store = job.service.store
    with store.lock:
        children = _children(job.service, job.record[f"{_NOUN}Arn"])
        for row in children:
            _judge(row, objective)
        fields = _counters(children)
        ended = [row for row in children if row["TrainingJobStatus"] == "Completed"]
        succeeded = [row for row in ended if row["ObjectiveStatus"] == "Succeeded"]
        if succeeded:
            pick = max if objective["Type"] == "Maximize" else min
            fields["BestTrainingJob"] = pick(succeeded, key=lambda row: row["FinalObjectiveMetricValue"])
        store.update(_NOUN, job.name, **fields)


def _judge(row: Record, objective: Record) -> None:
    if row["TrainingJobStatus"] not in ENDED:
        return
    finals = {item["MetricName"]: item["Value"] for item in row.get("FinalMetricDataList", [])}
    value = finals.get(objective["MetricName"])
    if row["TrainingJobStatus"] == "Failed" or value is None:
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
