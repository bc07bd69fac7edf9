"""Captured requests: which files belong to a window, how many rows they hold, and what SageMaker captures
nothing of, in its format.

A line is one request, which may carry many rows; a row belongs to the window of its request's
`inferenceTime`. The analyser reads the same lines again, all of them: here they are only counted, and only
until there are enough.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from . import artifacts, times

JSON_LINES = "application/jsonlines"
# What reading a captured line raises that is none: clients may send anything, nested as deep as they like.
BROKEN = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def prefix(endpoint: str) -> str:
    """Where the requests of a model are kept, hour by hour; `endpoint` is the name of its endpoint, or the
    one that it would have."""
    return f"capture/{endpoint}/main/"


def line(id: str, at: datetime, asked: str, answered: str, inference_id: str = "") -> str:
    """A request of JSON lines and its answer as SageMaker's data capture writes them. `id` tells one event
    from another: the monitor counts an event that was captured twice once."""
    sides = {"endpointInput": ("INPUT", asked), "endpointOutput": ("OUTPUT", answered)}
    captured = {
        side: {"observedContentType": JSON_LINES, "mode": mode, "data": data, "encoding": "JSON"}
        for side, (mode, data) in sides.items()
    }
    metadata = {"eventId": id, "inferenceTime": times.iso(at)}
    metadata |= {"inferenceId": inference_id} if inference_id else {}
    return json.dumps({"captureData": captured, "eventMetadata": metadata, "eventVersion": "0"}) + "\n"


def key(endpoint: str, at: datetime, name: str) -> str:
    """The object for captured lines of that time; the same name is the same object."""
    return f"{prefix(endpoint)}{times.hour_path(at)}/{at:%M-%S}-{name}.jsonl"


def files(bucket: str, prefix: str, start: datetime, end: datetime) -> Iterator[dict[str, Any]]:
    """Key and size of the files of the hours that [start, end) touches under `prefix` (which ends in a
    slash, and is followed by `YYYY/MM/DD/HH/`), in order of time. One hour more is read at the end: a line
    is written some time after its request was answered."""
    last_hour = times.hour_path(end + timedelta(hours=1) - timedelta(microseconds=1))
    last = f"{prefix}{last_hour}0"  # '0' sorts behind '/'
    for found in artifacts.listing(bucket, prefix, after=f"{prefix}{times.hour_path(start)}"):
        if found["Key"] >= last:
            return
        yield found


def count_rows(bucket: str, keys: Iterable[str], start: datetime, end: datetime, enough: int) -> int:
    """Rows of [start, end) in these files: exact while it is under `enough`, where counting stops."""
    rows = 0
    for key in keys:
        for line in artifacts.read(bucket, key).splitlines():
            rows += rows_of(line, start, end)
            if rows >= enough:
                return rows
    return rows


def rows_of(line: bytes, start: datetime, end: datetime) -> int:
    """Rows of one captured line in [start, end); a broken line has none (the analyser quotes it)."""
    try:
        record = json.loads(line)
        moment = times.parse(record["eventMetadata"]["inferenceTime"])
        if not start <= moment < end:
            return 0
        return _instances(record["captureData"]["endpointInput"])
    except BROKEN:
        return 0


def _instances(sent: dict) -> int:
    data = sent["data"]
    if sent.get("encoding") == "BASE64":
        try:
            data = base64.b64decode(data, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return 0
    if "json" in sent.get("observedContentType", "") and "lines" not in sent["observedContentType"]:
        content = json.loads(data)
        content = content.get("instances", content) if isinstance(content, dict) else content
        return len(content) if isinstance(content, list) else 1
    return sum(1 for row in data.splitlines() if row.strip())
