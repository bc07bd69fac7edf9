"""Unit tests: the handlers as Lambda runs them, against moto in process; nothing leaves the process."""

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.validate import ParamValidator
from moto import mock_aws

ROOT = Path(__file__).resolve().parents[2]
# Each function's folder is its package's root on Lambda; the API has modules of its own beside its handler.
sys.path.append(str(ROOT / "functions" / "api"))

REGION = "eu-central-1"
ACCOUNT = {"AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
ENVIRONMENT = {
    "POWERTOOLS_LOG_LEVEL": "WARNING",
    "TABLE": "ledger",
    "BUCKET": "bucket",
    "BUS": "evergreen",
    "PREFIX": "evergreen",
    "JOB_IMAGE": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/evergreen-jobs:1",
}
# Handlers read their environment at import, as on Lambda: it must be there before a test module is collected.
os.environ.update(ENVIRONMENT)

from evergreen import aws  # noqa: E402
from evergreen.errors import AwsNotFound  # noqa: E402
from evergreen.ledger import Ledger  # noqa: E402


@pytest.fixture(autouse=True)
def cloud(socket_disabled, monkeypatch):
    """An empty account with the table, the bucket and the bus of the template."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for key, value in ACCOUNT.items():
        monkeypatch.setenv(key, value)
    with mock_aws():
        # Clients are kept over the tests: making one costs more than a test does.
        aws.client("dynamodb").create_table(
            TableName="ledger",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
        )
        s3 = aws.client("s3")
        s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
        aws.client("events").create_event_bus(Name="evergreen")
        yield


@pytest.fixture
def ledger() -> Ledger:
    return Ledger("ledger")


@pytest.fixture
def bucket():
    """put(key, text or bytes) and read(key) of the bucket."""
    return Bucket()


class Bucket:
    def put(self, key: str, content: str | bytes | dict) -> str:
        if isinstance(content, dict):
            content = json.dumps(content)
        body = content if isinstance(content, bytes) else content.encode()
        return aws.client("s3").put_object(Bucket="bucket", Key=key, Body=body)["VersionId"]

    def json(self, uri: str) -> object:
        key = uri.removeprefix("s3://bucket/")
        return json.loads(aws.client("s3").get_object(Bucket="bucket", Key=key)["Body"].read())


@pytest.fixture
def executions(monkeypatch):
    """Which executions run; moto's Step Functions would need machines for that. `executions.add(arn)`."""
    running: set[str] = set()

    def describe(executionArn):
        return {"status": "RUNNING" if executionArn in running else "ABORTED"}

    intercept(monkeypatch, "stepfunctions", {"describe_execution": describe})
    return running


@pytest.fixture
def sagemaker(monkeypatch):
    """Packages and endpoints; moto's packages do not say when they were changed last, nor by whom."""
    fake = SageMaker()
    intercept(
        monkeypatch,
        "sagemaker",
        {
            "describe_model_package": fake.describe_model_package,
            "update_model_package": fake.update_model_package,
            "describe_endpoint": fake.describe_endpoint,
        },
    )
    return fake


def intercept(monkeypatch, service, operations):
    """Answer these operations of a service with functions, their arguments checked by botocore's model."""
    real = aws.call

    def call(called, operation, **params):
        if called != service or operation not in operations:
            return real(called, operation, **params)
        client = aws.client(service)
        shape = client.meta.service_model.operation_model(
            client.meta.method_to_api_mapping[operation]
        ).input_shape
        report = ParamValidator().validate(params, shape)
        assert not report.has_errors(), report.generate_report()
        return operations[operation](**params)

    monkeypatch.setattr(aws, "call", call)


class SageMaker:
    """`packages` by ARN and `endpoints` by name, as their Describe calls answer."""

    def __init__(self):
        self.packages: dict[str, dict] = {}
        self.endpoints: dict[str, dict] = {}
        self.updates: list[dict] = []
        self.now = datetime(2026, 11, 20, tzinfo=UTC)

    def package(self, arn: str, status: str = "Approved", **more) -> None:
        self.packages[arn] = {"CreationTime": self.now, "ModelApprovalStatus": status} | more

    def describe_model_package(self, ModelPackageName):
        if ModelPackageName not in self.packages:
            raise AwsNotFound(f"ModelPackage {ModelPackageName} does not exist")
        return self.packages[ModelPackageName]

    def update_model_package(self, ModelPackageArn, **changes):
        self.now += timedelta(minutes=1)
        self.updates.append(changes)
        self.packages[ModelPackageArn] |= changes | {"LastModifiedTime": self.now}
        return {"ModelPackageArn": ModelPackageArn}

    def describe_endpoint(self, EndpointName):
        if EndpointName not in self.endpoints:
            raise AwsNotFound("Could not find endpoint")
        return self.endpoints[EndpointName]
