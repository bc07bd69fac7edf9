"""Serverless variants of the local SageMaker: processes that start with a request and end without one."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from local.sagemaker.service import SageMakerError
from tests.local.hosted import Hosted, SteadyClient, blue_green, until, variant

MEMORY = {"MemorySizeInMB": 2048}


@pytest.fixture
def hosted(tmp_path):
    hosted = Hosted(tmp_path)
    yield hosted
    hosted.close()


def serverless(model: str, most: int = 2, name: str = "main", **fields: int) -> dict:
    config = {**MEMORY, "MaxConcurrency": most, **fields}
    return {"VariantName": name, "ModelName": model, "ServerlessConfig": config, "InitialVariantWeight": 1}


def created(hosted: Hosted, model: str = "v1", most: int = 2, kept: int = 0, **environment: str) -> None:
    """An endpoint of one serverless variant, in service."""
    hosted.model(model, **environment)
    fields = {"ProvisionedConcurrency": kept} if kept else {}
    hosted.config(model, serverless(model, most, **fields))
    hosted.create(model)


def warm(hosted: Hosted) -> int:
    """Instances that run."""
    return len(hosted.hosting.endpoints["e"].router.blue.instances())


def refused(hosted: Hosted, operation: str, params: dict) -> str:
    with pytest.raises(SageMakerError) as caught:
        hosted.call(operation, params)
    assert caught.value.code == "ValidationException"
    return caught.value.message


def test_nothing_runs_while_nobody_asks_and_a_request_waits_for_a_cold_start(hosted):
    created(hosted)
    seen = hosted.describe()
    assert seen["EndpointStatus"] == "InService"
    (main,) = seen["ProductionVariants"]
    assert main["CurrentServerlessConfig"] == {**MEMORY, "MaxConcurrency": 2}
    assert not {"CurrentInstanceCount", "InstanceType"} & set(main)
    until(lambda: warm(hosted), lambda count: count == 0)
    assert hosted.invoke()[::2] == (200, b"v1")
    assert warm(hosted) == 1
    overhead = [datum for datum in metrics(hosted) if datum["MetricName"] == "OverheadLatency"]
    assert max(value for datum in overhead for value in datum["Values"]) > 20_000, "the start of a process"


def metrics(hosted: Hosted) -> list[dict]:
    hosted.hosting.metrics.flush()
    return hosted.host.cloudwatch.data


def test_metrics_do_not_name_the_configuration(hosted):
    created(hosted)
    hosted.invoke()
    names = {each["Name"] for datum in metrics(hosted) for each in datum["Dimensions"]}
    assert names == {"EndpointName", "VariantName"}


def test_each_request_has_an_instance_to_itself_and_one_too_many_is_throttled(hosted):
    created(hosted, DELAY="0.5")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: hosted.invoke(b"pid"), range(4)))
    good = [body for status, _, body in answers if status == 200]
    assert len(set(good)) == 2, "two processes"
    (first, second) = [(status, headers) for status, headers, _ in answers if status != 200]
    assert first[0] == second[0] == 400
    assert first[1]["x-amzn-ErrorType"] == "ThrottlingException"
    assert hosted.invoke()[0] == 200


def test_provisioned_concurrency_stays_warm(hosted):
    created(hosted, most=3, kept=2)
    assert warm(hosted) == 2
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: hosted.invoke(), range(9)))
    until(lambda: warm(hosted), lambda count: count == 2)


def test_an_instance_that_dies_is_not_missed(hosted):
    created(hosted)
    hosted.invoke(b"die")
    until(lambda: warm(hosted), lambda count: count == 0)
    assert hosted.invoke()[0] == 200


def test_an_update_loses_no_request(hosted):
    created(hosted, most=10)
    hosted.model("v2")
    hosted.config("v2", serverless("v2", 10, name="other"))
    with SteadyClient(hosted) as client:
        until(lambda: client.answers, bool)
        hosted.update("v2")
        assert hosted.settle()["EndpointConfigName"] == "v2"
        until(lambda: client.answers[-1][2], lambda body: body == b"v2")
    assert not client.failures()
    assert {body for _, _, body in client.answers} == {b"v1", b"v2"}


def test_a_request_that_waits_for_a_variant_that_goes_is_answered_by_the_next(hosted):
    created(hosted, START_DELAY="1")
    until(lambda: warm(hosted), lambda count: count == 0)
    hosted.model("v2")
    hosted.config("v2", serverless("v2"))
    answers: list = []
    waiting = threading.Thread(target=lambda: answers.append(hosted.invoke()))
    waiting.start()
    hosted.update("v2")
    waiting.join()
    assert answers[0][0] == 200


def test_a_container_that_does_not_start_fails_the_endpoint(hosted):
    hosted.model("v1", START="never")
    hosted.config("v1", serverless("v1"))
    hosted.create("v1")
    seen = hosted.describe()
    assert (seen["EndpointStatus"], "ping health check" in seen["FailureReason"]) == ("Failed", True)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        (
            {"ServerlessConfig": {"MemorySizeInMB": 2000, "MaxConcurrency": 1}},
            "MemorySizeInMB must be one of",
        ),
        ({"ServerlessConfig": {"MemorySizeInMB": 8192, "MaxConcurrency": 1}}, "less than or equal to 6144"),
        ({"ServerlessConfig": {**MEMORY, "MaxConcurrency": 201}}, "less than or equal to 200"),
        (
            {"ServerlessConfig": {**MEMORY, "MaxConcurrency": 1, "ProvisionedConcurrency": 2}},
            "ProvisionedConcurrency must be less than or equal to MaxConcurrency",
        ),
        ({"InstanceType": "ml.m5.large"}, "InstanceType cannot be specified"),
    ],
)
def test_what_a_variant_cannot_be(hosted, fields, found):
    hosted.model("v1")
    params = {"EndpointConfigName": "c", "ProductionVariants": [{**serverless("v1"), **fields}]}
    assert found in refused(hosted, "CreateEndpointConfig", params)


def test_what_a_serverless_endpoint_does_not_have(hosted):
    hosted.model("v1")
    one, capture = serverless("v1"), {"DestinationS3Uri": "s3://b/c", "InitialSamplingPercentage": 100}
    config = {"EndpointConfigName": "c", "ProductionVariants": [one]}
    captured = {**config, "DataCaptureConfig": {**capture, "CaptureOptions": [{"CaptureMode": "Input"}]}}
    assert "DataCaptureConfig is not supported" in refused(hosted, "CreateEndpointConfig", captured)
    two = {**config, "ProductionVariants": [one, variant("v1", "other")]}
    assert "exactly one variant" in refused(hosted, "CreateEndpointConfig", two)
    shadowed = {**config, "ShadowProductionVariants": [serverless("v1", name="shadow")]}
    assert "exactly one variant" in refused(hosted, "CreateEndpointConfig", shadowed)
    created(hosted, "v2")
    update = {"EndpointName": "e", "EndpointConfigName": "v2", "DeploymentConfig": blue_green("ALL_AT_ONCE")}
    hosted.host.alarms = {"errors": "OK"}
    assert "DeploymentConfig is not supported" in refused(hosted, "UpdateEndpoint", update)
    scaled = [{"VariantName": "main", "DesiredInstanceCount": 2}]
    change = {"EndpointName": "e", "DesiredWeightsAndCapacities": scaled}
    assert "capacity of a serverless variant" in refused(hosted, "UpdateEndpointWeightsAndCapacities", change)


def test_an_endpoint_of_instances_cannot_be_made_serverless(hosted):
    hosted.generation("v1")
    hosted.create("v1")
    hosted.model("v2")
    hosted.config("v2", serverless("v2"))
    update = {"EndpointName": "e", "EndpointConfigName": "v2"}
    assert "cannot be made serverless" in refused(hosted, "UpdateEndpoint", update)
