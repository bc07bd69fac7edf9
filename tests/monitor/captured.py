"""Capture and ground truth files as SageMaker writes them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

START = datetime(2026, 3, 2, tzinfo=UTC)
END = START + timedelta(days=7)
TYPES = {"jsonl": "application/jsonlines", "json": "application/json", "csv": "text/csv"}
FEATURES = ("amount", "age", "city", "member")


def row(index: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"r{index}",
        "at": f"{START + timedelta(minutes=index):%Y-%m-%dT%H:%M:%SZ}",
        "amount": 1.5 * index,
        "age": 20 + index % 50,
        "city": ("Bonn", "Kiel", "Ülm")[index % 3],
        "member": index % 2 == 0,
    } | changes


def answer(index: int) -> dict[str, Any]:
    return {"prediction": index % 2, "probability": round((index % 10) / 10, 6)}


def request(rows: list[dict[str, Any]], kind: str = "jsonl") -> str:
    if kind == "csv":
        return "\n".join(",".join(_cell(entry.get(name)) for name in FEATURES) for entry in rows)
    if kind == "json":
        return json.dumps({"instances": rows})
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in rows)


def response(answers: list[dict[str, Any]], kind: str = "jsonl") -> str:
    if kind == "csv":
        return "\n".join(f"{entry['prediction']},{entry['probability']}" for entry in answers)
    if kind == "json":
        return json.dumps({"predictions": answers})
    return "".join(json.dumps(entry) + "\n" for entry in answers)


def event(
    index: int, sent: str, got: str, kind: str = "jsonl", is_base64: bool = False, **metadata: Any
) -> dict[str, Any]:
    """One captured line; `index` minutes after START."""
    sides = {}
    for side, body in (("Input", sent), ("Output", got)):
        encoding = "CSV" if kind == "csv" else "JSON"
        if is_base64:
            body, encoding = base64.b64encode(body.encode()).decode(), "BASE64"
        sides[f"endpoint{side}"] = {
            "observedContentType": TYPES[kind],
            "mode": side.upper(),
            "data": body,
            "encoding": encoding,
        }
    at = START + timedelta(minutes=index)
    known = {"eventId": f"event-{index}", "inferenceTime": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
    return {"captureData": sides, "eventMetadata": known | metadata, "eventVersion": "0"}


def events(
    count: int, kind: str = "jsonl", is_base64: bool = False, rows_each: int = 1
) -> list[dict[str, Any]]:
    """Events of `rows_each` rows; CSV rows carry no id of their own, so that their request does."""
    found = []
    for index in range(count):
        numbers = range(index * rows_each, (index + 1) * rows_each)
        sent = request([row(number) for number in numbers], kind)
        got = response([answer(number) for number in numbers], kind)
        found.append(event(index, sent, got, kind, is_base64, inferenceId=f"r{index}"))
    return found


def truth(id_: str, label: Any, encoding: str = "CSV") -> dict[str, Any]:
    return {
        "groundTruthData": {"data": label, "encoding": encoding},
        "eventMetadata": {"eventId": id_},
        "eventVersion": "0",
    }


def write(folder: Path, lines: Iterable[dict[str, Any] | str], name: str = "2026/03/02/00/a.jsonl") -> Path:
    """The folder; a line that is text is written as it is."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts))
    return folder


def _cell(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
