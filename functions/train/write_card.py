"""State WriteCard: the model card of what is about to be registered, as a page and as SageMaker's JSON.

Environment: TABLE, BUCKET.
IAM: dynamodb:GetItem on the table; s3:GetObject on runs/*/evaluation/*; s3:PutObject on runs/*/card/*.
"""

from typing import Any

from evergreen import artifacts, card, model_card, settings
from evergreen.ledger import Ledger
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")
LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, str]:
    """{plan, data, validation, artifact, tuned, judgement} -> {page: s3 uri, content: SageMaker's JSON}."""
    written = write(event)
    logger.info("card written", model=event["plan"]["model"], run=event["plan"]["run"], page=written["page"])
    return written


def write(event: dict[str, Any]) -> dict[str, str]:
    """The same event gives the same card."""
    plan = event["plan"]
    about = LEDGER.need_spec(plan["model"], plan["digest"])["spec"]["card"]
    known = card.facts(event, BUCKET, about)
    folder = f"runs/{plan['run']}/evaluation"
    evaluation, explanation = (
        artifacts.read_json(f"s3://{BUCKET}/{folder}/{name}.json") for name in ("evaluation", "explanation")
    )
    card.first(BUCKET, known, artifacts.read(BUCKET, f"{folder}/card.html").decode())
    return {"page": known["page"], "content": model_card.content(known, evaluation, explanation)}
