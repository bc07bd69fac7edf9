"""State AdmitDeployment: the package must be approved now, whatever the event said then.

Environment: TABLE, BUCKET, PREFIX.
IAM: sagemaker:DescribeModelPackage on the packages of our groups; sagemaker:DescribeEndpoint on our
endpoints; dynamodb:GetItem, PutItem on the table; states:DescribeExecution on the
executions of the deploy and respond machines (a dead holder's lock is taken over).
"""

import re
from dataclasses import dataclass
from typing import Any

from evergreen import aws, deployments, events, names, settings, times
from evergreen import ledger as records
from evergreen.errors import AwsConflict, AwsNotFound, EndpointBusy, EventInvalid
from evergreen.ledger import Ledger, acquire, history, put
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")
PREFIX = settings.required("PREFIX")
LEDGER = Ledger(settings.required("TABLE"))

# An update of an endpoint may take eight hours.
LOCK_SECONDS = 13 * 3600
BUSY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting", "Failed")


@dataclass(frozen=True)
class Approval:
    """What the event says: this version was approved at `at`, and this execution is to ship it."""

    model: str
    version: int
    arn: str
    at: str
    execution: str


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{event, execution} -> the plan of the deployment, or {admitted: false, reason}; raises EndpointBusy."""
    plan = admit(event["event"], event["execution"])
    logger.info(plan["reason"], model=plan["model"], version=plan["version"], admitted=plan["admitted"])
    return plan


def admit(event: dict[str, Any], execution: str) -> dict[str, Any]:
    """Claim the approval and the endpoint, or say why not. The same execution gets the same answer again."""
    model, version, arn = package_of(event)
    approval = Approval(model, version, arn, events.time_of(event), execution)
    described = describe(arn)
    deployment = names.deployment(PREFIX, model, version, f"{arn}@{changed(described)}")
    known = LEDGER.get(model, f"DEPLOYMENT#{deployment}")
    if known and known["execution"] == execution:
        return known["plan"]
    if known:
        return drop(approval, f"this approval of version {version} was answered already, by {deployment}")
    package = LEDGER.get(model, names.package(version))
    refusal = refused(approval, described, package)
    if refusal:
        return drop(approval, refusal)
    who = {"approvedBy": approved_by(described), "approvedAt": approval.at}
    plan = plan_of(approval, deployment, package) | who
    return start(plan, approval, package)


def drop(approval: Approval, reason: str) -> dict[str, Any]:
    """Write a deployment down that is not made, with the reason."""
    about = {"version": approval.version, "package_arn": approval.arn, "reason": reason}
    id = f"v{approval.version}-{names.digest(approval.execution, 6)}"
    LEDGER.append(
        history(approval.model, approval.at, "DeploymentDropped", id, execution=approval.execution, **about)
    )
    return {
        "admitted": False,
        "reason": reason,
        "model": approval.model,
        "version": approval.version,
        "packageArn": approval.arn,
    }


def package_of(event: dict[str, Any]) -> tuple[str, int, str]:
    """(model, version, ARN) of the package in the event; only groups of ours come through the rule."""
    detail = event.get("detail") or {}
    arn = detail.get("ModelPackageArn") or ""
    match = re.search(rf":model-package/{re.escape(PREFIX)}-({names.MODEL.pattern})/(\d+)$", arn)
    if not match:
        raise EventInvalid(f"{arn!r} is no version of a model package group of ours ({PREFIX}-<model>)")
    return match[1], int(match[2]), arn


def describe(arn: str) -> dict[str, Any]:
    """The package as the registry has it now; one that was deleted since is approved no more."""
    try:
        return aws.call("sagemaker", "describe_model_package", ModelPackageName=arn)
    except AwsNotFound:
        return {"ModelApprovalStatus": "Deleted", "CreationTime": times.parse("1970-01-01T00:00:00Z")}


def changed(described: dict[str, Any]) -> str:
    """When the package was changed last: the one thing that tells one approval from the next."""
    return times.iso(described.get("LastModifiedTime") or described["CreationTime"])


def refused(approval: Approval, described: dict[str, Any], package: dict[str, Any] | None) -> str:
    """Why the version is not shipped; empty where it is. Raises EndpointBusy for one whose run has yet to
    close."""
    version, status = approval.version, described.get("ModelApprovalStatus")
    if status != "Approved":
        return f"version {version} is {status} in the registry now"
    if not package:
        return unknown(approval, described)
    champion = LEDGER.get(approval.model, "CHAMPION")
    if champion and champion["version"] == version:
        return f"version {version} is in service"
    if package["status"] == "Replaced":
        return f"version {version} was in service before and has been replaced"
    if champion and approval.at < champion["approved_at"]:
        newer = f"version {champion['version']}, approved at {champion['approved_at']}"
        return f"version {version} was approved at {approval.at}, before {newer}, which is in service"
    return ""


def unknown(approval: Approval, described: dict[str, Any]) -> str:
    """A package that the ledger does not know: of a run that is about to close, or none of ours."""
    run = (described.get("CustomerMetadataProperties") or {}).get("run", "")
    record = LEDGER.get(approval.model, f"RUN#{run}") if run else None
    if record and record["status"] == "Running":
        raise EndpointBusy(f"run {run} registered version {approval.version} and has not closed yet")
    return f"version {approval.version} was registered by no run in the ledger"


def endpoint_is_new(endpoint: str) -> bool:
    """Whether there is no endpoint of that name; raises EndpointBusy while one changes."""
    try:
        status = aws.call("sagemaker", "describe_endpoint", EndpointName=endpoint)["EndpointStatus"]
    except AwsNotFound:
        return True
    if status in BUSY:
        raise EndpointBusy(f"endpoint {endpoint} is {status}")
    return False


def approved_by(described: dict[str, Any]) -> str:
    """Our API and the gate sign the description: `<reason> (by <who>)`. Studio and the console do not: there
    the registry knows who changed the package last."""
    signed = re.search(r"\(by ([^()]+)\)$", described.get("ApprovalDescription") or "")
    if signed:
        return signed[1]
    who = described.get("LastModifiedBy") or {}
    return who.get("UserProfileName") or (who.get("IamIdentity") or {}).get("Arn") or "unknown"


def plan_of(approval: Approval, deployment: str, package: dict[str, Any]) -> dict[str, Any]:
    """What the states of the deployment need, from the specification the version was trained with."""
    model, version, endpoint = approval.model, approval.version, names.endpoint(PREFIX, approval.model)
    spec = LEDGER.need_spec(model, package["digest"])["spec"]
    serve, ship = spec["serve"], spec["ship"]
    champion = LEDGER.get(model, "CHAMPION")
    before = champion and LEDGER.need_spec(model, champion["digest"])["spec"]["serve"]
    is_new = endpoint_is_new(endpoint)
    shadowed = champion and before and not is_new
    return deployments.transition(before, serve) | {
        "admitted": True,
        "reason": f"version {version} is approved",
        "model": model,
        "version": version,
        "packageArn": package["package_arn"],
        "deployment": deployment,
        "endpoint": endpoint,
        "isNew": is_new,
        "shadow": deployments.shadow(ship, champion, before, deployment) if shadowed else None,
        "run": package["run"],
        "cause": package["cause"],
        "serve": {"instance": serve["instance"], "count": serve["count"]},
        "capture": f"s3://{BUCKET}/capture",
        "deploymentConfig": deployments.config(ship, serve, list(names.alarms(deployment).values())),
        "alarms": deployments.thresholds(ship),
    }


def start(
    plan: dict[str, Any], approval: Approval, package: dict[str, Any], dead: str = ""
) -> dict[str, Any]:
    """Claim, lock and history in one transaction; a lock whose holder is `dead` is taken over."""
    model, deployment, at = plan["model"], plan["deployment"], approval.at
    about = {"version": plan["version"], "package_arn": plan["packageArn"], "approved_by": plan["approvedBy"]}
    record = about | {
        "deployment": deployment,
        "execution": approval.execution,
        "status": "Started",
        "approved_at": at,
        "plan": plan,
    }
    try:
        LEDGER.commit(
            history(model, at, "DeploymentStarted", deployment, deployment=deployment, **about),
            put(model, f"DEPLOYMENT#{deployment}", record, records.ABSENT),
            acquire(model, "deploy", approval.execution, LOCK_SECONDS, dead, deployment=deployment),
            put(model, names.package(plan["version"]), package | {"status": "Deploying"}),
            history(model, at, "PackageApproved", deployment, cause=plan["cause"], **about),
        )
        return plan
    except AwsConflict as conflict:
        if conflict.failed & {0, 1}:  # another delivery of the same event was quicker
            return drop(
                approval, f"this approval of version {plan['version']} was answered already, by {deployment}"
            )
    holder = LEDGER.holder(model, "deploy")
    if holder is None or (holder["owner"] != dead and not records.is_running(holder["owner"])):
        return start(plan, approval, package, dead=holder["owner"] if holder else "")
    raise EndpointBusy(f"{holder['deployment']} is being deployed")
