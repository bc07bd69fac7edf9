"""Whether an approved version may ship, and the plan of its deployment. A version that is staged is asked for
twice: before staging, and again before production, as hours may lie between."""

import re
from dataclasses import dataclass
from typing import Any

from . import answers, aws, deployments, names, partner, serving, staging, times
from .errors import AwsConflict, AwsNotFound, EndpointBusy, EndpointFailed
from .ledger import Ledger, Write, acquire, is_running

# An update of an endpoint may take eight hours.
LOCK_SECONDS = 13 * 3600
BUSY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")


@dataclass(frozen=True)
class Approval:
    """What the event says: this version was approved at `at`, and this execution is to ship it."""

    model: str
    version: int
    arn: str
    at: str
    execution: str


def describe(arn: str) -> dict[str, Any]:
    """The package as the registry has it now; one that was deleted since is approved no more."""
    try:
        return aws.call("sagemaker", "describe_model_package", ModelPackageName=arn)
    except AwsNotFound:
        return {"ModelApprovalStatus": "Deleted", "CreationTime": times.parse("1970-01-01T00:00:00Z")}


def changed(described: dict[str, Any]) -> str:
    """When the package was changed last: the one thing that tells one approval from the next."""
    return times.iso(described.get("LastModifiedTime") or described["CreationTime"])


def approved_by(described: dict[str, Any]) -> str:
    """Our API and the gate sign the description: `<reason> (by <who>)`. Studio and the console do not: there
    the registry knows who changed the package last."""
    signed = re.search(r"\(by ([^()]+)\)$", described.get("ApprovalDescription") or "")
    if signed:
        return signed[1]
    who = described.get("LastModifiedBy") or {}
    return who.get("UserProfileName") or (who.get("IamIdentity") or {}).get("Arn") or "unknown"


def refused(
    ledger: Ledger, approval: Approval, described: dict[str, Any], package: dict[str, Any] | None
) -> str:
    """Why the version is not shipped; empty where it is. Raises EndpointBusy for one whose run has yet to
    close."""
    version, status = approval.version, described.get("ModelApprovalStatus")
    if status != "Approved":
        return f"version {version} is {status} in the registry now"
    if not package:
        return _unknown(ledger, approval, described)
    champion = ledger.get(approval.model, "CHAMPION")
    if champion and champion["version"] == version:
        return f"version {version} is in service"
    if package["status"] == "Replaced":
        return f"version {version} was in service before and has been replaced"
    if going := _staged(ledger, approval, package):
        return f"version {version} is in staging already, as {going}"
    if champion and approval.at < champion["approved_at"]:
        newer = f"version {champion['version']}, approved at {champion['approved_at']}"
        return f"version {version} was approved at {approval.at}, before {newer}, which is in service"
    if champion:
        asked, served = (_serve(ledger, approval.model, each) for each in (package, champion))
        return serving.other_way(asked, serving.way(served))
    return ""


def _serve(ledger: Ledger, model: str, version: dict[str, Any]) -> dict[str, Any]:
    """How a version is to be served: by the specification that it was trained with."""
    return ledger.need_spec(model, version["digest"])["spec"]["serve"]


def _staged(ledger: Ledger, approval: Approval, package: dict[str, Any]) -> str:
    """The deployment that stages the version in another execution; empty for none, or one that is dead. (One
    that is about to change production holds the lock instead.)"""
    if package["status"] != "Staging":
        return ""
    going = ledger.need(approval.model, f"DEPLOYMENT#{package['deployment']}")
    theirs = going["execution"] != approval.execution and is_running(going["execution"])
    return package["deployment"] if theirs else ""


def _unknown(ledger: Ledger, approval: Approval, described: dict[str, Any]) -> str:
    """A package that the ledger does not know: of a run that is about to close, or none of ours. Where
    another account trains, word of the run and the approval come in any order."""
    if partner.TRAINING:
        raise EndpointBusy(f"the run that registered version {approval.version} has not been told of yet")
    run = (described.get("CustomerMetadataProperties") or {}).get("run", "")
    record = ledger.get(approval.model, f"RUN#{run}") if run else None
    if record and record["status"] == "Running":
        raise EndpointBusy(f"run {run} registered version {approval.version} and has not closed yet")
    return f"version {approval.version} was registered by no run in the ledger"


def endpoint_is_new(endpoint: str) -> bool:
    """Whether there is no endpoint of that name; raises EndpointBusy while one changes, and EndpointFailed
    for one that nothing but its deletion will change."""
    try:
        found = aws.call("sagemaker", "describe_endpoint", EndpointName=endpoint)
    except AwsNotFound:
        return True
    status = found["EndpointStatus"]
    if status in BUSY:
        raise EndpointBusy(f"endpoint {endpoint} is {status}")
    if status == "Failed":
        why = found.get("FailureReason") or "SageMaker gave no reason"
        raise EndpointFailed(f"endpoint {endpoint} is Failed, and has to be deleted first: {why}")
    return False


def plan_of(
    ledger: Ledger,
    prefix: str,
    bucket: str,
    approval: Approval,
    deployment: str,
    package: dict[str, Any],
    *,
    staged: bool = False,
) -> dict[str, Any]:
    """What the states of the deployment need, from the specification the version was trained with. `staged`:
    staging is over. Before it, the production endpoint may be busy; the plan for it is made again later."""
    model, version, endpoint = approval.model, approval.version, names.endpoint(prefix, approval.model)
    spec = ledger.need_spec(model, package["digest"])["spec"]
    serve, ship = spec["serve"], spec["ship"]
    champion = ledger.get(model, "CHAMPION")
    before = champion and _serve(ledger, model, champion)
    stage = None if staged else staging.plan(ship, serve, deployments.serverless(serve), package, deployment)
    has_endpoint = serving.way(serve) != serving.BATCH
    is_new = has_endpoint and (not champion if stage else endpoint_is_new(endpoint))
    updated = champion if has_endpoint and not is_new else None
    watched = answers.alarm(ship, updated, package, deployment)
    alarms = names.alarms(deployment, bool(watched))
    return deployments.transition(before, serve) | {
        "admitted": True,
        "reason": f"version {version} is approved",
        "model": model,
        "version": version,
        "packageArn": package["package_arn"],
        "deployment": deployment,
        "endpoint": endpoint if has_endpoint else None,
        "way": serving.way(serve),
        "serverless": deployments.serverless(serve),
        "dimensions": deployments.watched(serve, endpoint, deployment) if has_endpoint else [],
        "watch": deployments.watch(ship, serve, updated) if updated else None,
        "staging": stage,
        "isNew": is_new,
        "shadow": deployments.shadow(ship, updated, before, deployment) if updated else None,
        "run": package["run"],
        "cause": package["cause"],
        "serve": {"instance": serve["instance"], "count": serve["count"]},
        "capture": f"s3://{bucket}/capture",
        "environment": deployments.environment(package, serve, deployment),
        "deploymentConfig": deployments.config(ship, serve, alarms),
        "alarms": deployments.thresholds(ship),
        "answers": watched,
        "alarmNames": alarms if has_endpoint else [],
    }


def commit_with_lock(
    ledger: Ledger, model: str, deployment: str, execution: str, *writes: Write, dead: str = ""
) -> None:
    """The writes together with the deployment's lock; one whose holder is dead is taken over. Raises
    EndpointBusy while another execution holds it, and AwsConflict where one of the writes is refused."""
    lock = acquire(model, "deploy", execution, LOCK_SECONDS, dead, deployment=deployment)
    try:
        ledger.commit(*writes, lock)
        return
    except AwsConflict as conflict:
        if conflict.failed != {len(writes)}:
            raise
    holder = ledger.holder(model, "deploy")
    if holder is None or (holder["owner"] != dead and not is_running(holder["owner"])):
        gone = holder["owner"] if holder else ""
        return commit_with_lock(ledger, model, deployment, execution, *writes, dead=gone)
    raise EndpointBusy(f"{holder['deployment']} is being deployed")
