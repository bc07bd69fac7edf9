"""A champion and its successor on the same rows: what the change was worth, scored by real Transform jobs.

The rows are flights that came after the change: neither model saw them in training. Both jobs read one file;
the answers come back line by line in its order, as SageMaker writes them, and are joined to the labels here.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
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
DAY = timedelta(days=1)


class JobFailed(Exception):
    """A Transform job ended in anything but Completed; the text has its FailureReason."""


@dataclass(frozen=True)
class Bench:
    """Where the comparison runs: the account's clients, the bucket, and the role that jobs have."""

    sagemaker: Any
    s3: Any
    bucket: str
    role_arn: str


def changes(
    bench: Bench, champions: list[dict], windows: list[dict], until: datetime
) -> dict[str, list[dict]]:
    """before_after and weeks of the record: each champion beside the one that it replaced, over its whole
    days in service; the last one also beside the first, as if nothing had been trained again.

    Raises JobFailed."""
    found: dict[str, list[dict]] = {"before_after": [], "weeks": []}
    ends = [when(champion["promoted_at"]) for champion in champions[2:]] + [until]
    for (old, new), last in zip(pairwise(champions), ends, strict=False):
        start, end = midnight(when(new["promoted_at"]) + DAY), midnight(last)
        if end - start < DAY:
            continue
        others = [old] if new is not champions[-1] or old is champions[0] else [old, champions[0]]
        rows = flights.rows(start, end)
        *before, after = score(bench, [*others, new], f"runs/{new['run']}/comparison", rows)
        for other, scores in zip(others, before, strict=True):
            versions = {"old_version": other["version"], "new_version": new["version"]}
            found["before_after"] += [versions | row for row in figures(rows, scores, after, start, end)]
        whole = [w for w in windows if start <= when(w["start"]) and when(w["end"]) <= end]
        spans = [(window["start"], window["end"]) for window in whole]
        versions = {"old_version": old["version"], "new_version": new["version"]}
        found["weeks"] += [versions | week for week in weeks(rows, before[0], after, spans)]
    return found


def midnight(moment: datetime) -> datetime:
    """The start of a moment's day."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def score(bench: Bench, champions: Sequence[dict], prefix: str, rows: pa.Table) -> list[np.ndarray]:
    """What each champion says of the rows: probabilities, in their order. `prefix` is where the rows
    and the answers go."""
    body = "".join(json.dumps(row) + "\n" for row in instances(rows)).encode()
    bench.s3.put_object(Bucket=bench.bucket, Key=f"{prefix}/input/rows.jsonl", Body=body)
    names = [start_job(bench, champion, prefix) for champion in champions]
    return [answers(bench, name, prefix, rows.num_rows) for name in names]


def start_job(bench: Bench, champion: dict, prefix: str) -> str:
    """A Transform job of a champion's package, as a model of its own under the jobs' role: that of an old
    deployment is gone."""
    name = f"{champion['deployment']}-{hashlib.sha256(prefix.encode()).hexdigest()[:10]}"
    bench.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=bench.role_arn,
        PrimaryContainer={"ModelPackageName": champion["package_arn"]},
    )
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bench.bucket}/{prefix}/input/"}
    bench.sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=name,
        BatchStrategy="MultiRecord",
        MaxPayloadInMB=2,
        TransformInput={
            "DataSource": {"S3DataSource": source},
            "ContentType": "application/jsonlines",
            "SplitType": "Line",
        },
        TransformOutput={
            "S3OutputPath": f"s3://{bench.bucket}/{prefix}/{name}",
            "Accept": "application/jsonlines",
            "AssembleWith": "Line",
        },
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    return name


def answers(bench: Bench, name: str, prefix: str, rows: int) -> np.ndarray:
    """The probabilities that a job has written, one for each row."""
    await_job(bench.sagemaker, name)
    body = bench.s3.get_object(Bucket=bench.bucket, Key=f"{prefix}/{name}/rows.jsonl.out")["Body"].read()
    found = np.array([json.loads(line)["probability"] for line in body.splitlines() if line.strip()])
    if len(found) != rows:
        raise JobFailed(f"{name} answered {len(found)} of {rows} rows")
    return found


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


def figures(rows: pa.Table, old: np.ndarray, new: np.ndarray, start: datetime, end: datetime) -> list[dict]:
    """One record per metric: metric, old, new, rows, from, to."""
    late = rows["late"].to_numpy()
    span = {"rows": len(late), "from": iso(start), "to": iso(end)}
    return [
        {"metric": name, "old": float(metric(late, old)), "new": float(metric(late, new)), **span}
        for name, metric in METRICS.items()
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
            {name: float(metric(truth, model[first:last])) for name, metric in METRICS.items()}
            for model in (old, new)
        )
        found.append(
            {"from": start, "to": end, "rows": int(last - first), "old": next(scores), "new": next(scores)}
        )
    return found
