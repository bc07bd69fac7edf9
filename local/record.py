"""The record of one run of the loop: what loop.json holds, and whether the loop closed.

    model, primary, quality  the model's name, the gate's metric, the monitored metric
    closed, missing          did the loop close; if not, what is missing, in words
    world                    {from, until}: the stretch of the data's year that was replayed
    seconds, peak_mb         {setup, run}; the peak of the whole process tree's memory
    counts                   {requests, predictions, labels, files, failures, lost}: what the outside world
                             sent; lost are failures that no rolled back version is to blame for
    executions[]             machine, arn, cause_event_id, cause, status, at (the event's time), start and
                             seconds (real, since the run began), states [{name, start, seconds}], ended_in,
                             reason
    champions[]              version, run, metrics, holdout {rows, from, until}, predecessor (the replaced
                             model's metrics on that holdout), cause, approved_by, promoted_at, deployment,
                             package_arn
    windows[]                start, end, rows, labelled, status, version, violations[], features
                             {name: {distance, threshold}}, quality {metric: {value, low, high, baseline}}
    decisions[]              at, signal, decision, reason
    before_after[]           old_version, new_version, metric, old, new, rows, from, to: a champion and its
                             successor on the same rows, while the successor was in service
    weeks[]                  the same by week: old_version, new_version, from, to, rows, old and new
                             {metric: value}
    deployments[]            name, version, previous, seconds, outcome, samples [{at, old, new, old_failed,
                             new_failed}]: requests that each fleet was sent, and answered with 5XX, by second
    rollbacks[]              as local/rollbacks.py has it

A cause and a signal are {kind, id, at, by, text?}, as in the ledger; times are ISO 8601 in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from local.watch import Execution, named, one_line
from local.wording import span

ROOM = timedelta(seconds=3)  # an endpoint's metrics arrive a second late


class Reader:
    """Reads what a run has left in the account: the history by the API, the figures in the bucket."""

    def __init__(self, model: str, api: Any, s3: Any, cloudwatch: Any, bucket: str) -> None:
        self.model, self.api, self.s3, self.cloudwatch, self.bucket = model, api, s3, cloudwatch, bucket
        self._history: list[dict] | None = None

    def history(self, *kinds: str) -> list[dict]:
        """The ledger's rows of these kinds, oldest first."""
        if self._history is None:
            self._history = sorted(self._pages(), key=lambda row: (row["at"], row["recorded_at"]))
        return [row for row in self._history if row["kind"] in kinds]

    def _pages(self) -> Iterator[dict]:
        path, following = f"/models/{self.model}/history?limit=100", ""
        while True:
            page = self.api.get(path + following)
            yield from page["history"]
            if not page.get("next"):
                return
            following = f"&next={page['next']}"

    def json(self, key: str) -> dict:
        """A JSON file of the bucket; empty where there is none."""
        try:
            return json.loads(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        except self.s3.exceptions.NoSuchKey:
            return {}

    def champions(self) -> list[dict]:
        return [self._champion(row) for row in self.history("ModelDeployed")]

    def _champion(self, row: dict) -> dict:
        evaluation = self.json(f"runs/{row['run']}/evaluation/evaluation.json")
        champion = evaluation.get("champion") or {}
        return {
            "version": row["version"],
            "run": row["run"],
            "metrics": (evaluation.get("challenger") or {}).get("metrics", {}),
            "holdout": {name: evaluation.get(name) for name in ("rows", "from", "until")},
            "predecessor": champion.get("metrics"),
            "cause": self.worded(row["cause"]),
            "approved_by": row["approved_by"],
            "promoted_at": row["at"],
            "deployment": row["deployment"],
            "package_arn": row["package_arn"],
        }

    def windows(self) -> list[dict]:
        return [self._window(row) for row in self.history("WindowAnalyzed")]

    def _window(self, row: dict) -> dict:
        """A window and its analysis, which the bucket keeps under `report` where one was made."""
        report = row.get("report", "").removeprefix(f"s3://{self.bucket}/")
        analysis = self.json(f"{report}analysis.json") if report else {}
        return {
            **{name: row[name] for name in ("start", "end", "rows", "labelled", "status", "version")},
            "violations": analysis.get("violations", []),
            "features": analysis.get("features", {}),
            "quality": analysis.get("quality", {}),
        }

    def signals(self) -> dict[str, str]:
        """The id of each violation's signal -> what was wrong, in words."""
        return {
            row["signal"]: f"violation, {span(row)}: {named(row['violations'])}"
            for row in self.history("WindowAnalyzed")
            if row.get("signal")
        }

    def decisions(self) -> list[dict]:
        return [
            {
                "at": row["at"],
                "signal": self.worded(row["cause"]),
                "decision": row["action"],
                "reason": row["reason"],
            }
            for row in self.history("SignalAssessed")
        ]

    def worded(self, cause: dict) -> dict:
        """A violation's cause with what was violated; any other as it is."""
        said = self.signals().get(cause["id"])
        return cause | {"text": said} if said else cause

    def deployments(self, executions: list[Execution], champions: list[dict]) -> list[dict]:
        """The deployments that shifted traffic, with what each fleet answered in each second."""
        return [
            found
            for execution in executions
            if execution.machine == "deploy"
            and any(state.name == "UpdateEndpoint" for state in execution.states)
            if (found := self._deployment(execution, champions))
        ]

    def _deployment(self, execution: Execution, champions: list[dict]) -> dict | None:
        version = execution.event["detail"]["ModelPackageVersion"]
        names = {row["version"]: row["deployment"] for row in self.history("DeploymentStarted")}
        before = [c for c in champions if c["version"] < version]
        if version not in names or not before:
            return None
        old, new = before[-1], names[version]
        begin = next(state.entered for state in execution.states if state.name == "UpdateEndpoint")
        end = execution.stopped or begin
        return {
            "name": new,
            "version": version,
            "previous": old["version"],
            "seconds": round(end - begin, 1),
            "outcome": execution.ended_in,
            "samples": self._samples(old["deployment"], new, begin, end),
        }

    def _samples(self, old: str, new: str, begin: float, end: float) -> list[dict]:
        counts = {
            "old": self._counted("Invocations", old, begin, end),
            "new": self._counted("Invocations", new, begin, end),
            "old_failed": self._counted("Invocation5XXErrors", old, begin, end),
            "new_failed": self._counted("Invocation5XXErrors", new, begin, end),
        }
        return [
            {"at": at - int(begin)} | {name: found.get(at, 0) for name, found in counts.items()}
            for at in range(int(begin), int(end) + 1)
        ]

    def _counted(self, metric: str, config: str, begin: float, end: float) -> dict[int, int]:
        """Epoch second -> the sum of a metric of the fleet of an endpoint config."""
        endpoint = config.rsplit("-v", 1)[0]
        dimensions = {"EndpointName": endpoint, "VariantName": "main", "EndpointConfigName": config}
        found = self.cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            StartTime=datetime.fromtimestamp(begin, UTC) - ROOM,
            EndTime=datetime.fromtimestamp(end, UTC) + ROOM,
            Period=1,
            Statistics=["Sum"],
        )["Datapoints"]
        return {int(point["Timestamp"].timestamp()): int(point["Sum"]) for point in found}


def execution_record(execution: Execution, began: float) -> dict:
    return {
        "machine": execution.machine,
        "arn": execution.arn,
        "cause_event_id": execution.event.get("id", ""),
        "cause": execution.cause,
        "status": execution.status,
        "at": execution.at,
        "start": round(execution.started - began, 2),
        "seconds": round(execution.seconds, 2),
        "states": [
            {"name": state.name, "start": round(state.entered - began, 2), "seconds": round(state.seconds, 2)}
            for state in execution.states
        ],
        "ended_in": execution.ended_in,
        "reason": execution.reason,
    }


def telling(execution: dict) -> bool:
    """Whether an execution is part of the story: windows without findings and dropped requests are not."""
    silent = ("NoData", "TooFewRows", "WindowClean")
    return execution["ended_in"] not in silent and not execution["ended_in"].endswith("Dropped")


def changes(record: dict) -> list[list[dict]]:
    """before_after by the two versions that it compares, in order."""
    found: dict[tuple[int, int], list[dict]] = {}
    for row in record["before_after"]:
        found.setdefault((row["old_version"], row["new_version"]), []).append(row)
    return list(found.values())


def missing(champions: list[dict], executions: list[dict], windows: list[dict]) -> str | None:
    """Why the loop did not close, with the execution that failed and its reason; None where it closed.

    It closed when there are two champions at least, and a violation caused the second one or a later one.
    """
    caused = [champion for champion in champions[1:] if champion["cause"]["kind"] == "violation"]
    if caused:
        return None
    if not champions:
        said = "no model came into service"
    elif len(champions) > 1:
        said = "no violation caused the second champion"
    elif any(window["violations"] for window in windows):
        said = "there were violations, but no second champion"
    else:
        said = f"no violation in {len(windows)} windows, so no second champion"
    failed = [execution for execution in executions if execution["status"] not in ("SUCCEEDED", "RUNNING")]
    for execution in failed[-3:]:
        where = broken_state(execution)
        said += (
            f". {execution['machine']} {execution['status']} after {where}: {one_line(execution['reason'])}"
        )
    return said


def broken_state(execution: dict) -> str:
    """The last state before the one that the machine ended in."""
    names = [state["name"] for state in execution["states"]]
    return names[-2] if len(names) > 1 else (names or ["its start"])[-1]


def save(record: dict, folder: Path, render: Callable[[dict, Path], Path]) -> tuple[Path, Path]:
    """Writes loop.json and report.html; returns both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "loop.json"
    kept.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return kept, render(record, folder / "report.html")
