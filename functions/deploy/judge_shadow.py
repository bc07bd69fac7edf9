"""State JudgeShadow: the shadow's errors and latency beside those of the version in service.

Environment: TABLE.
IAM: dynamodb:PutItem on the table.
"""

from typing import Any

from evergreen import settings, shadows, times
from evergreen.ledger import Ledger, history
from evergreen.telemetry import logger

LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{plan, series: {main_requests: [..], shadow_requests: [..], ..}, execution} -> {passed, reason}."""
    plan, series = event["plan"], event["series"]
    production, shadow = (shadows.observed(series, variant) for variant in ("main", "shadow"))
    passed, reason = shadows.judge(production, shadow, plan["alarms"])
    row = history(
        plan["model"],
        times.normal(plan["approvedAt"]),
        "ShadowJudged",
        plan["deployment"],
        version=plan["version"],
        deployment=plan["deployment"],
        package_arn=plan["packageArn"],
        cause=plan["cause"],
        passed=passed,
        reason=reason,
        production=production.as_dict(),
        shadow=shadow.as_dict(),
        execution=event["execution"],
    )
    LEDGER.append(row)
    logger.info(reason, model=plan["model"], version=plan["version"], passed=passed)
    return {"passed": passed, "reason": reason}
