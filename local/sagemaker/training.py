"""Training jobs: channels in, a script, model.tar.gz out."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .containers import command, environment, find_image, relocate, relocate_programs
from .errors import invalid
from .jobs import Host, Job, JobFailed, JobStopped, Runner, failure_reason
from .service import operation
from .store import Record, now
from .transfer import TransferFailed, client_of_role, download, upload, upload_archive

if TYPE_CHECKING:
    from .service import Service

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
_CHECKPOINTS = "/opt/ml/checkpoints"


@operation
def create_training_job(service: "Service", params: Record) -> Record:
    _check(params)
    return service.part(Runner).launch("TrainingJob", params, _train, SecondaryStatus="Starting")


@operation
def stop_training_job(service: "Service", params: Record) -> None:
    service.part(Runner).stop("TrainingJob", params["TrainingJobName"])


def _check(params: Record) -> None:
    """What the shapes cannot say."""
    algorithm = params["AlgorithmSpecification"]
    if "TrainingImage" not in algorithm:
        raise invalid(
            "The local SageMaker has no algorithms: AlgorithmSpecification.TrainingImage is needed."
        )
    stopping = {"MaxRuntimeInSeconds": 86400, "MaxWaitTimeInSeconds": 0} | params.get("StoppingCondition", {})
    short = stopping["MaxWaitTimeInSeconds"] < stopping["MaxRuntimeInSeconds"]
    if params.get("EnableManagedSpotTraining") and short:
        raise invalid(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
            "MaxRuntimeInSeconds"
        )
    names = [channel["ChannelName"] for channel in params.get("InputDataConfig", [])]
    if len(names) != len(set(names)):
        raise invalid("Channel names must be unique within InputDataConfig.")
    for channel in params.get("InputDataConfig", []):
        if "S3DataSource" not in channel["DataSource"]:
            raise invalid(f"Channel {channel['ChannelName']}: the local SageMaker reads only S3DataSource.")


def _train(job: Job) -> None:
    record = job.record
    image = find_image(job.service, record["AlgorithmSpecification"]["TrainingImage"])
    s3 = client_of_role(job.service, record["RoleArn"])
    job.begin("Downloading", "Downloading input data")
    hosts = job.hosts(record.get("ResourceConfig", {}).get("InstanceCount", 1))
    for place, host in enumerate(hosts):
        _lay_out(record, host, [host.name for host in hosts])
        _download(s3, record, host, (place, len(hosts)))
        algorithm = record["AlgorithmSpecification"]
        words = algorithm.get("ContainerEntrypoint") or [*image.entrypoint, "train"]
        words = [*words, *algorithm.get("ContainerArguments", [])]
        relocate_programs(words, _channels(record), host.base)
        host.command = command(words, host.base)
        names = {"TRAINING_JOB_NAME": job.name, "TRAINING_JOB_ARN": record["TrainingJobArn"]}
        host.environment = environment(
            job.service,
            image,
            host.base,
            record["RoleArn"],
            names,
            record.get("Environment"),
            isolated=record.get("EnableNetworkIsolation", False),
        )
    job.advance("Training", "Training image download completed. Training in progress.")
    leader = hosts[0]
    try:
        code = job.run(hosts, LOG_GROUP, Metrics(job).seen)
    except JobStopped:
        _upload(job, s3, leader)
        raise
    if code:
        _upload_data(s3, record, leader)
        raise JobFailed(failure_reason(hosts, code))
    job.advance("Uploading", "Uploading generated training model")
    _upload(job, s3, leader)
    job.end("Completed", "Completed", "Training job completed")


def _lay_out(record: Record, host: Host, names: list[str]) -> None:
    """The folders and the three configuration files that a training container finds."""
    for folder in ("input/config", "input/data", "model", "output/data", "checkpoints", "code"):
        (host.base / folder).mkdir(parents=True)
    resources = {
        "current_host": host.name,
        "hosts": names,
        "current_instance_type": record.get("ResourceConfig", {}).get("InstanceType", ""),
        "network_interface_name": "lo",
    }
    channels = {
        channel["ChannelName"]: {
            "TrainingInputMode": channel.get("InputMode", "File"),
            "S3DistributionType": channel["DataSource"]["S3DataSource"].get(
                "S3DataDistributionType", "FullyReplicated"
            ),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        }
        | ({"ContentType": channel["ContentType"]} if "ContentType" in channel else {})
        for channel in record.get("InputDataConfig", [])
    }
    files = {
        "hyperparameters.json": relocate(record.get("HyperParameters", {}), host.base),
        "resourceconfig.json": resources,
        "inputdataconfig.json": channels,
    }
    for name, content in files.items():
        (host.base / "input/config" / name).write_text(json.dumps(content))


def _download(s3: Any, record: Record, host: Host, shard: tuple[int, int]) -> None:
    for channel in record.get("InputDataConfig", []):
        name = channel["ChannelName"]
        try:
            download(
                s3,
                channel["DataSource"]["S3DataSource"],
                host.base / "input/data" / name,
                shard=shard,
                gunzip=channel.get("CompressionType") == "Gzip",
            )
        except TransferFailed as error:
            raise JobFailed(f"ClientError: Data download failed for channel {name}. {error}") from error
    if checkpoints := record.get("CheckpointConfig"):
        try:
            download(s3, {"S3Uri": checkpoints["S3Uri"]}, _checkpoints(record, host))
        except TransferFailed:
            return  # the first attempt has none


def _channels(record: Record) -> list[str]:
    return [f"/opt/ml/input/data/{channel['ChannelName']}" for channel in record.get("InputDataConfig", [])]


def _checkpoints(record: Record, host: Host) -> Path:
    return host.base / relocate(record["CheckpointConfig"].get("LocalPath", _CHECKPOINTS), host.base)


def _upload(job: Job, s3: Any, host: Host) -> None:
    """The model, if the script left one, and what else it wrote."""
    record = job.record
    if any((host.base / "model").iterdir()):
        uri = f"{record['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job.name}/output/model"
        if record["OutputDataConfig"].get("CompressionType") == "NONE":
            upload(s3, host.base / "model", uri)
        else:
            uri += ".tar.gz"
            upload_archive(s3, host.base / "model", uri)
        job.service.store.update("TrainingJob", job.name, ModelArtifacts={"S3ModelArtifacts": uri})
    _upload_data(s3, record, host)


def _upload_data(s3: Any, record: Record, host: Host) -> None:
    if "CheckpointConfig" in record:
        upload(s3, _checkpoints(record, host), record["CheckpointConfig"]["S3Uri"])
    if any((host.base / "output/data").iterdir()):
        path = record["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        upload_archive(
            s3, host.base / "output/data", f"{path}/{record['TrainingJobName']}/output/output.tar.gz"
        )


class Metrics:
    """The job's MetricDefinitions at work on its log: the last value of each is final. All are kept as the
    record's own `_series`, by which a tuning job stops early."""

    def __init__(self, job: Job) -> None:
        self._job = job
        definitions = job.record["AlgorithmSpecification"].get("MetricDefinitions", [])
        self._patterns = {item["Name"]: re.compile(item["Regex"]) for item in definitions}

    def seen(self, line: str) -> None:
        for name, pattern in self._patterns.items():
            for found in pattern.finditer(line):
                with suppress(ValueError):  # not a number: SageMaker passes over it too
                    self._keep(name, float(found.group(1)))

    def _keep(self, name: str, value: float) -> None:
        service, record = self._job.service, self._job.record
        service.host.put_metric(LOG_GROUP, name, value, "None", {"TrainingJobName": self._job.name})
        with service.store.lock:
            record.setdefault("_series", {}).setdefault(name, []).append(value)
            final = record.setdefault("FinalMetricDataList", [])
            final[:] = [item for item in final if item["MetricName"] != name]
            final.append({"MetricName": name, "Value": value, "Timestamp": now()})
