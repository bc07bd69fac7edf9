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
    ],
    ids=["objective", "grid", "limit"],
)
def test_a_tuning_request_is_checked(service, change, words):
    code, message = refused(service, "CreateHyperParameterTuningJob", tuning(**change))
    assert code == "ValidationException" and words in message
