"""Batch transform: a model's container, started for the job, asked about every record of a data source."""

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import clock
from . import variants
from .connections import ContainerError
from .errors import invalid
from .jobs import Job, JobFailed, Runner
from .records import Mismatch, Processing
from .service import operation
from .store import Record
from .transfer import client_of_role, download, split_uri, upload_file

if TYPE_CHECKING:
    from .service import Service

_MEGABYTE = 1 << 20
_DEFAULT_PAYLOAD, _MOST_PAYLOAD = 6, 100  # MB
_STRATEGIES = {"SingleRecord": "SINGLE_RECORD", "MultiRecord": "MULTI_RECORD"}


@operation
def create_transform_job(service: "Service", params: Record) -> Record:
    service.store.get("Model", params["ModelName"])
    by_line = params["TransformInput"].get("SplitType") == "Line"
    if params["TransformInput"].get("SplitType", "None") not in ("None", "Line"):
        raise invalid("The local SageMaker splits a transform's input by Line, or not at all.")
    payload = params.get("MaxPayloadInMB", _DEFAULT_PAYLOAD)
    if payload * max(1, params.get("MaxConcurrentTransforms", 1)) > _MOST_PAYLOAD:
        raise invalid(
            f"MaxPayloadInMB, and MaxConcurrentTransforms * MaxPayloadInMB, cannot exceed {_MOST_PAYLOAD} MB."
        )
    Processing(params).check(by_line)
    return service.part(Runner).launch("TransformJob", params, _transform)


@operation
def stop_transform_job(service: "Service", params: Record) -> None:
    service.part(Runner).stop("TransformJob", params["TransformJobName"])


def _transform(job: Job) -> None:
    record = job.record
    model = job.service.store.get("Model", record["ModelName"])
    s3 = client_of_role(job.service, model.get("ExecutionRoleArn"))
    job.begin("Starting", "")
    started = clock.now()
    source = record["TransformInput"]
    gzip = source.get("CompressionType") == "Gzip"
    inputs = job.folder / "input"
    files = download(s3, source["DataSource"]["S3DataSource"], inputs, gunzip=gzip)
    count = min(record["TransformResources"]["InstanceCount"], len(files))
    instances = _start(job, _with_environment(model, record), count)
    try:
        scorer = Scorer(job, Processing(record), f"{started:%Y-%m-%dT%H:%M:%SZ}")
        with ThreadPoolExecutor(count) as pool:
            shares = [files[place::count] for place in range(count)]
            list(
                pool.map(lambda pair: _score(s3, scorer, *pair, inputs), zip(instances, shares, strict=True))
            )
    finally:
        for instance in instances:
            instance.stop()
    names = [file.relative_to(inputs).as_posix() for file in files]
    if capture := record.get("DataCaptureConfig"):
        _capture(s3, record, capture["DestinationS3Uri"], names, f"{started:%Y/%m/%d/%H}")
    job.end("Completed", "Completed", "")


def _start(job: Job, model: Record, count: int) -> list[variants.Instance]:
    """So many instances that answer /ping; none is left where one does not."""
    instances: list[variants.Instance] = []
    try:
        for _ in range(count):
            instances.append(variants.start(job.service, job.name, model, job.folder / "model"))
    except variants.LaunchFailed as error:
        for instance in instances:
            instance.stop()
        raise JobFailed(f"ClientError: {error}") from error
    return instances


def _with_environment(model: Record, record: Record) -> Record:
    """The model with the job's Environment in its container, where it wins over the model's own, and with
    what SageMaker tells a container of the job."""
    told = {"SAGEMAKER_BATCH": "true"}
    if "MaxPayloadInMB" in record:
        told["SAGEMAKER_MAX_PAYLOAD_IN_MB"] = str(record["MaxPayloadInMB"])
    if "MaxConcurrentTransforms" in record:
        told["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] = str(record["MaxConcurrentTransforms"])
    if "BatchStrategy" in record:
        told["SAGEMAKER_BATCH_STRATEGY"] = _STRATEGIES[record["BatchStrategy"]]
    key = "PrimaryContainer" if model.get("PrimaryContainer") else "Containers"
    containers = model[key] if key == "Containers" else [model[key]]
    asked = told | record.get("Environment", {})
    merged = [each | {"Environment": each.get("Environment", {}) | asked} for each in containers]
    return model | {key: merged if key == "Containers" else merged[0]}


def _score(s3: Any, scorer: "Scorer", instance: variants.Instance, files: list[Path], inputs: Path) -> None:
    """One instance's part of the files; each has its output as soon as all of it is there. One that fails
    fails the job, once the others are done."""
    job, failures = scorer.job, []
    for file in files:
        name = f"{file.relative_to(inputs).as_posix()}.out"
        answer = job.folder / "output" / name
        answer.parent.mkdir(parents=True, exist_ok=True)
        try:
            answer.write_bytes(scorer.answers(instance, file))
        except JobFailed as failure:
            failures.append(failure)
            continue
        upload_file(s3, answer, f"{job.record['TransformOutput']['S3OutputPath'].rstrip('/')}/{name}")
    if failures:
        raise failures[0]


def _capture(s3: Any, record: Record, destination: str, names: list[str], hour: str) -> None:
    """Batch data capture: no data but manifests of where they lie, labelled with the hour of the job's
    start."""
    source = record["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"].rstrip("/")
    output = record["TransformOutput"]["S3OutputPath"].rstrip("/")
    bucket, prefix = split_uri(destination)
    for side, where, files in (
        ("input", source, names),
        ("output", output, [f"{name}.out" for name in names]),
    ):
        key = "/".join(filter(None, (prefix.strip("/"), side, hour, f"{uuid.uuid4()}.json")))
        body = json.dumps([{"prefix": f"{where}/"}, *files])
        s3.put_object(Bucket=bucket, Key=key, Body=body.encode())


@dataclass(frozen=True)
class Scorer:
    """Asks a container about files."""

    job: Job
    processing: Processing
    started: str

    def answers(self, instance: variants.Instance, file: Path) -> bytes:
        """What the container says to a file's payloads, in their order."""
        record = self.job.record
        payloads = _payloads(
            file,
            by_line=record["TransformInput"].get("SplitType") == "Line",
            single=record.get("BatchStrategy") == "SingleRecord",
            limit=record.get("MaxPayloadInMB", _DEFAULT_PAYLOAD) * _MEGABYTE,
        )
        headers = {"Content-Type": record["TransformInput"].get("ContentType", "application/octet-stream")}
        if accept := record["TransformOutput"].get("Accept"):
            headers["Accept"] = accept
        with ThreadPoolExecutor(record.get("MaxConcurrentTransforms") or 1) as pool:
            parts = list(pool.map(partial(self._answer, instance, headers), payloads))
        if record["TransformOutput"].get("AssembleWith") == "Line":
            return b"".join(part.rstrip(b"\n") + b"\n" for part in parts)
        return b"".join(parts)

    def _answer(self, instance: variants.Instance, headers: dict[str, str], payload: bytes) -> bytes:
        try:
            answer = self._ask(instance, headers, self.processing.sent(payload))
            return self.processing.joined(payload, answer, self.started)
        except (Mismatch, ValueError) as error:
            raise JobFailed(f"ClientError: {error}") from error

    def _ask(self, instance: variants.Instance, headers: dict[str, str], payload: bytes) -> bytes:
        """The container's answer; what fails on its side is asked again, as ModelClientConfig says."""
        client = self.job.record.get("ModelClientConfig", {})
        timeout = client.get("InvocationsTimeoutInSeconds", 600)
        for left in reversed(range(client.get("InvocationsMaxRetries", 3) + 1)):
            self.job.check()
            try:
                status, _, body = instance.invoke(payload, headers, timeout)
            except ContainerError as error:
                if left:
                    continue
                raise JobFailed(f"AlgorithmError: {error}") from error
            if status == 200:
                return body
            if status < 500 or not left:
                text = body[:200].decode(errors="replace")
                raise JobFailed(f"AlgorithmError: Bad HTTP status received from algorithm: {status}: {text}")
        raise AssertionError("the last try returns or raises")


def _payloads(file: Path, *, by_line: bool, single: bool, limit: int) -> Iterator[bytes]:
    """A file as one payload, or its lines, one by one or as many at once as the limit (bytes) allows."""
    if not by_line:
        content = file.read_bytes()
        _check_payload(len(content), limit)
        yield content
        return
    batch, size = [], 0
    with file.open("rb") as lines:
        for line in lines:
            _check_payload(len(line), limit)
            if batch and (single or size + len(line) > limit):
                yield b"".join(batch)
                batch, size = [], 0
            batch.append(line)
            size += len(line)
    if batch:
        yield b"".join(batch)


def _check_payload(size: int, limit: int) -> None:
    if limit and size > limit:
        raise JobFailed(
            f"ClientError: a payload of {size} bytes exceeds MaxPayloadInMB={limit // _MEGABYTE}; "
            "split the input by Line, or raise the limit."
        )
