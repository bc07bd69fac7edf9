"""AWS's own SageMaker SDK against the local stack, and against nothing else: `make test-sdk`."""

import csv
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from local import stack
from local.machine import ROOT

HERE = Path(__file__).parent
SOURCE = HERE / "source"
COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]


@pytest.fixture(scope="session")
def offline() -> Iterator[None]:
    """No name is looked up and no address reached but this machine's: what was tried fails the run."""
    here, tried, watching = {"127.0.0.1", "localhost", None}, [], True

    def audit(event: str, arguments: tuple) -> None:
        if not watching or event not in ("socket.connect", "socket.getaddrinfo"):
            return
        if event == "socket.connect" and arguments[0].family == socket.AF_UNIX:
            return
        host = arguments[1][0] if event == "socket.connect" else arguments[0]
        if host not in here:
            tried.append(host)
            raise ConnectionRefusedError(f"{host} is not the local stack")

    sys.addaudithook(audit)
    yield
    watching = False
    assert not tried, f"the SDK reached for {tried}"


@pytest.fixture(scope="session")
def running(offline: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Stack]:
    """The local stack, and an environment in which every client made from now on means it."""
    directory = tmp_path_factory.mktemp("stack") / "state"
    with (
        stack.running(port=0, deploy=False, directory=directory) as found,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in ROOT.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL", found.url)
        patch.setenv("AWS_DEFAULT_REGION", stack.REGION)
        for name in ("SAGEMAKER_USER_CONFIG_OVERRIDE", "SAGEMAKER_ADMIN_CONFIG_OVERRIDE"):
            patch.setenv(name, str(HERE / "config.yaml"))
        boto3.setup_default_session()  # importing the SDK makes one, of the environment as it was then
        yield found


@pytest.fixture(scope="session")
def session(running: stack.Stack) -> Any:
    from sagemaker.core.helper.session_helper import Session

    return Session()


@pytest.fixture(scope="session")
def role(session: Any) -> str:
    """A role for training and hosting, as the SDK makes them: with what its own list of policies grants."""
    from sagemaker.core.helper import IamRoleResolver, iam_role_resolver

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iam_role_resolver, "_IAM_PROPAGATION_DELAY_SECONDS", 0)
        return IamRoleResolver().create_execution_role(
            role_type="training", s3_resource=session.default_bucket()
        )


@pytest.fixture(scope="session")
def image() -> str:
    from sagemaker.core import image_uris

    return image_uris.retrieve(framework="sklearn", region=stack.REGION, version="1.4-2", py_version="py3")


@pytest.fixture(scope="session")
def irises(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the iris measurements in two CSV files."""
    from sklearn.datasets import load_iris

    data = load_iris()
    rows = [[*values, data.target_names[kind]] for values, kind in zip(data.data, data.target, strict=True)]
    folder = tmp_path_factory.mktemp("irises")
    for part in (0, 1):
        with (folder / f"{part}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([[*COLUMNS, "species"], *rows[part::2]])
    return folder


@pytest.fixture(scope="session")
def uploaded(session: Any, irises: Path) -> str:
    """The same folder in S3."""
    from sagemaker.core.s3 import S3Uploader

    uri = f"s3://{session.default_bucket()}/measurements"
    return S3Uploader.upload(str(irises), uri, sagemaker_session=session)


@pytest.fixture(scope="session")
def trainer(session: Any, role: str, image: str) -> Any:
    """Makes a ModelTrainer of `source/train.py`; keywords are hyperparameters."""
    from sagemaker.core.training.configs import Compute, SourceCode
    from sagemaker.train import ModelTrainer

    def make(**hyperparameters: Any) -> ModelTrainer:
        known = {"max-depth": 3, "criterion": "gini", "columns": ",".join(COLUMNS)}
        return ModelTrainer(
            sagemaker_session=session,
            role=role,
            training_image=image,
            base_job_name="irises",
            source_code=SourceCode(source_dir=str(SOURCE), entry_script="train.py"),
            compute=Compute(instance_type="ml.m5.large", instance_count=1),
            hyperparameters=known | hyperparameters,
        )

    return make


@pytest.fixture(scope="session")
def trained(trainer: Any, irises: Path) -> Any:
    """A training job that has completed."""
    from sagemaker.core.training.configs import InputData

    made = trainer()
    made.train([InputData(channel_name="train", data_source=str(irises))], wait=False)
    made._latest_training_job.wait(poll=1)
    return made._latest_training_job
