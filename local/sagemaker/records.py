"""DataProcessing of a batch transform: what of a record the container sees, how its answer is joined to the
record, and what of both is kept. Records are lines: JSON, or CSV without a header."""

import csv
import io
import json
import re
import uuid
from collections.abc import Iterable
from typing import Any

from .errors import invalid
from .store import Record

JSON_LINES, CSV = "application/jsonlines", "text/csv"
# The formats that SageMaker filters and joins.
FORMATS = {JSON_LINES: JSON_LINES, "application/json": JSON_LINES, CSV: CSV}
OUTPUT, INPUT = "SageMakerOutput", "SageMakerInput"
_STEP = re.compile(
    r"\.(?P<name>\w+)|\[(?P<names>'[^']+'(?:\s*,\s*'[^']+')*)\]"
    r"|\[(?P<start>-?\d*):(?P<stop>-?\d*)\]|\[(?P<places>-?\d+(?:\s*,\s*-?\d+)*)\]"
)


class Mismatch(Exception):
    """The container's answer and the records that it was sent do not go together."""


def select(path: str, value: Any) -> Any:
    """The part of a record that a JSONPath of SageMaker's operators names: $, .a, ['a','b'], [0,2], [1:].

    Several names keep an object, several places a list. Raises ValueError for what is not there.
    """
    place = 1
    while place < len(path):
        step = _STEP.match(path, place)
        if not step:
            raise ValueError(f"{path} has an operator that is not supported at {path[place:]!r}")
        value = _taken(step, value, path)
        place = step.end()
    return value


def _taken(step: re.Match[str], value: Any, path: str) -> Any:
    try:
        if step["name"]:
            return value[step["name"]]
        if step["names"]:
            names = re.findall(r"'([^']+)'", step["names"])
            return value[names[0]] if len(names) == 1 else {name: value[name] for name in names}
        if step["places"]:
            places = [int(each) for each in step["places"].split(",")]
            return value[places[0]] if len(places) == 1 else [value[each] for each in places]
        return value[int(step["start"]) if step["start"] else None : int(step["stop"] or len(value))]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{path}: {error} is not in the record") from error


class Processing:
    """What a transform job does to its records."""

    def __init__(self, record: Record) -> None:
        asked = record.get("DataProcessing", {})
        self.before, self.after = asked.get("InputFilter", "$"), asked.get("OutputFilter", "$")
        self.joins = asked.get("JoinSource", "None") == "Input"
        self.marks = record.get("DataCaptureConfig", {}).get("GenerateInferenceId", False)
        self.format = FORMATS.get(record["TransformInput"].get("ContentType", ""), "")
        self.answers_in = FORMATS.get(record["TransformOutput"].get("Accept", ""), "") or self.format

    @property
    def is_needed(self) -> bool:
        return self.joins or self.marks or (self.before, self.after) != ("$", "$")

    def check(self, by_line: bool) -> None:
        """Raise what CreateTransformJob says of what cannot be done."""
        if not self.is_needed:
            return
        if not self.format or (self.joins and self.format != self.answers_in):
            raise invalid("DataProcessing needs ContentType and Accept of one kind, JSON or CSV.")
        if not by_line:
            raise invalid("The local SageMaker filters and joins records that are lines: SplitType Line.")

    def sent(self, payload: bytes) -> bytes:
        """A payload as the container sees it."""
        if self.before == "$":
            return payload
        return _written([select(self.before, each) for each in _read(payload, self.format)], self.format)

    def joined(self, payload: bytes, answer: bytes, started: str) -> bytes:
        """The container's answer to a payload as it is kept; raises Mismatch."""
        if not self.is_needed:
            return answer
        records, answers = _read(payload, self.format), _read(answer, self.answers_in)
        if self.joins and len(records) != len(answers):
            raise Mismatch(f"{len(answers)} answers to {len(records)} records cannot be joined")
        if self.joins:
            answers = [_join(*pair) for pair in zip(records, answers, strict=True)]
        if self.after != "$":
            answers = [select(self.after, each) for each in answers]
        if self.marks:
            answers = [_marked(each, started) for each in answers]
        return _written(answers, self.answers_in)


def _join(record: Any, answer: Any) -> Any:
    if isinstance(record, list):
        return [*record, *answer]
    own = record if isinstance(record, dict) else {INPUT: record}
    return {**own, OUTPUT: answer}


def _marked(answer: Any, started: str) -> Any:
    """With an inference id of its own, and the time at which the job began."""
    id = str(uuid.uuid4())
    if isinstance(answer, list):
        return [*answer, id, started]
    own = answer if isinstance(answer, dict) else {OUTPUT: answer}
    return {**own, "SageMakerInferenceId": id, "SageMakerInferenceTime": started}


def _read(payload: bytes, kind: str) -> list[Any]:
    try:
        text = payload.decode()
        if kind == CSV:
            return [row for row in csv.reader(io.StringIO(text)) if row]
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    except ValueError as error:
        raise Mismatch(f"not {kind}: {error}") from error


def _written(records: Iterable[Any], kind: str) -> bytes:
    if kind == CSV:
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerows(each if isinstance(each, list) else [each] for each in records)
        return lines.getvalue().encode()
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in records).encode()
