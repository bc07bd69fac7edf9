"""Endpoints of the local SageMaker: creation, invocations, variants, scaling, deletion. Real subprocesses."""

import io
import json
import tarfile
import time

import boto3
import pytest
from moto import mock_aws

from local.host import AccessDenied
from local.sagemaker.service import SageMakerError
from tests.local.fakes import ACCOUNT, REGION, ROLE
from tests.local.hosted import IMAGE, Hosted, until, variant

ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"


@pytest.fixture
def hosted(tmp_path):
    hosted = Hosted(tmp_path)
    yield hosted
    hosted.close()


def pids(hosted: Hosted, requests: int) -> set[bytes]:
    return {hosted.invoke(b"pid")[2] for _ in range(requests)}


def refused(hosted: Hosted, operation: str, params: dict) -> str:
    with pytest.raises(SageMakerError) as caught:
        hosted.call(operation, params)
    assert caught.value.code == "ValidationException"
    return caught.value.message


def test_an_endpoint_comes_into_service_and_answers(hosted):
    hosted.generation("v1")
    hosted.create("v1")
    status, headers, body = hosted.invoke(b"1,2", Content_Type="text/csv", Accept="text/csv")
    assert (status, body) == (200, b"v1")
    assert headers["Content-Type"] == "text/csv"
    assert headers["x-Amzn-Invoked-Production-Variant"] == "main"
    seen = hosted.describe()
    assert seen["EndpointStatus"] == "InService"
    (main,) = seen["ProductionVariants"]
    assert (main["CurrentInstanceCount"], main["DesiredInstanceCount"]) == (1, 1)
    assert (main["CurrentWeight"], main["DesiredWeight"]) == (1.0, 1.0)
    assert main["DeployedImages"][0]["SpecifiedImage"] == IMAGE
    assert "PendingDeploymentSummary" not in seen and "VariantStatus" not in main
    assert hosted.host.statuses() == ["CREATING", "IN_SERVICE"]


def test_an_event_names_the_endpoint_as_aws_does(hosted):
    hosted.generation("v1")
    hosted.create("v1")
    detail_type, detail, resources = hosted.host.events[-2]
    assert detail_type == "SageMaker Endpoint State Change"
    assert resources == [detail["EndpointArn"]] == [f"{ARN}:endpoint/e"]
    assert detail["EndpointConfigName"] == "v1"
    assert isinstance(detail["LastModifiedTime"], int)
    json.dumps(detail)


def test_instances_take_turns_and_each_is_a_process(hosted):
    hosted.generation("v1", count=3)
    hosted.create("v1")
    assert len(pids(hosted, 6)) == 3


def test_a_container_gets_the_headers_of_the_api_and_no_other(hosted):
    hosted.generation("v1")
    hosted.create("v1")
    _, headers, body = hosted.invoke(
        b"headers", X_Amzn_SageMaker_Custom_Attributes="c=1", Authorization="secret", Content_Type="text/csv"
    )
    sent = body.decode().lower()
    assert "x-amzn-sagemaker-custom-attributes: c=1" in sent and "content-type: text/csv" in sent
    assert "secret" not in sent
    assert headers["X-Amzn-SageMaker-Custom-Attributes"] == "c=1"


@pytest.mark.parametrize(
    "asked, error, count", [(b"status 400", "client", 400), (b"status 500", "server", 500)]
)
def test_an_error_of_the_container_is_a_model_error(hosted, asked, error, count):
    hosted.generation("v1")
    hosted.create("v1")
    status, headers, body = hosted.invoke(asked)
    answer = json.loads(body)
    assert (status, headers["x-amzn-ErrorType"]) == (424, "ModelError")
    assert answer["OriginalStatusCode"] == count and answer["OriginalMessage"] == "as you wish"
    assert answer["Message"].startswith(f'Received {error} error ({count}) from primary with message "as you')


def test_a_container_that_dies_gives_a_model_error_and_is_started_again(hosted):
    hosted.generation("v1")
    hosted.create("v1")
    (before,) = pids(hosted, 1)
    assert hosted.invoke(b"die")[0] == 424
    until(lambda: hosted.invoke(b"pid"), lambda answer: answer[0] == 200)
    assert before not in pids(hosted, 2)
    assert hosted.describe()["EndpointStatus"] == "InService"


def test_a_dead_instance_costs_no_request_while_another_lives(hosted):
    hosted.generation("v1", count=2)
    hosted.create("v1")
    hosted.invoke(b"die")
    assert [hosted.invoke()[0] for _ in range(10)] == [200] * 10


def test_a_connection_that_the_container_closed_is_made_again(hosted):
    hosted.generation("v1")
    hosted.create("v1")
    assert hosted.invoke(b"close")[0] == 424  # neither the first try nor the retry is answered
    assert hosted.invoke()[0] == 200


@pytest.mark.parametrize(
    "headers, name, message",
    [
        ({}, "other", f"Endpoint other of account {ACCOUNT} not found."),
        ({"X_Amzn_SageMaker_Target_Variant": "b"}, "e", "Variant b of endpoint e not found."),
    ],
)
def test_an_unknown_endpoint_or_variant_is_a_validation_error(hosted, headers, name, message):
    hosted.generation("v1")
    hosted.create("v1")
    status, answered, body = hosted.invoke(name=name, **headers)
    assert (status, answered["x-amzn-ErrorType"]) == (400, "ValidationError")
    assert json.loads(body)["Message"] == message


def test_a_body_over_six_megabytes_is_refused(hosted):
    hosted.generation("v1")
    hosted.create("v1")
    assert hosted.invoke(b"x" * 6_291_456)[0] == 200
    assert hosted.invoke(b"x" * 6_291_457)[0] == 400


def test_a_caller_without_permission_is_denied(hosted, monkeypatch):
    def deny(headers, action, resource):
        assert (action, resource) == ("sagemaker:InvokeEndpoint", f"{ARN}:endpoint/e")
        raise AccessDenied("User: nobody is not authorized to perform: sagemaker:InvokeEndpoint")

    monkeypatch.setattr(hosted.host, "authorize", deny)
    status, headers, _ = hosted.invoke()
    assert (status, headers["x-amzn-ErrorType"]) == (403, "AccessDeniedException")


def test_weights_divide_the_traffic_and_a_target_overrides_them(hosted):
    hosted.model("a")
    hosted.model("b")
    hosted.config(
        "c", variant("a", "a", InitialVariantWeight=3.0), variant("b", "b", InitialVariantWeight=1.0)
    )
    hosted.create("c")
    answers = [hosted.invoke()[2] for _ in range(40)]
    assert answers.count(b"b") == 10
    assert {hosted.invoke(X_Amzn_SageMaker_Target_Variant="b")[2] for _ in range(4)} == {b"b"}
    hosted.scale(variant="a", DesiredWeight=0.0)
    assert hosted.settle()["ProductionVariants"][0]["CurrentWeight"] == 0.0
    assert {hosted.invoke()[2] for _ in range(8)} == {b"b"}


def test_a_shadow_variant_gets_a_copy_and_never_answers(hosted):
    hosted.model("a")
    hosted.model("b")
    hosted.config("c", variant("a"), ShadowProductionVariants=[variant("b", "shadow")])
    hosted.create("c")
    assert {hosted.invoke()[2] for _ in range(5)} == {b"a"}
    until(
        lambda: hosted.host.cloudwatch.sum("Invocations", EndpointName="e", VariantName="shadow"),
        lambda count: count == 5,
    )
    assert hosted.describe()["ShadowProductionVariants"][0]["VariantName"] == "shadow"


def test_scaling_starts_and_stops_instances(hosted):
    hosted.generation("v1")
    hosted.create("v1")
    hosted.scale(DesiredInstanceCount=3)
    with pytest.raises(SageMakerError, match="Cannot update in-progress endpoint"):
        hosted.scale(DesiredInstanceCount=2)
    assert hosted.settle()["ProductionVariants"][0]["CurrentInstanceCount"] == 3
    assert len(pids(hosted, 6)) == 3
    hosted.scale(DesiredInstanceCount=1)
    assert hosted.settle()["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    assert len(pids(hosted, 6)) == 1


def test_metrics_count_each_invocation_by_variant_and_by_configuration(hosted):
    hosted.generation("v1")
    hosted.create("v1")
    for body in (b"?", b"?", b"status 400", b"status 500"):
        hosted.invoke(body)
    hosted.hosting.metrics.flush()
    seen = hosted.host.cloudwatch
    variant_only = {"EndpointName": "e", "VariantName": "main"}
    for dimensions in (variant_only, {**variant_only, "EndpointConfigName": "v1"}):
        assert seen.sum("Invocations", **dimensions) == 4
        assert seen.sum("Invocation4XXErrors", **dimensions) == 1
        assert seen.sum("Invocation5XXErrors", **dimensions) == 1
        assert seen.sum("InvocationModelErrors", **dimensions) == 2
        assert seen.sum("ModelLatency", **dimensions) > 0
    errors = [datum for datum in seen.data if datum["MetricName"] == "Invocation5XXErrors"]
    assert sum(errors[0]["Counts"]) == 4  # so that the metric's Average is the error rate


def test_the_output_of_a_container_is_in_the_endpoints_log(hosted):
    hosted.generation("v1")
    hosted.create("v1")
    logs = until(lambda: dict(hosted.host.logs), bool)
    ((group, stream),) = logs
    assert group == "/aws/sagemaker/Endpoints/e" and stream.startswith("main/i-")
    assert logs[group, stream] == ["serving"]


@pytest.mark.parametrize("environment", [{"START": "never"}])
def test_a_container_that_ends_fails_the_creation(hosted, environment):
    hosted.generation("bad", **environment)
    hosted.create("bad")
    seen = hosted.describe()
    assert seen["EndpointStatus"] == "Failed"
    assert seen["FailureReason"] == (
        "The primary container for production variant main did not pass the ping health check. "
        "Please check CloudWatch logs for this endpoint."
    )
    assert hosted.host.statuses()[-1] == "FAILED"
    assert hosted.invoke()[0] == 400
    assert "can only be deleted" in refused(
        hosted, "UpdateEndpoint", {"EndpointName": "e", "EndpointConfigName": "bad"}
    )
    hosted.call("DeleteEndpoint", {"EndpointName": "e"})


def test_an_unknown_image_fails_the_creation_by_name(hosted):
    container = {"Image": f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/unheard-of:1"}
    hosted.call("CreateModel", {"ModelName": "m", "PrimaryContainer": container})
    hosted.config("m", variant("m"))
    hosted.create("m")
    assert "unheard-of:1 has no stand-in" in hosted.describe()["FailureReason"]


def test_deletion_ends_the_processes(hosted):
    hosted.generation("v1", count=2)
    hosted.create("v1")
    hosted.call("DeleteEndpoint", {"EndpointName": "e"})
    until(lambda: hosted.call("ListEndpoints", {})["Endpoints"], lambda endpoints: not endpoints)
    assert not hosted.service.processes._running
    assert hosted.host.statuses()[-1] == "DELETING"
    assert (
        refused(hosted, "DescribeEndpoint", {"EndpointName": "e"})
        == f'Could not find endpoint "{ARN}:endpoint/e".'
    )


def test_requests_that_cannot_be(hosted):
    hosted.generation("v1")
    pair = {"EndpointName": "e", "EndpointConfigName": "none"}
    missing = f'Could not find endpoint configuration "{ARN}:endpoint-config/none".'
    assert refused(hosted, "CreateEndpoint", pair) == missing
    no_model = {"EndpointConfigName": "c", "ProductionVariants": [variant("none")]}
    assert refused(hosted, "CreateEndpointConfig", no_model) == f'Could not find model "{ARN}:model/none".'
    lost = {"Image": IMAGE, "ModelDataUrl": "s3://bucket/none.tar.gz"}
    assert refused(hosted, "CreateModel", {"ModelName": "m", "PrimaryContainer": lost}) == (
        "Could not find model data at s3://bucket/none.tar.gz."
    )
    assert "already existing model" in refused(
        hosted, "CreateModel", {"ModelName": "v1", "PrimaryContainer": {"Image": IMAGE}}
    )


def test_a_model_package_gives_image_data_and_environment(hosted):
    hosted.call("CreateModelPackageGroup", {"ModelPackageGroupName": "g"})
    container = {"Image": IMAGE, "Environment": {"ANSWER": "packaged", "OTHER": "1"}}
    specification = {
        "Containers": [container],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    package = hosted.call(
        "CreateModelPackage", {"ModelPackageGroupName": "g", "InferenceSpecification": specification}
    )
    named = {"ModelPackageName": package["ModelPackageArn"]}
    hosted.call("CreateModel", {"ModelName": "m", "PrimaryContainer": named})
    hosted.config("m", variant("m"))
    hosted.create("m")
    assert hosted.invoke()[2] == b"packaged"
    assert hosted.call("DescribeModel", {"ModelName": "m"})["PrimaryContainer"] == named


def test_several_containers_are_a_pipeline(hosted):
    containers = [{"Image": IMAGE}, {"Image": IMAGE, "Environment": {"ANSWER": "last"}}]
    hosted.call("CreateModel", {"ModelName": "m", "Containers": containers})
    hosted.config("m", variant("m"))
    hosted.create("m")
    assert hosted.invoke(b"abc")[2] == b"last"
    assert hosted.invoke(b"abc", X_Amzn_SageMaker_Target_Container_Hostname="container-1")[2] == b"ABC"


def test_model_data_is_extracted_where_the_container_looks_for_it(hosted, tmp_path):
    with mock_aws():
        s3 = boto3.client("s3", region_name=REGION)
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="model.tar.gz", Body=archive({"weights.txt": b"1"}))
        hosted.host.s3.objects["s3://bucket/model.tar.gz"] = b""
        container = {"Image": IMAGE, "ModelDataUrl": "s3://bucket/model.tar.gz"}
        model = {"ModelName": "m", "PrimaryContainer": container, "ExecutionRoleArn": ROLE}
        hosted.call("CreateModel", model)
        hosted.config("m", variant("m"))
        hosted.create("m")
    (file,) = (hosted.service.root / "endpoints" / "e").glob("i-*/model/weights.txt")
    assert file.read_bytes() == b"1"


def test_the_proxy_adds_little(hosted):
    hosted.generation("v1")
    hosted.create("v1")
    hosted.invoke()
    hosted.hosting.metrics.flush()
    hosted.host.cloudwatch.data.clear()
    began = time.perf_counter()
    for _ in range(200):
        hosted.invoke()
    took = (time.perf_counter() - began) / 200
    hosted.hosting.metrics.flush()
    overhead = hosted.host.cloudwatch.sum("OverheadLatency", EndpointName="e", VariantName="main") / 200
    assert overhead < 2000, f"{overhead:.0f} us of {took * 1e6:.0f} us"


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
