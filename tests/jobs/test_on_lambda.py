"""The job image as a function: the request of a Processing job, run without an instance."""

import json
import sys
from types import SimpleNamespace

import boto3
import pytest
from moto import mock_aws

from jobs import contract, on_lambda

CONTEXT = SimpleNamespace(aws_request_id="r-1")


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    monkeypatch.setattr(on_lambda, "ROOT", tmp_path / "ml")
    on_lambda.s3.cache_clear()
    with mock_aws():
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="bucket")
        yield s3
    on_lambda.s3.cache_clear()


def request(verb="analyze"):
    def source(name, uri, kind):
        return {
            "InputName": name,
            "S3Input": {
                "S3Uri": uri,
                "LocalPath": f"/opt/ml/processing/input/{name}",
                "S3DataType": kind,
                "S3InputMode": "File",
            },
        }

    return {
        "AppSpecification": {"ImageUri": "x", "ContainerEntrypoint": ["python", "-m", "jobs", verb]},
        "Environment": {"WINDOW_START": "2013-06-01T00:00:00Z"},
        "ProcessingInputs": [
            source("capture", "s3://bucket/monitor/m/inputs/capture.manifest", "ManifestFile"),
            source("code", "s3://bucket/models/m/1/", "S3Prefix"),
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "report",
                    "S3Output": {
                        "S3Uri": "s3://bucket/monitor/m/",
                        "LocalPath": "/opt/ml/processing/output/report",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
    }


def put(s3, **objects):
    for key, body in objects.items():
        s3.put_object(Bucket="bucket", Key=key, Body=body)


def stand_in(monkeypatch, main):
    monkeypatch.setitem(sys.modules, "jobs.analyze", SimpleNamespace(main=main))


def test_inputs_are_laid_out_as_in_a_job_and_outputs_go_back(bucket, monkeypatch):
    names = ["2013/06/01/00/a.jsonl", "2013/06/01/01/b.jsonl"]
    put(
        bucket,
        **{"monitor/m/inputs/capture.manifest": json.dumps([{"prefix": "s3://bucket/capture/"}, *names])},
    )
    put(bucket, **{f"capture/{name}": name for name in names}, **{"models/m/1/model.yaml": "name: m"})
    put(bucket, **{"capture/2013/06/01/02/late.jsonl": "not in the manifest"})

    def main():
        seen = contract.input_dir("capture")
        files = sorted(str(path.relative_to(seen)) for path in seen.rglob("*.jsonl"))
        assert contract.time_setting("WINDOW_START").year == 2013
        assert (contract.input_dir("code") / "model.yaml").read_text() == "name: m"
        contract.write_json(contract.output_dir("report") / "analysis.json", files)
        contract.write_message("Completed: all well")

    stand_in(monkeypatch, main)
    assert on_lambda.handler(request(), CONTEXT) == {"ExitMessage": "Completed: all well"}
    written = bucket.get_object(Bucket="bucket", Key="monitor/m/analysis.json")["Body"].read()
    assert json.loads(written) == names
    assert not (on_lambda.ROOT / "r-1").exists(), "a warm function would fill its disk"


def test_what_the_verb_says_is_the_error(bucket, monkeypatch):
    put(bucket, **{"monitor/m/inputs/capture.manifest": '[{"prefix": "s3://bucket/capture/"}]'})

    def main():
        raise contract.JobError("no baseline.json under the baseline")

    stand_in(monkeypatch, main)
    with pytest.raises(on_lambda.JobFailed, match="no baseline"):
        on_lambda.handler(request(), CONTEXT)
    assert not (on_lambda.ROOT / "r-1").exists()
