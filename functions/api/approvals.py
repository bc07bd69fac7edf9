"""A person approves or rejects a version. The registry's event does the rest."""

from typing import Any

from caller import Caller
from champions import LEDGER, must_train_here
from evergreen import aws, names, registry, times
from evergreen.errors import AwsNotFound
from evergreen.ledger import history, put
from refusals import Refused, bad_field


def decide(model: str, version: str, caller: Caller) -> dict[str, Any]:
    """Approve or reject what is pending; `force` approves what was rejected. 409 with the reason
    otherwise."""
    must_train_here(model)
    decision, reason = wanted(caller)
    package = find(model, version)
    status = status_of(package)
    forced = decision == "approve" and status == "Rejected" and caller.body().get("force") is True
    if status != "PendingManualApproval" and not forced:
        hint = '; "force": true approves it all the same' if status == "Rejected" else ""
        raise Refused(409, f"version {version} of {model} is {status}, not pending{hint}")
    if decision == "approve":
        # The deploy machine writes it down: it hears of approvals in Studio and the console too.
        registry.approve(package["package_arn"], reason, caller.by)
        return answer(model, package, "Approved", caller)
    reject(model, package, reason, caller)
    return answer(model, package, "Rejected", caller)


def wanted(caller: Caller) -> tuple[str, str]:
    """(approve or reject, why) of the request's body."""
    body = caller.body()
    decision, reason = body.get("decision"), body.get("reason")
    if decision not in ("approve", "reject"):
        raise bad_field("decision", "must be approve or reject")
    if not isinstance(reason, str) or not reason.strip():
        raise bad_field("reason", "must say why, for whoever asks later")
    return decision, reason


def find(model: str, version: str) -> dict[str, Any]:
    """The ledger's record of a version; 404 where there is none."""
    package = LEDGER.get(model, names.package(int(version))) if version.isdecimal() else None
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
