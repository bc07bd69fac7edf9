"""The paths of the batch machine."""

import json
from functools import partial

from tests.machines.engine import Throw
from tests.machines.scenario import Scenario, event

COMPLETED = event("batch-completed")["detail"]
BUCKET = "evergreen-bucket-1a2b3c4d5e6f"
BATCH = COMPLETED["batch"]
VERSION = event("s3-object-created.batch")["detail"]["object"]["version-id"]


def pinned(name: str) -> dict[str, str]:
    """A file of the plan."""
    return {"name": name, "version": VERSION, "source": f"{BUCKET}/batch/flights/input/{name}"}


ONE, OTHER = pinned(COMPLETED["inputs"][0]), pinned("late.jsonl")
PLAN = {
    "admitted": True,
    "reason": "1 file to score by version 2",
    "model": "flights",
    "batch": BATCH,
    "version": 2,
    "packageArn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/evergreen-flights/2",
    "deployment": "evergreen-flights-v2-9b3c1e",
    "cause": COMPLETED["cause"],
    "bucket": BUCKET,
    "inputs": [ONE],
    "pinned": f"pinned/flights/{BATCH}/",
    "output": "batch/flights/output/",
    "transform": {
        "instance": "ml.m5.large",
        "count": 1,
        "strategy": "MultiRecord",
        "payload": 6,
        "concurrency": 1,
    },
}
TWO = {**PLAN, "inputs": [ONE, OTHER]}
DONE = {"place": 1, "offset": 0, "rows": 2140, "done": True}
HALF = {"place": 0, "offset": 8_388_608, "rows": 1204, "done": False}
BAD_FILE = Throw(
    "States.TaskFailed",
    json.dumps({"TransformJobStatus": "Failed", "FailureReason": "Bad HTTP status received: 400"}),
)
NO_QUOTA = Throw(
    "SageMaker.ResourceLimitExceededException",
    "'ml.m5.large for transform job usage' is 20 Instances, with current utilization of 20 Instances",
)

USUAL = {
    "AdmitBatch": PLAN,
    "CopyInput": {"CopyObjectResult": {}},
    "ScoreBatch": {"TransformJobStatus": "Completed"},
    "FindOutputs": {"inputs": []},
    "CaptureRows": DONE,
    "RecordBatch": {"rows": 2140},
    "AnnounceBatch": {"FailedEntryCount": 0},
    "RecordBatchFailure": lambda given: {"reason": given["error"]["Cause"]},
}

path = partial(Scenario, "batch", sample="s3-object-created.batch", usual=USUAL)
_PINNED = "AdmitBatch > IsAdmitted > PinInputs"
_SCORED = f"{_PINNED} > ScoreBatch"
_CAPTURED = "CaptureRows > IsCaptured"
_TOLD = "RecordBatch > AnnounceBatch > IsWhole"
_FAILED = "RecordBatchFailure > BatchFailed"

SCENARIOS = [
    path("a file is scored", path=f"{_SCORED} > {_CAPTURED} > {_TOLD} > BatchCompleted"),
    path(
        "the files of a day, by schedule",
        sample="schedule-batch-scheduled",
        path=f"{_PINNED} > ScoreBatch > {_CAPTURED} > {_TOLD} > BatchCompleted",
        mocks={"AdmitBatch": TWO},
    ),
    path(
        "a large output is captured in several calls",
        path=f"{_SCORED} > {_CAPTURED} > {_CAPTURED} > {_TOLD} > BatchCompleted",
        mocks={"CaptureRows": [HALF, DONE]},
    ),
    path(
        "nothing is new",
        sample="schedule-batch-scheduled",
        path="AdmitBatch > IsAdmitted > BatchDropped",
        mocks={"AdmitBatch": {"admitted": False, "reason": "nothing new", "model": "flights"}},
    ),
    path(
        "a file that cannot be scored",
        path=f"{_SCORED} > FindOutputs > HasOutputs > {_FAILED}",
        mocks={"ScoreBatch": BAD_FILE},
    ),
    path(
        "one file of a burst waits until the jobs of others have ended",
        path=f"{_SCORED} > {_CAPTURED} > {_TOLD} > BatchCompleted",
        mocks={"ScoreBatch": [*[NO_QUOTA] * 40, USUAL["ScoreBatch"]]},
    ),
    path(
        "a quota that stays used up is told",
        path=f"{_SCORED} > FindOutputs > HasOutputs > {_FAILED}",
        mocks={"ScoreBatch": NO_QUOTA},
    ),
    path(
        "one file of two cannot be scored",
        sample="program-batch-requested",
        path=(f"{_PINNED} > ScoreBatch > FindOutputs > HasOutputs > {_CAPTURED} > {_TOLD} > {_FAILED}"),
        mocks={"AdmitBatch": TWO, "ScoreBatch": BAD_FILE, "FindOutputs": {"inputs": [OTHER]}},
    ),
    path(
        "a file that is gone before it is pinned",
        path=f"{_PINNED} > {_FAILED}",
        mocks={"CopyInput": Throw("S3.NoSuchKeyException", "The specified version does not exist.")},
    ),
    path(
        "admission fails",
        path="AdmitBatch > BatchFailed",
        mocks={"AdmitBatch": Throw("EventInvalid", "no file")},
    ),
]
