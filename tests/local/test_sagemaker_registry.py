import json
import threading

import pytest

from local.sagemaker.service import SageMakerError, Service
from tests.local.fakes import ACCOUNT, REGION, FakeHost

GROUP = "evergreen-flights"


@pytest.fixture
def service(tmp_path):
    service = Service(FakeHost(), tmp_path)
    tags = [{"Key": "a", "Value": "1"}]
    service.call("CreateModelPackageGroup", {"ModelPackageGroupName": GROUP, "Tags": tags})
    yield service
    service.close()


def package(**fields):
    container = {"Image": "image:1", "ModelDataUrl": "s3://bucket/model.tar.gz"}
    specification = {"Containers": [container], "SupportedContentTypes": ["application/jsonlines"]}
    return {"ModelPackageGroupName": GROUP, "InferenceSpecification": specification} | fields


def create(service, **fields):
    return service.call("CreateModelPackage", package(**fields))["ModelPackageArn"]


def refused(service, operation, params):
    with pytest.raises(SageMakerError) as caught:
        service.call(operation, params)
    return caught.value.code, caught.value.message


def test_versions_count_up_and_wait_for_approval(service):
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/{GROUP}"
    assert [create(service), create(service)] == [f"{arn}/1", f"{arn}/2"]
    answer = service.call("DescribeModelPackage", {"ModelPackageName": f"{arn}/2"})
    assert answer["ModelApprovalStatus"] == "PendingManualApproval"
    assert (answer["ModelPackageStatus"], answer["ModelPackageVersion"]) == ("Completed", 2)
    service.call("DeleteModelPackage", {"ModelPackageName": f"{arn}/2"})
    assert create(service) == f"{arn}/3"  # a version is never given twice


def test_an_approval_is_announced_with_what_changed(service):
    arn = create(service)
    service.call("UpdateModelPackage", {"ModelPackageArn": arn, "ModelApprovalStatus": "Approved"})
    note = {"CustomerMetadataProperties": {"run": "flights-1"}}
    service.call("UpdateModelPackage", {"ModelPackageArn": arn} | note)
    service.call("UpdateModelPackage", {"ModelPackageArn": arn} | note)  # changes nothing
    details = [detail for kind, detail, _ in service.host.events]
    assert [detail["UpdatedModelPackageFields"] for detail in details] == [
        [],
        ["ModelApprovalStatus"],
        ["CustomerMetadataProperties"],
    ]
    assert [detail["ModelApprovalStatus"] for detail in details] == [
        "PendingManualApproval",
        "Approved",
        "Approved",
    ]
    kind, detail, resources = service.host.events[1]
    assert kind == "SageMaker Model Package State Change" and resources == [arn]
    assert detail["ModelPackageGroupName"] == GROUP and detail["ModelPackageVersion"] == 1
    assert detail["CreationTime"].endswith("Z")


CARD = {
    "model_overview": {"model_creator": "ann", "model_artifact": ["s3://bucket/model.tar.gz"]},
    "evaluation_details": [
        {
            "name": "Holdout",
            "metric_groups": [
                {
                    "name": "figures",
                    "metric_data": [
                        {"name": "auc", "type": "number", "value": 0.7},
                        {"name": "roc", "type": "linear_graph", "value": [[0, 0], [1, 1]]},
                        {"name": "counts", "type": "matrix", "value": [[1, 2], [3, 4]]},
                    ],
                }
            ],
        }
    ],
}


def test_a_card_keeps_its_content_when_its_status_changes(service):
    content = json.dumps(CARD)
    arn = create(service, ModelCard={"ModelCardStatus": "PendingReview", "ModelCardContent": content})
    change = {"ModelApprovalStatus": "Approved", "ModelCard": {"ModelCardStatus": "Approved"}}
    service.call("UpdateModelPackage", {"ModelPackageArn": arn} | change)
    answer = service.call("DescribeModelPackage", {"ModelPackageName": arn})
    assert answer["ModelCard"] == {"ModelCardStatus": "Approved", "ModelCardContent": content}
    _, detail, _ = service.host.events[-1]
    assert set(detail["UpdatedModelPackageFields"]) == {"ModelApprovalStatus", "ModelCard"}
    assert "ModelCard" not in detail


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("{", "not a valid JSON"),
        ('{"model_overview": {"model_name": "flights"}}', "model_overview: "),
        ('{"intended_uses": {"risk_rating": "Grave"}}', "intended_uses.risk_rating: "),
        ('{"evaluation_details": [{"datasets": []}]}', "evaluation_details.0: "),
        (
            '{"evaluation_details": [{"name": "a", "metric_groups": [{"name": "b", "metric_data": '
            '[{"name": "c", "type": "number", "value": [1]}]}]}]}',
            "evaluation_details.0.metric_groups.0.metric_data.0: ",
        ),
    ],
)
def test_what_is_no_model_card_is_refused_with_its_place(service, content, place):
    code, message = refused(service, "CreateModelPackage", package(ModelCard={"ModelCardContent": content}))
    assert code == "ValidationException" and place in message
    arn = create(service)
    update = {"ModelPackageArn": arn, "ModelCard": {"ModelCardContent": content}}
    assert refused(service, "UpdateModelPackage", update) == (code, message)


def test_the_content_of_an_archived_card_is_closed(service):
    arn = create(service, ModelCard={"ModelCardStatus": "Archived", "ModelCardContent": "{}"})
    update = {"ModelPackageArn": arn, "ModelCard": {"ModelCardContent": json.dumps(CARD)}}
    assert refused(service, "UpdateModelPackage", update)[0] == "ValidationException"


def test_metadata_is_merged_and_removed_by_key(service):
    arn = create(service, CustomerMetadataProperties={"run": "1", "champion": "0"})
    change = {"CustomerMetadataProperties": {"run": "2"}, "CustomerMetadataPropertiesToRemove": ["champion"]}
    service.call("UpdateModelPackage", {"ModelPackageArn": arn} | change)
    answer = service.call("DescribeModelPackage", {"ModelPackageName": arn})
    assert answer["CustomerMetadataProperties"] == {"run": "2"}


def test_a_client_token_makes_one_package(service):
    assert create(service, ClientToken="run-1") == create(service, ClientToken="run-1")
    assert len(service.host.events) == 1
    code, _ = refused(service, "CreateModelPackage", package(ClientToken="run-1", Domain="OTHER"))
    assert code == "ConflictException"


def test_a_client_token_makes_one_package_even_at_the_same_time(service):
    barrier, arns = threading.Barrier(8), []

    def register():
        barrier.wait()
        arns.append(create(service, ClientToken="run-1"))

    threads = [threading.Thread(target=register) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(arns) == 8 and len(set(arns)) == 1


def test_packages_are_listed_by_group_and_approval(service):
    arns = [create(service) for _ in range(3)]
    service.call("UpdateModelPackage", {"ModelPackageArn": arns[1], "ModelApprovalStatus": "Approved"})
    query = {"ModelPackageGroupName": GROUP}

    def listed(**fields):
        rows = service.call("ListModelPackages", query | fields)["ModelPackageSummaryList"]
        return [row["ModelPackageArn"] for row in rows]

    assert listed(SortOrder="Descending") == arns[::-1]
    assert listed(ModelApprovalStatus="Approved") == [arns[1]]
    assert service.call("ListModelPackages", {})["ModelPackageSummaryList"] == []
    assert (
        len(service.call("ListModelPackages", {"ModelPackageType": "Both"})["ModelPackageSummaryList"]) == 3
    )


def test_what_does_not_exist(service):
    code, message = refused(service, "CreateModelPackage", package(ModelPackageGroupName="none"))
    assert code == "ValidationException" and message.endswith("model-package-group/none does not exist.")
    code, message = refused(service, "DescribeModelPackageGroup", {"ModelPackageGroupName": "none"})
    assert code == "ValidationException" and "does not exist" in message
    code, message = refused(service, "CreateModelPackageGroup", {"ModelPackageGroupName": GROUP})
    assert message.startswith("Model Package Group already exists")


def test_a_group_with_packages_stays(service):
    arn = create(service)
    code, _ = refused(service, "DeleteModelPackageGroup", {"ModelPackageGroupName": GROUP})
    assert code == "ConflictException"
    service.call("DeleteModelPackage", {"ModelPackageName": arn})
    service.call("DeleteModelPackageGroup", {"ModelPackageGroupName": GROUP})
    assert service.call("ListModelPackageGroups", {}) == {"ModelPackageGroupSummaryList": []}


def test_tags(service):
    arn = service.store.arn("ModelPackageGroup", GROUP)
    added = [{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "3"}]
    service.call("AddTags", {"ResourceArn": arn, "Tags": added})
    expected = [{"Key": "a", "Value": "3"}, {"Key": "b", "Value": "2"}]
    assert service.call("ListTags", {"ResourceArn": arn})["Tags"] == expected
    service.call("DeleteTags", {"ResourceArn": arn, "TagKeys": ["a"]})
    assert service.call("ListTags", {"ResourceArn": arn})["Tags"] == expected[1:]
    assert refused(service, "ListTags", {"ResourceArn": arn + "-none"})[0] == "ValidationException"
