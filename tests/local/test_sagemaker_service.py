import asyncio
import io
import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from local.host import AccessDenied
from local.sagemaker.service import SageMakerError, Service
from local.sagemaker.shapes import pattern, service_model
from tests.local.fakes import ACCOUNT, REGION, ROLE, FakeHost


@pytest.fixture
def service(tmp_path):
    service = Service(FakeHost(), tmp_path)
    yield service
    service.close()


def put_model(service, name, **fields):
    return service.store.create("Model", name, {"ModelName": name, "ExecutionRoleArn": ROLE}, **fields)


def refused(service, operation, params):
    with pytest.raises(SageMakerError) as caught:
        service.call(operation, params)
    return caught.value.code, caught.value.message


def test_a_violation_is_told_in_sagemakers_words(service):
    code, message = refused(service, "DescribeTrainingJob", {"TrainingJobName": "no_good"})
    assert code == "ValidationException"
    assert message == (
        "1 validation error detected: Value 'no_good' at 'trainingJobName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
    )


def test_every_violation_is_told_with_its_path(service):
    params = {
        "ProcessingJobName": "p",
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 0, "InstanceType": "ml.huge", "VolumeSizeInGB": 1}
        },
        "AppSpecification": {"ImageUri": "image"},
    }
    code, message = refused(service, "CreateProcessingJob", params)
    assert message.startswith("3 validation errors detected: ") and code == "ValidationException"
    assert "Value null at 'roleArn' failed to satisfy constraint: Member must not be null" in message
    assert "Value '0' at 'processingResources.clusterConfig.instanceCount'" in message
    assert "Member must have value greater than or equal to 1" in message
    assert "'ml.huge' at 'processingResources.clusterConfig.instanceType'" in message
    assert "Member must satisfy enum value set: [ml.t3.medium" in message


@pytest.mark.parametrize(
    "params",
    [{"TrainingJobName": 5}, {"TrainingJobName": "a", "Nmae": "b"}, {}],
    ids=["type", "unknown", "required"],
)
def test_a_request_of_the_wrong_form_is_refused(service, params):
    code, _ = refused(service, "DescribeTrainingJob", params)
    assert code in ("SerializationException", "ValidationException")


def test_patterns_of_the_model_compile():
    names = {
        shape.metadata["pattern"]
        for shape in map(service_model().shape_for, service_model().shape_names)
        if "pattern" in shape.metadata
    }
    assert sum(pattern(name) is None for name in names) <= 4  # the few with UTF-16 surrogates
    assert pattern(r"[\p{L}\p{M}\p{Z}\p{S}\p{N}\p{P}]*").fullmatch("v3: épreuve (10 %), ok?")


def test_describe_and_delete_follow_from_the_record(service):
    put_model(service, "m")
    answer = service.call("DescribeModel", {"ModelName": "m"})
    assert answer["ModelArn"] == f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model/m"
    assert answer["CreationTime"].tzinfo is UTC and "LastModifiedTime" not in answer
    assert refused(service, "DescribeModel", {"ModelName": "n"})[1] == (
        f'Could not find model "arn:aws:sagemaker:{REGION}:{ACCOUNT}:model/n".'
    )
    assert service.call("DeleteModel", {"ModelName": "m"}) == {}
    assert refused(service, "DeleteModel", {"ModelName": "m"})[0] == "ValidationException"


def test_a_taken_name_is_refused(service):
    put_model(service, "m")
    with pytest.raises(SageMakerError, match="Cannot create already existing model"):
        put_model(service, "m")


def test_list_filters_sorts_and_pages(service):
    for number in range(25):
        put_model(service, f"m-{number:02}")
    put_model(service, "other")
    seen, token = [], {}
    while True:
        answer = service.call("ListModels", {"NameContains": "m-", "SortBy": "Name", **token})
        seen += [row["ModelName"] for row in answer["Models"]]
        if "NextToken" not in answer:
            break
        if not token:  # a row gone between two pages hides no other
            service.call("DeleteModel", {"ModelName": "m-24"})
        token = {"NextToken": answer["NextToken"]}
    assert seen == [f"m-{number:02}" for number in reversed(range(25))]
    later = {"CreationTimeAfter": datetime(2100, 1, 1, tzinfo=UTC)}
    assert service.call("ListModels", later) == {"Models": []}
    assert refused(service, "ListModels", {"NextToken": "???"})[0] == "ValidationException"


def over_http(service, operation, params):
    headers = {"X-Amz-Target": f"SageMaker.{operation}"}
    body = json.dumps(params).encode()
    status, headers, body = asyncio.run(service.handle_request("POST", "/", headers, body, {}))
    assert headers["Content-Type"] == "application/x-amz-json-1.1"
    return status, json.loads(body)


def test_http_speaks_json_1_1(service):
    put_model(service, "m")
    status, answer = over_http(service, "DescribeModel", {"ModelName": "m"})
    assert status == 200 and isinstance(answer["CreationTime"], float)
    assert over_http(service, "DescribeModel", {})[1]["__type"] == "ValidationException"
    assert over_http(service, "Nonsense", {})[1]["__type"] == "UnknownOperationException"
    assert over_http(service, "CreateAlgorithm", {"AlgorithmName": "a"})[0] == 400


def test_boto3_understands_the_answers(service):
    client = service.host.client("sagemaker")

    def answer(request, **_):
        headers = {"X-Amz-Target": request.headers["X-Amz-Target"].decode()}
        status, headers, body = asyncio.run(service.handle_request("POST", "/", headers, request.body, {}))
        return AWSResponse(request.url, status, headers, _Raw(body))

    client.meta.events.register("before-send.sagemaker.*", answer)
    client.create_model_package_group(ModelPackageGroupName="g")
    described = client.describe_model_package_group(ModelPackageGroupName="g")
    assert described["CreationTime"].tzinfo and described["ModelPackageGroupStatus"] == "Completed"
    with pytest.raises(client.exceptions.ResourceNotFound, match="can't find a tuning job"):
        client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="none")
    with pytest.raises(ClientError, match=r"ValidationException.*Requested resource not found"):
        client.describe_training_job(TrainingJobName="none")


class _Raw(io.BytesIO):
    def stream(self, **_):
        yield self.read()


def test_the_caller_needs_the_action_on_the_resource_and_the_role(service):
    over_http(service, "DescribeModel", {"ModelName": "m"})
    over_http(service, "CreateModel", {"ModelName": "m", "ExecutionRoleArn": ROLE, "Tags": [{"Key": "k"}]})
    over_http(service, "UpdateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c"})
    over_http(service, "ListModels", {})
    definition = {"RoleArn": ROLE}
    tuning = {"HyperParameterTuningJobName": "t", "TrainingJobDefinition": definition}
    over_http(service, "CreateHyperParameterTuningJob", tuning)
    arn = service.store.arn("Model", "m")
    assert service.host.asked == [
        ("sagemaker:DescribeModel", arn),
        ("sagemaker:CreateModel", arn),
        ("iam:PassRole", ROLE),
        ("sagemaker:AddTags", arn),
        ("sagemaker:UpdateEndpoint", service.store.arn("Endpoint", "e")),
        ("sagemaker:UpdateEndpoint", service.store.arn("EndpointConfig", "c")),
        ("sagemaker:ListModels", "*"),
        ("sagemaker:CreateHyperParameterTuningJob", service.store.arn("HyperParameterTuningJob", "t")),
        ("iam:PassRole", ROLE),
    ]


def test_a_denied_call_is_answered_so(service):
    def deny(headers, action, resource):
        raise AccessDenied(f"not authorized to perform: {action}")

    service.host.authorize = deny
    status, answer = over_http(service, "DescribeModel", {"ModelName": "m"})
    assert (status, answer["__type"]) == (400, "AccessDeniedException")
    assert "sagemaker:DescribeModel" in answer["message"]


def test_subprocesses_die_with_a_killed_server(tmp_path):
    script = (
        "import os, signal, pathlib, sys\n"
        "from local.sagemaker.processes import Processes\n"
        "env = {'PATH': os.environ['PATH']}\n"
        "child = Processes().start(['sleep', '60'], env=env, cwd=pathlib.Path('.'))\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=10)
    # The child holds the pipe of `run` open, so that `run` ended only once the child had.
    assert run.returncode == -9 and int(run.stdout) > 0
