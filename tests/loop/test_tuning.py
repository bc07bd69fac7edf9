"""A model that is tuned: published, searched by real training jobs, the best of them in service."""

import json

import pytest

from tests.loop import folders
from tests.loop.site import Json, Site, because_of

pytestmark = pytest.mark.loop


def trainings(site: Site, job: str) -> list[Json]:
    """The training jobs of a tuning job, the one with the least loss first."""
    answer = site.client("sagemaker").list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=job,
        SortBy="FinalObjectiveMetricValue",
        SortOrder="Ascending",
        MaxResults=100,
    )
    return answer["TrainingJobSummaries"]


def test_the_best_of_a_search_comes_into_service(site: Site) -> None:
    site.upload("tuned", "2013.parquet", folders.parquet(folders.sample()))
    execution = site.ended("train", because_of(site.publish("tuned", folders.TUNED)))
    assert execution.ended_in == "ModelRegistered", execution.reason
    [ended] = site.history("tuned", "RunEnded")
    tuned = ended["tuned"]
    found = trainings(site, tuned["job"])
    assert len(found) == 5 and {each["TrainingJobStatus"] for each in found} == {"Completed"}
    assert tuned["trainings"] == {"completed": 5, "stopped": 0, "failed": 0}
    best = found[0]
    assert (best["TrainingJobName"], best["TunedHyperParameters"]) == (
        tuned["training"],
        tuned["hyperparameters"],
    )
    objective = best["FinalHyperParameterTuningJobObjectiveMetric"]
    assert (objective["MetricName"], objective["Value"]) == ("validation:log_loss", tuned["metric"]["value"])
    assert len({json.dumps(each["TunedHyperParameters"]) for each in found}) == 5
    package = site.package("tuned", ended["version"])
    data = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    assert data.endswith(f"/runs/{ended['run']}/model/{best['TrainingJobName']}/output/model.tar.gz")
    prior = tuned["hyperparameters"]["prior"]
    assert package["CustomerMetadataProperties"]["tuned"] == f"prior={prior}"
    champion = site.wait("tuned in service", lambda: site.view("tuned")["champion"])
    assert champion["version"] == ended["version"]
    site.champion("tuned")
    # The same event once more: no second search.
    assert site.deliver_again(execution).ended_in == "TrainingDropped"
    jobs = site.client("sagemaker").list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"]
    assert [job["HyperParameterTuningJobName"] for job in jobs] == [tuned["job"]]


def test_a_search_that_fails_tells_why(site: Site) -> None:
    site.upload("vain", "2013.parquet", folders.parquet(folders.sample()))
    execution = site.ended("train", because_of(site.publish("vain", folders.TUNED_IN_VAIN)))
    error, cause = site.failure(execution)
    assert error == "TrainingFailed"
    assert "argument --prior: invalid float value: " in cause, cause
    [ended] = site.history("vain", "RunEnded")
    assert (ended["outcome"], ended["reason"], ended["tuned"]) == ("failed", cause, None)
    assert site.view("vain")["run"] is None, "the lock is free"
