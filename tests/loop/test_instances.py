"""A model that trains on instances that SageMaker processes nothing with."""

import pytest

from tests.loop import folders
from tests.loop.site import Site, because_of

pytestmark = pytest.mark.loop


def test_a_model_trains_on_the_instances_that_it_asks_for_and_nothing_else_does(site: Site) -> None:
    site.upload("heavy", "2013.parquet", folders.parquet(folders.sample()))
    execution = site.ended("train", because_of(site.publish("heavy", folders.TRAINED_ON_MANY_GPUS)))
    [ended] = site.history("heavy", "RunEnded", execution.cause["id"])
    assert ended["outcome"] == "registered", ended["reason"]
    sagemaker, job = site.client("sagemaker"), f"evergreen-{ended['run']}"
    trained = sagemaker.describe_training_job(TrainingJobName=f"{job}-train")
    assert trained["ResourceConfig"]["InstanceType"] == "ml.p4d.24xlarge"
    for state in ("prepare", "evaluate"):
        found = sagemaker.describe_processing_job(ProcessingJobName=f"{job}-{state}")
        assert found["ProcessingResources"]["ClusterConfig"]["InstanceType"] == "ml.m5.xlarge"
        assert found["StoppingCondition"] == {"MaxRuntimeInSeconds": 1800}
