"""State PinData: the run reads the files that are here now, whatever arrives meanwhile.

Environment: BUCKET.
IAM: s3:ListBucketVersions on the bucket (prefix datasets/*); s3:PutObject on runs/*.
"""

import json
from typing import Any

from evergreen import artifacts, names, settings
from evergreen.errors import DataMissing
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")
SUFFIXES = (".parquet", ".csv")


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{model, run} -> {manifest, dataVersion, files, bytes}; raises DataMissing."""
    pinned = pin(event["model"], event["run"])
    logger.info("data pinned", model=event["model"], run=event["run"], **pinned)
    return pinned


def pin(model: str, run: str) -> dict[str, Any]:
    """Write the manifest of the data files, and what exactly they were, beside the run. The data version is a
    digest of names, ETags and sizes: the same data has the same version in every run. SageMaker reads the
    newest version of an object; the version ids say afterwards which that was."""
    prefix = f"datasets/{model}/"
    files = [
        {
            "key": found["Key"],
            "version": found["VersionId"],
            "etag": found["ETag"].strip('"'),
            "bytes": found["Size"],
        }
        for found in artifacts.versions(BUCKET, prefix)
        if found["Key"].endswith(SUFFIXES)
    ]
    if not files:
        raise DataMissing(f"no data under s3://{BUCKET}/{prefix}: upload Parquet or CSV files there")
    content = [(file["key"], file["etag"], file["bytes"]) for file in files]
    version = names.digest(json.dumps(content), 12)
    manifest = artifacts.write_manifest(
        BUCKET, f"runs/{run}/data.manifest", prefix, (file["key"] for file in files)
    )
    record = {"model": model, "run": run, "dataVersion": version, "files": files}
    artifacts.write(BUCKET, f"runs/{run}/data.json", json.dumps(record, indent=1).encode())
    size = sum(file["bytes"] for file in files)
    return {"manifest": manifest, "dataVersion": version, "files": len(files), "bytes": size}
