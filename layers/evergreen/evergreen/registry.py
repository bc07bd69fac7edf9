"""Approval and rejection of model packages. The description is signed, `<reason> (by <who>)`, because the
package's own fields name a role where a person acted through our API.

The model card's status goes along in the same call: an update of its own would be announced as another
approval. A card that is Archived could never be approved again, so what is rejected is a draft.
"""

from . import aws, partner

# ApprovalDescription holds 1,024 characters.
_ROOM = 1024
_CARDS = {"Approved": "Approved", "Rejected": "Draft"}


def approve(arn: str, reason: str, by: str) -> None:
    """Approved: SageMaker's event starts the deployment."""
    _decide(arn, "Approved", reason, by)


def reject(arn: str, reason: str, by: str) -> None:
    """Rejected: it does not ship, whatever events are still on their way. The registry of another account is
    not ours to change: the event that tells of it makes that account do the same (RecordRejection)."""
    if not partner.TRAINING:
        _decide(arn, "Rejected", reason, by)


def _decide(arn: str, status: str, reason: str, by: str) -> None:
    signature = f" (by {by})"
    text = " ".join(reason.split())[: _ROOM - len(signature)] + signature
    aws.call(
        "sagemaker",
        "update_model_package",
        ModelPackageArn=arn,
        ModelApprovalStatus=status,
        ModelCard={"ModelCardStatus": _CARDS[status]},
        ApprovalDescription=text,
    )
