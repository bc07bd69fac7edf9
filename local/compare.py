"""The last two champions on the same rows: two real Transform jobs over the weeks after the change, then the
metrics.

The rows are flights that neither model saw in training. Both jobs read one file; the answers come back line
by line in its order, as SageMaker writes them, and are joined to the labels here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from local import flights
from local.wording import iso, when
from local.world import instances

METRICS: dict[str, Callable[..., float]] = {
    "roc_auc": roc_auc_score,
    "log_loss": log_loss,
    "brier": brier_score_loss,
}
POLL_SECONDS = 0.5


class JobFailed(Exception):
    """A Transform job ended in anything but Completed; the text has its FailureReason."""


def compare(
    sagemaker: Any, s3: Any, bucket: str, models: Sequence[str], start: datetime, end: datetime
) -> dict[str, np.ndarray]:
    """What each SageMaker model gives the flights of [start, end): probabilities in the flights' order."""
    rows = flights.rows(start, end)
    body = "".join(json.dumps(row) + "\n" for row in instances(rows)).encode()
    prefix = f"compare/{start:%Y%m%d}-{end:%Y%m%d}"
    s3.put_object(Bucket=bucket, Key=f"{prefix}/input/rows.jsonl", Body=body)
    jobs = {model: start_job(sagemaker, bucket, prefix, model) for model in models}
    found = {}
    for model, job in jobs.items():
        await_job(sagemaker, job)
        output = s3.get_object(Bucket=bucket, Key=f"{prefix}/{model}/rows.jsonl.out")["Body"].read()
        found[model] = np.array(
            [json.loads(line)["probability"] for line in output.splitlines() if line.strip()]
        )
        if len(found[model]) != rows.num_rows:
            raise JobFailed(f"{job} answered {len(found[model])} of {rows.num_rows} rows")
    return found


def start_job(sagemaker: Any, bucket: str, prefix: str, model: str) -> str:
    name = f"{model}-compare"
    sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=model,
        BatchStrategy="MultiRecord",
        MaxPayloadInMB=2,
        TransformInput={
            "DataSource": {
                "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/{prefix}/input/"}
            },
            "ContentType": "application/jsonlines",
            "SplitType": "Line",
        },
        TransformOutput={
            "S3OutputPath": f"s3://{bucket}/{prefix}/{model}",
            "Accept": "application/jsonlines",
            "AssembleWith": "Line",
        },
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    return name


def await_job(sagemaker: Any, name: str) -> None:
    while True:
        job = sagemaker.describe_transform_job(TransformJobName=name)
        if job["TransformJobStatus"] == "Completed":
            return
        if job["TransformJobStatus"] in ("Failed", "Stopped"):
            raise JobFailed(
                f"{name} {job['TransformJobStatus']}: {job.get('FailureReason', 'no reason given')}"
            )
        time.sleep(POLL_SECONDS)


def figures(old: np.ndarray, new: np.ndarray, late: np.ndarray, start: datetime, end: datetime) -> list[dict]:
    """One record per metric: metric, old, new, rows, from, to."""
    span = {"rows": len(late), "from": iso(start), "to": iso(end)}
    return [
        {"metric": name, "old": float(score(late, old)), "new": float(score(late, new)), **span}
        for name, score in METRICS.items()
    ]


def weeks(rows: pa.Table, old: np.ndarray, new: np.ndarray, spans: Sequence[tuple[str, str]]) -> list[dict]:
    """The same per week: from, to, rows, old and new {metric: value}. A week of one class is left out."""
    departures, late = rows["scheduled_departure"].to_numpy(), rows["late"].to_numpy()
    found = []
    for start, end in spans:
        first, last = (
            np.searchsorted(departures, np.datetime64(when(moment).replace(tzinfo=None), "us"))
            for moment in (start, end)
        )
        truth = late[first:last]
        if len(np.unique(truth)) < 2:
            continue
        scores = (
            {name: float(score(truth, model[first:last])) for name, score in METRICS.items()}
            for model in (old, new)
        )
        found.append(
            {"from": start, "to": end, "rows": int(last - first), "old": next(scores), "new": next(scores)}
        )
    return found
