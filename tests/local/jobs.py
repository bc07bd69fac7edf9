"""Requests for jobs whose container is a script of a few lines."""

import time

import pytest

from local.sagemaker.jobs import Runner
from local.sagemaker.service import SageMakerError
from tests.local.fakes import ACCOUNT, ROLE

BUCKET = "bucket"
IMAGE = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/tiny:1"


def put(s3, key, text="x"):
    s3.put_object(Bucket=BUCKET, Key=key, Body=text)


def get(s3, key) -> str:
    return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()


def training(name="train-1", **fields):
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    } | fields


def channel(name, uri, kind="S3Prefix", **fields):
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": kind, "S3Uri": uri}}} | fields


def processing(name="process-1", count=1, inputs=(), outputs=(), entrypoint=None, **fields):
    cluster = {"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 1}
    app = {"ImageUri": IMAGE} | ({"ContainerEntrypoint": entrypoint} if entrypoint else {})
    return {
        "ProcessingJobName": name,
        "AppSpecification": app,
        "RoleArn": ROLE,
        "ProcessingResources": {"ClusterConfig": cluster},
        "ProcessingInputs": list(inputs),
        "ProcessingOutputConfig": {"Outputs": list(outputs)},
    } | fields


def source(name, uri, kind="S3Prefix", spread="FullyReplicated"):
    s3_input = {
        "S3Uri": uri,
        "LocalPath": f"/opt/ml/processing/input/{name}",
        "S3DataType": kind,
        "S3InputMode": "File",
        "S3DataDistributionType": spread,
    }
    return {"InputName": name, "S3Input": s3_input}


def sink(name):
    s3_output = {
        "S3Uri": f"s3://{BUCKET}/made/{name}",
        "LocalPath": f"/opt/ml/processing/output/{name}",
        "S3UploadMode": "EndOfJob",
    }
    return {"OutputName": name, "S3Output": s3_output}


def run(service, kind, params):
    service.call(f"Create{kind}", params)
    return service.part(Runner).wait(kind, params[f"{kind}Name"], 20)


def refused(service, operation, params):
    with pytest.raises(SageMakerError) as caught:
        service.call(operation, params)
    return caught.value.code, caught.value.message


def wait_for_log(service, line):
    until = time.monotonic() + 10
    while not any(line in lines for lines in list(service.host.logs.values())):
        assert time.monotonic() < until
        time.sleep(0.02)
