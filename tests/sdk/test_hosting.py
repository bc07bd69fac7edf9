"""Endpoints made, invoked, updated and deleted by the SDK."""

import json
import uuid

import boto3
import pytest

pytest.importorskip("sagemaker.serve", reason="the SageMaker SDK is not installed here: make test-sdk")

from sagemaker.core.helper import session_helper
from sagemaker.core.resources import Endpoint, EndpointConfig, Model
from sagemaker.core.s3 import S3Uploader
from sagemaker.core.shapes import ContainerDefinition, ProductionVariant
from sagemaker.core.training.configs import SourceCode
from sagemaker.core.transformer import Transformer
from sagemaker.core.utils.exceptions import FailedStatusError
from sagemaker.serve import ModelBuilder

from tests.sdk.conftest import SOURCE

FLOWERS = "5.1,3.5,1.4,0.2\n6.7,3.0,5.2,2.3\n"


def unique(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:6]}"


@pytest.fixture
def model(trained, role, image, session):
    """Makes a Model of the trained artifact; its script comes from S3, as from the SDK's own uploads."""
    from sagemaker.core import fw_utils

    def make(**environment: str) -> Model:
        name = unique("irises")
        code = fw_utils.tar_and_upload_dir(
            session.boto_session,
            session.default_bucket(),
            f"code/{name}",
            "inference.py",
            str(SOURCE),
        )
        variables = {"SAGEMAKER_PROGRAM": code.script_name, "SAGEMAKER_SUBMIT_DIRECTORY": code.s3_prefix}
        container = ContainerDefinition(
            image=image,
            model_data_url=trained.model_artifacts.s3_model_artifacts,
            environment=variables | environment,
        )
        return Model.create(model_name=name, primary_container=container, execution_role_arn=role)

    return make


def config(model: Model, variant: str = "main") -> str:
    made = ProductionVariant(
        variant_name=variant,
        model_name=model.model_name,
        instance_type="ml.m5.large",
        initial_instance_count=1,
    )
    EndpointConfig.create(endpoint_config_name=model.model_name, production_variants=[made])
    return model.model_name


def answer(endpoint: Endpoint, **fields: str) -> list[str]:
    return json.loads(endpoint.invoke(body=FLOWERS, content_type="text/csv", **fields).body.read())


def test_an_endpoint_serves_a_trained_model_until_it_is_deleted(model):
    name = config(model())
    endpoint = Endpoint.create(endpoint_name=name, endpoint_config_name=name)
    endpoint.wait_for_status("InService", poll=1, timeout=60)
    assert answer(endpoint) == ["setosa", "virginica"]
    assert answer(endpoint, target_variant="main") == ["setosa", "virginica"]

    endpoint.delete()
    endpoint.wait_for_delete(poll=1, timeout=60)
    EndpointConfig.get(name).delete()
    Model.get(name).delete()
    with pytest.raises(boto3.client("sagemaker").exceptions.ClientError, match="Could not find"):
        Endpoint.get(name)


def test_an_update_changes_the_model_in_service(model):
    first, second = config(model()), config(model(), variant="next")
    endpoint = Endpoint.create(endpoint_name=first, endpoint_config_name=first)
    endpoint.wait_for_status("InService", poll=1, timeout=60)
    endpoint.endpoint_config_name = second
    endpoint.update()
    endpoint.wait_for_status("InService", poll=1, timeout=60)
    assert [variant.variant_name for variant in endpoint.production_variants] == ["next"]
    assert answer(endpoint) == ["setosa", "virginica"]
    endpoint.delete()


def test_a_container_that_does_not_answer_fails_the_endpoint(model):
    name = config(model(SAGEMAKER_PROGRAM="absent.py"))
    endpoint = Endpoint.create(endpoint_name=name, endpoint_config_name=name)
    with pytest.raises(FailedStatusError, match="did not pass the ping health check"):
        endpoint.wait_for_status("InService", poll=1, timeout=60)
    endpoint.delete()


def test_a_model_builder_packs_the_script_into_the_model_and_deploys_it(
    trained, role, image, session, monkeypatch
):
    monkeypatch.setattr(session_helper, "EP_LOGGER_POLL", 1)  # seconds between two looks; 30 of its own
    builder = ModelBuilder(
        sagemaker_session=session,
        role_arn=role,
        image_uri=image,
        s3_model_data_url=trained.model_artifacts.s3_model_artifacts,
        source_code=SourceCode(source_dir=str(SOURCE), entry_script="inference.py"),
        instance_type="ml.m5.large",
    )
    built = builder.build(model_name=unique("built"))
    assert built.primary_container.environment["SAGEMAKER_SUBMIT_DIRECTORY"] == "/opt/ml/model/code"
    endpoint = builder.deploy(endpoint_name=built.model_name)
    assert endpoint.endpoint_status == "InService"
    assert answer(endpoint) == ["setosa", "virginica"]
    endpoint.delete()


def test_a_batch_of_files_is_transformed(model, session):
    bucket = session.default_bucket()
    given, out = f"s3://{bucket}/flowers/flowers.csv", f"s3://{bucket}/kinds"
    S3Uploader.upload_string_as_file_body(FLOWERS, given, sagemaker_session=session)
    transformer = Transformer(
        model().model_name, 1, "ml.m5.large", output_path=out, sagemaker_session=session
    )
    transformer.transform(given, content_type="text/csv", split_type="Line", wait=False, logs=False)
    transformer.latest_transform_job.wait(poll=1, timeout=60)
    assert json.loads(session.read_s3_file(bucket, "kinds/flowers.csv.out")) == ["setosa", "virginica"]
