"""Failures in a person's words: what Step Functions caught, as one sentence for the ledger and the
notification."""

import json
from typing import Any

_LOGS = {
    "TrainingJob": "/aws/sagemaker/TrainingJobs",
    "ProcessingJob": "/aws/sagemaker/ProcessingJobs",
    "TransformJob": "/aws/sagemaker/TransformJobs",
    "HyperParameterTuningJob": "/aws/sagemaker/TrainingJobs",
}
LONGEST = 2000


def sentence(error: dict[str, Any] | None) -> str:
    """`{"Error", "Cause"}` of a Catch as a sentence.

    A Lambda's Cause is JSON with `errorMessage`; a SageMaker job's is the JSON of its description, with
    `FailureReason` and, for a processing job, `ExitMessage`.
    """
    if not error:
        return "no reason was given"
    name, cause = error.get("Error") or "", error.get("Cause") or ""
    if name == "States.Timeout" and not cause:
        return "a step did not end within its time limit"
    try:
        detail = json.loads(cause)
    except ValueError:
        detail = None
    if not isinstance(detail, dict):
        return f"{name}: {cause}"[:LONGEST] if cause else name or "no reason was given"
    return (_lambda(detail) or _job(detail) or f"{name}: {cause}")[:LONGEST]


def _lambda(detail: dict[str, Any]) -> str:
    message = detail.get("errorMessage")
    if not message:
        return ""
    kind = detail.get("errorType", "")
    # Errors of ours are sentences; a stranger's needs its name.
    known = kind in (
        "SpecInvalid",
        "DataMissing",
        "EventInvalid",
        "RecordMissing",
        "BatchInvalid",
        "LockLost",
        "EndpointBusy",
        "EndpointFailed",
        "SamplesMissing",
    )
    return message if known or not kind else f"{kind}: {message}"


def _job(detail: dict[str, Any]) -> str:
    for kind, logs in _LOGS.items():
        job = detail.get(f"{kind}Name")
        if job:
            status = str(detail.get(f"{kind}Status", "Failed")).lower()
            why = detail.get("ExitMessage") or detail.get("FailureReason") or "it gave no reason"
            return f"{kind} {job} {status}: {why} (logs: {logs}, stream {job})"
    return ""
