"""ModelTrainer: a folder of source code, a framework image, a job that is followed to its end."""

import io
import tarfile

import boto3
import joblib
import pytest

pytest.importorskip("sagemaker.train", reason="the SageMaker SDK is not installed here: make test-sdk")

from sagemaker.core.resources import TrainingJob
from sagemaker.core.s3 import S3Downloader
from sagemaker.core.training.configs import InputData, OutputDataConfig
from sagemaker.core.utils.exceptions import FailedStatusError


def archive(uri: str) -> tarfile.TarFile:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    body = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return tarfile.open(fileobj=io.BytesIO(body))


def test_a_job_is_followed_from_its_source_code_to_its_model(trainer, irises, caplog):
    caplog.set_level("INFO", "sagemaker.core.resources")
    made = trainer()
    made.train([InputData(channel_name="train", data_source=str(irises))], wait=True, logs=True)
    assert made._latest_training_job.training_job_status == "Completed"
    assert "rows=150 accuracy=0.973" in caplog.text
    assert "Training Container Execution Completed" in caplog.text


def test_the_artifact_is_the_model_that_the_script_saved(trained):
    with archive(trained.model_artifacts.s3_model_artifacts) as tar:
        assert tar.getnames() == ["model.joblib"]
        model = joblib.load(tar.extractfile("model.joblib"))
    assert (model.max_depth, model.criterion) == (3, "gini")
    assert model.predict([[5.1, 3.5, 1.4, 0.2]]).tolist() == ["setosa"]


def test_other_output_is_an_archive_of_its_own(trained):
    path = f"{trained.output_data_config.s3_output_path}/{trained.training_job_name}/output/output.tar.gz"
    with archive(path) as tar:
        assert tar.extractfile("depth.txt").read() == b"3"


def test_a_model_is_left_as_files_where_the_job_asks_for_it(trainer, uploaded):
    made = trainer()
    path = f"{uploaded}-files"
    made.output_data_config = OutputDataConfig(s3_output_path=path, compression_type="NONE")
    made.train([InputData(channel_name="train", data_source=uploaded)], wait=False)
    job = made._latest_training_job
    job.wait(poll=1)
    assert job.model_artifacts.s3_model_artifacts == f"{path}/{job.training_job_name}/output/model"
    assert "model.joblib" in S3Downloader.list(job.model_artifacts.s3_model_artifacts)[0]


def test_a_job_is_described_and_listed(trained):
    found = TrainingJob.get(trained.training_job_name)
    assert found.secondary_status == "Completed"
    assert found.training_time_in_seconds >= 1
    shown = [entry.status for entry in found.secondary_status_transitions]
    assert shown[-4:] == ["Downloading", "Training", "Uploading", "Completed"]
    listed = TrainingJob.get_all(name_contains="irises", status_equals="Completed")
    assert trained.training_job_name in [job.training_job_name for job in listed]


def test_a_script_that_fails_fails_the_job_with_its_traceback(trainer, irises):
    made = trainer(fail="no irises this spring")
    with pytest.raises(FailedStatusError, match=r"(?s)AlgorithmError: .*exit code: 1"):
        made.train([InputData(channel_name="train", data_source=str(irises))], wait=True, logs=True)
