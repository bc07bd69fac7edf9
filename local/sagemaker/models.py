"""Model and EndpointConfig: what is to be served, and with how many instances of what."""

from botocore.exceptions import ClientError

from . import transfer
from .errors import invalid
from .service import Service, operation
from .store import Record

_UNSUPPORTED = ("ManagedInstanceScaling", "InstancePools", "CapacityReservationConfig")


@operation
def create_model(service: Service, params: Record) -> Record:
    containers = _containers(params)
    if not containers:
        raise invalid("You must specify either PrimaryContainer or Containers.")
    if params.get("PrimaryContainer") and params.get("Containers"):
        raise invalid("You can only specify one of PrimaryContainer or Containers.")
    for container in containers:
        if container.get("Mode") == "MultiModel":
            raise invalid("The local SageMaker does not serve containers in MultiModel mode.")
        if bool(container.get("Image")) == bool(container.get("ModelPackageName")):
            raise invalid("A container must have either Image or ModelPackageName.")
    for resolved in resolve(service, params):
        _check_model_data(service, resolved)
    record = service.store.create("Model", params["ModelName"], params)
    service.host.emit("SageMaker Model State Change", _named(service, "Model", record), [record["ModelArn"]])
    return record


@operation
def create_endpoint_config(service: Service, params: Record) -> Record:
    variants = params["ProductionVariants"] + params.get("ShadowProductionVariants", [])
    names = [variant["VariantName"] for variant in variants]
    if len(set(names)) < len(names):
        raise invalid("Variant names must be unique within an endpoint configuration.")
    if params.get("ShadowProductionVariants") and len(params["ProductionVariants"]) > 1:
        raise invalid("An endpoint configuration with shadow variants has exactly one production variant.")
    for variant in variants:
        _check_variant(service, variant)
    if any("ServerlessConfig" in variant for variant in variants):
        _check_serverless(service, params, variants)
    for feature in ("AsyncInferenceConfig", "ExplainerConfig"):
        if feature in params:
            raise invalid(f"The local SageMaker does not support {feature}.")
    record = service.store.create("EndpointConfig", params["EndpointConfigName"], params)
    arn = record["EndpointConfigArn"]
    service.host.emit(
        "SageMaker Endpoint Config State Change", _named(service, "EndpointConfig", record), [arn]
    )
    return record


def resolve(service: Service, model: Record) -> list[Record]:
    """A model's containers with Image, model data and Environment; what a model package says is filled in.

    The container's own Environment wins over the package's.
    """
    return [_resolved(service, container) for container in _containers(model)]


def container_name(container: Record, place: int, single: bool) -> str:
    """As SageMaker's messages and TargetContainerHostname name it; `place` counts from 1."""
    return container.get("ContainerHostname") or ("primary" if single else f"container-{place}")


def model_source(container: Record) -> Record | None:
    """Where a resolved container's model is: S3Uri and CompressionType (Gzip or None); None without one."""
    if uri := container.get("ModelDataUrl"):
        return {"S3Uri": uri, "CompressionType": "Gzip"}
    if source := container.get("ModelDataSource", {}).get("S3DataSource"):
        return {"S3Uri": source["S3Uri"], "CompressionType": source.get("CompressionType", "None")}
    return None


def _containers(model: Record) -> list[Record]:
    return [model["PrimaryContainer"]] if model.get("PrimaryContainer") else model.get("Containers", [])


def _resolved(service: Service, container: Record) -> Record:
    package_name = container.get("ModelPackageName")
    if not package_name:
        return container
    package = service.owner(package_name).call("DescribeModelPackage", {"ModelPackageName": package_name})
    specified = package.get("InferenceSpecification", {}).get("Containers")
    if not specified:
        raise invalid(f"Model package {package['ModelPackageArn']} has no inference specification.")
    own = {key: value for key, value in container.items() if key != "ModelPackageName"}
    variables = specified[0].get("Environment", {}) | container.get("Environment", {})
    return specified[0] | own | {"Environment": variables}


def _check_model_data(service: Service, container: Record) -> None:
    source = model_source(container)
    if source is None or source["CompressionType"] == "None":
        return
    bucket, key = transfer.split_uri(source["S3Uri"])
    try:
        service.host.client("s3").head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        raise invalid(f"Could not find model data at {source['S3Uri']}.") from error


def _check_variant(service: Service, variant: Record) -> None:
    for feature in _UNSUPPORTED:
        if feature in variant:
            raise invalid(f"The local SageMaker does not support {feature} of a production variant.")
    capacity = () if "ServerlessConfig" in variant else ("InstanceType", "InitialInstanceCount")
    for name in ("ModelName", *capacity):
        if name not in variant:
            raise invalid(f"{name} must be specified for production variant {variant['VariantName']}.")
    service.store.get("Model", variant["ModelName"])


def _check_serverless(service: Service, params: Record, variants: list[Record]) -> None:
    """What SageMaker's guide excludes from serverless endpoints, as far as it can be asked for here."""
    if len(variants) > 1:
        raise invalid("An endpoint configuration with a serverless variant has exactly one variant.")
    (variant,) = variants
    config, model = variant["ServerlessConfig"], service.store.get("Model", variant["ModelName"])
    for name in ("InstanceType", "InitialInstanceCount"):
        if name in variant:
            raise invalid(f"{name} cannot be specified for a variant with a ServerlessConfig.")
    if config["MemorySizeInMB"] % 1024:
        raise invalid("MemorySizeInMB must be one of 1024, 2048, 3072, 4096, 5120 or 6144.")
    if config.get("ProvisionedConcurrency", 0) > config["MaxConcurrency"]:
        raise invalid("ProvisionedConcurrency must be less than or equal to MaxConcurrency.")
    if "DataCaptureConfig" in params:
        raise invalid("DataCaptureConfig is not supported for serverless endpoints.")
    for name in ("VpcConfig", "EnableNetworkIsolation"):
        if model.get(name):
            raise invalid(
                f"{name} of model {variant['ModelName']} is not supported for serverless endpoints."
            )
    if len(_containers(model)) > 1:
        raise invalid("Inference pipelines are not supported for serverless endpoints.")


def _named(service: Service, noun: str, record: Record) -> Record:
    """The detail of the event that says a resource was made."""
    arn = record[f"{noun}Arn"]
    return {f"{noun}Name": record[f"{noun}Name"], f"{noun}Arn": arn, "Tags": dict(service.store.tags[arn])}
