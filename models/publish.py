"""Publishes a model's folder under the digest of its content: the event that starts everything else.

python -m models.publish models/flights --stack evergreen

Uploads each file and a source.tar.gz to s3://<bucket>/models/<name>/<digest>/, and model.yaml last: its
arrival starts the onboard machine. The same content has the same digest: publishing it again changes nothing.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import re
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

SPEC = "model.yaml"
ARCHIVE = "source.tar.gz"
NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")
LEFT_OUT = {"__pycache__", ARCHIVE}


class PublishError(Exception):
    """Why a folder cannot be published, in one sentence."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m models.publish",
        description="Publish a model's folder: upload it under its content's digest and start the loop.",
        epilog="Credentials, region and endpoint come from the AWS environment, as for the AWS CLI.",
    )
    parser.add_argument("folder", type=Path, help="the model's folder, such as models/flights")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--bucket", help="the stack's bucket")
    target.add_argument("--stack", help="the stack's name: its output `Bucket` is used")
    parser.add_argument(
        "--again", action="store_true", help="publish even where this content is already there"
    )
    options = parser.parse_args(arguments)
    try:
        bucket = options.bucket or stack_bucket(options.stack, boto3.client("cloudformation"))
        publish(options.folder, bucket, boto3.client("s3"), again=options.again)
    except PublishError as error:
        print(f"not published: {error}", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        print(f"not published: AWS says: {error}", file=sys.stderr)
        return 1
    return 0


def publish(
    folder: Path, bucket: str, s3: Any, *, again: bool = False, say: Callable[[str], None] = print
) -> str:
    """Uploads the folder and returns its digest. Raises PublishError, and botocore's errors as they are."""
    files = read_folder(folder)
    name, version = folder.resolve().name, digest(files)
    prefix = f"models/{name}/{version}/"
    if not again and _exists(s3, bucket, prefix + SPEC):
        say(f"{name} {version} is already published: nothing to do (--again publishes it anew)")
        return version
    say(f"{name} {version}: {len(files)} files to s3://{bucket}/{prefix}")
    uploads = {path: content for path, content in files.items() if path != SPEC}
    uploads |= {ARCHIVE: archive(files), SPEC: files[SPEC]}  # model.yaml last: by then all the rest is there
    for path, content in uploads.items():
        s3.put_object(Bucket=bucket, Key=prefix + path, Body=content)
        say(f"  {path} ({len(content):,} bytes)")
    say(f"published {name} {version}: the onboard machine starts now")
    return version


def read_folder(folder: Path) -> dict[str, bytes]:
    """Content by relative path, in order. Hidden files, caches and an earlier archive stay out."""
    if not folder.is_dir():
        raise PublishError(f"{folder} is not a folder")
    name = folder.resolve().name
    if not NAME.fullmatch(name):
        raise PublishError(
            f"the folder's name {name!r} must be 1 to 20 lower-case letters, digits or -, from a letter on"
        )
    files = {}
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        parts = path.relative_to(folder).parts
        if (
            path.is_file()
            and not LEFT_OUT.intersection(parts)
            and not any(part.startswith(".") for part in parts)
        ):
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
    if SPEC not in files:
        raise PublishError(f"{folder} has no {SPEC}: it tells the loop everything about the model")
    return files


def digest(files: dict[str, bytes]) -> str:
    """12 hexadecimal digits of the SHA-256 over paths and contents, each with its length before it."""
    total = hashlib.sha256()
    for path, content in sorted(files.items()):
        for part in (path.encode(), content):
            total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()[:12]


def archive(files: dict[str, bytes]) -> bytes:
    """source.tar.gz with the same bytes for the same content: no times, no owners."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path, content in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def stack_bucket(stack: str, cloudformation: Any) -> str:
    """The stack's output `Bucket`. Raises PublishError."""
    try:
        found = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        raise PublishError(f"stack {stack}: {error.response['Error']['Message']}") from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
    if "Bucket" not in outputs:
        raise PublishError(f"stack {stack} is {found['StackStatus']} and has no output `Bucket`")
    return outputs["Bucket"]


def _exists(s3: Any, bucket: str, key: str) -> bool:
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
            return False
        raise
    return True


if __name__ == "__main__":
    sys.exit(main())
