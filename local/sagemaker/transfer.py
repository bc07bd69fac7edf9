"""S3 to and from a job's folders, with the rules of SageMaker's data sources.

The caller's client carries the job's own role, so that a policy that forgets a bucket fails here as on AWS.
"""

import gzip
import json
import shutil
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from .service import Service

_PARALLEL = 4


class TransferFailed(Exception):
    """S3 refused, or had nothing; the message is the reason that SageMaker gives."""


def client_of_role(service: "Service", role: str | None) -> Any:
    """An S3 client with the credentials that the job's role would have."""
    variables = service.host.environment(role)
    return boto3.client(
        "s3",
        endpoint_url=variables.get("AWS_ENDPOINT_URL"),
        region_name=service.host.region,
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=variables.get("AWS_SESSION_TOKEN"),
    )


def split_uri(uri: str) -> tuple[str, str]:
    """`s3://bucket/key` as bucket and key (or prefix)."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def download(
    s3: Any,
    source: dict[str, str],
    folder: Path,
    *,
    shard: tuple[int, int] = (0, 1),
    gunzip: bool = False,
) -> list[Path]:
    """Fetch a data source (S3DataType, S3Uri, S3DataDistributionType) into `folder`; the files, by key.

    shard: this host's place among how many; it counts only for `ShardedByS3Key`.
    Raises TransferFailed if nothing matches, as SageMaker fails a job whose channel is empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = list(_objects(s3, source))
        if not found:
            raise TransferFailed(_nothing_found(source["S3Uri"]))
        place, count = shard if source.get("S3DataDistributionType") == "ShardedByS3Key" else (0, 1)
        with ThreadPoolExecutor(_PARALLEL) as pool:
            mine = sorted(found)[place::count]
            return list(pool.map(lambda item: _fetch(s3, *item, folder, gunzip), mine))
    except (ClientError, BotoCoreError) as error:
        raise TransferFailed(f"{source['S3Uri']}: {error}") from error


def _nothing_found(uri: str) -> str:
    return (
        f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
        f"exists in the selected region, that objects exist under that S3 prefix, and that the role has "
        f'"s3:ListBucket" permissions on bucket "{split_uri(uri)[0]}".'
    )


def _objects(s3: Any, source: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """(bucket, key, path in the folder) of every object that a data source means."""
    bucket, key = split_uri(source["S3Uri"])
    if source.get("S3DataType", "S3Prefix") == "S3Prefix":
        yield from _under(s3, bucket, key)
        return
    head, *names = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    bucket, prefix = split_uri(head["prefix"])
    if not names:
        yield from _under(s3, bucket, prefix)
    for name in names:
        yield bucket, prefix + name, name.lstrip("/")


def _under(s3: Any, bucket: str, prefix: str) -> Iterator[tuple[str, str, str]]:
    """A prefix is a string, not a folder: `data/a` means `data/a/1`, and `data/ab` too."""
    for answer in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in answer.get("Contents", []):
            key = item["Key"]
            if key.endswith("/"):
                continue
            inside = key.startswith(f"{prefix.rstrip('/')}/") and prefix
            start = len(prefix.rstrip("/")) + 1 if inside else prefix.rfind("/") + 1
            yield bucket, key, key[start:]


def _fetch(s3: Any, bucket: str, key: str, name: str, folder: Path, gunzip: bool) -> Path:
    target = folder / (name.removesuffix(".gz") if gunzip else name)
    target.parent.mkdir(parents=True, exist_ok=True)
    body = s3.get_object(Bucket=bucket, Key=key)["Body"]
    with target.open("wb") as file:
        shutil.copyfileobj(gzip.GzipFile(fileobj=body) if gunzip else body, file, 1 << 20)
    return target


def upload(s3: Any, folder: Path, uri: str) -> None:
    """Put every file under `folder` at its path under `uri`; raises TransferFailed."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        upload_file(s3, file, f"{uri.rstrip('/')}/{file.relative_to(folder).as_posix()}")


def upload_file(s3: Any, file: Path, uri: str) -> None:
    bucket, key = split_uri(uri)
    try:
        s3.upload_file(str(file), bucket, key)
    except (ClientError, BotoCoreError, boto3.exceptions.S3UploadFailedError) as error:
        raise TransferFailed(f"{uri}: {error}") from error


def upload_archive(s3: Any, folder: Path, uri: str) -> None:
    """Put the content of `folder` as one .tar.gz whose members have no leading folder."""
    archive = folder.with_name(f"{folder.name}.tar.gz")
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for entry in sorted(folder.iterdir()):
            tar.add(entry, entry.name)
    upload_file(s3, archive, uri)
    archive.unlink()
