"""Names derived from ids, so that the same cause twice meets its own work instead of doing it again."""

import hashlib
import re
from typing import NamedTuple

# It ends names of SageMaker's, which end in no dash.
MODEL = re.compile(r"[a-z](?:[a-z0-9-]{0,18}[a-z0-9])?")


class Deployment(NamedTuple):
    """What a deployment's name says."""

    name: str
    model: str
    version: int


def digest(text: str, length: int = 10) -> str:
    """The first hex digits of the text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def run(model: str, cause_key: str) -> str:
    """A run's id: one per cause."""
    return f"{model}-{digest(cause_key)}"


def tuning(prefix: str, run: str) -> str:
    """The tuning job of a run: 32 characters are all it may have, and 14 of its training jobs' names are
    SageMaker's."""
    return f"{prefix}-{digest(run, 13)}"


def endpoint(prefix: str, model: str) -> str:
    """The endpoint, and the model package group, of a model."""
    return f"{prefix}-{model}"


def package(version: int) -> str:
    """The ledger's key of a version: six digits, so that versions sort as numbers."""
    return f"PACKAGE#{version:06d}"


def deployment(prefix: str, model: str, version: int, approval: str) -> str:
    """The SageMaker model and endpoint config of one approval of one version."""
    return f"{prefix}-{model}-v{version}-{digest(approval, 6)}"


def staging(deployment_name: str) -> str:
    """The staging endpoint of a deployment, and its config."""
    return f"{deployment_name}-staging"


def shadow(deployment_name: str) -> str:
    """The endpoint config in which a deployment's version is a shadow."""
    return f"{deployment_name}-shadow"


def alarms(deployment_name: str, answers: bool = False) -> list[str]:
    """The rollback alarms of a deployment; `answers`: where its answers are watched too."""
    kinds = ("errors", "latency", "answers") if answers else ("errors", "latency")
    return [f"{deployment_name}-{kind}" for kind in kinds]


def parse_alarm(prefix: str, alarm: str) -> Deployment | None:
    """The deployment that an alarm watches, or None for an alarm that is not ours."""
    match = re.fullmatch(
        rf"({re.escape(prefix)}-({MODEL.pattern})-v(\d+)-[0-9a-f]{{6}})-(?:errors|latency|answers)", alarm
    )
    if not match:
        return None
    return Deployment(match[1], match[2], int(match[3]))
