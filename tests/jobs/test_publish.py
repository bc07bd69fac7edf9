"""Publishing a folder: the same content is the same upload, and model.yaml comes last."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from models import publish
from models.publish import PublishError

BUCKET = "bucket"


@pytest.fixture
def s3() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    (folder / "lib" / "__pycache__").mkdir(parents=True)
    (folder / "model.yaml").write_text("name: demo\n")
    (folder / "train.py").write_text("pass\n")
    (folder / "lib" / "a.py").write_text("A = 1\n")
    (folder / "lib" / "__pycache__" / "a.pyc").write_bytes(b"\0")
    (folder / ".DS_Store").write_bytes(b"\0")
    return folder


def keys(s3: Any) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def test_model_yaml_is_uploaded_last(s3: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    put = s3.put_object
    monkeypatch.setattr(s3, "put_object", lambda **call: (order.append(call["Key"]), put(**call)))
    version = publish.publish(folder, BUCKET, s3, say=lambda _: None)
    prefix = f"models/demo/{version}/"
    assert sorted(keys(s3)) == sorted(
        prefix + name for name in ("model.yaml", "train.py", "lib/a.py", "source.tar.gz")
    )
    assert order[-1] == f"{prefix}model.yaml"


def test_publishing_twice_changes_nothing(s3: Any, folder: Path) -> None:
    said: list[str] = []
    first = publish.publish(folder, BUCKET, s3, say=said.append)
    before = s3.head_object(Bucket=BUCKET, Key=f"models/demo/{first}/model.yaml")["LastModified"]
    assert publish.publish(folder, BUCKET, s3, say=said.append) == first
    assert "already published" in said[-1]
    assert s3.head_object(Bucket=BUCKET, Key=f"models/demo/{first}/model.yaml")["LastModified"] == before


def test_a_torn_upload_is_finished_by_the_next(s3: Any, folder: Path) -> None:
    version = publish.digest(publish.read_folder(folder))
    s3.put_object(Bucket=BUCKET, Key=f"models/demo/{version}/train.py", Body=b"half")
    publish.publish(folder, BUCKET, s3, say=lambda _: None)
    assert s3.get_object(Bucket=BUCKET, Key=f"models/demo/{version}/train.py")["Body"].read() == b"pass\n"


def test_the_digest_is_of_names_and_contents_only(folder: Path) -> None:
    before = publish.digest(publish.read_folder(folder))
    (folder / "train.py").touch()
    (folder / "lib" / "__pycache__" / "b.pyc").write_bytes(b"\1")
    assert publish.digest(publish.read_folder(folder)) == before
    (folder / "train.py").rename(folder / "fit.py")
    assert publish.digest(publish.read_folder(folder)) != before
    assert publish.digest({"ab": b"c"}) != publish.digest({"a": b"bc"})


def test_the_archive_has_the_same_bytes_each_time(folder: Path) -> None:
    files = publish.read_folder(folder)
    packed = publish.archive(files)
    assert packed == publish.archive(dict(reversed(files.items())))
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert tar.getnames() == ["lib/a.py", "model.yaml", "train.py"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere"], "nowhere is not a folder"),
        (["{folder}"], "has no model.yaml"),
        (["{parent}/Bad_Name"], "'Bad_Name' must be 1 to 20 lower-case letters"),
    ],
)
def test_what_cannot_be_published_is_said(
    s3: Any, folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    (folder / "model.yaml").unlink()
    (folder.parent / "Bad_Name").mkdir()
    arguments = [text.format(folder=folder, parent=folder.parent) for text in arguments]
    assert publish.main([*arguments, "--bucket", BUCKET]) == 1
    assert reason in capsys.readouterr().err


def test_a_bucket_that_is_not_there(s3: Any, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish.main([str(folder), "--bucket", "another"]) == 1
    assert "NoSuchBucket" in capsys.readouterr().err


class CloudFormation:
    """Two stacks: one is ours."""

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        if StackName not in ("evergreen", "other"):
            error = {"Code": "ValidationError", "Message": f"Stack with id {StackName} does not exist"}
            raise ClientError({"Error": error}, "DescribeStacks")
        outputs = [{"OutputKey": "Bucket", "OutputValue": BUCKET}] if StackName == "evergreen" else []
        return {"Stacks": [{"StackStatus": "CREATE_COMPLETE", "Outputs": outputs}]}


def test_the_stack_names_its_bucket() -> None:
    assert publish.stack_bucket("evergreen", CloudFormation()) == BUCKET
    with pytest.raises(PublishError, match="stack other is CREATE_COMPLETE and has no output `Bucket`"):
        publish.stack_bucket("other", CloudFormation())
    with pytest.raises(PublishError, match="Stack with id missing does not exist"):
        publish.stack_bucket("missing", CloudFormation())
