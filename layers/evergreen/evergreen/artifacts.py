"""Objects of the one bucket: JSON in and out, listings, and SageMaker's manifest of input files."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from botocore.exceptions import BotoCoreError

from . import aws
from .errors import AwsRejected, AwsUnavailable


def split(uri: str) -> tuple[str, str]:
    """`s3://bucket/a/key` as (bucket, key)."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def read(bucket: str, key: str, version: str | None = None) -> bytes:
    """An object's content, of one version where it is given; raises AwsNotFound."""
    extra = {"VersionId": version} if version else {}
    return aws.call("s3", "get_object", Bucket=bucket, Key=key, **extra)["Body"].read()


def read_json(uri: str) -> Any:
    """A JSON object by its URI; raises AwsNotFound."""
    return json.loads(read(*split(uri)))


def lines(bucket: str, key: str, offset: int = 0) -> Iterator[bytes]:
    """An object's lines, each with its line break, from the byte `offset` on (the first of a line), as they
    come: none of it is kept. Raises AwsNotFound, or AwsUnavailable where the connection breaks."""
    extra = {"Range": f"bytes={offset}-"} if offset else {}
    try:
        body = aws.call("s3", "get_object", Bucket=bucket, Key=key, **extra)["Body"]
    except AwsRejected as error:
        if error.code == "InvalidRange":  # the last call had read it to the end
            return
        raise
    try:
        yield from body.iter_lines(1 << 20, keepends=True)
    except BotoCoreError as error:
        raise AwsUnavailable(f"s3:get_object: {error}", type(error).__name__) from error


def write(bucket: str, key: str, content: bytes, content_type: str = "application/json") -> str:
    """Store an object; returns its URI."""
    aws.call("s3", "put_object", Bucket=bucket, Key=key, Body=content, ContentType=content_type)
    return f"s3://{bucket}/{key}"


def listing(bucket: str, prefix: str, after: str = "") -> Iterator[dict[str, Any]]:
    """Objects under a prefix in the order of their keys, those after the key `after` where it is given. Keys
    that end in a slash (a console's folders) are left out."""
    start = {"StartAfter": after} if after else {}
    for found in aws.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=prefix, **start):
        if not found["Key"].endswith("/"):
            yield found


def versions(bucket: str, prefix: str, after: str = "") -> Iterator[dict[str, Any]]:
    """The same of a versioned bucket, with the `VersionId` of each object's newest version."""
    start = {"KeyMarker": after} if after else {}
    for found in aws.pages("s3", "list_object_versions", "Versions", Bucket=bucket, Prefix=prefix, **start):
        if found["IsLatest"] and not found["Key"].endswith("/"):
            yield found


def write_manifest(bucket: str, key: str, prefix: str, keys: Iterable[str]) -> str:
    """SageMaker's ManifestFile: a common prefix, then each file's name after it. Returns its URI."""
    names = [name.removeprefix(prefix) for name in keys]
    content = [{"prefix": f"s3://{bucket}/{prefix}"}, *names]
    return write(bucket, key, json.dumps(content).encode())
