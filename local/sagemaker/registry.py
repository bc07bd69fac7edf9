"""The model registry: groups, versioned packages, their approval, and the tags of every resource."""

import json
from typing import TYPE_CHECKING

from . import model_cards
from .errors import SageMakerError, invalid
from .service import operation
from .store import Record

if TYPE_CHECKING:
    from .service import Service

_EVENT = "SageMaker Model Package State Change"
# What SageMaker's event carries of a package. The figures travel by their S3 URIs.
_DETAIL = (
    "ModelPackageGroupName",
    "ModelPackageArn",
    "ModelPackageVersion",
    "ModelPackageDescription",
    "CreationTime",
    "LastModifiedTime",
    "InferenceSpecification",
    "ModelPackageStatus",
    "ModelPackageStatusDetails",
    "CertifyForMarketplace",
    "ModelApprovalStatus",
    "ApprovalDescription",
    "CustomerMetadataProperties",
    "ModelMetrics",
    "DriftCheckBaselines",
    "ModelLifeCycle",
    "SourceUri",
)
_CHANGEABLE = (
    "ModelApprovalStatus",
    "ApprovalDescription",
    "CustomerMetadataProperties",
    "ModelLifeCycle",
    "SourceUri",
)


@operation
def create_model_package_group(service: "Service", params: Record) -> Record:
    name = params["ModelPackageGroupName"]
    return service.store.create(
        "ModelPackageGroup", name, params, ModelPackageGroupStatus="Completed", _versions=0
    )


@operation
def delete_model_package_group(service: "Service", params: Record) -> None:
    store = service.store
    with store.lock:
        group = store.get("ModelPackageGroup", params["ModelPackageGroupName"])
        if _packages(service, group["ModelPackageGroupName"]):
            raise SageMakerError(
                "ConflictException",
                f"The Model Package Group cannot be deleted because it still contains Model Packages: "
                f"{group['ModelPackageGroupArn']}",
            )
        store.delete("ModelPackageGroup", group["ModelPackageGroupName"])


@operation
def put_model_package_group_policy(service: "Service", params: Record) -> Record:
    """Who of other accounts may do what with the group and its packages."""
    try:
        policy = json.loads(params["ResourcePolicy"])
    except ValueError as error:
        raise invalid(f"The resource policy is not JSON: {error}") from error
    if not isinstance(policy, dict) or not policy.get("Statement"):
        raise invalid("The resource policy has no statement.")
    return service.store.update(
        "ModelPackageGroup", params["ModelPackageGroupName"], _policy=params["ResourcePolicy"]
    )


@operation
def get_model_package_group_policy(service: "Service", params: Record) -> Record:
    policy = service.package_policy(params["ModelPackageGroupName"])
    if not policy:
        raise SageMakerError("ResourceNotFound", "Requested resource not found.")
    return {"ResourcePolicy": policy}


@operation
def delete_model_package_group_policy(service: "Service", params: Record) -> None:
    service.store.update("ModelPackageGroup", params["ModelPackageGroupName"], _policy="")


def _packages(service: "Service", group: str) -> list[Record]:
    return [row for row in service.store.all("ModelPackage") if row.get("ModelPackageGroupName") == group]


@operation
def create_model_package(service: "Service", params: Record) -> Record:
    """A version of a group (PendingManualApproval unless the request says otherwise), or a named package.

    The same ClientToken means the same package: a retried request answers with the first one's ARN.
    """
    group = params.get("ModelPackageGroupName")
    if (group is None) == ("ModelPackageName" not in params):
        raise invalid("Provide either ModelPackageName or ModelPackageGroupName, and not both.")
    token = params.pop("ClientToken", None)
    if "ModelCardContent" in params.get("ModelCard", {}):
        model_cards.check(params["ModelCard"]["ModelCardContent"])
    with service.store.lock:
        for package in service.store.all("ModelPackage"):
            if token is not None and package["_client_token"] == token:
                return _again(package, params)
        fields = {
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
            "CertifyForMarketplace": params.get("CertifyForMarketplace", False),
            "_client_token": token,
            "_request": dict(params),
        }
        package = (
            _create_named(service, params, fields)
            if group is None
            else _create_version(service, group, params, fields)
        )
    _announce(service, package, [])
    return package


def _again(package: Record, params: Record) -> Record:
    if package["_request"] != params:
        raise SageMakerError("ConflictException", "The ClientToken was used before, with other parameters.")
    return package


def _create_named(service: "Service", params: Record, fields: Record) -> Record:
    return service.store.create("ModelPackage", params["ModelPackageName"], params, **fields)


def _create_version(service: "Service", name_or_arn: str, params: Record, fields: Record) -> Record:
    store = service.store
    group = store.get("ModelPackageGroup", name_or_arn)
    group["_versions"] += 1
    fields |= {
        "ModelPackageGroupName": group["ModelPackageGroupName"],
        "ModelPackageVersion": group["_versions"],
        "ModelApprovalStatus": params.get("ModelApprovalStatus", "PendingManualApproval"),
    }
    key = f"{group['ModelPackageGroupName']}/{group['_versions']}"
    return store.create("ModelPackage", key, params, **fields)


@operation
def update_model_package(service: "Service", params: Record) -> Record:
    """Every update is announced, with the names of what changed: only some are an approval."""
    store = service.store
    with store.lock:
        package = store.get("ModelPackage", params["ModelPackageArn"])
        if "ModelApprovalStatus" in params and "ModelPackageVersion" not in package:
            raise invalid("Only a versioned model package has an approval status.")
        wanted = {name: params[name] for name in _CHANGEABLE if name in params}
        metadata = _metadata(package, params)
        if metadata != package.get("CustomerMetadataProperties", {}):
            wanted["CustomerMetadataProperties"] = metadata
        if "ModelCard" in params:
            wanted["ModelCard"] = model_cards.updated(package.get("ModelCard"), params["ModelCard"])
        added = params.get("AdditionalInferenceSpecificationsToAdd", [])
        if added:
            wanted["AdditionalInferenceSpecifications"] = [
                *package.get("AdditionalInferenceSpecifications", []),
                *added,
            ]
        changed = [name for name, value in wanted.items() if package.get(name) != value]
        store.update("ModelPackage", package["ModelPackageArn"], **wanted)
    if changed:
        _announce(service, package, changed)
    return package


def _metadata(package: Record, params: Record) -> dict[str, str]:
    """CustomerMetadataProperties are merged, key by key, and removed by name."""
    merged = package.get("CustomerMetadataProperties", {}) | params.get("CustomerMetadataProperties", {})
    removed = params.get("CustomerMetadataPropertiesToRemove", [])
    return {key: value for key, value in merged.items() if key not in removed}


@operation
def delete_model_package(service: "Service", params: Record) -> None:
    service.store.delete("ModelPackage", params["ModelPackageName"])


@operation
def list_model_packages(service: "Service", params: Record) -> Record:
    """Packages without a group, unless the request names a group or asks for versions."""
    group = params.pop("ModelPackageGroupName", None)
    kind = params.pop("ModelPackageType", "Versioned" if group else "Unversioned")
    if group:
        group = service.store.get("ModelPackageGroup", group)["ModelPackageGroupName"]
    records = [
        row
        for row in service.store.all("ModelPackage")
        if group in (None, row.get("ModelPackageGroupName"))
        and kind in ("Both", "Versioned" if "ModelPackageVersion" in row else "Unversioned")
    ]
    return service.page("ListModelPackages", records, params)


@operation
def batch_describe_model_package(service: "Service", params: Record) -> Record:
    found: Record = {"ModelPackageSummaries": {}, "BatchDescribeModelPackageErrorMap": {}}
    for arn in params["ModelPackageArnList"]:
        try:
            found["ModelPackageSummaries"][arn] = service.store.get("ModelPackage", arn)
        except SageMakerError as error:
            found["BatchDescribeModelPackageErrorMap"][arn] = {
                "ErrorCode": error.code,
                "ErrorResponse": error.message,
            }
    return found


def _announce(service: "Service", package: Record, changed: list[str]) -> None:
    """SageMaker tells the registry's times in ISO 8601, where it tells those of jobs in milliseconds."""
    shown = service.store.snapshot(package)
    detail = {name: shown[name] for name in _DETAIL if name in shown}
    for name in ("CreationTime", "LastModifiedTime"):
        detail[name] = detail[name].strftime("%Y-%m-%dT%H:%M:%SZ")
    detail["UpdatedModelPackageFields"] = changed
    service.host.emit(_EVENT, detail, [package["ModelPackageArn"]])


# -- tags of any resource ----------------------------------------------------------------------------------


@operation
def add_tags(service: "Service", params: Record) -> Record:
    with service.store.lock:
        tags = _tags(service, params)
        merged = tags | {tag["Key"]: tag["Value"] for tag in params["Tags"]}
        if len(merged) > 50:
            raise invalid("The number of tags has reached the limit of 50.")
        tags.update(merged)
        return {"Tags": _pairs(tags)}


@operation
def list_tags(service: "Service", params: Record) -> Record:
    with service.store.lock:
        pairs = _pairs(_tags(service, params))
    size, start = params.get("MaxResults", 50), int(params.get("NextToken", 0))
    rest = {"NextToken": str(start + size)} if len(pairs) > start + size else {}
    return {"Tags": pairs[start : start + size]} | rest


@operation
def delete_tags(service: "Service", params: Record) -> None:
    with service.store.lock:
        tags = _tags(service, params)
        for key in params["TagKeys"]:
            tags.pop(key, None)


def _tags(service: "Service", params: Record) -> dict[str, str]:
    try:
        return service.store.tags[params["ResourceArn"]]
    except KeyError:
        raise invalid(f'Could not find resource "{params["ResourceArn"]}".') from None


def _pairs(tags: dict[str, str]) -> list[Record]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
