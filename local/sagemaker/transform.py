"""Batch transform: a model's container, started for the job, asked about every record of a data source."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import variants
from .connections import ContainerError
from .errors import invalid
from .jobs import Job, JobFailed, Runner
from .service import operation
from .store import Record
from .transfer import client_of_role, download, upload_file

if TYPE_CHECKING:
    from .service import Service

_MEGABYTE = 1 << 20
_DEFAULT_PAYLOAD = 6  # MB


@operation
def create_transform_job(service: "Service", params: Record) -> Record:
    service.store.get("Model", params["ModelName"])
    if params["TransformInput"].get("SplitType", "None") not in ("None", "Line"):
        raise invalid("The local SageMaker splits a transform's input by Line, or not at all.")
    if params.get("DataProcessing"):
        raise invalid("The local SageMaker has no DataProcessing: no filters, no join of input and output.")
    return service.part(Runner).launch("TransformJob", params, _transform)


@operation
def stop_transform_job(service: "Service", params: Record) -> None:
    service.part(Runner).stop("TransformJob", params["TransformJobName"])


def _transform(job: Job) -> None:
    record = job.record
    model = job.service.store.get("Model", record["ModelName"])
    s3 = client_of_role(job.service, model.get("ExecutionRoleArn"))
    job.begin("Starting", "")
    source = record["TransformInput"]
    gzip = source.get("CompressionType") == "Gzip"
    inputs = job.folder / "input"
    files = download(s3, source["DataSource"]["S3DataSource"], inputs, gunzip=gzip)
    try:
        instance = variants.start(
            job.service, job.name, _with_environment(model, record), job.folder / "model"
        )
    except variants.LaunchFailed as error:
        raise JobFailed(f"ClientError: {error}") from error
    try:
        for file in files:
            name = file.relative_to(inputs).as_posix()
            answer = job.folder / "output" / f"{name}.out"
            answer.parent.mkdir(parents=True, exist_ok=True)
            answer.write_bytes(_answers(job, instance, file))
            upload_file(s3, answer, f"{record['TransformOutput']['S3OutputPath'].rstrip('/')}/{name}.out")
    finally:
        instance.stop()
    job.end("Completed", "Completed", "")


def _with_environment(model: Record, record: Record) -> Record:
    """The model with the job's Environment in its container, where it wins over the model's own."""
    container = model.get("PrimaryContainer")
    if not container or not record.get("Environment"):
        return model
    merged = container.get("Environment", {}) | record["Environment"]
    return model | {"PrimaryContainer": container | {"Environment": merged}}


def _answers(job: Job, instance: variants.Instance, file: Path) -> bytes:
    """What the container says to a file's payloads, in their order."""
    record = job.record
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
        parts = list(pool.map(partial(_ask, job, instance, headers), payloads))
    if record["TransformOutput"].get("AssembleWith") == "Line":
        return b"".join(part.rstrip(b"\n") + b"\n" for part in parts)
    return b"".join(parts)


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


def _ask(job: Job, instance: Any, headers: dict[str, str], payload: bytes) -> bytes:
    job.check()
    try:
        status, _, body = instance.invoke(payload, headers)
    except ContainerError as error:
        raise JobFailed(f"AlgorithmError: {error}") from error
    if status != 200:
        text = body[:200].decode(errors="replace")
        raise JobFailed(f"AlgorithmError: Bad HTTP status received from algorithm: {status}: {text}")
    return body
