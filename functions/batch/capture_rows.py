"""State CaptureRows: what a batch scored, in data capture's format where the monitor reads it. A transform's
own data capture keeps no rows, only the addresses of its files.

A call ends after a while and says where it was: the next one goes on there. Each object holds the same lines
whenever it is written.

Environment: BUCKET, PREFIX.
IAM: s3:GetObject on batch/*/output/*; s3:PutObject on capture/*.
"""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from evergreen import artifacts, capture, names, settings, times
from evergreen.errors import BatchInvalid
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")
PREFIX = settings.required("PREFIX")

# The function ends at 60 s; a part may take some of them to be written.
BUDGET_SECONDS = 30.0
# Rows of one captured event, and bytes of the transform's output behind one object.
EVENT_ROWS, PART_BYTES = 500, 8 << 20
START = {"place": 0, "offset": 0, "rows": 0, "done": False}


class Part(NamedTuple):
    """Whole lines of an output: their events, how many rows they are, and the byte after them."""

    events: list[str]
    rows: int
    end: int


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{plan, inputs: those that were scored, progress: null | as answered, seconds: from the execution's
    start to the job's end} -> {place, offset, rows, done}; raises BatchInvalid."""
    plan = event["plan"]
    # The event's time and what went by since: the window that is open now is the one that sees the rows.
    at = times.parse(plan["cause"]["at"]) + times.seconds(event["seconds"])
    progress = go_on(plan, event["inputs"], event.get("progress") or START, at)
    logger.info("rows captured", model=plan["model"], batch=plan["batch"], **progress)
    return progress


def go_on(
    plan: dict[str, Any], files: list[dict[str, Any]], progress: dict[str, Any], at: datetime
) -> dict[str, Any]:
    """From where the last call ended, until the time is up or everything is captured."""
    until = time.monotonic() + BUDGET_SECONDS
    place, offset, rows = progress["place"], progress["offset"], progress["rows"]
    endpoint = names.endpoint(PREFIX, plan["model"])
    while place < len(files):
        key = f"{plan['output']}{files[place]['name']}.out"
        for part in parts(f"{plan['batch']}-{place}", key, offset, at):
            name = f"{plan['batch']}-{place:02d}-{offset:014d}"
            content = "".join(part.events).encode()
            artifacts.write(BUCKET, capture.key(endpoint, at, name), content, capture.JSON_LINES)
            offset, rows = part.end, rows + part.rows
            if time.monotonic() > until:
                return {"place": place, "offset": offset, "rows": rows, "done": False}
        place, offset = place + 1, 0
    return {"place": place, "offset": 0, "rows": rows, "done": True}


def parts(id: str, key: str, offset: int, at: datetime) -> Iterator[Part]:
    """The output's lines from a byte on, some megabytes at a time."""
    events: list[str] = []
    asked: list[str] = []
    answered: list[str] = []
    begin = end = offset
    rows = 0

    def close() -> None:
        if asked:
            events.append(capture.line(f"{id}-{end}", at, "\n".join(asked), "\n".join(answered)))
            asked.clear()
            answered.clear()

    for line in artifacts.lines(BUCKET, key, offset):
        end += len(line)
        if not line.strip():
            continue
        row, answer = split(line, key, end)
        asked.append(row)
        answered.append(answer)
        rows += 1
        if len(asked) == EVENT_ROWS:
            close()
        if end - begin >= PART_BYTES:
            close()
            yield Part(events, rows, end)
            events, rows, begin = [], 0, end
    close()
    if events:
        yield Part(events, rows, end)


def split(line: bytes, key: str, end: int) -> tuple[str, str]:
    """(row, answer) of a line in which the transform has joined both."""
    try:
        row = json.loads(line)
        answer = row.pop("SageMakerOutput")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        where = f"s3://{BUCKET}/{key}, before byte {end}"
        raise BatchInvalid(f"{where}: a line is no row with its answer ({error})") from error
    return json.dumps(row), json.dumps(answer)
