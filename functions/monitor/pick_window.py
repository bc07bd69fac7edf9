"""State PickWindow: says at once where there is nothing to say, with the counts, before an instance is paid
for.

Environment: TABLE, BUCKET, PREFIX.
IAM: dynamodb:GetItem, Query, PutItem on the table; s3:ListBucket on the bucket (prefixes capture/*,
labels/*, pipeline/*); s3:GetObject on capture/*; s3:PutObject on monitor/*/inputs/*;
states:DescribeExecution on the executions of the monitor machine (a window whose analysis died may be
analysed again).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from evergreen import artifacts, capture, events, names, settings, times, units
from evergreen import ledger as records
from evergreen.errors import AwsConflict, EventInvalid
from evergreen.ledger import Ledger, history, put
from evergreen.telemetry import logger

BUCKET = settings.required("BUCKET")
PREFIX = settings.required("PREFIX")
# Captured bytes that a function analyses well within its five minutes and its memory: some hundred thousand
# rows. Beyond that a Processing job is worth the minutes that its instance takes to start.
SMALL_BYTES = 200_000_000
# What one instance counts within half an hour or so; more are split over several, a part of the files each.
SHARD_BYTES = 20_000_000_000
MOST_INSTANCES = 10
LEDGER = Ledger(settings.required("TABLE"))


@dataclass(frozen=True)
class Window:
    """[start, end) of one model, for one cause; `asked`: the cause names it, and may name others too."""

    model: str
    start: datetime
    end: datetime
    cause: events.Cause
    asked: bool = False

    @property
    def key(self) -> str:
        """As in the ledger and in object keys."""
        return f"{times.compact(self.start)}_{times.compact(self.end)}"

    @property
    def name(self) -> str:
        """One per window and cause: a window may be analysed again on demand, say when labels came late. What
        a cause leaves open may come out as another window later (see events.sent_at), and is still one."""
        return names.digest(f"{self.model}:{self.key if self.asked else ''}:{self.cause.key}")

    def as_dict(self) -> dict[str, str]:
        """As it travels in payloads."""
        return {"start": times.iso(self.start), "end": times.iso(self.end)}


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """{event, execution} -> {status: Ready|NoData|TooFewRows|Dropped, reason, ...the plan of the
    analysis}."""
    plan = pick(event["event"], event["execution"])
    logger.info(plan["reason"], model=plan["model"], status=plan["status"], window=plan.get("window"))
    return plan


def pick(event: dict[str, Any], execution: str) -> dict[str, Any]:
    """Choose the window, claim it, and see what there is in it."""
    model, cause = events.cause_of(event)
    published = LEDGER.spec(model)
    if not published:
        return {"status": "Dropped", "reason": f"no model {model} is onboarded", "model": model}
    champion = LEDGER.get(model, "CHAMPION")
    monitor = published["spec"]["monitor"]
    window = window_of(event, model, cause, monitor, champion)
    known = LEDGER.get(model, f"WINDOW#{window.key}")
    if known and known["execution"] == execution and known["status"] in ("NoData", "TooFewRows"):
        return concluded(window, known)
    refusal = claim(window, known, execution)
    if refusal:
        return {"status": "Dropped", "reason": refusal, "model": model, "window": window.as_dict()}
    if not champion:
        return conclude(window, execution, "NoData", f"{model} has no champion in service", 0, None)
    prefix = capture.prefix(names.endpoint(PREFIX, model))
    files = list(capture.files(BUCKET, prefix, window.start, window.end))
    keys = [found["Key"] for found in files]
    rows = capture.count_rows(BUCKET, keys, window.start, window.end, monitor["min_rows"])
    version = champion["version"]
    if not rows:
        reason = f"no request was captured under s3://{BUCKET}/{prefix} in {window.key}"
        return conclude(window, execution, "NoData", reason, 0, version)
    if rows < monitor["min_rows"]:
        reason = f"{rows} captured rows are fewer than monitor.min_rows, {monitor['min_rows']}"
        return conclude(window, execution, "TooFewRows", reason, rows, version)
    size = sum(found["Size"] for found in files)
    return ready(window, rows, keys, champion, published["spec"]) | {
        "isSmall": size <= SMALL_BYTES,
        "instances": instances(size, len(keys)),
    }


def window_of(
    event: dict[str, Any],
    model: str,
    cause: events.Cause,
    monitor: dict[str, Any],
    champion: dict[str, Any] | None,
) -> Window:
    """The window that was asked for, or the last `lookback` before the event's time, from the champion's
    first request on: rows that another model answered say nothing about this one."""
    asked = (event.get("detail") or {}).get("window")
    if asked:
        try:
            start, end = times.parse(asked["start"]), times.parse(asked["end"])
        except (KeyError, TypeError, ValueError) as error:
            raise EventInvalid(f"detail.window needs start and end in ISO 8601: {error}") from error
    else:
        end = times.parse(cause.at)
        start = end - times.seconds(monitor["lookback"])
        if champion:
            start = max(start, min(end, times.parse(champion["promoted_at"])))
    if start > end or (asked and start == end):
        raise EventInvalid(f"the window's start, {times.iso(start)}, is not before its end, {times.iso(end)}")
    return Window(model, start, end, cause, bool(asked))


def claim(window: Window, known: dict[str, Any] | None, execution: str) -> str:
    """Why this execution must not analyse the window; empty where it may. One execution per cause, and one at
    a time per window."""
    claimed = put(
        window.model,
        f"CLAIM#window#{window.name}",
        {"owner": execution},
        f"{records.ABSENT} OR #owner = :me",
        me=execution,
    )
    other = known and known["status"] == "Analyzing" and known["execution"] != execution
    if other and records.is_running(known["execution"]):
        return f"{window.key} is being analysed by {known['execution']}"
    record = window.as_dict() | {
        "status": "Analyzing",
        "execution": execution,
        "name": window.name,
        "cause": window.cause.as_dict(),
    }
    unchanged, values = records.ABSENT, {}
    if known:
        unchanged, values = (
            "#execution = :known AND #status = :status",
            {
                "known": known["execution"],
                "status": known["status"],
            },
        )
    try:
        LEDGER.commit(claimed, put(window.model, f"WINDOW#{window.key}", record, unchanged, **values))
    except AwsConflict as conflict:
        if 0 in conflict.failed:
            return f"{window.cause.key} was answered already"
        return f"another execution has just begun to analyse {window.key}"
    return ""


def conclude(
    window: Window, execution: str, status: str, reason: str, rows: int, version: int | None
) -> dict[str, Any]:
    """Write down a window about which there is nothing to say."""
    result = {"status": status, "reason": reason, "rows": rows, "labelled": 0, "violations": []}
    about = window.as_dict() | {"version": version, "cause": window.cause.as_dict(), "execution": execution}
    row = history(
        window.model,
        times.iso(window.end),
        "WindowAnalyzed",
        f"{window.key}-{window.name}",
        **about,
        **result,
    )
    record = about | result | {"name": window.name}
    LEDGER.commit_once(row, put(window.model, f"WINDOW#{window.key}", record))
    return concluded(window, record)


def concluded(window: Window, record: dict[str, Any]) -> dict[str, Any]:
    """The answer that ends the machine."""
    answer = {name: record[name] for name in ("status", "reason", "rows", "version")}
    return answer | {"model": window.model, "window": window.as_dict(), "cause": window.cause.as_dict()}


def ready(
    window: Window, rows: int, keys: list[str], champion: dict[str, Any], spec: dict[str, Any]
) -> dict[str, Any]:
    """The plan of the analysis; inputs are manifests, so that a later file changes nothing."""
    model, folder = window.model, f"monitor/{window.model}/{window.key}/"
    inputs = f"{folder}inputs/{window.name}-"
    before = window_before(window, champion["version"])
    # Labels come late: each that is there by now counts, whatever hour it came in. Those that came in windows
    # since the last analysis, in which there was too little to judge, nobody has read.
    labels = f"labels/{model}/"
    since = f"{labels}{times.hour_path(before.end if before else window.start)}"
    labelled = [found["Key"] for found in artifacts.listing(BUCKET, labels, after=since)]
    prefix = capture.prefix(names.endpoint(PREFIX, model))
    pipeline = f"pipeline/{model}/"
    computed = [found["Key"] for found in capture.files(BUCKET, pipeline, window.start, window.end)]
    return {
        "status": "Ready",
        "reason": f"{rows} rows or more in {units.counted(len(keys), 'file')}",
        "model": model,
        "version": champion["version"],
        "window": window.as_dict(),
        "key": window.key,
        "name": window.name,
        "cause": window.cause.as_dict(),
        "rows": rows,
        "capture": artifacts.write_manifest(BUCKET, f"{inputs}capture.manifest", prefix, keys),
        "labels": artifacts.write_manifest(BUCKET, f"{inputs}labels.manifest", labels, labelled)
        if labelled
        else None,
        "pipeline": artifacts.write_manifest(BUCKET, f"{inputs}pipeline.manifest", pipeline, computed)
        if computed
        else None,
        "shards": f"s3://{BUCKET}/{folder}shards/{window.name}/",
        "baseline": champion["baseline"],
        "artifact": champion["model_data"],
        "state": f"s3://{BUCKET}/monitor/{model}/{before.key}/state/" if before else None,
        "code": champion["code"],
        "output": f"s3://{BUCKET}/{folder}",
        "instance": spec["processing"]["instance"],
        "volumeGb": spec["processing"]["volume_gb"],
        "timeout": int(spec["processing"]["timeout"]),
    }


def instances(size: int, files: int) -> int:
    """How many instances count `size` bytes in that many files: 1 where one analyses the window by itself."""
    return max(1, min(MOST_INSTANCES, files, -(-size // SHARD_BYTES)))


def window_before(window: Window, version: int) -> Window | None:
    """The last window before this one that was analysed: it left what this one carries on, the detector's
    state and the rows that wait for labels. Another version starts anew. None where there is none."""
    for record in LEDGER.query(
        window.model, "WINDOW#", f"WINDOW#{times.compact(window.start)}", newest_first=True
    ):
        before = Window(window.model, times.parse(record["start"]), times.parse(record["end"]), window.cause)
        is_analysed = record["status"] == "Completed" and record.get("version") == version
        if is_analysed and before.end <= window.start:
            return before
    return None
