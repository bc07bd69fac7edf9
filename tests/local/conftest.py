import sys

import boto3
import pytest
from moto import mock_aws

from local.sagemaker.containers import Image
from local.sagemaker.service import Service
from tests.local.fakes import FakeHost
from tests.local.jobs import BUCKET


@pytest.fixture
def s3():
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


@pytest.fixture
def service(tmp_path, s3):
    service = Service(FakeHost(), tmp_path / "sagemaker")
    yield service
    service.close()


@pytest.fixture
def script(service, tmp_path):
    """Make the image `tiny` run a script: its text, after the imports and `base`."""

    def write(text: str) -> None:
        path = tmp_path / "container.py"
        head = "import json, os, pathlib, sys, time\nbase = pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'])\n"
        path.write_text(head + text)
        service.images["tiny"] = Image([sys.executable, str(path)])

    return write
