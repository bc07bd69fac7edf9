"""State RecordBatch: what was scored, by which version.

Environment: TABLE.
IAM: dynamodb:GetItem, PutItem on the table.
"""

from typing import Any

from evergreen import batches, settings
from evergreen.ledger import Ledger, put
from evergreen.telemetry import emit, logger

LEDGER = Ledger(settings.required("TABLE"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{plan, inputs: those that were scored, rows, execution} -> {rows}."""
    plan, rows = event["plan"], event["rows"]
    record(plan, event["inputs"], rows, event["execution"])
    logger.info("batch scored", model=plan["model"], batch=plan["batch"], rows=rows)
    emit({"BatchRows": rows}, Model=plan["model"])
    return {"rows": rows}


def record(plan: dict[str, Any], files: list[dict[str, Any]], rows: int, execution: str) -> None:
    """The files and their history, once; the batch too, where these are all of its files."""
    model, batch = plan["model"], plan["batch"]
    output = f"s3://{plan['bucket']}/{plan['output']}"
    row = batches.told(plan, "BatchScored", files, execution, output=output, rows=rows)
    status = batches.SCORED if len(files) == len(plan["inputs"]) else batches.STARTED
    record = LEDGER.need(model, f"BATCH#{batch}") | {"status": status, "rows": rows}
    scored = batches.ended(LEDGER, plan, files, batches.SCORED)
    LEDGER.commit_once(row, put(model, f"BATCH#{batch}", record), *scored)
