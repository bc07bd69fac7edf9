"""The paths of the monitor machine."""

import json
from functools import partial

from tests.machines.engine import Throw
from tests.machines.scenario import Scenario, event

VIOLATION = event("monitor-violation-found")["detail"]
WINDOW = VIOLATION["window"]
OUTPUT = "s3://bucket/monitor/flights/20130601T000000Z_20130608T000000Z/"
PLAN = {
    "status": "Ready",
    "reason": "6514 rows",
    "model": "flights",
    "version": 1,
    "window": WINDOW,
    "rows": 1000,
    "name": "5d1c0a9b7e",
    "cause": {
        "kind": "schedule",
        "id": "flights@2013-06-08T00:00:00Z",
        "at": WINDOW["end"],
        "by": "schedule",
    },
    "capture": f"{OUTPUT}inputs/capture.manifest",
    "labels": f"{OUTPUT}inputs/labels.manifest",
    "pipeline": f"{OUTPUT}inputs/pipeline.manifest",
    "baseline": "s3://bucket/runs/flights-0d4c770000/baseline/",
    "code": "s3://bucket/models/flights/3f9a1c07be52/",
    "output": OUTPUT,
    "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/evergreen-jobs:1",
    "instance": "ml.m5.large",
    "volumeGb": 50,
    "timeout": 5400,
    "artifact": "s3://bucket/runs/flights-0d4c770000/model/evergreen-flights-0d4c770000-train/output/model.tar.gz",
    "state": None,
    "shards": f"{OUTPUT}shards/5d1c0a9b7e/",
    "isSmall": False,
    "instances": 1,
}
SMALL = {**PLAN, "isSmall": True}
LARGE = {**PLAN, "instances": 4, "state": f"{OUTPUT}state/"}
CLEAN = {"status": "Completed", "violations": 0, "top": [], "rows": 6514, "labelled": 6391, "signal": None}
FOUND = {**CLEAN, "violations": 2, "top": VIOLATION["top"], "signal": VIOLATION["signal"]}
FAILED_JOB = Throw(
    "States.TaskFailed",
    json.dumps({"ProcessingJobStatus": "Failed", "ExitMessage": "no baseline.json under the baseline"}),
)

USUAL = {
    "PickWindow": PLAN,
    "ProfileShards": {"ProcessingJobStatus": "Completed"},
    "AnalyzeWindow": {"ProcessingJobStatus": "Completed"},
    "AnalyzeSmallWindow": {"ExitMessage": "Completed: Job completed successfully with no violations."},
    "RecordWindow": CLEAN,
    "AnnounceViolations": {"FailedEntryCount": 0},
    "RecordFailure": lambda given: {"reason": given["error"]["Cause"]},
}


def nothing(status: str, reason: str) -> dict[str, dict[str, str]]:
    return {"PickWindow": {"status": status, "reason": reason, "model": "flights"}}


path = partial(Scenario, "monitor", usual=USUAL)
_PICKED = "PickWindow > IsWindowReady"
_ROUTED = f"{_PICKED} > DescribeAnalysis > IsWindowSmall"
_ANALYZED = f"{_ROUTED} > AnalyzeWindow > RecordWindow > HasViolations"

SCENARIOS = [
    path("a window without violations", "schedule-monitoring-scheduled", f"{_ANALYZED} > WindowClean"),
    path(
        "a window with violations",
        "schedule-monitoring-scheduled",
        f"{_ANALYZED} > AnnounceViolations > ViolationsFound",
        mocks={"RecordWindow": FOUND},
    ),
    path(
        "no labels yet",
        "program-monitoring-requested",
        f"{_ANALYZED} > WindowClean",
        mocks={"PickWindow": {**PLAN, "labels": None, "pipeline": None}},
    ),
    path(
        "the job finds fewer rows than the files promised",
        "program-monitoring-requested",
        f"{_ANALYZED} > TooFewRows",
        mocks={"RecordWindow": {**CLEAN, "status": "TooFewRows", "rows": 812}},
    ),
    path(
        "nothing was captured",
        "schedule-monitoring-scheduled",
        f"{_PICKED} > NoData",
        mocks=nothing("NoData", "0 requests were captured from 2013-06-01 to 2013-06-08"),
    ),
    path(
        "too little was captured",
        "schedule-monitoring-scheduled",
        f"{_PICKED} > TooFewRows",
        mocks=nothing("TooFewRows", "812 rows are fewer than 1000"),
    ),
    path(
        "the same window twice",
        "program-monitoring-requested",
        f"{_PICKED} > WindowDropped",
        mocks=nothing("Dropped", "analysed already"),
    ),
    path(
        "the analysis crashes",
        "schedule-monitoring-scheduled",
        f"{_ROUTED} > AnalyzeWindow > RecordFailure > MonitoringFailed",
        mocks={"AnalyzeWindow": FAILED_JOB},
    ),
    path(
        "a small window needs no instance",
        "schedule-monitoring-scheduled",
        f"{_ROUTED} > AnalyzeSmallWindow > RecordWindow > HasViolations > WindowClean",
        mocks={"PickWindow": SMALL},
    ),
    path(
        "a large window is counted by several instances",
        "schedule-monitoring-scheduled",
        f"{_ROUTED} > ProfileShards > AnalyzeWindow > RecordWindow > HasViolations > WindowClean",
        mocks={"PickWindow": LARGE},
    ),
    path(
        "a shard of a large window crashes",
        "schedule-monitoring-scheduled",
        f"{_ROUTED} > ProfileShards > RecordFailure > MonitoringFailed",
        mocks={"PickWindow": {**LARGE, "labels": None}, "ProfileShards": FAILED_JOB},
    ),
    path(
        "the analysis of a small window crashes",
        "schedule-monitoring-scheduled",
        f"{_ROUTED} > AnalyzeSmallWindow > RecordFailure > MonitoringFailed",
        mocks={"PickWindow": SMALL, "AnalyzeSmallWindow": Throw("JobFailed", "no baseline.json")},
    ),
    path(
        "no window can be picked",
        "schedule-monitoring-scheduled",
        "PickWindow > MonitoringFailed",
        mocks={"PickWindow": Throw("ModelUnknown", "flights was never onboarded")},
    ),
]
