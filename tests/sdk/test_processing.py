"""The SDK's processors: a script, or a folder of them, run over folders of S3."""

import json

import boto3
import pytest

pytest.importorskip("sagemaker.core", reason="the SageMaker SDK is not installed here: make test-sdk")

from sagemaker.core.processing import FrameworkProcessor, ScriptProcessor
from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output

from tests.sdk.conftest import SOURCE

INPUT, OUTPUT = "/opt/ml/processing/input/irises", "/opt/ml/processing/output/counts"


@pytest.fixture
def settings(role, image, session):
    compute = {"instance_type": "ml.m5.large", "instance_count": 1}
    return {"role": role, "image_uri": image, "sagemaker_session": session, **compute}


def read_from(uri: str) -> ProcessingInput:
    source = ProcessingS3Input(s3_uri=uri, local_path=INPUT, s3_data_type="S3Prefix", s3_input_mode="File")
    return ProcessingInput(input_name="irises", s3_input=source)


def write_to(uri: str) -> ProcessingOutput:
    target = ProcessingS3Output(s3_uri=uri, local_path=OUTPUT, s3_upload_mode="EndOfJob")
    return ProcessingOutput(output_name="counts", s3_output=target)


def names(uri: str) -> list[str]:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    listed = boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/")
    return [item["Key"].removeprefix(f"{prefix}/") for item in listed.get("Contents", [])]


def test_a_script_reads_and_writes_the_folders_that_it_spells_out(settings, session, uploaded, capsys):
    out = f"s3://{session.default_bucket()}/counts"
    processor = ScriptProcessor(command=["python3"], base_job_name="count", **settings)
    processor.run(str(SOURCE / "count.py"), [read_from(uploaded)], [write_to(out)], wait=True, logs=True)
    assert "counted 150 rows" in capsys.readouterr().out
    found = boto3.client("s3").get_object(Bucket=session.default_bucket(), Key="counts/counts.json")
    assert json.load(found["Body"]) == {"setosa": 50, "versicolor": 50, "virginica": 50}


def test_a_folder_of_source_code_is_unpacked_in_the_container(settings, session, uploaded):
    out = f"s3://{session.default_bucket()}/passed"
    processor = FrameworkProcessor(command=["python3"], base_job_name="pass-on", **settings)
    processor.run(
        code="pass_on.py",
        source_dir=str(SOURCE),
        inputs=[read_from(uploaded)],
        outputs=[write_to(out)],
        arguments=[INPUT, OUTPUT],
        wait=False,
        logs=False,
    )
    processor.latest_job.wait(poll=1, timeout=60)
    assert names(out) == ["0.csv", "1.csv"]
