import pytest

from local.sagemaker.jobs import Runner
from tests.local.jobs import refused, run, training, wait_for_log

SCRIPT = """
values = json.loads((base / 'input/config/hyperparameters.json').read_text())
assert values['fixed'] == '1'
depth, rate = int(values['depth']), float(values.get('rate', 0.5))
if depth == 3:
    sys.exit(1)
print(f'score={depth + rate};')
"""


def tuning(strategy="Random", parallel=2, **fields):
    definition = training()
    del definition["TrainingJobName"]
    definition["StaticHyperParameters"] = {"fixed": "1"}
    metric = {"Name": "score", "Regex": "score=([0-9.]+);"}
    definition["AlgorithmSpecification"]["MetricDefinitions"] = [metric]
    config = {
        "Strategy": strategy,
        "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "score"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": parallel},
        "RandomSeed": 7,
    }
    return {
        "HyperParameterTuningJobName": "tune-1",
        "HyperParameterTuningJobConfig": config | fields,
        "TrainingJobDefinition": definition,
    }


GRID = {"CategoricalParameterRanges": [{"Name": "depth", "Values": ["1", "2", "3"]}]}


def test_a_grid_is_walked_and_the_best_found(service, script):
    script(SCRIPT)
    answer = run(service, "HyperParameterTuningJob", tuning("Grid", ParameterRanges=GRID))
    assert answer["HyperParameterTuningJobStatus"] == "Completed", answer
    assert answer["TrainingJobStatusCounters"] == {
        "Completed": 2,
        "InProgress": 0,
        "RetryableError": 0,
        "NonRetryableError": 1,
        "Stopped": 0,
    }
    best = answer["BestTrainingJob"]
    assert best["TunedHyperParameters"] == {"depth": "2"} and best["ObjectiveStatus"] == "Succeeded"
    assert best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == 2.5
    child = service.call("DescribeTrainingJob", {"TrainingJobName": best["TrainingJobName"]})
    assert child["TuningJobArn"] == answer["HyperParameterTuningJobArn"]
    assert child["HyperParameters"]["_tuning_objective_metric"] == "score"
    rows = service.call(
        "ListTrainingJobsForHyperParameterTuningJob",
        {
            "HyperParameterTuningJobName": "tune-1",
            "SortBy": "FinalObjectiveMetricValue",
            "SortOrder": "Descending",
        },
    )["TrainingJobSummaries"]
    assert [row["TunedHyperParameters"]["depth"] for row in rows] == ["2", "1", "3"]
    listed = service.call("ListHyperParameterTuningJobs", {})["HyperParameterTuningJobSummaries"]
    assert listed[0]["Strategy"] == "Grid"
    kinds = [kind for kind, _, _ in service.host.events]
    assert kinds.count("SageMaker HyperParameter Tuning Job State Change") == 2


def test_a_random_search_draws_from_the_ranges_and_repeats_with_its_seed(service, script):
    script(SCRIPT)
    ranges = {
        "IntegerParameterRanges": [{"Name": "depth", "MinValue": "4", "MaxValue": "5"}],
        "ContinuousParameterRanges": [
            {"Name": "rate", "MinValue": "0.001", "MaxValue": "0.1", "ScalingType": "Logarithmic"}
        ],
    }

    def drawn(name):
        params = tuning(ParameterRanges=ranges) | {"HyperParameterTuningJobName": name}
        run(service, "HyperParameterTuningJob", params)
        rows = service.call(
            "ListTrainingJobsForHyperParameterTuningJob", {"HyperParameterTuningJobName": name}
        )["TrainingJobSummaries"]
        return [row["TunedHyperParameters"] for row in rows]

    first = drawn("tune-1")
    assert len(first) == 3 and first == drawn("tune-2")
    assert all(row["depth"] in "45" and 0.001 <= float(row["rate"]) <= 0.1 for row in first)


EPOCHS = """
rate = float(json.loads((base / 'input/config/hyperparameters.json').read_text())['rate'])
for epoch in range(1, 6):
    print(f'score={rate * epoch};', flush=True)
    time.sleep(0.3 if rate < 1 else 0)
"""


def test_a_training_job_that_lags_behind_is_stopped_early(service, script):
    script(EPOCHS)
    ranges = {"CategoricalParameterRanges": [{"Name": "rate", "Values": ["2", "0.1"]}]}
    early = {"ParameterRanges": ranges, "TrainingJobEarlyStoppingType": "Auto"}
    answer = run(service, "HyperParameterTuningJob", tuning("Grid", parallel=1, **early))
    assert answer["HyperParameterTuningJobStatus"] == "Completed", answer
    counters = answer["TrainingJobStatusCounters"]
    assert (counters["Completed"], counters["Stopped"]) == (1, 1)
    assert answer["BestTrainingJob"]["TunedHyperParameters"] == {"rate": "2"}
    rows = service.call(
        "ListTrainingJobsForHyperParameterTuningJob",
        {"HyperParameterTuningJobName": "tune-1", "StatusEquals": "Stopped"},
    )["TrainingJobSummaries"]
    assert [row["TunedHyperParameters"] for row in rows] == [{"rate": "0.1"}]
    # It was worse at once: 0.1 against 2.0 at the first epoch.
    assert rows[0]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] < 0.5


def test_without_early_stopping_each_training_job_runs_to_its_end(service, script):
    script(EPOCHS)
    ranges = {"CategoricalParameterRanges": [{"Name": "rate", "Values": ["2", "0.1"]}]}
    answer = run(service, "HyperParameterTuningJob", tuning("Grid", parallel=1, ParameterRanges=ranges))
    assert answer["TrainingJobStatusCounters"]["Completed"] == 2


def test_a_bayesian_search_learns_from_its_training_jobs(service, script):
    script(
        "rate = float(json.loads((base / 'input/config/hyperparameters.json').read_text())['rate'])\n"
        "print(f'score={1 - (rate - 0.7) ** 2};')"
    )
    ranges = {"ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0", "MaxValue": "1"}]}
    limits = {"MaxNumberOfTrainingJobs": 8, "MaxParallelTrainingJobs": 1}
    params = tuning("Bayesian", ParameterRanges=ranges, ResourceLimits=limits)
    answer = run(service, "HyperParameterTuningJob", params | {"Tags": [{"Key": "run", "Value": "r1"}]})
    best = answer["BestTrainingJob"]
    assert best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] > 0.999
    tags = service.call("ListTags", {"ResourceArn": best["TrainingJobArn"]})["Tags"]
    assert tags == [{"Key": "run", "Value": "r1"}], "those of the tuning job"


def test_a_tuning_job_fails_if_all_its_training_jobs_do(service, script):
    script("sys.exit(1)")
    answer = run(service, "HyperParameterTuningJob", tuning("Grid", ParameterRanges=GRID))
    assert answer["HyperParameterTuningJobStatus"] == "Failed"
    assert answer["FailureReason"].startswith("All training jobs failed.")


def test_a_stopped_tuning_job_stops_its_training_jobs(service, script):
    script("print('ready')\ntime.sleep(60)")
    service.call("CreateHyperParameterTuningJob", tuning("Grid", ParameterRanges=GRID))
    wait_for_log(service, "ready")
    service.call("StopHyperParameterTuningJob", {"HyperParameterTuningJobName": "tune-1"})
    answer = service.part(Runner).wait("HyperParameterTuningJob", "tune-1", 10)
    assert answer["HyperParameterTuningJobStatus"] == "Stopped"
    counters = answer["TrainingJobStatusCounters"]
    assert counters["InProgress"] == 0 and counters["Stopped"] >= 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "auc"}}, "isn't defined"),
        (
            {
                "Strategy": "Grid",
                "ParameterRanges": {
                    "IntegerParameterRanges": [{"Name": "a", "MinValue": "1", "MaxValue": "2"}]
                },
            },
            "categorical",
        ),
        ({"ResourceLimits": {"MaxParallelTrainingJobs": 1}}, "MaxNumberOfTrainingJobs"),
        (
            {"ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 3}},
            "MaxParallelTrainingJobs (3)",
        ),
        ({"ParameterRanges": {"CategoricalParameterRanges": [{"Name": "fixed", "Values": ["1"]}]}}, "fixed"),
        ({"Strategy": "Hyperband"}, "Bayesian, Random and Grid"),
    ],
    ids=["objective", "grid", "limit", "parallel", "twice", "hyperband"],
)
def test_a_tuning_request_is_checked(service, change, words):
    code, message = refused(service, "CreateHyperParameterTuningJob", tuning(**change))
    assert code == "ValidationException" and words in message
