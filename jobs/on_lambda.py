"""A verb of the job image inside a Lambda function: the same image, the same inputs and outputs, without the
minutes that an instance takes to start. The event is the request that would create the Processing job; its
local paths are laid out under /tmp.

The function runs this image with the entry point `python -m awslambdaric jobs.on_lambda.handler`.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from jobs import contract

ROOT = Path("/tmp/ml")  # a function can write nowhere else
CONTAINER_ROOT = "/opt/ml"
TRANSFERS = 16  # capture files are many and small: what counts is how many are under way


class JobFailed(Exception):
    """What the verb said when it could not do its work; the state machine reads it as it stands."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{ContainerEntrypoint, Environment, ProcessingInputs, ProcessingOutputConfig} of a Processing job ->
    {ExitMessage}; raises JobFailed."""
    verb = event["AppSpecification"]["ContainerEntrypoint"][-1]
    root = ROOT / context.aws_request_id
    try:
        return {"ExitMessage": run(verb, event, root)}
    finally:
        shutil.rmtree(root, ignore_errors=True)


def run(verb: str, request: dict[str, Any], root: Path) -> str:
    """Inputs from S3, the verb, outputs to S3; what the verb left as its message."""
    for item in request["ProcessingInputs"]:
        source = item["S3Input"]
        download(source["S3Uri"], source["S3DataType"], _local(root, source["LocalPath"]))
    settings = {**request.get("Environment", {}), "SAGEMAKER_BASE_DIR": str(root)}
    with mock.patch.dict(os.environ, settings):
        try:
            importlib.import_module(f"jobs.{verb}").main()
        except contract.JobError as error:
            raise JobFailed(str(error)) from error
    for item in request["ProcessingOutputConfig"]["Outputs"]:
        target = item["S3Output"]
        upload(_local(root, target["LocalPath"]), target["S3Uri"])
    message = root / "output" / "message"
    return message.read_text() if message.is_file() else ""


def download(uri: str, kind: str, folder: Path) -> None:
    """A manifest's objects or a prefix's, each under its own relative path, as SageMaker lays them out."""
    bucket, key = _split(uri)
    objects = manifest(bucket, key) if kind == "ManifestFile" else listing(bucket, key)

    def fetch(found: tuple[str, str]) -> None:
        path = folder / found[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        s3().download_file(bucket, found[0], str(path))

    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(TRANSFERS) as pool:
        list(pool.map(fetch, objects))


def upload(folder: Path, uri: str) -> None:
    """Every file below the folder."""
    bucket, prefix = _split(uri)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()] if folder.is_dir() else []
    with ThreadPoolExecutor(TRANSFERS) as pool:
        list(
            pool.map(
                lambda path: s3().upload_file(
                    str(path), bucket, f"{prefix.rstrip('/')}/{path.relative_to(folder)}"
                ),
                files,
            )
        )


def manifest(bucket: str, key: str) -> Iterator[tuple[str, str]]:
    """(key, relative path) of SageMaker's manifest: [{"prefix": "s3://bucket/some/"}, "a", "b"]."""
    first, *names = json.loads(s3().get_object(Bucket=bucket, Key=key)["Body"].read())
    _, prefix = _split(first["prefix"])
    return ((prefix + name, name) for name in names)


def listing(bucket: str, prefix: str) -> Iterator[tuple[str, str]]:
    """(key, relative path) of every object under a prefix; an object named in full is a file of its name."""
    for page in s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", []):
            if not found["Key"].endswith("/"):
                yield found["Key"], found["Key"].removeprefix(prefix).lstrip("/") or Path(found["Key"]).name


@cache
def s3() -> Any:
    """One client for the threads of every invocation; boto3's clients may be shared by threads."""
    import boto3
    from botocore.config import Config

    return boto3.client("s3", config=Config(max_pool_connections=TRANSFERS))


def _local(root: Path, path: str) -> Path:
    return root / Path(path).relative_to(CONTAINER_ROOT)


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
