"""State JudgeShadow: the shadow's errors, latency and answers beside those of the version in service.

Environment: TABLE, BUCKET.
IAM: s3:GetObject on capture/*; s3:ListBucket on the bucket (prefix capture/*); dynamodb:PutItem on the table.
"""

from typing import Any

from evergreen import pairs, settings, shadows, times
from evergreen.ledger import Ledger, history
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")
LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{plan, series: {main_requests: [..], shadow_requests: [..], ..}, since: when the shadow was up,
    execution} -> {passed, reason}."""
    plan, series = event["plan"], event["series"]
    production, shadow = (shadows.observed(series, variant) for variant in ("main", "shadow"))
    agreed = pairs.agreement(BUCKET, plan["endpoint"], times.parse(event["since"]))
    limit = plan["shadow"]["disagreement"]
    passed, reason = shadows.judge(production, shadow, plan["alarms"], agreed, limit)
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
        answers=agreed.as_dict(),
        execution=event["execution"],
    )
    LEDGER.append(row)
    logger.info(reason, model=plan["model"], version=plan["version"], passed=passed)
    return {"passed": passed, "reason": reason}
