"""State AdmitDeployment: the package must be approved now, whatever the event said then.

Environment: TABLE, BUCKET, PREFIX.
IAM: sagemaker:DescribeModelPackage on the packages of our groups; sagemaker:DescribeEndpoint on our
endpoints; dynamodb:GetItem, Query, PutItem on the table; states:DescribeExecution on the
executions of the deploy and respond machines (a dead holder's lock is taken over).
"""

import json
import re
from typing import Any

from evergreen import admission, events, names, settings
from evergreen import ledger as records
from evergreen.admission import Approval
from evergreen.errors import AwsConflict, EventInvalid
from evergreen.ledger import Ledger, history, put
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")
PREFIX = settings.required("PREFIX")
LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{event, execution} -> the plan of the deployment, or {admitted: false, reason}; raises EndpointBusy and
    EndpointFailed. For an execution that was stopped while its version was in staging: that plan, {admitted:
    false, stopped}."""
    given = event["event"]
    stopped = given.get("source") == "aws.states"
    plan = left_behind(given["detail"]) if stopped else admit(given, event["execution"])
    logger.info(plan["reason"], model=plan["model"], version=plan["version"], admitted=plan["admitted"])
    return plan


def admit(event: dict[str, Any], execution: str) -> dict[str, Any]:
    """Claim the approval and the endpoint, or say why not. The same execution gets the same answer again."""
    model, version, arn = package_of(event)
    approval = Approval(model, version, arn, events.time_of(event), execution)
    described = admission.describe(arn)
    deployment = names.deployment(PREFIX, model, version, f"{arn}@{admission.changed(described)}")
    known = LEDGER.get(model, f"DEPLOYMENT#{deployment}")
    if known and known["execution"] == execution:
        return known["plan"]
    if known:
        return drop(approval, f"this approval of version {version} was answered already, by {deployment}")
    package = LEDGER.get(model, names.package(version))
    refusal = admission.refused(LEDGER, approval, described, package)
    if refusal:
        return drop(approval, refusal)
    who = {"approvedBy": admission.approved_by(described), "approvedAt": approval.at}
    plan = admission.plan_of(LEDGER, PREFIX, BUCKET, approval, deployment, package) | who
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


def left_behind(detail: dict[str, Any]) -> dict[str, Any]:
    """What a stopped execution has in staging: the plan to take it down by. `stopped` is there only then."""
    execution, status = detail["executionArn"], detail["status"]
    reason = f"{execution} was {status} and left nothing in staging"
    nothing = {"admitted": False, "reason": reason, "model": None, "version": None}
    started = json.loads(detail["input"])
    if started.get("source") != "aws.sagemaker":
        return nothing
    model, version, _ = package_of(started)
    for record in LEDGER.query(model, f"DEPLOYMENT#{PREFIX}-{model}-v{version}-"):
        if record["execution"] == execution and record["status"] == "Staging":
            reason = f"{execution} was {status} while version {version} was in staging"
            return record["plan"] | {"admitted": False, "reason": reason, "stopped": reason}
    return nothing


def package_of(event: dict[str, Any]) -> tuple[str, int, str]:
    """(model, version, ARN) of the package in the event; only groups of ours come through the rule."""
    detail = event.get("detail") or {}
    arn = detail.get("ModelPackageArn") or ""
    match = re.search(rf":model-package/{re.escape(PREFIX)}-({names.MODEL.pattern})/(\d+)$", arn)
    if not match:
        raise EventInvalid(f"{arn!r} is no version of a model package group of ours ({PREFIX}-<model>)")
    return match[1], int(match[2]), arn


def start(plan: dict[str, Any], approval: Approval, package: dict[str, Any]) -> dict[str, Any]:
    """Claim, history and lock in one transaction. Staging does not touch production and holds no lock: a
    version that waits for a person must not keep another one, or a rollback, waiting."""
    model, deployment, at = plan["model"], plan["deployment"], approval.at
    about = {"version": plan["version"], "package_arn": plan["packageArn"], "approved_by": plan["approvedBy"]}
    status = {"status": "Staging", "deployment": deployment} if plan["staging"] else {"status": "Deploying"}
    record = about | {
        "deployment": deployment,
        "execution": approval.execution,
        "status": "Staging" if plan["staging"] else "Started",
        "approved_at": at,
        "plan": plan,
    }
    writes = [
        history(model, at, "DeploymentStarted", deployment, deployment=deployment, **about),
        put(model, f"DEPLOYMENT#{deployment}", record, records.ABSENT),
        put(model, names.package(plan["version"]), package | status),
        history(model, at, "PackageApproved", deployment, cause=plan["cause"], **about),
    ]
    try:
        if plan["staging"]:
            LEDGER.commit(*writes)
        else:
            admission.commit_with_lock(LEDGER, model, deployment, approval.execution, *writes)
    except AwsConflict:  # another delivery of the same event was quicker
        reason = f"this approval of version {plan['version']} was answered already, by {deployment}"
        return drop(approval, reason)
    return plan
