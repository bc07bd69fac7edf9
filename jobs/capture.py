"""Data capture and ground truth files: lines in, rows out. A line that cannot be read is counted and
skipped."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from jobs import contract
from jobs.inference import CSV, JSON, BadInput, UnsupportedType, parse_rows
from jobs.spec import Spec

SHOWN_PROBLEMS = 5


@dataclass
class Captured:
    """Rows of one window, in step: the request's row, the model's answer, the id, the time of the
    request (UTC)."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)


@dataclass
class Skipped:
    """What could not be read, and where; never its content."""

    lines: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, where: str, reason: str) -> None:
        self.lines += 1
        if len(self.problems) < SHOWN_PROBLEMS:
            self.problems.append(f"{where}: {reason}")


def read_window(folder: Path, spec: Spec, start: datetime, end: datetime, skipped: Skipped) -> Captured:
    """Every row of a request made in [start, end). An event that was captured twice counts once."""
    captured, seen = Captured(), set()
    for where, event in _events(folder, skipped):
        try:
            metadata = event["eventMetadata"]
            moment = contract.parse_time(metadata["inferenceTime"])
            if not start <= moment < end or metadata["eventId"] in seen:
                continue
            seen.add(metadata["eventId"])
            rows = parse_rows(*_payload(event["captureData"]["endpointInput"]), spec)
            answers = parse_answers(*_payload(event["captureData"]["endpointOutput"]))
        except (KeyError, TypeError, ValueError, BadInput, UnsupportedType) as error:
            skipped.add(where, _reason(error))
            continue
        if len(rows) != len(answers):
            skipped.add(where, f"{len(rows)} rows and {len(answers)} predictions")
            continue
        captured.rows += rows
        captured.answers += answers
        captured.ids += _ids(rows, metadata, spec)
        captured.times += [moment] * len(rows)
    return captured


def read_labels(folder: Path | None, skipped: Skipped) -> dict[str, str]:
    """Label (as text) by row id, or by the request's id. The last label of an id wins: files in order of
    their names, which begin with the hour."""
    labels: dict[str, str] = {}
    for where, event in _events(folder, skipped):
        try:
            truth = event["groundTruthData"]
            text, _ = _payload(truth | {"observedContentType": CSV})
            labels[str(event["eventMetadata"]["eventId"])] = text.decode().strip().strip('"')
        except (KeyError, TypeError, ValueError) as error:
            skipped.add(where, _reason(error))
    return labels


def parse_answers(body: bytes, content_type: str) -> list[dict[str, Any]]:
    """A model's response as one dictionary per row. A bare value is its `prediction`; in CSV a second
    value is the `probability`. Raises ValueError."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == CSV:
        names = ("prediction", "probability")
        lines = csv.reader(io.StringIO(body.decode()))
        return [dict(zip(names, map(_number, line), strict=False)) for line in lines if line]
    if kind == JSON:
        content = json.loads(body)
        content = content.get("predictions", [content]) if isinstance(content, dict) else content
        values = content if isinstance(content, list) else [content]
    else:
        values = [json.loads(line) for line in body.splitlines() if line.strip()]
    return [value if isinstance(value, dict) else {"prediction": value} for value in values]


def _events(folder: Path | None, skipped: Skipped) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file:line, event) of every file under the folder, in order of their names."""
    for path in sorted(folder.rglob("*")) if folder else []:
        if not path.is_file():
            continue
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                where = f"{path.relative_to(folder)}:{number}"
                try:
                    event = json.loads(line.strip())
                except ValueError as error:
                    skipped.add(where, _reason(error))
                    continue
                if isinstance(event, dict):
                    yield where, event
                else:
                    skipped.add(where, "not an object")


def _payload(part: dict[str, Any]) -> tuple[bytes, str]:
    """Bytes and content type of an input or an output; `encoding` BASE64, or the text as it was."""
    data, encoding = part["data"], part["encoding"]
    kind = part.get("observedContentType") or (CSV if encoding == "CSV" else "application/jsonlines")
    if encoding == "BASE64":
        try:
            return base64.b64decode(data, validate=True), kind
        except binascii.Error as error:
            raise ValueError(f"not base64: {error}") from None
    return (data if isinstance(data, str) else json.dumps(data)).encode(), kind


def _ids(rows: list[dict[str, Any]], metadata: dict[str, Any], spec: Spec) -> list[str | None]:
    """A row's own id; the request's where it has one row only."""
    request = metadata.get("inferenceId") or metadata["eventId"]
    fallback = request if len(rows) == 1 else None
    return [fallback if row.get(spec.id) is None else str(row[spec.id]) for row in rows]


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no {error}"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON ({error.msg} at column {error.colno})"
    return f"{type(error).__name__}" if isinstance(error, TypeError) else str(error)[:200]
