"""What starts the machines, beside what the other tests here do: events that come several times, events that
nobody should believe, schedules, requests on demand, and executions that somebody stops.

Not to be had on one machine: a job of a native Model Monitor schedule. CreateProcessingJob takes no
MonitoringScheduleArn, and the schedules themselves are closed to new customers; so the rule is tested with a
job that belongs to no schedule, and what follows one that does is in tests/machines and tests/unit. An
execution that times out takes 15 minutes at least: the rule that tells of it is tested by FAILED and ABORTED.
"""

import json
from datetime import timedelta

import pyarrow as pa
import pytest

from local.watch import Execution
from local.wording import iso
from tests.loop import folders
from tests.loop.site import Json, Site, caused_by, ships

pytestmark = pytest.mark.loop
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def request(site: Site, model: str, id: str, times: int = 1) -> None:
    """A program asks for a training."""
    cause = {"kind": "program", "id": id, "at": iso(site.stack.clock.now()), "by": "a nightly job"}
    site.send("test.program", "TrainingRequested", {"model": model, "cause": cause}, times)


def test_the_same_training_request_five_times_makes_one_run(site: Site) -> None:
    champion = site.champion("careful")
    request(site, "careful", "night-1", times=5)
    executions = site.ended("train", caused_by("night-1"), count=5)
    assert sorted(found.ended_in for found in executions) == ["ModelRegistered"] + ["TrainingDropped"] * 4
    [admitted] = site.history("careful", "RunAdmitted", "night-1")
    dropped = site.history("careful", "RunDropped", "night-1")
    assert [row["reason"] for row in dropped] == [
        f"program:night-1 was answered already, by run {admitted['run']}"
    ] * 4
    jobs = site.client("sagemaker").list_training_jobs(NameContains=admitted["run"])["TrainingJobSummaries"]
    assert len(jobs) == 1
    assert site.champion("careful") == champion


def test_a_version_that_nobody_approved_never_deploys(site: Site) -> None:
    """An event that says so does not approve it: EventBridge takes no event of AWS's from anyone else, and
    the machine asks the registry."""
    champion = site.champion("careful")
    if not site.view("careful")["pending"]:
        request(site, "careful", "night-2")
    version = site.pending("careful")
    approved = json.dumps(site.ended("deploy", ships("careful", 1)).event)
    forged = json.loads(approved.replace("evergreen-careful/1", f"evergreen-careful/{version}"))
    forged["detail"]["ModelPackageVersion"] = version
    entry = {"Source": forged["source"], "DetailType": forged["detail-type"]}
    entry["Detail"] = json.dumps(forged["detail"])
    assert site.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 1
    execution = site.deliver("deploy", forged)
    assert execution.ended_in == "DeploymentDropped"
    dropped = site.history("careful", "DeploymentDropped")[0]
    assert (dropped["version"], dropped["reason"]) == (
        version,
        f"version {version} is PendingManualApproval in the registry now",
    )
    configs = site.client("sagemaker").list_endpoint_configs(NameContains=f"careful-v{version}-")
    assert configs["EndpointConfigs"] == []
    assert site.champion("careful") == champion


def test_the_same_violation_five_times_makes_one_decision(site: Site) -> None:
    champion = site.champion("careful")
    end = site.stack.clock.now()
    signal = "careful/last-week/one"
    violation = {
        "feature_name": "log_loss",
        "constraint_check_type": "model_quality_check",
        "description": "log_loss 0.62 lies over 0.49",
    }
    window = {"start": iso(end - 7 * DAY), "end": iso(end)}
    detail: Json = {
        "model": "careful",
        "window": window,
        "version": champion["version"],
        "signal": signal,
        "rows": 700,
        "labelled": 600,
        "violations": 1,
        "top": [violation],
        "cause": {"kind": "violation", "id": signal, "at": iso(end), "by": "evergreen.monitor"},
    }
    site.send("evergreen.monitor", "ViolationFound", detail, times=5)
    executions = site.ended("respond", caused_by(signal), count=5)
    assert sorted(found.ended_in for found in executions) == ["LeftAlone"] * 4 + ["RetrainingRequested"]
    rows = site.history("careful", "SignalAssessed", signal)
    assert sorted(row["action"] for row in rows) == ["leave"] * 4 + ["retrain"]
    [decided] = [row["reason"] for row in rows if row["action"] == "retrain"]
    reasons = {row["reason"] for row in rows if row["action"] == "leave"}
    assert reasons == {f"already decided: retrain, because {decided}"}
    execution = site.ended("train", caused_by(signal))
    assert execution.ended_in == "ModelRegistered"
    assert len(site.executions("train", caused_by(signal))) == 1
    assert site.champion("careful") == champion


def of_schedule(execution: Execution) -> tuple[str, str]:
    """(detail-type, scheduled time) of what a schedule of `careful` started."""
    event = execution.event
    ours = event["source"] == "evergreen.schedule" and event["detail"]["model"] == "careful"
    return (event["detail-type"], execution.at) if ours else ("", "")


def test_schedules_train_and_monitor(site: Site) -> None:
    champion = site.champion("careful")
    # Its days begin at midnight, when it was published: other tests may have taken minutes of this one.
    midnight = (site.stack.clock.now() + DAY).replace(hour=0, minute=0, second=0, microsecond=0)
    at = iso(site.stack.clock.set(midnight, frozen=True))
    for machine, kind, told in (
        ("train", "TrainingScheduled", "RunEnded"),
        ("monitor", "MonitoringScheduled", "WindowAnalyzed"),
    ):
        execution = site.ended(machine, lambda found, kind=kind: of_schedule(found) == (kind, at))
        assert execution.status == "SUCCEEDED"
        [row] = site.history("careful", told, f"careful@{at}")
        assert row["cause"]["kind"] == "schedule"
    assert site.champion("careful") == champion


def watched(site: Site, rows: list[Json], computed: bytes | None = None) -> tuple[Json, Json, Execution]:
    """What a window of `files` with these rows came to, and how it was answered: the ledger's rows of both,
    and the machine that answered. `computed`: the features as a pipeline has them, Parquet."""
    start = site.stack.clock.advance(MINUTE.total_seconds())
    site.predict("files", rows)
    if computed:
        key = f"pipeline/files/{start:%Y/%m/%d/%H}/features.parquet"
        site.client("s3").put_object(Bucket=site.bucket, Key=key, Body=computed)
    end = site.stack.clock.advance(MINUTE.total_seconds())
    window = {"start": iso(start), "end": iso(end)}
    site.send("test.program", "MonitoringRequested", {"model": "files", "window": window})
    execution = site.ended("monitor", lambda found: found.event["detail"].get("window") == window)
    assert execution.ended_in == "ViolationsFound"
    analyzed = next(row for row in site.history("files", "WindowAnalyzed") if row["start"] == window["start"])
    answer = site.ended("respond", lambda found: found.event["detail"].get("window") == window)
    [assessed] = site.history("files", "SignalAssessed", analyzed["signal"])
    return analyzed, assessed, answer


def violated(analyzed: Json) -> set[tuple[str, str]]:
    return {(each["feature_name"], each["constraint_check_type"]) for each in analyzed["violations"]}


def test_a_window_on_demand_finds_what_it_never_saw_and_tells_the_owner(site: Site) -> None:
    champion = site.champion("files")
    unknown = [row | {"origin": "BOS"} for row in folders.new_flights(60)]
    analyzed, assessed, answer = watched(site, unknown)
    assert analyzed["rows"] == 60
    assert ("origin", "categorical_values_check") in violated(analyzed)
    assert (answer.ended_in, assessed["action"]) == ("OwnerNotified", "notify")
    site.inbox.wait("files", assessed["reason"])
    assert site.champion("files") == champion


def test_features_that_the_pipeline_computed_otherwise_are_told_to_the_owner(site: Site) -> None:
    rows = folders.new_flights(60)
    in_metres = [row | {"distance": 1609.344 * row["distance"]} for row in rows]
    analyzed, assessed, answer = watched(site, rows, folders.parquet(pa.Table.from_pylist(in_metres)))
    skewed = {feature for feature, check in violated(analyzed) if check == "training_serving_skew_check"}
    assert skewed == {"distance"}
    assert (answer.ended_in, assessed["action"]) == ("OwnerNotified", "notify")
    site.inbox.wait("files", assessed["reason"])


def test_a_processing_job_of_somebody_else_is_looked_at_and_left_alone(site: Site) -> None:
    site.client("sagemaker").create_processing_job(
        ProcessingJobName="nightly-report",
        RoleArn=site.outputs["JobRoleArn"],
        AppSpecification={
            "ImageUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/evergreen-jobs:local",
            "ContainerEntrypoint": ["python", "-c", "pass"],
        },
        ProcessingResources={
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
    )
    execution = site.ended(
        "respond", lambda found: found.event["detail"].get("ProcessingJobName") == "nightly-report"
    )
    assert execution.event["detail"]["ProcessingJobStatus"] == "Completed"
    assert [state.name for state in execution.states][-1] == "LeftAlone"


def test_an_execution_that_is_stopped_is_told_and_its_lock_taken_over(site: Site) -> None:
    champion = site.champion("files")
    for id in ("stopped-1", "stopped-2"):
        request(site, "files", id)
        site.wait(f"run {id}", lambda id=id: site.history("files", "RunAdmitted", id))
        # The follower may hear of the execution after the ledger does.
        site.wait(f"execution {id}", lambda id=id: site.executions("train", caused_by(id)))
        [execution] = site.executions("train", caused_by(id))
        site.client("stepfunctions").stop_execution(executionArn=execution.arn)
        site.inbox.wait(execution.arn, "ABORTED")
    assert site.champion("files") == champion
