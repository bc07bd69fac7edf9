"""State JudgeChallenger: the gate of model.yaml, applied to the figures of EvaluateModel.

Environment: TABLE.
IAM: dynamodb:GetItem on the table; s3:GetObject on runs/*.
"""

from typing import Any

from evergreen import artifacts, settings
from evergreen import judge as gate
from evergreen.ledger import Ledger
from evergreen.telemetry import emit, logger

LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{model, run, evaluation: s3 uri} -> {passed, reason, approval, metrics, checks, figures}."""
    judgement = judge(event["model"], event["run"], event["evaluation"])
    logger.info(judgement["reason"], model=event["model"], run=event["run"], passed=judgement["passed"])
    emit({f"Holdout_{name}": value for name, value in judgement["metrics"].items()}, Model=event["model"])
    return judgement


def judge(model: str, run: str, uri: str) -> dict[str, Any]:
    """Judged by the specification that the run was admitted with, whatever was published since."""
    admitted = LEDGER.need(model, f"RUN#{run}")
    spec = LEDGER.need_spec(model, admitted["digest"])["spec"]
    evaluation = artifacts.read_json(uri)
    quality = spec["monitor"]["quality"] or {}
    judged = gate.judge(evaluation, spec["task"], spec["gate"], quality.get("metric", ""))
    automatic = judged.passed and spec["gate"]["approval"] == "auto"
    return {
        "passed": judged.passed,
        "reason": judged.reason,
        "approval": "Approved" if automatic else "PendingManualApproval",
        "metrics": judged.values,
        "checks": judged.listed(),
        "figures": figures(evaluation) | {"against": against(admitted)},
    }


def against(admitted: dict[str, Any]) -> int | None:
    """The version that the challenger was compared with."""
    champion = admitted["plan"]["champion"]
    return champion and champion["version"]


def figures(evaluation: dict[str, Any]) -> dict[str, Any]:
    """What the ledger keeps of an evaluation: metrics with their intervals and what is gained, without the
    slices."""
    champion = evaluation["champion"]
    return {
        "rows": evaluation["rows"],
        "from": evaluation["from"],
        "until": evaluation["until"],
        "challenger": evaluation["challenger"]["metrics"],
        "champion": champion and champion["metrics"],
        "difference": evaluation["difference"],
        "answers": evaluation.get("answers"),
        "gains": {name: evaluation["gains"][name] for name in ("constant", "champion")},
    }
