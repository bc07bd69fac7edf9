"""State AdmitProduction: staging is over, and the version may go on if nothing has overtaken it meanwhile.

Environment: TABLE, BUCKET, PREFIX.
IAM: sagemaker:DescribeModelPackage on the packages of our groups; sagemaker:DescribeEndpoint on our
endpoints; dynamodb:GetItem, PutItem on the table; states:DescribeExecution on the
executions of the deploy and respond machines (a dead holder's lock is taken over).
"""

from typing import Any

from evergreen import admission, names, settings, staging, times
from evergreen.admission import Approval
from evergreen.ledger import Ledger, put
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")
PREFIX = settings.required("PREFIX")
LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{plan, smoke: {reason}, approval: null|{by, reason, at}, execution} -> the plan as of now, or the same
    with {admitted: false, reason}; raises EndpointBusy and EndpointFailed."""
    plan = admit(event["plan"], event["smoke"], event.get("approval"), event["execution"])
    logger.info(plan["reason"], model=plan["model"], version=plan["version"], admitted=plan["admitted"])
    return plan


def admit(
    plan: dict[str, Any], smoke: dict[str, Any], released: dict[str, str] | None, execution: str
) -> dict[str, Any]:
    """Ask again what AdmitDeployment asked, and claim the endpoint. The same execution gets the same answer
    again."""
    model, version, deployment = plan["model"], plan["version"], plan["deployment"]
    started = LEDGER.need(model, f"DEPLOYMENT#{deployment}")
    if started["status"] != "Staging":
        return started["plan"]
    approval = Approval(model, version, plan["packageArn"], plan["approvedAt"], execution)
    package = LEDGER.need(model, names.package(version))
    refusal = admission.refused(LEDGER, approval, admission.describe(approval.arn), package)
    if refusal:
        return drop(plan, started, package, refusal)
    who = {name: plan[name] for name in ("approvedBy", "approvedAt")}
    ready = (
        admission.plan_of(LEDGER, PREFIX, BUCKET, approval, deployment, package, staged=True)
        | who
        | {"reason": told(smoke, released)}
    )
    at = times.normal(released["at"] if released else plan["approvedAt"])
    admission.commit_with_lock(
        LEDGER,
        model,
        deployment,
        execution,
        staging.row(plan, at, "ProductionAdmitted", reason=ready["reason"], by=by(released)),
        put(model, f"DEPLOYMENT#{deployment}", started | {"status": "Started", "plan": ready}),
        put(model, names.package(version), package | {"status": "Deploying"}),
    )
    return ready


def by(released: dict[str, str] | None) -> str:
    """Who let the version go on: the person who was asked, or the smoke test."""
    return released["by"] if released else "evergreen deploy"


def told(smoke: dict[str, Any], released: dict[str, str] | None) -> str:
    """Why the version goes on, as a sentence."""
    return f"{smoke['reason']}; {released['reason']} (by {released['by']})" if released else smoke["reason"]


def drop(
    plan: dict[str, Any], started: dict[str, Any], package: dict[str, Any], reason: str
) -> dict[str, Any]:
    """Write down that the version was overtaken. What the registry says of it was somebody's word: it
    stays."""
    model, deployment = plan["model"], plan["deployment"]
    answer = plan | {"admitted": False, "reason": reason}
    gone = {"status": "Dropped", "reason": reason}
    LEDGER.commit_once(
        staging.row(plan, times.normal(plan["approvedAt"]), "DeploymentDropped", reason=reason),
        put(model, f"DEPLOYMENT#{deployment}", started | gone | {"plan": answer}),
        put(model, names.package(plan["version"]), package | gone),
    )
    return answer
