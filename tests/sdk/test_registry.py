"""The SDK's tuner, and the registry's resources."""

import uuid

import boto3
import pytest

pytest.importorskip("sagemaker.core", reason="the SageMaker SDK is not installed here: make test-sdk")

from sagemaker.core.parameter import CategoricalParameter, IntegerParameter
from sagemaker.core.resources import Model, ModelPackage, ModelPackageGroup
from sagemaker.core.shapes import ContainerDefinition, HyperParameterTrainingJobSummary
from sagemaker.core.training.configs import InputData
from sagemaker.train.tuner import HyperparameterTuner


def test_versions_are_registered_approved_and_made_into_models(trained, role, image):
    group = f"irises-{uuid.uuid4().hex[:6]}"
    ModelPackageGroup.create(model_package_group_name=group)
    # Not by ModelPackage.create: it looks for a ModelPackageName, which SageMaker answers for no version.
    registry, artifact = boto3.client("sagemaker"), trained.model_artifacts.s3_model_artifacts
    for _ in range(2):
        registry.create_model_package(
            ModelPackageGroupName=group,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [{"Image": image, "ModelDataUrl": artifact}],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
        )
    _, package = sorted(
        ModelPackage.get_all(model_package_group_name=group), key=lambda found: found.model_package_version
    )
    package.update(model_approval_status="Approved", approval_description="knows its irises")
    approved = ModelPackage.get_all(model_package_group_name=group, model_approval_status="Approved")
    assert [found.model_package_version for found in approved] == [2]

    used = ContainerDefinition(model_package_name=package.model_package_arn)
    made = Model.create(model_name=group, containers=[used], execution_role_arn=role)
    assert made.containers[0].model_package_name == package.model_package_arn


def test_a_tuner_finds_the_best_of_its_jobs(trainer, uploaded):
    tuner = HyperparameterTuner(
        model_trainer=trainer(),
        objective_metric_name="accuracy",
        metric_definitions=[{"Name": "accuracy", "Regex": "accuracy=([0-9.]+)"}],
        hyperparameter_ranges={
            "max-depth": IntegerParameter(1, 4),
            "criterion": CategoricalParameter(["gini", "entropy"]),
        },
        strategy="Random",
        max_jobs=2,
        max_parallel_jobs=2,
    )
    tuner.tune([InputData(channel_name="train", data_source=uploaded)], wait=False)
    tuner.latest_tuning_job.wait(poll=1, timeout=90)
    accuracies = {
        job.training_job_name: accuracy(job) for job in tuner.latest_tuning_job.get_all_training_jobs()
    }
    assert len(accuracies) == 2
    assert accuracies[tuner.best_training_job()] == max(accuracies.values()) > 0.6


def accuracy(job: HyperParameterTrainingJobSummary) -> float:
    return job.final_hyper_parameter_tuning_job_objective_metric.value
