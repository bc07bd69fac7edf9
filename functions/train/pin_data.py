"""State PinData: the run reads the files that are here now, whatever arrives meanwhile.

Environment: TABLE, BUCKET, PREFIX.
IAM: dynamodb:GetItem on the table; s3:ListBucketVersions on the bucket (prefixes datasets/*, capture/*,
labels/*); s3:PutObject on runs/*.
"""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from evergreen import artifacts, capture, names, settings, times
from evergreen.errors import DataMissing
from evergreen.ledger import Ledger
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")
PREFIX = settings.required("PREFIX")
LEDGER = Ledger(settings.required("TABLE"))
SUFFIXES = (".parquet", ".csv")

File = dict[str, Any]


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{model, run} -> {manifest, capture, labels: manifests or null, dataVersion, files, bytes}; raises
    DataMissing."""
    pinned = pin(event["model"], event["run"])
    logger.info("data pinned", model=event["model"], run=event["run"], **pinned)
    return pinned


def pin(model: str, run: str) -> dict[str, Any]:
    """Write the manifests of the data files, and what exactly they were, beside the run. The data version is
    a digest of names, ETags and sizes: the same data has the same version in every run. SageMaker reads the
    newest version of an object; the version ids say afterwards which that was."""
    record = LEDGER.need(model, f"RUN#{run}")
    retrain = LEDGER.need_spec(model, record["digest"])["spec"]["retrain"]
    prefixes = {
        "data": f"datasets/{model}/",
        "capture": capture.prefix(names.endpoint(PREFIX, model)),
        "labels": f"labels/{model}/",
    }
    found: dict[str, list[File]] = {"data": [], "capture": [], "labels": []}
    if "base" in retrain["data"]:
        found["data"] = [one for one in listed(prefixes["data"]) if is_data(one["key"])]
    if "captured" in retrain["data"]:
        found |= captured(prefixes, times.parse(record["at"]), retrain["window"])
    if not found["data"] and not found["capture"]:
        where = [f"s3://{BUCKET}/{prefixes['data']}: upload Parquet or CSV files there"]
        if "captured" in retrain["data"]:
            where.append(f"no requests with labels under s3://{BUCKET}/{prefixes['capture']}")
        raise DataMissing("no data under " + ", and ".join(where))
    manifests = {
        name: artifacts.write_manifest(
            BUCKET, f"runs/{run}/{name}.manifest", prefixes[name], (one["key"] for one in files)
        )
        if files
        else None
        for name, files in found.items()
    }
    files = [one for part in found.values() for one in part]
    version = names.digest(json.dumps([(one["key"], one["etag"], one["bytes"]) for one in files]), 12)
    about = {"model": model, "run": run, "dataVersion": version, "files": files}
    artifacts.write(BUCKET, f"runs/{run}/data.json", json.dumps(about, indent=1).encode())
    return {
        "manifest": manifests["data"],
        "capture": manifests["capture"],
        "labels": manifests["labels"],
        "dataVersion": version,
        "files": len(files),
        "bytes": sum(one["bytes"] for one in files),
    }


def is_data(key: str) -> bool:
    """`ROWS.CSV` and `rows.Csv` too: jobs read them, and who uploaded them expects it."""
    return key.lower().endswith(SUFFIXES)


def captured(prefixes: dict[str, str], at: datetime, window: float | None) -> dict[str, list[File]]:
    """Requests of the hours of the window before `at`, and each label that is here by now: labels come late.
    Requests without any label teach nothing."""
    first = times.hour_path(at - times.seconds(window)) if window else ""
    last = f"{prefixes['capture']}{times.hour_path(at + timedelta(hours=1))}"
    labels = list(listed(prefixes["labels"], first))
    requests = []
    for one in listed(prefixes["capture"], first) if labels else ():
        if one["key"] >= last:
            break
        requests.append(one)
    return {"capture": requests, "labels": labels if requests else []}


def listed(prefix: str, first: str = "") -> Iterator[File]:
    """The newest version of each file under a prefix, in order of the keys, from the hour `first` on."""
    for found in artifacts.versions(BUCKET, prefix, after=f"{prefix}{first}" if first else ""):
        yield {
            "key": found["Key"],
            "version": found["VersionId"],
            "etag": found["ETag"].strip('"'),
            "bytes": found["Size"],
        }
