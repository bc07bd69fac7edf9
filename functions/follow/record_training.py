"""State RecordTraining: a run ended in the account that trains. From here on the ledger of this one, which
serves, has it as its own: what was tried, what it cost, and the version that may be approved.

Environment: TABLE.
IAM: dynamodb:GetItem, PutItem on the table.
"""

from typing import Any

from evergreen import events, names, settings, trainings
from evergreen import ledger as records
from evergreen.errors import AwsConflict, AwsUnavailable
from evergreen.ledger import Ledger, history, put
from evergreen.telemetry import logger

LEDGER = Ledger(settings.required("TABLE"))
# Of a run's record, what is not of its end.
BEGINNING = ("run", "cause", "at", "digest", "status", "started_at", "ended_at")


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> None:
    """{event: TrainingEnded}; raises RecordMissing while the model's specification is not here yet."""
    model, run = record(event["event"])
    logger.info("a training elsewhere ended", model=model, run=run)


def record(event: dict[str, Any]) -> tuple[str, str]:
    """The run, its place among the trainings and its version, once."""
    model, cause = events.cause_of(event)
    detail = event["detail"]
    run, ended, package = detail["run"], detail["record"], detail["package"]
    spec = LEDGER.need_spec(model, ended["digest"])["spec"]
    # Counted before what is changed is read: of two trainings that end at once, one waits for the other.
    sequence = trainings.sequence(LEDGER, model)
    asked = LEDGER.get(model, trainings.key(cause, run)) or {}
    ending = {name: value for name, value in ended.items() if name not in BEGINNING}
    row = history(
        model, cause.at, "RunEnded", run, run=run, cause=cause.as_dict(), account=event["account"], **ending
    )
    writes = [
        put(model, f"RUN#{run}", ended),
        trainings.record(model, cause, "Admitted", spec, frozenset(asked.get("treats", ()))),
        trainings.next_in_line(model, sequence),
    ]
    if package:
        writes.append(put(model, names.package(package["version"]), package, records.ABSENT))
    try:
        LEDGER.commit_once(row, *writes)
    except AwsConflict as conflict:
        raise AwsUnavailable(f"other trainings of {model} are being written down") from conflict
    return model, run
