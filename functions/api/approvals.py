"""A person approves or rejects a version. The registry's event does the rest."""

import re
from typing import Any

from caller import Caller
from champions import LEDGER, must_train_here
from evergreen import aws, names, registry, settings, times
from evergreen.errors import AwsNotFound
from evergreen.ledger import history, is_running, put
from refusals import Refused, bad_field

PREFIX = settings.required("PREFIX")

# What `force` does to a version that is not pending, by its status in the registry.
FORCED = {"Rejected": "all the same", "Approved": "again"}
# The ledger's statuses of a version that an approval would change nothing of.
SHIPPED = {"InService": "it is in service", "Replaced": "it was in service and has been replaced"}


def decide(model: str, version: str, caller: Caller) -> dict[str, Any]:
    """Approve or reject what is pending; `force` approves what was rejected, or was approved and came to
    nothing. 409 with the reason otherwise."""
    must_train_here(model)
    decision, reason = wanted(caller)
    package = find(model, version)
    status = status_of(package)
    if status != "PendingManualApproval":
        must_be_forced(model, package, status, decision, caller)
    if decision == "approve":
        approve(package, status, reason, caller)
        return answer(model, package, "Approved", caller)
    reject(model, package, reason, caller)
    return answer(model, package, "Rejected", caller)


def wanted(caller: Caller) -> tuple[str, str]:
    """(approve or reject, why) of the request's body."""
    decision = caller.body().get("decision")
    if decision not in ("approve", "reject"):
        raise bad_field("decision", "must be approve or reject")
    return decision, caller.reason()


def find(model: str, version: str) -> dict[str, Any]:
    """The ledger's record of a version; 404 where there is none."""
    known = re.fullmatch(r"\d{1,9}", version)
    package = LEDGER.get(model, names.package(int(version))) if known else None
    if not package:
        raise Refused(404, f"there is no version {version} of {model}")
    return package


def status_of(package: dict[str, Any]) -> str:
    """The registry's word: an approval need not have come through here."""
    try:
        described = aws.call("sagemaker", "describe_model_package", ModelPackageName=package["package_arn"])
    except AwsNotFound:
        return "Deleted"
    return described.get("ModelApprovalStatus", "Unknown")


def must_be_forced(model: str, package: dict[str, Any], status: str, decision: str, caller: Caller) -> None:
    """409, unless somebody insists on an approval that can come to something."""
    refusal = f"version {package['version']} of {model} is {status}, not pending"
    came = outcome(model, package) if status == "Approved" else ""
    if came or status not in FORCED:
        raise Refused(409, f"{refusal}: {came}" if came else refusal)
    if decision != "approve" or caller.body().get("force") is not True:
        raise Refused(409, f'{refusal}; "force": true approves it {FORCED[status]}')


def outcome(model: str, package: dict[str, Any]) -> str:
    """What an approval came to, or is coming to; empty where nothing ships the version: its deployment gave
    up before it began, or died."""
    if package["status"] in SHIPPED:
        return SHIPPED[package["status"]]
    for each in LEDGER.query(model, f"DEPLOYMENT#{PREFIX}-{model}-v{package['version']}-"):
        if each["status"] in ("Staging", "Started") and is_running(each["execution"]):
            return f"{each['deployment']} is under way"
    return ""


def approve(package: dict[str, Any], status: str, reason: str, caller: Caller) -> None:
    """The deploy machine writes it down: it hears of approvals in Studio and the console too.

    What is approved is rejected first: SageMaker does not promise to announce an update that leaves the
    status as it is. Cut short in between, the same request approves what was rejected."""
    if status == "Approved":
        registry.reject(package["package_arn"], f"to be approved again: {reason}", caller.by)
    registry.approve(package["package_arn"], reason, caller.by)


def reject(model: str, package: dict[str, Any], reason: str, caller: Caller) -> None:
    """The ledger first: sent again after a failure in between, the registry still says pending."""
    about = {"version": package["version"], "package_arn": package["package_arn"], "reason": reason}
    row = history(
        model, times.iso(caller.at), "PackageRejected", f"v{package['version']}", by=caller.by, **about
    )
    status = {"status": "Rejected", "reason": reason}
    LEDGER.commit_once(row, put(model, names.package(package["version"]), package | status))
    registry.reject(package["package_arn"], reason, caller.by)


def answer(model: str, package: dict[str, Any], status: str, caller: Caller) -> dict[str, Any]:
    """What was decided."""
    return {"model": model, "version": package["version"], "status": status, "by": caller.by}
