"""Processing jobs: folders in, a command on each host, folders out."""

import json
from typing import TYPE_CHECKING, Any

from .containers import Image, command, environment, find_image, relocate, relocate_programs
from .errors import invalid
from .jobs import Host, Job, JobFailed, Runner, failure_reason, read_text
from .service import operation
from .shapes import to_json
from .store import Record
from .transfer import TransferFailed, client_of_role, download, upload

if TYPE_CHECKING:
    from .service import Service

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
_ROOT = "/opt/ml/processing/"
_CONFIGURATION = (
    "ProcessingJobArn",
    "ProcessingJobName",
    "AppSpecification",
    "Environment",
    "ProcessingInputs",
    "ProcessingOutputConfig",
    "ProcessingResources",
    "RoleArn",
    "StoppingCondition",
)


@operation
def create_processing_job(service: "Service", params: Record) -> Record:
    _check(params)
    return service.part(Runner).launch("ProcessingJob", params, _process)


@operation
def stop_processing_job(service: "Service", params: Record) -> None:
    service.part(Runner).stop("ProcessingJob", params["ProcessingJobName"])


def _check(params: Record) -> None:
    """What the shapes cannot say."""
    paths = []
    for item in params.get("ProcessingInputs", []):
        if "S3Input" not in item:
            raise invalid(f"Input {item['InputName']}: the local SageMaker reads only S3Input.")
        if not item.get("AppManaged"):
            paths.append(item["S3Input"].get("LocalPath", ""))
    for item in _outputs(params):
        paths.append(item["S3Output"].get("LocalPath", ""))
    for path in paths:
        if not path.startswith(_ROOT):
            raise invalid(f"LocalPath '{path}' must begin with {_ROOT}")
    if len(paths) != len(set(paths)):
        raise invalid("Each input and output needs a LocalPath of its own.")


def _outputs(params: Record) -> list[Record]:
    outputs = params.get("ProcessingOutputConfig", {}).get("Outputs", [])
    return [item for item in outputs if "S3Output" in item and not item.get("AppManaged")]


def _process(job: Job) -> None:
    record = job.record
    image = find_image(job.service, record["AppSpecification"]["ImageUri"])
    s3 = client_of_role(job.service, record["RoleArn"])
    job.begin("Starting", "")
    hosts = job.hosts(record["ProcessingResources"]["ClusterConfig"]["InstanceCount"])
    for place, host in enumerate(hosts):
        _prepare(job, s3, image, host, [host.name for host in hosts], (place, len(hosts)))
    code = job.run(hosts, LOG_GROUP)
    texts = (read_text(host.base / "output/message") for host in hosts)
    job.service.store.update("ProcessingJob", job.name, ExitMessage=next(filter(None, texts), None))
    for item in _outputs(record):
        if code == 0 or item["S3Output"]["S3UploadMode"] == "Continuous":
            for host in hosts:
                folder = host.base / relocate(item["S3Output"]["LocalPath"], host.base)
                upload(s3, folder, item["S3Output"]["S3Uri"])
    if code:
        raise JobFailed(failure_reason(hosts, code))
    job.end("Completed", "Completed", "")


def _prepare(job: Job, s3: Any, image: Image, host: Host, names: list[str], shard: tuple[int, int]) -> None:
    """Inputs, configuration files and command of one host."""
    record = job.record
    resources = {"current_host": host.name, "hosts": names}
    configuration = {name: record[name] for name in _CONFIGURATION if name in record}
    for folder in ("config", "output", "processing"):
        (host.base / folder).mkdir()
    (host.base / "config/resourceconfig.json").write_text(json.dumps(resources))
    (host.base / "config/processingjobconfig.json").write_bytes(to_json(relocate(configuration, host.base)))
    for item in record.get("ProcessingInputs", []):
        if item.get("AppManaged"):
            continue
        job.check()
        folder = host.base / relocate(item["S3Input"]["LocalPath"], host.base)
        try:
            download(s3, item["S3Input"], folder, shard=shard)
        except TransferFailed as error:
            reason = f"Failed to download data for input {item['InputName']}. {error}"
            raise JobFailed(f"ClientError: {reason}") from error
    for item in _outputs(record):
        (host.base / relocate(item["S3Output"]["LocalPath"], host.base)).mkdir(parents=True, exist_ok=True)
    words = record["AppSpecification"].get("ContainerEntrypoint") or image.entrypoint
    words = [*words, *record["AppSpecification"].get("ContainerArguments", [])]
    inputs = [item for item in record.get("ProcessingInputs", []) if not item.get("AppManaged")]
    relocate_programs(words, [item["S3Input"]["LocalPath"] for item in inputs], host.base)
    host.command = command(words, host.base)
    host.environment = environment(
        job.service,
        image,
        host.base,
        record["RoleArn"],
        record.get("Environment"),
        isolated=record.get("NetworkConfig", {}).get("EnableNetworkIsolation", False),
    )
